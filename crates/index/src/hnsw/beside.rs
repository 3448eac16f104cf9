//! Codes of the neighbours of each row, laid beside it (`SymphonyQG`: Gou et al., 2025).
//!
//! With `c` a row, `o` a neighbour, `P` a rotation and `r = P(o − c)`, the code of `o` beside `c`
//! are the levels `x` nearest to `r`, two bits a dimension, relative to the row they lie beside.
//! As in `RaBitQ` (Gao & Long, 2024),
//!
//! ```text
//! ⟨o − c, q − c⟩ ≈ f·⟨x, P(q − c)⟩,   f = ‖r‖² / ⟨r, x⟩
//! ```
//!
//! and `⟨x, Pc⟩` is known beforehand, so that the distance of every neighbour is that of the row,
//! something that lies beside it, and a multiple of `⟨x, Pq⟩`. Codes lie in blocks of 32
//! neighbours, two dimensions to a table ([`kvant_kernels::ScanTables`]): a query makes its tables
//! once, one scan gives all. `SymphonyQG` has one bit a dimension; with two a walk reaches the same
//! recall in two thirds of the hops.
//!
//! As bytes, little endian: `dim u32 · metric u8 · 0 0 0 u8 · seed u64 · the mean f32 × dim`, then
//! for each row and each 32 of its neighbours `multiple f32 × 32 · addend f32 × 32 · a block`.

use kvant_kernels::{BLOCK_ROWS, ENTRIES, ScanTables, code_place, kernels};

use super::graph::Graph;
use super::net::{Net, Weave};
use crate::code::coded::metric_code;
use crate::code::rotated::rotation::Rotation;
use crate::file::Reader;
use crate::metric::scale_of;
use crate::spread::spread;
use crate::{BuildOptions, DIM_MAX, FileError, FloatRows, Metric, Row, Rows};

/// Bits of a dimension.
const BITS: usize = 2;
/// Levels of each code: the Lloyd–Max levels of a normal distribution.
const LEVELS: [f32; 1 << BITS] = [-1.510, -0.4528, 0.4528, 1.510];
/// What lies between the positive ones.
const EDGES: [f64; (1 << (BITS - 1)) - 1] = [0.9816];
/// Dimensions that share a table.
const SHARE: usize = 4 / BITS;
/// Bytes of a float for each neighbour of a block.
const FLOATS: usize = 4 * BLOCK_ROWS;

/// What lies beside the rows of a graph.
#[derive(Debug)]
pub(super) struct Beside {
    metric: Metric,
    dim: usize,
    seed: u64,
    rotation: Rotation,
    mean: Vec<f32>,
    slab: Vec<u8>,
    /// Bytes beside a row.
    stride: usize,
}

/// A query as it meets the codes.
#[derive(Debug)]
pub(super) struct Asked {
    tables: ScanTables,
    /// `⟨x, Pq⟩ ≈ least + step · sum`.
    step: f32,
    least: f32,
}

/// Bytes of 32 neighbours.
fn unit(dim: usize) -> usize {
    2 * FLOATS + ScanTables::block_bytes(dim.div_ceil(SHARE))
}

/// The level nearest to a value of unit deviation.
fn code(value: f64) -> usize {
    let place = EDGES.iter().filter(|&&edge| value.abs() > edge).count();
    let middle = LEVELS.len() / 2;
    if value < 0.0 { middle - 1 - place } else { middle + place }
}

/// What two bits of a code give, of the dimensions they are of.
fn half(values: &[f32]) -> [f32; 4] {
    let value = |at: usize| values.get(at).copied().unwrap_or(0.0);
    std::array::from_fn(|bits| {
        let each =
            (0..2 / BITS).map(|at| value(at) * LEVELS[bits >> (at * BITS) & (LEVELS.len() - 1)]);
        each.sum()
    })
}

impl Beside {
    /// Nothing beside the rows yet.
    fn empty((metric, dim, seed): (Metric, usize, u64), mean: Vec<f32>, most: usize) -> Self {
        let stride = most.div_ceil(BLOCK_ROWS) * unit(dim);
        let rotation = Rotation::new(dim, seed);
        Self { metric, dim, seed, rotation, mean, slab: Vec::new(), stride }
    }

    /// The codes of the neighbours on the lowest level; `None` where distances do not follow from
    /// products, or rows are not finite.
    pub(super) fn build(
        rows: &FloatRows<'_>,
        graph: &Graph,
        options: &BuildOptions<'_>,
    ) -> Option<Self> {
        let (metric, dim, len) = (rows.metric(), rows.dim(), rows.len());
        if metric == Metric::Manhattan || crate::code::check_rows(rows).is_err() {
            return None;
        }
        let mut sums = vec![0.0f64; dim];
        for row in rows.data().chunks_exact(dim) {
            sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        let mean = sums.iter().map(|sum| (sum / len.max(1) as f64) as f32).collect();
        let mut beside = Self::empty((metric, dim, options.seed), mean, graph.most(0));
        let threads = options.threads.max(1);
        let turned = spread(&mut vec![(); threads], len, |(), row| {
            beside.turned(rows.vector(Row(row as u32)), 1.0)
        });
        let stride = beside.stride;
        let mut slab = vec![0; len * stride];
        let share = len.div_ceil(threads).max(1);
        std::thread::scope(|scope| {
            for (part, bytes) in slab.chunks_mut(share * stride).enumerate() {
                let (beside, turned) = (&beside, &turned);
                scope.spawn(move || {
                    for (at, bytes) in bytes.chunks_exact_mut(stride).enumerate() {
                        let row = Row((part * share + at) as u32);
                        beside.encode(row, (rows, turned, graph), bytes);
                    }
                });
            }
        });
        beside.slab = slab;
        Some(beside)
    }

    /// `P(scale·vector − mean)`.
    fn turned(&self, vector: &[f32], scale: f32) -> Vec<f32> {
        let mut turned: Vec<f32> =
            vector.iter().zip(&self.mean).map(|(x, mean)| x * scale - mean).collect();
        self.rotation.turn(&mut turned);
        turned
    }

    fn encode(
        &self,
        row: Row,
        (rows, turned, graph): (&FloatRows<'_>, &[Vec<f32>], &Graph),
        bytes: &mut [u8],
    ) {
        let centre = &turned[row.position()];
        let unit = unit(self.dim);
        let blocks = graph.links(row, 0).chunks(BLOCK_ROWS).zip(bytes.chunks_exact_mut(unit));
        for (links, bytes) in blocks {
            let (floats, codes) = bytes.split_at_mut(2 * FLOATS);
            let (multiples, addends) = floats.split_at_mut(FLOATS);
            for (place, &id) in links.iter().enumerate() {
                let other = &turned[id as usize];
                let gaps = other.iter().zip(centre).map(|(&o, &c)| f64::from(o) - f64::from(c));
                let square: f64 = gaps.map(|gap| gap * gap).sum();
                let unit = if square > 0.0 { (self.dim as f64 / square).sqrt() } else { 0.0 };
                let (mut size, mut shift) = (0.0f64, 0.0f64);
                for (at, (&o, &c)) in other.iter().zip(centre).enumerate() {
                    let gap = f64::from(o) - f64::from(c);
                    let code = code(gap * unit);
                    size += gap * f64::from(LEVELS[code]);
                    shift += f64::from(c) * f64::from(LEVELS[code]);
                    let (byte, low) = code_place(at / SHARE, place);
                    codes[byte] |= (code << (at % SHARE * BITS) << low) as u8;
                }
                let factor = if size > 0.0 { square / size } else { 0.0 };
                let (multiple, addend) = match self.metric {
                    Metric::Euclid => (2.0 * factor, square + 2.0 * factor * shift),
                    Metric::Cosine | Metric::Dot | Metric::Manhattan => {
                        let (own, other) = (rows.vector(row), rows.vector(Row(id)));
                        let pairs = own.iter().zip(other);
                        let along: f64 = pairs
                            .map(|(&c, &o)| f64::from(c) * (f64::from(o) - f64::from(c)))
                            .sum();
                        (factor, factor * shift - along)
                    }
                };
                multiples[4 * place..][..4].copy_from_slice(&(multiple as f32).to_le_bytes());
                addends[4 * place..][..4].copy_from_slice(&(addend as f32).to_le_bytes());
            }
        }
    }

    /// Makes the tables of a query. O(dim·log dim).
    pub(super) fn ask(&self, query: &[f32]) -> Asked {
        assert_eq!(query.len(), self.dim, "query of another dimension");
        let turned = self.turned(query, scale_of(self.metric, query));
        let mut tables = vec![[0.0f32; ENTRIES]; self.dim.div_ceil(SHARE)];
        for (table, values) in tables.iter_mut().zip(turned.chunks(SHARE)) {
            let (low, high) = values.split_at(values.len().min(SHARE / 2));
            let (low, high) = (half(low), half(high));
            for (entry, to) in table.iter_mut().enumerate() {
                *to = low[entry % 4] + high[entry / 4];
            }
        }
        let mut ends = vec![[0.0; 2]; tables.len()];
        kernels().scan_ends(&tables, &mut ends);
        let spans = || ends.iter().map(|[low, high]| high - low);
        let room = (usize::from(u16::MAX) - tables.len()) as f32;
        let largest = spans().fold(0.0, f32::max);
        let step = (largest / 127.0).max(spans().sum::<f32>() / room);
        let mut rounded = vec![[0; ENTRIES]; tables.len()];
        let least: f32 = ends.iter().map(|end| end[0]).sum();
        if !(step > 0.0 && step.is_finite() && least.is_finite()) {
            return Asked { tables: ScanTables::new(&rounded), step: 0.0, least: 0.0 };
        }
        kernels().scan_round(&tables, &ends, 1.0 / step, &mut rounded);
        Asked { tables: ScanTables::new(&rounded), step, least }
    }

    /// What lies beside `row` is soon to be read.
    pub(super) fn fetch(&self, row: Row) {
        kvant_kernels::fetch(&self.slab[row.position() * self.stride..][..self.stride]);
    }

    /// Estimates of all neighbours of `row`, which is at `distance`, in the order of its links.
    pub(super) fn estimate(&self, row: Row, distance: f32, asked: &Asked, out: &mut [f32]) {
        let bytes = &self.slab[row.position() * self.stride..][..self.stride];
        let blocks = bytes.chunks_exact(unit(self.dim));
        for (bytes, out) in blocks.zip(out.as_chunks_mut::<BLOCK_ROWS>().0) {
            let (floats, codes) = bytes.split_at(2 * FLOATS);
            let (multiples, addends) = floats.split_at(FLOATS);
            let mut sums = [0u16; BLOCK_ROWS];
            kernels().scan_sums(codes, &asked.tables, &mut sums);
            let factors = multiples.as_chunks::<4>().0.iter().zip(addends.as_chunks::<4>().0);
            for ((out, &sum), (multiple, addend)) in out.iter_mut().zip(&sums).zip(factors) {
                let product = asked.least + asked.step * f32::from(sum);
                let (multiple, addend) =
                    (f32::from_le_bytes(*multiple), f32::from_le_bytes(*addend));
                *out = distance + addend - multiple * product;
            }
        }
    }

    /// Whether this is its measure.
    pub(super) fn measures(&self, metric: Metric) -> bool {
        self.metric == metric
    }

    /// Whether rows of so many values by this measure may be what it was built over.
    pub(super) fn serves(&self, dim: usize, metric: Metric) -> bool {
        (self.dim, self.metric) == (dim, metric)
    }

    /// Appends what lies beside the rows to `bytes`.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&(self.dim as u32).to_le_bytes());
        bytes.extend_from_slice(&[metric_code(self.metric), 0, 0, 0]);
        bytes.extend_from_slice(&self.seed.to_le_bytes());
        bytes.extend(self.mean.iter().flat_map(|x| x.to_le_bytes()));
        bytes.extend_from_slice(&self.slab);
    }

    /// Reads what [`write`](Self::write) wrote, beside the rows of `graph`.
    pub(super) fn read(reader: &mut Reader<'_>, graph: &Graph) -> Result<Self, FileError> {
        let dim = reader.number()?;
        let [metric, reserved @ ..]: [u8; 4] = reader.array()?;
        let seed = u64::from_le_bytes(reader.array()?);
        let bad = |name, got: u32| Err(FileError::Header { name, got: got.into() });
        let Some(&metric_found) = Metric::ALL.get(usize::from(metric)) else {
            return bad("metric", metric.into());
        };
        if metric_found == Metric::Manhattan {
            return bad("metric", metric.into());
        }
        if dim == 0 || dim as usize > DIM_MAX {
            return bad("dimension", dim);
        }
        if reserved != [0; 3] {
            return bad("reserved bytes", reserved[0].into());
        }
        let mean = reader.slab(1, dim as usize)?.as_chunks().0;
        let mean = mean.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let mut beside = Self::empty((metric_found, dim as usize, seed), mean, graph.most(0));
        let size = graph.len().saturating_mul(beside.stride);
        beside.slab = reader.take(size)?.to_vec();
        Ok(beside)
    }
}
