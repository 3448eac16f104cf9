//! Centroids as the means of their rows.

use kvant_kernels::kernels;

use super::assign::Points;
use crate::Metric;
use crate::spread::spread;

/// Rows summed in f32 before they go to f64.
const RUN: usize = 32;

/// The rows of each cluster one after the other, and where each begins.
fn members(assigned: &[u32], k: usize) -> (Vec<u32>, Vec<usize>) {
    let mut starts = vec![0; k + 1];
    for &cluster in assigned {
        starts[cluster as usize + 1] += 1;
    }
    (0..k).for_each(|cluster| starts[cluster + 1] += starts[cluster]);
    let mut next = starts.clone();
    let mut rows = vec![0; assigned.len()];
    for (row, &cluster) in (0..).zip(assigned) {
        rows[next[cluster as usize]] = row;
        next[cluster as usize] += 1;
    }
    (rows, starts)
}

/// The sum of the rows of each cluster and how many they are.
fn sums(points: &Points<'_>, assigned: &[u32], k: usize) -> Vec<(Vec<f64>, usize)> {
    let (rows, starts) = members(assigned, k);
    spread(&mut vec![vec![0.0f32; points.dim]; points.threads], k, |run, cluster| {
        let rows = &rows[starts[cluster]..starts[cluster + 1]];
        let mut sum = vec![0.0f64; points.dim];
        for rows in rows.chunks(RUN) {
            run.fill(0.0);
            for &row in rows {
                kernels().add(run, points.row(row as usize));
            }
            sum.iter_mut().zip(run.iter()).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        (sum, rows.len())
    })
}

/// Puts the means of the clusters in the place of their centroids, where they have rows, and
/// returns the inertia about them.
pub(super) fn replace(points: &Points<'_>, assigned: &[u32], centroids: &mut [f32]) -> f64 {
    let dim = points.dim;
    let mut along = 0.0;
    let sums = sums(points, assigned, centroids.len() / dim);
    for ((sum, count), centroid) in sums.iter().zip(centroids.chunks_exact_mut(dim)) {
        let square: f64 = sum.iter().map(|x| x * x).sum();
        let length = match points.metric {
            Metric::Cosine => square.sqrt(),
            Metric::Euclid | Metric::Dot | Metric::Manhattan => *count as f64,
        };
        if length > 0.0 {
            along += square / length;
            centroid.iter_mut().zip(sum).for_each(|(c, x)| *c = (x / length) as f32);
        }
    }
    let all = match points.metric {
        Metric::Cosine => points.len() as f64,
        Metric::Euclid | Metric::Dot | Metric::Manhattan => {
            points.squares.iter().map(|&square| f64::from(square)).sum()
        }
    };
    (all - along).max(0.0)
}

/// Moves centroids towards the means of some rows, by the share these are of all seen so far.
pub(super) fn move_by(
    points: &Points<'_>,
    assigned: &[u32],
    (centroids, seen): (&mut [f32], &mut [f64]),
) {
    let dim = points.dim;
    let sums = sums(points, assigned, seen.len());
    let places = centroids.chunks_exact_mut(dim).zip(seen);
    for ((sum, count), (centroid, seen)) in sums.iter().zip(places) {
        if *count == 0 {
            continue;
        }
        *seen += *count as f64;
        let rate = *count as f64 / *seen;
        for (c, x) in centroid.iter_mut().zip(sum) {
            *c = (f64::from(*c) + rate * (x / *count as f64 - f64::from(*c))) as f32;
        }
        points.metric.prepare(centroid);
    }
}
