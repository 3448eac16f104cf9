//! Weighted least-squares search for the scale of a group, and for its scale and offset.
//!
//! Both try a row of ranges. For the codes that a range gives, the best scale (and offset) has a
//! closed form; the codes are then taken again and the range with the least weighted squared
//! error stays. This is the search of ggml's quantizers (`make_qx_quants`, `make_qkx2_quants`)
//! for any levels and any rounding of the stored numbers.

/// Weights of a group and how much an error in each matters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// The weights.
    pub(crate) values: &'a [f32],
    /// One importance per weight; empty: all the same.
    pub(crate) importance: &'a [f32],
}

/// Ranges tried, as parts of the full one: from clipping a third of it to a little more than all.
const RANGES: [f32; 16] = [
    1.0, 0.975, 0.95, 0.925, 0.9, 0.875, 0.85, 0.825, 0.8, 0.775, 0.75, 0.7, 0.65, 1.025, 1.05, 1.1,
];

impl Target<'_> {
    pub(crate) fn importance(&self, index: usize) -> f32 {
        self.importance.get(index).copied().unwrap_or(1.0)
    }

    /// The weighted squared error of restoring every weight by `restore`.
    pub(crate) fn error(&self, restore: impl Fn(f32) -> f32) -> f32 {
        let mut sum = 0.0;
        for (index, &value) in self.values.iter().enumerate() {
            let error = value - restore(value);
            sum += self.importance(index) * error * error;
        }
        sum
    }

    /// The weight of largest magnitude, with its sign.
    pub(crate) fn largest(&self) -> f32 {
        self.values.iter().fold(0.0, |max, &v| if v.abs() > f32::abs(max) { v } else { max })
    }
}

/// The scale `s` for which `s · snap(v / s)` is nearest to the weights `v`.
///
/// `snap` gives the level nearest to its argument; `ends` are the levels that the largest weight
/// may fall on (with its sign: a negative end gives negative scales where the weight is
/// positive); `store` rounds a scale as it is stored. 0 where all weights are 0.
pub(crate) fn scale(
    target: Target<'_>,
    ends: &[f32],
    snap: impl Fn(f32) -> f32,
    store: impl Fn(f32) -> f32,
) -> f32 {
    let largest = target.largest();
    if largest == 0.0 {
        return 0.0;
    }
    let mut best = (f32::INFINITY, store(largest / ends[0]));
    for end in ends {
        for range in RANGES {
            let first = largest * range / end;
            for scale in [first, refit(target, first, &snap)].map(&store) {
                if scale == 0.0 || !scale.is_finite() {
                    continue;
                }
                let inverse = 1.0 / scale;
                let error = target.error(|v| scale * snap(v * inverse));
                if error < best.0 {
                    best = (error, scale);
                }
            }
        }
    }
    best.1
}

/// The best scale for the codes that `scale` gives.
fn refit(target: Target<'_>, scale: f32, snap: impl Fn(f32) -> f32) -> f32 {
    let (mut product, mut square, inverse) = (0.0, 0.0, 1.0 / scale);
    for (index, &value) in target.values.iter().enumerate() {
        let (level, importance) = (snap(value * inverse), target.importance(index));
        product += importance * level * value;
        square += importance * level * level;
    }
    if square > 0.0 { product / square } else { 0.0 }
}

/// Scale `s` and offset `o` for which `o + s · round((v − o) / s)` with codes 0 to `top` is
/// nearest to the weights; `store` rounds both as they are stored.
pub(crate) fn scale_and_offset(
    target: Target<'_>,
    top: f32,
    store: impl Fn(f32, f32) -> (f32, f32),
) -> (f32, f32) {
    let low = target.values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = target.values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let whole = store((high - low) / top, low);
    if whole.0 == 0.0 {
        return whole;
    }
    let mut best = (f32::INFINITY, whole);
    for range in RANGES {
        // Clipped alike at both ends.
        let cut = (high - low) * (1.0 - range) / 2.0;
        let first = ((high - low) * range / top, low + cut);
        for pair in [first, refit_pair(target, top, first)] {
            let (scale, offset) = store(pair.0, pair.1);
            if scale == 0.0 || !scale.is_finite() || !offset.is_finite() {
                continue;
            }
            let inverse = 1.0 / scale;
            let code = |v: f32| ((v - offset) * inverse).round_ties_even().clamp(0.0, top);
            let error = target.error(|v| offset + scale * code(v));
            if error < best.0 {
                best = (error, (scale, offset));
            }
        }
    }
    best.1
}

/// The best scale and offset for the codes that a pair gives: two linear equations.
fn refit_pair(target: Target<'_>, top: f32, (scale, offset): (f32, f32)) -> (f32, f32) {
    let inverse = 1.0 / scale;
    let (mut w, mut c, mut cc, mut x, mut cx) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (index, &value) in target.values.iter().enumerate() {
        let code = ((value - offset) * inverse).round_ties_even().clamp(0.0, top);
        let importance = target.importance(index);
        w += importance;
        c += importance * code;
        cc += importance * code * code;
        x += importance * value;
        cx += importance * code * value;
    }
    let determinant = w * cc - c * c;
    if determinant <= 0.0 {
        return (scale, offset);
    }
    let scale = (w * cx - c * x) / determinant;
    (scale, (x - scale * c) / w)
}

/// The level of an ascending table nearest to `value`; the lower of two equally near.
///
/// Sums the steps between levels that lie below `value`, without a branch.
#[inline]
pub(crate) fn snap_to(levels: &[f32], value: f32) -> f32 {
    let mut level = levels[0];
    for pair in levels.windows(2) {
        let middle = 0.5 * pair[0] + 0.5 * pair[1];
        level = if value > middle { pair[1] } else { level };
    }
    level
}

#[cfg(test)]
mod tests {
    use kvant_testkit::Random;

    use super::*;

    fn q4(v: f32) -> f32 {
        v.round_ties_even().clamp(-8.0, 7.0)
    }

    #[test]
    fn a_searched_scale_is_no_worse_than_the_full_range() {
        let mut random = Random::new(1);
        for _ in 0..200 {
            let (values, importance) = (random.normals(32), random.normals(32));
            let importance: Vec<f32> = importance.iter().map(|v| v * v).collect();
            let target = Target { values: &values, importance: &importance };
            let found = scale(target, &[-8.0, 7.0], q4, |s| s);
            let plain = target.largest() / -8.0;
            let error = |scale: f32| target.error(|v| scale * q4(v / scale));
            assert!(error(found) <= error(plain) * 1.0001, "{found} {plain}");
        }
    }

    #[test]
    fn weights_on_a_grid_are_found_exactly() {
        let values: Vec<f32> = (0..32).map(|i| 0.25 * ((i % 16) as f32 - 8.0)).collect();
        let target = Target { values: &values, importance: &[] };
        assert_eq!(scale(target, &[-8.0, 7.0], q4, |s| s), 0.25);
        let (scale, offset) = scale_and_offset(target, 15.0, |s, o| (s, o));
        assert_eq!((scale, offset), (0.25, -2.0));
        let zero = Target { values: &[0.0; 4], importance: &[] };
        assert_eq!(super::scale(zero, &[-8.0], q4, |s| s), 0.0);
        let constant = Target { values: &[0.5; 4], importance: &[] };
        assert_eq!(scale_and_offset(constant, 15.0, |s, o| (s, o)), (0.0, 0.5));
    }

    #[test]
    fn an_outlier_that_does_not_matter_is_clipped() {
        let mut values = Random::new(3).normals(32);
        values[0] = 40.0;
        let mut importance = vec![1.0; 32];
        importance[0] = 0.0;
        let target = Target { values: &values, importance: &importance };
        let (all, _) = scale_and_offset(target, 15.0, |s, o| (s, o));
        assert!(all < 40.0 / 15.0, "{all}");
    }

    #[test]
    fn snapping_takes_the_nearest_level() {
        let levels = [-1.0, -0.2, 0.0, 0.6];
        for step in -30..30 {
            let value = step as f32 * 0.07;
            let nearest = levels.iter().map(|l| (l - value).abs()).fold(f32::INFINITY, f32::min);
            assert!(((snap_to(&levels, value) - value).abs() - nearest).abs() < 1e-6);
        }
    }
}
