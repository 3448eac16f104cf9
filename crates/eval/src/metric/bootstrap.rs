//! How much of a difference is chance.

use super::MetricError;
use crate::report::Interval;

/// The difference of two figures over the same `n` units, with a 95 % interval.
///
/// Paired percentile bootstrap (Efron & Tibshirani, 1993, §13.3; Berg-Kirkpatrick et al., 2012,
/// for paired systems): `n` units are drawn with replacement `resamples` times, both figures are
/// computed on the same draw, and the interval is from the 2.5th to the 97.5th percentile of their
/// differences. A draw on which a figure is undefined is left out. `difference(&[0, 1, …])` is
/// called once with all units in order, for the value itself. The result is a function of the
/// arguments alone.
///
/// # Errors
/// What `difference` returns for all units; no units or no resamples with a figure.
pub fn paired_bootstrap(
    n: usize,
    resamples: usize,
    seed: u64,
    difference: &dyn Fn(&[usize]) -> Result<f64, MetricError>,
) -> Result<Interval, MetricError> {
    let all: Vec<usize> = (0..n).collect();
    let value = difference(&all)?;
    let mut state = seed;
    let mut drawn = vec![0; n];
    let mut differences = Vec::with_capacity(resamples);
    for _ in 0..resamples {
        for unit in &mut drawn {
            *unit = ((u128::from(bits(&mut state)) * n as u128) >> 64) as usize;
        }
        differences.extend(difference(&drawn));
    }
    let at = |percent| super::percentile(&differences, percent);
    Ok(Interval { value, low: at(2.5)?, high: at(97.5)? })
}

/// `SplitMix64` (Steele et al., 2014).
fn bits(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
