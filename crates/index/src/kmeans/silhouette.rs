//! How well clusters are apart.

use kvant_kernels::{Matrix, MatrixMut, PackedF32, kernels};

use super::Clusters;
use crate::seed::Draw;
use crate::spread::spread;
use crate::{FloatRows, Metric, Row, Rows};

/// The mean silhouette (Rousseeuw, 1987) of up to `sample` rows among one another, in −1..=1:
/// `(b − a) / max(a, b)`, with `a` the mean distance to the other rows of the own cluster and `b`
/// the least mean distance to those of another; 0 for a row alone in its cluster. Euclidean
/// distance, or `1 − cos`. O(sample²·dim).
///
/// # Panics
/// If the clusters are not of these rows (by number).
pub fn silhouette(
    rows: &FloatRows<'_>,
    clusters: &Clusters,
    sample: usize,
    (seed, threads): (u64, usize),
) -> f64 {
    assert_eq!(clusters.assigned.len(), rows.len(), "clusters of other rows");
    let chosen = Draw::new(seed).some(sample, rows.len());
    let data: Vec<f32> = chosen.iter().flat_map(|&row| rows.vector(Row(row))).copied().collect();
    let (dim, count) = (rows.dim(), chosen.len());
    // The clusters of the sample, numbered as they come.
    let mut numbers = std::collections::BTreeMap::new();
    let labels: Vec<usize> = chosen
        .iter()
        .map(|&row| {
            let next = numbers.len();
            *numbers.entry(clusters.assigned[row as usize]).or_insert(next)
        })
        .collect();
    if numbers.len() < 2 {
        return 0.0;
    }
    let mut sizes = vec![0usize; numbers.len()];
    for &label in &labels {
        sizes[label] += 1;
    }
    let squares: Vec<f64> = data
        .chunks_exact(dim)
        .map(|row| row.iter().map(|&x| f64::from(x) * f64::from(x)).sum())
        .collect();
    let packed = PackedF32::new(Matrix::new(&data, count, dim));
    let distance = |a: usize, b: usize, product: f32| match rows.metric() {
        Metric::Cosine => 1.0 - f64::from(product),
        Metric::Euclid | Metric::Dot | Metric::Manhattan => {
            (squares[a] + squares[b] - 2.0 * f64::from(product)).max(0.0).sqrt()
        }
    };
    let states = &mut vec![vec![0.0; count]; threads.max(1)];
    let each = spread(states, count, |products, a| {
        let x = Matrix::new(&data[a * dim..][..dim], 1, dim);
        kernels().gemm_f32(x, &packed, None, MatrixMut::new(products, 1, count));
        let mut sums = vec![0.0; sizes.len()];
        for (b, &product) in products.iter().enumerate().filter(|&(b, _)| b != a) {
            sums[labels[b]] += distance(a, b, product);
        }
        width(&sums, &sizes, labels[a])
    });
    each.iter().sum::<f64>() / count as f64
}

/// The silhouette of a row of cluster `own` with these sums of distances.
fn width(sums: &[f64], sizes: &[usize], own: usize) -> f64 {
    if sizes[own] < 2 {
        return 0.0;
    }
    let near = sums[own] / (sizes[own] - 1) as f64;
    let others = (0..sums.len()).filter(|&at| at != own).map(|at| sums[at] / sizes[at] as f64);
    let next = others.fold(f64::INFINITY, f64::min);
    let most = near.max(next);
    if most > 0.0 { (next - near) / most } else { 0.0 }
}
