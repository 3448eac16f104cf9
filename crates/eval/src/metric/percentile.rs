//! Order statistics and means.

use super::{MetricError, check_finite};

/// The nearest-rank percentile: the `⌈p/100 · n⌉`-th smallest value (the smallest for `p = 0`).
///
/// It is always one of the values, never an interpolation.
///
/// ```
/// use kvant_eval::metric::percentile;
/// let values = [15.0, 20.0, 35.0, 40.0, 50.0];
/// assert_eq!(percentile(&values, 30.0), Ok(20.0));
/// assert_eq!(percentile(&values, 99.0), Ok(50.0));
/// assert_eq!(percentile(&values, 0.0), Ok(15.0));
/// ```
///
/// # Errors
/// An empty list, a value that is not finite, or a percentage outside 0..=100.
pub fn percentile(values: &[f64], percent: f64) -> Result<f64, MetricError> {
    if !(0.0..=100.0).contains(&percent) {
        return Err(MetricError::Percent { got: percent });
    }
    if values.is_empty() {
        return Err(MetricError::TooFew { needed: 1, got: 0 });
    }
    check_finite(values)?;
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    // Multiply first: 0.07 · 100 is above 7 in binary, 7 · 100 / 100 is not.
    let rank = (percent * sorted.len() as f64 / 100.0).ceil() as usize;
    Ok(sorted[rank.clamp(1, sorted.len()) - 1])
}

/// The median: the middle value, or the mean of the two middle ones.
///
/// ```
/// use kvant_eval::metric::median;
/// assert_eq!(median(&[3.0, 1.0, 2.0]), Ok(2.0));
/// assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Ok(2.5));
/// ```
///
/// # Errors
/// An empty list, or a value that is not finite.
pub fn median(values: &[f64]) -> Result<f64, MetricError> {
    if values.is_empty() {
        return Err(MetricError::TooFew { needed: 1, got: 0 });
    }
    check_finite(values)?;
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    Ok(f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]))
}

/// The arithmetic mean, `Σx / n`.
///
/// ```
/// assert_eq!(kvant_eval::metric::mean(&[1.0, 2.0, 6.0]), Ok(3.0));
/// ```
///
/// # Errors
/// An empty list, or a value that is not finite.
pub fn mean(values: &[f64]) -> Result<f64, MetricError> {
    if values.is_empty() {
        return Err(MetricError::TooFew { needed: 1, got: 0 });
    }
    check_finite(values)?;
    Ok(values.iter().sum::<f64>() / values.len() as f64)
}
