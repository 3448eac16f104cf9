//! How far restored numbers are from the original ones.

/// Errors of a restored matrix, summed in f64.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ErrorStats {
    /// Mean of `|w − w'|`.
    pub mean_abs: f64,
    /// Largest `|w − w'|`.
    pub max_abs: f64,
    /// Frobenius norm of the difference over that of the original; 0 when both are 0, infinite
    /// when only the original is.
    pub relative: f64,
}

/// Compares `restored` with `original`, element by element. Empty slices have no error.
///
/// # Panics
/// If the lengths differ.
pub fn measure(original: &[f32], restored: &[f32]) -> ErrorStats {
    assert_eq!(original.len(), restored.len(), "as many restored as original numbers");
    let (mut abs, mut square, mut norm, mut max) = (0.0f64, 0.0f64, 0.0f64, 0.0f64);
    for (&w, &back) in original.iter().zip(restored) {
        let error = (f64::from(w) - f64::from(back)).abs();
        abs += error;
        square += error * error;
        norm += f64::from(w) * f64::from(w);
        max = max.max(error);
    }
    let relative = if square == 0.0 { 0.0 } else { (square / norm).sqrt() };
    ErrorStats { mean_abs: abs / original.len().max(1) as f64, max_abs: max, relative }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_cases_by_hand() {
        let stats = measure(&[3.0, -4.0, 0.0, 0.0], &[3.0, -3.0, 0.0, -2.0]);
        assert_eq!(stats, ErrorStats { mean_abs: 0.75, max_abs: 2.0, relative: 0.2f64.sqrt() });
        assert_eq!(measure(&[], &[]), ErrorStats::default());
        assert_eq!(measure(&[0.0], &[0.0]), ErrorStats::default());
        assert_eq!(measure(&[0.0], &[1.0]).relative, f64::INFINITY);
    }
}
