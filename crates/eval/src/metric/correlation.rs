//! Pearson's and Spearman's correlation.

use super::{MetricError, check_finite};

/// Pearson's r: `Σ(a−ā)(b−b̄) / √(Σ(a−ā)² · Σ(b−b̄)²)`, in −1..=1.
///
/// Values are meant to be of ordinary size: beyond about 1e±75 the squares leave the range of f64
/// and the lists count as constant.
///
/// ```
/// let r = kvant_eval::metric::pearson(&[1.0, 2.0, 3.0], &[2.0, 4.0, 7.0]).unwrap();
/// assert!((r - 5.0 / (2.0f64 * 38.0 / 3.0).sqrt()).abs() < 1e-12);
/// ```
///
/// # Errors
/// Lists of different length, of fewer than two values, with a value that is not finite, or all
/// equal.
pub fn pearson(a: &[f64], b: &[f64]) -> Result<f64, MetricError> {
    check(a, b)?;
    let n = a.len() as f64;
    let mean_a = a.iter().sum::<f64>() / n;
    let mean_b = b.iter().sum::<f64>() / n;
    let (mut cross, mut square_a, mut square_b) = (0.0, 0.0, 0.0);
    for (&x, &y) in a.iter().zip(b) {
        cross += (x - mean_a) * (y - mean_b);
        square_a += (x - mean_a) * (x - mean_a);
        square_b += (y - mean_b) * (y - mean_b);
    }
    // One root of the product is exact where both are equal, as for ranks in the same order.
    let scale = (square_a * square_b).sqrt();
    let r = cross / scale;
    if r.is_finite() { Ok(r.clamp(-1.0, 1.0)) } else { Err(MetricError::Constant) }
}

/// Spearman's ρ: [`pearson`] of the [`average_ranks`], which is exact with ties too.
///
/// ```
/// use kvant_eval::metric::spearman;
/// assert_eq!(spearman(&[1.0, 2.0, 3.0], &[1.0, 10.0, 100.0]), Ok(1.0));
/// // 1 − 6·Σd²/(n(n²−1)) without ties: d = (0, 1, 1), so 1 − 12/24.
/// assert!((spearman(&[1.0, 2.0, 3.0], &[1.0, 3.0, 2.0]).unwrap() - 0.5).abs() < 1e-12);
/// ```
///
/// # Errors
/// As [`pearson`].
pub fn spearman(a: &[f64], b: &[f64]) -> Result<f64, MetricError> {
    check(a, b)?;
    pearson(&average_ranks(a), &average_ranks(b))
}

/// The rank of each value, from 1 for the smallest; equal values share the mean of their ranks.
///
/// ```
/// use kvant_eval::metric::average_ranks;
/// assert_eq!(average_ranks(&[30.0, 10.0, 20.0, 20.0]), [4.0, 1.0, 2.5, 2.5]);
/// ```
///
/// NaN sorts after every number (a NaN equals no other, so each has its own rank).
/// Cost `O(n log n)`.
pub fn average_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    // Adding zero makes −0 and 0 one value, as comparison says they are.
    order.sort_by(|&i, &j| (values[i] + 0.0).total_cmp(&(values[j] + 0.0)));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let mut end = start + 1;
        while end < order.len() && values[order[end]] == values[order[start]] {
            end += 1;
        }
        // Ranks start+1 ..= end, whose mean is (start + 1 + end) / 2.
        let shared = (start + 1 + end) as f64 / 2.0;
        for &i in &order[start..end] {
            ranks[i] = shared;
        }
        start = end;
    }
    ranks
}

fn check(a: &[f64], b: &[f64]) -> Result<(), MetricError> {
    if a.len() != b.len() {
        return Err(MetricError::Lengths { left: a.len(), right: b.len() });
    }
    if a.len() < 2 {
        return Err(MetricError::TooFew { needed: 2, got: a.len() });
    }
    check_finite(a)?;
    check_finite(b)?;
    // Asked of the values themselves: their mean may be off by a rounding error.
    let constant = |values: &[f64]| values.iter().all(|value| *value == values[0]);
    if constant(a) || constant(b) { Err(MetricError::Constant) } else { Ok(()) }
}
