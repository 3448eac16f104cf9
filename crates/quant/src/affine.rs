//! The three number formulas that everything else applies to rows and groups.
//!
//! Both follow Jacob et al., "Quantization and Training of Neural Networks for Efficient
//! Integer-Arithmetic-Only Inference" (2018), §2.1, in its min–max, its symmetric and its
//! zero-point form.
//! Rounding is to nearest, ties to even.

/// Min–max ("linear") quantization of one range to `bits` bits.
///
/// `code = round((x − min) / (max − min) · (2^bits − 1))`, so `min` has code 0 and `max` has code
/// `2^bits − 1`; values outside are clamped. `value = min + code · step`. The error inside the
/// range is at most `step / 2` (and one rounding of f32).
///
/// ```
/// use kvant_quant::affine::Linear;
///
/// let range = Linear { min: -1.0, max: 2.0, bits: 4 };
/// assert_eq!(range.step(), 0.2);
/// assert_eq!((range.code(-1.0), range.code(0.0), range.code(2.0)), (0, 5, 15));
/// assert_eq!(range.code(0.09), 5); // (0.09 + 1) / 3 · 15 = 5.45
/// assert!((range.value(5) - 0.0).abs() < 1e-6);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// Smallest value of the range, finite.
    pub min: f32,
    /// Largest value of the range, finite, at least `min`.
    pub max: f32,
    /// Bits per code, 1 to 16.
    pub bits: u8,
}

impl Linear {
    /// Distance between two neighbouring codes; 0 for a range of one point.
    pub fn step(&self) -> f32 {
        ((f64::from(self.max) - f64::from(self.min)) / f64::from(self.code_max())) as f32
    }

    /// The code of `x`, `0..=2^bits − 1`.
    pub fn code(&self, x: f32) -> u32 {
        let span = f64::from(self.max) - f64::from(self.min);
        if span <= 0.0 {
            return 0;
        }
        let place = (f64::from(x) - f64::from(self.min)) / span;
        let levels = f64::from(self.code_max());
        (place * levels).round_ties_even().clamp(0.0, levels) as u32
    }

    /// The value that `code` stands for.
    pub fn value(&self, code: u32) -> f32 {
        let span = f64::from(self.max) - f64::from(self.min);
        (f64::from(self.min) + span * f64::from(code) / f64::from(self.code_max())) as f32
    }

    /// The largest code, `2^bits − 1`.
    ///
    /// # Panics
    /// If `bits` is not 1 to 16.
    pub fn code_max(&self) -> u32 {
        assert!((1..=16).contains(&self.bits), "{} bits", self.bits);
        (1 << self.bits) - 1
    }
}

/// Symmetric quantization around zero to `bits` bits, sign included.
///
/// `alpha = (2^(bits−1) − 1) / max|x|`, `code = round(alpha · x)`, `value = code / alpha`. The
/// code `−2^(bits−1)` is never used, so negation is exact. The error is at most `1 / (2·alpha)`.
///
/// ```
/// use kvant_quant::affine::Symmetric;
///
/// let scale = Symmetric { max_abs: 2.54, bits: 8 };
/// assert!((scale.alpha() - 50.0).abs() < 1e-4); // 127 / 2.54
/// assert_eq!((scale.code(2.54), scale.code(-2.54), scale.code(0.0)), (127, -127, 0));
/// assert_eq!(scale.code(0.029), 1); // 50 · 0.029 = 1.45
/// assert!((scale.value(-50) + 1.0).abs() < 1e-6);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Symmetric {
    /// Largest magnitude of the range, finite, at least 0.
    pub max_abs: f32,
    /// Bits per code, 2 to 16.
    pub bits: u8,
}

impl Symmetric {
    /// Codes per unit, `(2^(bits−1) − 1) / max|x|`; 0 when `max_abs` is 0.
    pub fn alpha(&self) -> f64 {
        if self.max_abs > 0.0 { f64::from(self.code_max()) / f64::from(self.max_abs) } else { 0.0 }
    }

    /// The code of `x`, `−(2^(bits−1) − 1) ..= 2^(bits−1) − 1`.
    pub fn code(&self, x: f32) -> i32 {
        let limit = f64::from(self.code_max());
        (self.alpha() * f64::from(x)).round_ties_even().clamp(-limit, limit) as i32
    }

    /// The value that `code` stands for.
    pub fn value(&self, code: i32) -> f32 {
        (f64::from(code) * f64::from(self.max_abs) / f64::from(self.code_max())) as f32
    }

    /// The largest code, `2^(bits−1) − 1`.
    ///
    /// # Panics
    /// If `bits` is not 2 to 16.
    pub fn code_max(&self) -> i32 {
        assert!((2..=16).contains(&self.bits), "{} bits", self.bits);
        (1 << (self.bits - 1)) - 1
    }
}

/// Asymmetric quantization with an integer zero point to `bits` bits.
///
/// `alpha = (2^bits − 1) / (max − min)`, `zero_point = round(min · alpha)`, `code = round(alpha
/// · x)
/// − zero_point` in `0..=2^bits − 1`; `value = (code + zero_point) / alpha`. Stored signed, a code
/// is `code − 2^(bits−1)`. The error inside the range is at most `1 / alpha`: half a step for the
/// rounding, and at the ends up to half a step for that of the zero point.
///
/// Seven numbers in 4 bits:
///
/// ```
/// use kvant_quant::affine::{Asymmetric, Symmetric};
///
/// let x = [0.1f32, 0.2, 1.2, 3.0, 2.1, -2.1, -3.5];
/// let errors = |back: &[f32]| -> f32 { x.iter().zip(back).map(|(x, y)| (x - y).abs()).sum() };
///
/// let symmetric = Symmetric { max_abs: 3.5, bits: 4 };
/// assert_eq!(symmetric.alpha(), 2.0);
/// let codes = x.map(|x| symmetric.code(x));
/// assert_eq!(codes, [0, 0, 2, 6, 4, -4, -7]);
/// let back = codes.map(|code| symmetric.value(code));
/// assert_eq!(back, [0.0, 0.0, 1.0, 3.0, 2.0, -2.0, -3.5]);
/// assert!((errors(&back) - 0.7).abs() < 1e-6);
///
/// let asymmetric = Asymmetric { min: -3.5, max: 3.0, bits: 4 };
/// assert_eq!((asymmetric.alpha(), asymmetric.zero_point()), (15.0 / 6.5, -8));
/// let codes = x.map(|x| asymmetric.code(x));
/// assert_eq!(codes, [8, 8, 11, 15, 13, 3, 0]);
/// let back = codes.map(|code| asymmetric.value(code));
/// assert!((errors(&back) - 0.6).abs() < 1e-6);
/// ```
///
/// Sixteen f32 numbers, 512 bits, in 8 bits each, 128:
///
/// ```
/// use kvant_quant::affine::Asymmetric;
///
/// let x = [
///     [0.9125f32, -1.9589, -0.249, -0.6999],
///     [1.5274, -1.3953, 0.1922, 0.0445],
///     [1.4998, 1.3379, 0.2339, 0.8801],
///     [-1.6090, 2.3914, -0.1345, -0.9948],
/// ];
/// let range = Asymmetric { min: -1.9589, max: 2.3914, bits: 8 };
/// let codes: [[i8; 4]; 4] = x.map(|row| row.map(|x| range.signed(x) as i8));
/// assert_eq!(codes, [
///     [40, -128, -28, -54],
///     [77, -95, -2, -10],
///     [75, 65, 1, 39],
///     [-107, 127, -21, -71],
/// ]);
/// assert_eq!((8 * size_of_val(&x), 8 * size_of_val(&codes)), (512, 128));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asymmetric {
    /// Smallest value of the range, finite.
    pub min: f32,
    /// Largest value of the range, finite, at least `min`.
    pub max: f32,
    /// Bits per code, 1 to 16.
    pub bits: u8,
}

impl Asymmetric {
    /// Codes per unit, `(2^bits − 1) / (max − min)`; 0 for a range of one point.
    pub fn alpha(&self) -> f64 {
        let span = f64::from(self.max) - f64::from(self.min);
        if span > 0.0 { f64::from(self.code_max()) / span } else { 0.0 }
    }

    /// What is subtracted from `round(alpha · x)`: `round(min · alpha)`. A range far from zero has
    /// a large one; stored zero points have only as many bits as a code, so
    /// [`ScaledMatrix`](crate::ScaledMatrix) widens the range to hold zero.
    pub fn zero_point(&self) -> i64 {
        (f64::from(self.min) * self.alpha()).round_ties_even() as i64
    }

    /// The code of `x`, `0..=2^bits − 1`.
    pub fn code(&self, x: f32) -> u32 {
        let place = (self.alpha() * f64::from(x)).round_ties_even() as i64;
        place.saturating_sub(self.zero_point()).clamp(0, i64::from(self.code_max())) as u32
    }

    /// The code of `x` as it is stored in a signed integer, `−2^(bits−1) ..= 2^(bits−1) − 1`.
    pub fn signed(&self, x: f32) -> i32 {
        self.code(x) as i32 - (1 << (self.bits - 1))
    }

    /// The value that `code` stands for; `min` for a range of one point.
    pub fn value(&self, code: u32) -> f32 {
        let alpha = self.alpha();
        if alpha == 0.0 {
            return self.min;
        }
        ((i64::from(code) + self.zero_point()) as f64 / alpha) as f32
    }

    /// The largest code, `2^bits − 1`.
    ///
    /// # Panics
    /// If `bits` is not 1 to 16.
    pub fn code_max(&self) -> u32 {
        assert!((1..=16).contains(&self.bits), "{} bits", self.bits);
        (1 << self.bits) - 1
    }
}

/// `1.5 · 2^23`: adding it leaves a whole number in the low bits of the mantissa.
const WHOLE: f32 = 12_582_912.0;

/// `x` to the nearest whole number, ties to even, for `|x| ≤ 2^21`; no branch, no call.
pub(crate) fn nearest(x: f32) -> i32 {
    (x + WHOLE).to_bits() as i32 - WHOLE.to_bits() as i32
}

/// `span / levels` in f32, never so small that `span` would round past `levels`.
///
/// Plain division only falls short among the subnormal numbers; there the next one is taken.
pub(crate) fn covering_step(span: f64, levels: f64) -> f32 {
    let step = (span / levels) as f32;
    if f64::from(step) * (levels + 0.5) < span { step.next_up() } else { step }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rounds_ties_to_even() {
        for tie in [-2.5f32, -1.5, -0.5, 0.5, 1.5, 2.5, 126.5, 254.5] {
            assert_eq!(nearest(tie), tie.round_ties_even() as i32, "{tie}");
        }
        for i in -40_000..40_000 {
            let x = i as f32 * 0.037;
            assert_eq!(nearest(x), x.round_ties_even() as i32, "{x}");
        }
    }

    #[test]
    fn a_range_of_one_point_has_code_zero_and_its_own_value() {
        let point = Linear { min: 3.7, max: 3.7, bits: 3 };
        assert_eq!((point.code(3.7), point.step(), point.value(0)), (0, 0.0, 3.7));
        let zero = Symmetric { max_abs: 0.0, bits: 8 };
        assert_eq!((zero.code(0.0), zero.value(0)), (0, 0.0));
    }

    #[test]
    fn zero_points_keep_every_value_within_a_step() {
        let mut random = kvant_testkit::Random::new(3);
        for bits in 1..=16 {
            for _ in 0..50 {
                let (a, b) = (random.normal(), random.normal() * 3.0);
                let range = Asymmetric { min: a.min(b), max: a.max(b), bits };
                for part in 0..=20u8 {
                    let x = range.min + (range.max - range.min) * f32::from(part) / 20.0;
                    let error = (f64::from(x) - f64::from(range.value(range.code(x)))).abs();
                    let bound = 1.0 / range.alpha() + 1e-6;
                    assert!(error <= bound, "{bits} bits, {x} of {range:?}: {error}");
                }
            }
        }
        let point = Asymmetric { min: 3.7, max: 3.7, bits: 3 };
        assert_eq!((point.code(3.7), point.value(0), point.zero_point()), (0, 3.7, 0));
        let wide = Asymmetric { min: f32::MIN, max: f32::MAX, bits: 8 };
        assert_eq!((wide.code(f32::MIN), wide.code(f32::MAX)), (0, 255));
        let narrow = Asymmetric { min: 0.0, max: f32::from_bits(1), bits: 16 };
        assert_eq!(narrow.code(f32::MAX), 65535);
    }

    #[test]
    fn values_outside_the_range_are_clamped() {
        let range = Linear { min: 0.0, max: 1.0, bits: 2 };
        assert_eq!((range.code(-5.0), range.code(9.0)), (0, 3));
        let scale = Symmetric { max_abs: 1.0, bits: 4 };
        assert_eq!((scale.code(-5.0), scale.code(9.0)), (-7, 7));
    }

    #[test]
    fn the_widest_range_does_not_overflow() {
        let range = Linear { min: f32::MIN, max: f32::MAX, bits: 16 };
        assert_eq!((range.code(f32::MIN), range.code(f32::MAX)), (0, 65535));
        assert!(range.step().is_finite() && range.value(65535) == f32::MAX);
    }

    #[test]
    fn a_covering_step_holds_the_smallest_numbers() {
        for k in 1..600u32 {
            let span = f64::from(f32::from_bits(k));
            let step = f64::from(covering_step(span, 127.0));
            assert!(span / step <= 127.5, "{k}");
        }
        assert_eq!(covering_step(0.0, 127.0), 0.0);
        assert_eq!(covering_step(127.0, 127.0), 1.0);
    }
}
