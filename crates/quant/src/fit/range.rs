//! The range of weights that an observer keeps.

use super::Observer;
use super::search::Target;

/// Where a range lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Around {
    /// As far below zero as above it.
    Zero,
    /// Anywhere.
    Anything,
}

/// What an observer says of a group of weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Choice {
    /// Fit the scale to these two ends; what lies outside is clipped.
    Ends([f32; 2]),
    /// Search the scale with the least squared error.
    Search,
}

/// Weights left outside by [`Observer::Percentile`]: one of this many.
const OUTERMOST: usize = 1000;
/// Fewest weights whose histogram says something; [`Observer::Entropy`] of fewer is
/// [`Observer::Mse`].
const HISTOGRAM_MIN: usize = 4096;
/// Bins of that histogram, and how many of them lie between two thresholds that are tried.
const BINS: usize = 2048;
const STRIDE: usize = 16;

/// What `observer` keeps of a group that is encoded in `levels` levels.
pub(crate) fn choose(
    target: Target<'_>,
    observer: Observer,
    around: Around,
    levels: usize,
) -> Choice {
    let values = target.values;
    match observer {
        Observer::MinMax => Choice::Ends(ends(values)),
        Observer::Percentile => Choice::Ends(percentile(values, around)),
        Observer::Mse => Choice::Search,
        Observer::Entropy if values.len() < HISTOGRAM_MIN => Choice::Search,
        Observer::Entropy => {
            let [low, high] = ends(values);
            let most = threshold(values, low.abs().max(high.abs()), levels);
            let inside = [low.max(-most), high.min(most)];
            Choice::Ends(if inside[0] < inside[1] { inside } else { [low, high] })
        }
    }
}

fn ends(values: &[f32]) -> [f32; 2] {
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    [low, high]
}

/// The ends without the outermost weights: of largest magnitude, or half of them at either end.
fn percentile(values: &[f32], around: Around) -> [f32; 2] {
    let sort = |mut values: Vec<f32>| {
        values.sort_unstable_by(f32::total_cmp);
        values
    };
    match around {
        Around::Zero => {
            let outside = values.len() / OUTERMOST;
            let sorted = sort(values.iter().map(|v| v.abs()).collect());
            let most = sorted[sorted.len() - 1 - outside];
            [-most, most]
        }
        Around::Anything => {
            let outside = values.len() / (2 * OUTERMOST);
            let sorted = sort(values.to_vec());
            [sorted[outside], sorted[sorted.len() - 1 - outside]]
        }
    }
}

/// The magnitude at which clipping changes the distribution of magnitudes least.
///
/// As `TensorRT` and ONNX Runtime calibrate: of a histogram of magnitudes everything past a
/// threshold is counted in the last bin kept; the bins are merged into as many as there are
/// codes of one sign, and spread again evenly over those that were not empty. The threshold with
/// the least Kullback–Leibler divergence between the two stays (Migacz, "8-bit Inference with
/// `TensorRT`", 2017).
fn threshold(values: &[f32], most: f32, levels: usize) -> f32 {
    if most == 0.0 {
        return most;
    }
    let mut histogram = [0u32; BINS];
    for value in values {
        let bin = (f64::from(value.abs()) / f64::from(most) * BINS as f64) as usize;
        histogram[bin.min(BINS - 1)] += 1;
    }
    let codes = (levels / 2).max(1);
    let mut best = (f64::INFINITY, BINS);
    for kept in (codes.next_multiple_of(STRIDE)..=BINS).step_by(STRIDE) {
        let divergence = divergence(&histogram, kept, codes);
        if divergence < best.0 {
            best = (divergence, kept);
        }
    }
    (f64::from(most) * best.1 as f64 / BINS as f64) as f32
}

/// How far the first `kept` bins are from what `codes` codes leave of them.
fn divergence(histogram: &[u32; BINS], kept: usize, codes: usize) -> f64 {
    let outside: u32 = histogram[kept..].iter().sum();
    let inside: u32 = histogram[..kept].iter().sum();
    if inside == 0 {
        return f64::INFINITY;
    }
    let total = f64::from(inside + outside);
    let mut sum = 0.0;
    for code in 0..codes {
        let bins = code * kept / codes..(code + 1) * kept / codes;
        let merged: u32 = histogram[bins.clone()].iter().sum();
        let filled = histogram[bins.clone()].iter().filter(|&&count| count > 0).count();
        for bin in bins {
            let clipped = if bin + 1 == kept { outside } else { 0 };
            let before = f64::from(histogram[bin] + clipped) / total;
            if before == 0.0 {
                continue;
            }
            let spread = f64::from(merged) / filled.max(1) as f64 / f64::from(inside);
            // A bin that only holds what was clipped: nothing is restored there.
            let after = if histogram[bin] > 0 { spread } else { 1e-4 / total };
            sum += before * (before / after).ln();
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use kvant_testkit::Random;

    use super::*;

    fn target(values: &[f32]) -> Target<'_> {
        Target { values, importance: &[] }
    }

    #[test]
    fn the_outermost_thousandth_is_left_outside() {
        let mut values: Vec<f32> = (0..4000).map(|i| i as f32 * 0.001 - 1.0).collect();
        let choice =
            |values: &[f32], around| choose(target(values), Observer::Percentile, around, 256);
        let Choice::Ends(ends) = choice(&values, Around::Anything) else { unreachable!("ends") };
        assert_eq!(ends, [values[2], values[3997]]);
        values[0] = 1e6;
        let Choice::Ends([low, high]) = choice(&values, Around::Zero) else { unreachable!("ends") };
        assert_eq!((low, high), (-high, values[3996]));
        let few = [1.0, -7.0, 2.0];
        assert_eq!(choice(&few, Around::Anything), Choice::Ends([-7.0, 2.0]));
    }

    #[test]
    fn entropy_clips_outliers_and_little_else() {
        let mut values = Random::new(5).normals(20_000);
        values[7] = 60.0;
        let choice = choose(target(&values), Observer::Entropy, Around::Zero, 256);
        let Choice::Ends([low, high]) = choice else { unreachable!("a histogram of 20000") };
        assert!(high > 2.0 && high < 20.0 && low > -20.0, "{low} {high}");
        let flat: Vec<f32> = (0..8192).map(|i| i as f32 / 4096.0 - 1.0).collect();
        let choice = choose(target(&flat), Observer::Entropy, Around::Zero, 256);
        let Choice::Ends([low, high]) = choice else { unreachable!("a histogram of 8192") };
        assert!(low < -0.95 && high > 0.95, "{low} {high}");
        let zeros = vec![0.0; 5000];
        assert_eq!(
            choose(target(&zeros), Observer::Entropy, Around::Zero, 256),
            Choice::Ends([0.0, 0.0])
        );
        let few = choose(target(&values[..4095]), Observer::Entropy, Around::Zero, 256);
        assert_eq!(few, Choice::Search);
    }
}
