//! Splitting rows into lists.

use std::ops::ControlFlow;
use std::sync::Arc;

use kvant_kernels::{Matrix, MatrixMut, PackedF32, kernels};

use super::near::Near;
use super::{Ivf, IvfOptions, Spill, space};
use crate::kmeans::{self, Iteration, KmeansOptions, Watch, kmeans_kept};
use crate::seed::Draw;
use crate::spread::spread;
use crate::stage::{bytes_of, numbers_below};
use crate::{BuildOptions, FloatRows, Metric, Order, Row, Rows};

/// Rows for each list that centroids are learnt from.
const SAMPLE: usize = 128;
const ITERATIONS: usize = 12;
/// How much more what lies along the first residual counts (SOAR's λ).
const ALONG: f32 = 1.0;
/// Rows of a product.
const BLOCK: usize = 64;
/// Under which the list of each row is kept.
const ASSIGNED: &str = "assigned";

/// So many lists where none are asked for: of 0.5, 1, 1.5, 2 and 4 times as many none was faster at
/// 0.95 and 0.99 on images and texts (docs/performance.md).
pub(crate) fn lists_of(rows: usize) -> usize {
    (rows as f64).sqrt().round() as usize
}

pub(super) fn build(
    rows: Option<&FloatRows<'_>>,
    len: usize,
    options: IvfOptions,
    building: &BuildOptions<'_>,
) -> Ivf {
    let told = std::sync::atomic::AtomicUsize::new(0);
    let tell = |done: usize| {
        let before = told.swap(done, std::sync::atomic::Ordering::Relaxed);
        building.progress.iter().for_each(|progress| progress(done - before));
    };
    let wanted = if options.lists == 0 { lists_of(len) } else { options.lists };
    let lists = wanted.clamp(1, len.max(1));
    let watch = |step: &Iteration| {
        tell(len * step.done / (step.of + 1));
        ControlFlow::Continue(())
    };
    let ivf = rows
        .filter(|_| len > 0)
        .and_then(|rows| split(rows, (lists, options), building, &watch))
        .unwrap_or_else(|| one_list(rows, len, options));
    tell(len);
    ivf
}

/// The rows in lists; `None` where they have no means.
fn split(
    rows: &FloatRows<'_>,
    (lists, options): (usize, IvfOptions),
    building: &BuildOptions<'_>,
    watch: &Watch<'_>,
) -> Option<Ivf> {
    let dim = rows.dim();
    let learning = KmeansOptions { watch: Some(watch), ..learning(building) };
    let all = FloatRows::new(rows.data(), dim, space(rows));
    let chosen = Draw::new(building.seed).some(lists.saturating_mul(SAMPLE), rows.len());
    let (centroids, assigned) = if chosen.len() == rows.len() {
        let found = kmeans_kept(&all, lists, &learning, building).ok()?;
        (found.centroids, found.assigned)
    } else {
        let data: Vec<f32> = chosen.iter().flat_map(|&row| all.vector(Row(row))).copied().collect();
        let sample = FloatRows::new(&data, dim, all.metric());
        let found = kmeans_kept(&sample, lists, &learning, building).ok()?;
        let (centroids, len) = (found.centroids, all.len());
        let assigned = building
            .kept(ASSIGNED, |bytes| numbers_below(&bytes, len, lists))
            .unwrap_or_else(|| {
                let assigned = kmeans::assign(&all, &centroids, &learning);
                building.keep(ASSIGNED, || bytes_of(&assigned));
                assigned
            });
        (centroids, assigned)
    };
    fill(rows, (&centroids, &assigned), options, building.threads)
}

/// Rows into the lists of these centroids again.
pub(super) fn rebuild(rows: &FloatRows<'_>, old: &Ivf, building: &BuildOptions<'_>) -> Option<Ivf> {
    let all = FloatRows::new(rows.data(), rows.dim(), space(rows));
    let centroids = old.centroids();
    let assigned = kmeans::assign(&all, &centroids, &learning(building));
    let ivf = fill(rows, (&centroids, &assigned), old.options, building.threads);
    building.progress.iter().for_each(|progress| progress(rows.len()));
    ivf
}

fn learning<'a>(building: &BuildOptions<'_>) -> KmeansOptions<'a> {
    let &BuildOptions { seed, threads, balance, .. } = building;
    KmeansOptions { iterations: ITERATIONS, seed, threads, balance, ..KmeansOptions::default() }
}

/// The lists of rows whose nearest centroids are known.
fn fill(
    rows: &FloatRows<'_>,
    (centroids, assigned): (&[f32], &[u32]),
    options: IvfOptions,
    threads: usize,
) -> Option<Ivf> {
    let dim = rows.dim();
    let all = FloatRows::new(rows.data(), dim, space(rows));
    let mut members = vec![Vec::new(); centroids.len() / dim];
    for (row, &list) in (0..).zip(assigned) {
        members[list as usize].push(row);
    }
    if options.spill == Spill::Two {
        let second = second(&all, (centroids, assigned), threads);
        for (row, list) in (0u32..).zip(second) {
            if list != assigned[row as usize] {
                members[list as usize].push(row);
            }
        }
    }
    // A list without rows is of no use.
    let (mut kept, mut lying) = (Vec::new(), Vec::new());
    for (centroid, mut members) in centroids.chunks_exact(dim).zip(members) {
        if !members.is_empty() {
            members.sort_unstable();
            kept.extend_from_slice(centroid);
            lying.push(members);
        }
    }
    Ivf::of(kept, &lying, (options, rows.metric(), dim), rows.len())
}

/// A list of all rows, for what cannot be split.
fn one_list(rows: Option<&FloatRows<'_>>, len: usize, options: IvfOptions) -> Ivf {
    let (metric, dim) = rows.map_or((Metric::Euclid, 1), |rows| (rows.metric(), rows.dim()));
    let lists: Vec<Vec<u32>> = if len == 0 { Vec::new() } else { vec![(0..len as u32).collect()] };
    let centroids = vec![0.0; lists.len() * dim];
    Ivf::assemble(centroids, &lists, (options, metric, dim), len)
}

/// The second list of each row: with `r` what the first centroid leaves of the row, that of the
/// centroid `c` with the least `‖x − c‖² + λ·⟨r, x − c⟩²/‖r‖²` but the first.
fn second(
    rows: &FloatRows<'_>,
    (centroids, assigned): (&[f32], &[u32]),
    threads: usize,
) -> Vec<u32> {
    let dim = rows.dim();
    let k = centroids.len() / dim;
    let packed = PackedF32::new(Matrix::new(centroids, k, dim));
    let mut among = vec![0.0; k * k];
    let all = Matrix::new(centroids, k, dim);
    kernels().gemm_f32(all, &packed, None, MatrixMut::new(&mut among, k, k));
    let square = |c: usize| among[c * k + c];
    let blocks: Vec<&[f32]> = rows.data().chunks(BLOCK * dim).collect();
    let found = spread(&mut vec![Vec::new(); threads.max(1)], blocks.len(), |products, at| {
        let count = blocks[at].len() / dim;
        products.resize(count * k, 0.0);
        let x = Matrix::new(blocks[at], count, dim);
        kernels().gemm_f32(x, &packed, None, MatrixMut::new(products, count, k));
        let pick = |(row, products): (usize, &[f32])| {
            let first = assigned[at * BLOCK + row] as usize;
            let x = &blocks[at][row * dim..][..dim];
            let own = kernels().dot_f32(x, x);
            let left = (own - 2.0 * products[first] + square(first)).max(f32::MIN_POSITIVE);
            let cost = |c: usize| {
                // ⟨r, x − c⟩ with r = x − first.
                let along = own - products[first] - products[c] + among[first * k + c];
                own - 2.0 * products[c] + square(c) + ALONG * along * along / left
            };
            let others = (0..k).filter(|&c| c != first);
            others.min_by(|&a, &b| cost(a).total_cmp(&cost(b))).unwrap_or(first) as u32
        };
        products.chunks_exact(k).enumerate().map(pick).collect::<Vec<u32>>()
    });
    found.concat()
}

impl Ivf {
    /// From the centroids and the rows of each list; `None` if the centroids are not finite, or a
    /// row is past the last or in no list.
    pub(super) fn of(
        centroids: Vec<f32>,
        lists: &[impl AsRef<[u32]>],
        (options, metric, dim): (IvfOptions, Metric, usize),
        len: usize,
    ) -> Option<Self> {
        let (lists, order) = lay(lists, options.align, len)?;
        let near = Near::new(&centroids, (metric, dim)).ok()?;
        let centroids: Vec<u32> = centroids.into_iter().map(f32::to_bits).collect();
        let centroids = centroids.into();
        Some(Self { options, metric, dim, centroids, near, lists, order: Arc::new(order) })
    }

    /// The same for what is known to fit.
    fn assemble(
        centroids: Vec<f32>,
        lists: &[Vec<u32>],
        (options, metric, dim): (IvfOptions, Metric, usize),
        len: usize,
    ) -> Self {
        let found = Self::of(centroids, lists, (options, metric, dim), len);
        found.unwrap_or_else(|| unreachable!("zeros, and every row in one list"))
    }
}

/// Where each list begins and how long it is, and what lies where.
fn lay(lists: &[impl AsRef<[u32]>], align: usize, len: usize) -> Option<(Vec<(u32, u32)>, Order)> {
    let mut places: Vec<Option<u32>> = Vec::new();
    let mut starts = Vec::with_capacity(lists.len());
    for list in lists.iter().map(AsRef::as_ref) {
        let first = places.len().next_multiple_of(align.max(1));
        places.resize(first, None);
        starts.push((u32::try_from(first).ok()?, list.len() as u32));
        places.extend(list.iter().copied().map(Some));
    }
    Some((starts, Order::new(places.into_iter(), len)?))
}
