//! How close the vectors and neighbours of two models are.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{MetricError, mean, percentile};

/// Cosine similarities of paired vectors, in short.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Their mean.
    pub mean: f64,
    /// Their first percentile: 99 of 100 pairs are at least this close.
    pub p1: f64,
    /// The least of them.
    pub min: f64,
}

impl Agreement {
    /// The mean, first percentile and minimum of `cosines`.
    ///
    /// ```
    /// let agreement = kvant_eval::metric::Agreement::of(&[1.0, 0.5]).unwrap();
    /// assert_eq!((agreement.mean, agreement.p1, agreement.min), (0.75, 0.5, 0.5));
    /// ```
    ///
    /// # Errors
    /// An empty list or a value that is not finite.
    pub fn of(cosines: &[f64]) -> Result<Self, MetricError> {
        Ok(Self {
            mean: mean(cosines)?,
            p1: percentile(cosines, 1.0)?,
            min: percentile(cosines, 0.0)?,
        })
    }
}

/// `a·b / (|a|·|b|)` in f64, in −1..=1; 0 if either vector is zero.
///
/// ```
/// use kvant_eval::metric::cosine;
/// assert!((cosine(&[3.0, 4.0], &[4.0, 3.0]).unwrap() - 0.96).abs() < 1e-12);
/// assert_eq!(cosine(&[0.0, 0.0], &[4.0, 3.0]), Ok(0.0));
/// ```
///
/// # Errors
/// Vectors of different length, or with a component that is not finite.
pub fn cosine(a: &[f32], b: &[f32]) -> Result<f64, MetricError> {
    if a.len() != b.len() {
        return Err(MetricError::Lengths { left: a.len(), right: b.len() });
    }
    let (mut dot, mut square_a, mut square_b) = (0.0, 0.0, 0.0);
    for (index, (&x, &y)) in a.iter().zip(b).enumerate() {
        if !(x.is_finite() && y.is_finite()) {
            return Err(MetricError::NotFinite { index });
        }
        let (x, y) = (f64::from(x), f64::from(y));
        dot += x * y;
        square_a += x * x;
        square_b += y * y;
    }
    // Squares of f32 are within 1e−90..1e77, so their product is within f64.
    let scale = (square_a * square_b).sqrt();
    Ok(if scale > 0.0 { (dot / scale).clamp(-1.0, 1.0) } else { 0.0 })
}

/// The [`cosine`] of each row of `a` with the same row of `b`, both `n × dim` row-major.
///
/// ```
/// let rows = kvant_eval::metric::paired_cosines(&[1.0, 0.0, 0.0, 2.0], &[1.0, 0.0, 3.0, 0.0], 2);
/// assert_eq!(rows.unwrap(), [1.0, 0.0]);
/// ```
///
/// # Errors
/// `dim` is 0, the lengths differ or are no multiple of `dim`, or a component is not finite.
pub fn paired_cosines(a: &[f32], b: &[f32], dim: usize) -> Result<Vec<f64>, MetricError> {
    if dim == 0 {
        return Err(MetricError::ZeroCut);
    }
    if a.len() != b.len() || !a.len().is_multiple_of(dim) {
        return Err(MetricError::Lengths { left: a.len(), right: b.len() });
    }
    a.chunks_exact(dim).zip(b.chunks_exact(dim)).map(|(x, y)| cosine(x, y)).collect()
}

/// The share of neighbours two answers have in common: `|A ∩ B| / max(|A|, |B|)`, order aside.
///
/// ```
/// assert_eq!(kvant_eval::metric::overlap(&[1, 2, 3, 4], &[4, 9, 1, 8]), Ok(0.5));
/// ```
///
/// # Errors
/// Both lists are empty.
pub fn overlap(a: &[u32], b: &[u32]) -> Result<f64, MetricError> {
    let (a, b): (BTreeSet<_>, BTreeSet<_>) = (a.iter().collect(), b.iter().collect());
    let most = a.len().max(b.len());
    if most == 0 {
        return Err(MetricError::TooFew { needed: 1, got: 0 });
    }
    Ok(a.intersection(&b).count() as f64 / most as f64)
}
