//! Candidates for links from products of whole groups of near rows.
//!
//! Rows are cut into overlapping leaves around random pivots, and all pairs of a leaf are measured
//! as one product of bytes (the candidates of HCNNG, Muñoz et al., 2019, and of `PiPNN`, Rubel et
//! al., 2026, which carve so): a hundredth of what walks of a graph cost.

use kvant_kernels::{Matrix, MatrixMut, RowsI8, kernels};

use super::graph::NONE;
use crate::kmeans::packed;
use crate::seed::Draw;
use crate::spread::spread;
use crate::{BuildOptions, FloatRows, Metric, Row, Rows, Top};

/// Leaves that a row is in.
const LEAVES: usize = 8;
/// Rows of a leaf, about.
const SIZE: usize = 1000;
/// A leaf with more is cut.
const MOST: usize = 2500;
/// Rows that a leaf names for each of its rows.
const NAMED: usize = 24;
/// How many times as many rows a scale has as the one before.
const FINER: usize = 4;
/// More rows than this are cut into scales.
const COARSEST: usize = 500;
/// Rows of a product.
const BLOCK: usize = 64;
/// Leaves whose pairs are held at a time.
const TOGETHER: usize = 128;

/// Places for what leaves name, for each row.
pub(super) const PLACES: usize = LEAVES * NAMED;

/// Fewest rows that are worth it.
const LEAST: usize = 4000;

/// Rows looked at for equal ones, and which part of them may be equal to others: leaves of equal
/// rows name nothing else.
const SAMPLE: usize = 1024;
const EQUAL: usize = 10;

/// Whether products say what is near among these rows.
pub(super) fn serves(rows: &FloatRows<'_>) -> bool {
    let metric = matches!(rows.metric(), Metric::Euclid | Metric::Cosine);
    metric && rows.len() >= LEAST && rows.data().iter().all(|x| x.is_finite()) && !is_equal(rows)
}

/// Whether many rows are one and the same.
fn is_equal(rows: &FloatRows<'_>) -> bool {
    let some = Draw::new(0).some(SAMPLE, rows.len());
    let mut some: Vec<&[f32]> = some.iter().map(|&row| rows.vector(Row(row))).collect();
    let order = |a: &&[f32], b: &&[f32]| {
        let pairs = a.iter().zip(*b).map(|(a, b)| a.total_cmp(b));
        pairs.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
    };
    some.sort_unstable_by(order);
    let equal = some.windows(2).filter(|pair| pair[0] == pair[1]).count();
    equal * EQUAL > some.len()
}

/// Where the rows of each scale end, of `len`: the last is all of them.
pub(super) fn scales(len: usize) -> Vec<usize> {
    let mut ends: Vec<usize> = std::iter::successors(Some(len), |end| Some(end / FINER))
        .take_while(|&end| end > COARSEST)
        .collect();
    ends.reverse();
    ends
}

/// For some rows those near them among them.
pub(super) struct Near<'r> {
    /// The rows in the order of places; all of them in that of their numbers where `None`.
    rows: Option<&'r [Row]>,
    /// [`PLACES`] a row, [`NONE`] where there is none.
    named: Vec<u32>,
}

impl Near<'_> {
    /// What is near a row, the one at this place of `some`; each row once.
    pub(super) fn of(&self, place: usize, row: Row) -> Vec<Row> {
        let place = if self.rows.is_some() { place } else { row.position() };
        let named = &self.named[place * PLACES..][..PLACES];
        let named = named.iter().filter(|&&at| at != NONE);
        let row = |&at: &u32| self.rows.map_or(Row(at), |rows| rows[at as usize]);
        let mut near: Vec<Row> = named.map(row).collect();
        near.sort_unstable();
        near.dedup();
        near
    }

    /// All that is named, row by row.
    pub(super) fn named(&self) -> &[u32] {
        &self.named
    }
}

/// For each of `some` rows those of them that are nearest to it in each of its leaves. The same for
/// any number of threads. Takes a copy of those rows for a while, unless they are all, or what is
/// named was `kept`.
pub(super) fn near<'r>(
    all: &FloatRows<'_>,
    some: &'r [Row],
    kept: Option<Vec<u32>>,
    options: &BuildOptions<'_>,
) -> Near<'r> {
    let rows = (some.len() < all.len()).then_some(some);
    if let Some(named) = kept {
        return Near { rows, named };
    }
    if rows.is_none() {
        return Near { rows, named: named(all, options) };
    }
    let data: Vec<f32> = some.iter().flat_map(|&row| all.vector(row)).copied().collect();
    let named = named(&FloatRows::new(&data, all.dim(), all.metric()), options);
    Near { rows, named }
}

fn named(rows: &FloatRows<'_>, options: &BuildOptions<'_>) -> Vec<u32> {
    let threads = options.threads.max(1);
    let leaves = carve(rows, options);
    let mut named = vec![NONE; rows.len() * PLACES];
    let mut full = vec![0u8; rows.len()];
    let mut scratches = vec![Scratch::default(); threads];
    for leaves in leaves.chunks(TOGETHER) {
        let found =
            spread(&mut scratches, leaves.len(), |scratch, at| scratch.pairs(rows, &leaves[at]));
        for (leaf, found) in leaves.iter().zip(found) {
            for (&row, found) in leaf.iter().zip(found.chunks_exact(NAMED)) {
                let place = usize::from(full[row as usize]);
                full[row as usize] += 1;
                let from = (row as usize * LEAVES + place) * NAMED;
                named[from..from + NAMED].copy_from_slice(found);
            }
        }
    }
    named
}

/// The rows of each leaf; a row is in [`LEAVES`] of them, or in as many as there are.
fn carve(rows: &FloatRows<'_>, options: &BuildOptions<'_>) -> Vec<Vec<u32>> {
    let mut draw = Draw::new(options.seed);
    let pivots = draw.some((rows.len() * LEAVES).div_ceil(SIZE), rows.len());
    let dim = rows.dim();
    let data: Vec<f32> = pivots.iter().flat_map(|&row| rows.vector(Row(row))).copied().collect();
    let (product, bias) = product(&data, (dim, rows.metric()));
    let blocks: Vec<&[f32]> = rows.data().chunks(BLOCK * dim).collect();
    let chosen =
        spread(&mut vec![Scratch::default(); options.threads.max(1)], blocks.len(), |s, at| {
            let count = blocks[at].len() / dim;
            s.multiply(blocks[at], (count, dim), (&product, &bias));
            let mut chosen = Vec::with_capacity(count * LEAVES);
            for scores in s.scores.chunks_exact(bias.len()) {
                let mut top = Top::new(LEAVES);
                offer(scores, &mut top);
                chosen.push(top.into_hits());
            }
            chosen
        });
    let mut leaves = vec![Vec::new(); pivots.len()];
    for (row, hits) in (0..).zip(chosen.into_iter().flatten()) {
        for hit in hits {
            leaves[hit.row.position()].push(row);
        }
    }
    let mut cut = Vec::new();
    for leaf in leaves {
        halve(rows, leaf, &mut draw, &mut cut);
    }
    cut
}

/// Cuts a leaf by which of two of its rows is nearer, until it is small enough.
fn halve(rows: &FloatRows<'_>, leaf: Vec<u32>, draw: &mut Draw, cut: &mut Vec<Vec<u32>>) {
    if leaf.len() <= MOST {
        cut.push(leaf);
        return;
    }
    let [a, b] = [(); 2].map(|()| rows.vector(Row(leaf[draw.below(leaf.len())])));
    let across: Vec<f32> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let mut along: Vec<(f32, u32)> =
        leaf.iter().map(|&row| (kernels().dot_f32(rows.vector(Row(row)), &across), row)).collect();
    let middle = along.len() / 2;
    along.select_nth_unstable_by(middle, |x, y| x.0.total_cmp(&y.0).then(x.1.cmp(&y.1)));
    for half in [&along[..middle], &along[middle..]] {
        let mut half: Vec<u32> = half.iter().map(|&(_, row)| row).collect();
        half.sort_unstable();
        halve(rows, half, draw, cut);
    }
}

/// What is added to the negated products: rows with the least sum are nearest.
fn product(data: &[f32], (dim, metric): (usize, Metric)) -> (kvant_kernels::PackedI8, Vec<f32>) {
    let (product, squares) = packed(data, dim);
    let half = |square: f64| if metric == Metric::Cosine { 0.0 } else { (square / 2.0) as f32 };
    (product, squares.into_iter().map(half).collect())
}

fn offer(scores: &[f32], top: &mut Top) {
    for (row, &score) in (0..).zip(scores) {
        if score <= top.reach() {
            top.offer(Row(row), score);
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Scratch {
    data: Vec<f32>,
    codes: RowsI8,
    scores: Vec<f32>,
}

impl Scratch {
    fn multiply(
        &mut self,
        data: &[f32],
        (count, dim): (usize, usize),
        (product, bias): (&kvant_kernels::PackedI8, &[f32]),
    ) {
        kernels().quantize_rows(Matrix::new(data, count, dim), &mut self.codes);
        self.scores.resize(count * bias.len(), 0.0);
        let to = MatrixMut::new(&mut self.scores, count, bias.len());
        kernels().gemm_i8(&self.codes, product, Some(bias), to);
    }

    /// The rows nearest to each row of a leaf within it.
    fn pairs(&mut self, rows: &FloatRows<'_>, leaf: &[u32]) -> Vec<u32> {
        let dim = rows.dim();
        let mut data = std::mem::take(&mut self.data);
        data.clear();
        data.extend(leaf.iter().flat_map(|&row| rows.vector(Row(row))));
        let (product, bias) = product(&data, (dim, rows.metric()));
        let mut found = vec![NONE; leaf.len() * NAMED];
        for (block, part) in data.chunks(BLOCK * dim).enumerate() {
            self.multiply(part, (part.len() / dim, dim), (&product, &bias));
            for (at, scores) in (block * BLOCK..).zip(self.scores.chunks_exact(bias.len())) {
                let mut top = Top::new(NAMED + 1);
                offer(scores, &mut top);
                let others = top.into_hits().into_iter().map(|hit| hit.row.position());
                let others = others.filter(|&other| other != at).take(NAMED);
                for (place, other) in found[at * NAMED..].iter_mut().zip(others) {
                    *place = leaf[other];
                }
            }
        }
        self.data = data;
        found
    }
}
