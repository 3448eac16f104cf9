//! The scale of a group of 16 or 32 weights by weighted least squares, without allocation.
//!
//! A row of ranges is tried. For the codes that a range gives, the best scale has a closed form,
//! `Σ h·w·l / Σ h·l²` for levels `l` and importances `h`, and lowers the squared error by
//! `(Σ h·w·l)² / Σ h·l²`; the range for which that is most stays, and codes and scale are then
//! taken in turns. This is the search of ggml's `make_qx_quants` over more ranges of both signs.

use super::reference::largest;
use super::{NONLINEAR, Step};

/// Sums are taken in this many lanes, so that they are vector operations of the compiler.
pub(super) const LANES: usize = 8;
/// Adding and subtracting it rounds to a whole number, ties to even, without a call.
const ROUND: f32 = 12_582_912.0;
/// Below this magnitude weights have no scale in f16.
const VANISHING: f32 = 1e-12;
/// Places tried for the largest weight, as parts of either end of the levels.
const PLACES: [f32; 10] = [0.85, 0.885, 0.92, 0.95, 0.975, 1.0, 1.025, 1.06, 1.1, 1.15];
/// Turns of codes and scale after the best range is known.
pub(super) const TURNS: usize = 2;

/// The levels that codes stand for before scaling.
pub(super) trait Alphabet: Copy {
    /// The lowest and the highest level.
    fn ends(self) -> (f32, f32);

    /// The level nearest to `place`.
    fn snap(self, place: f32) -> f32;

    /// The code of the level nearest to `value` at `scale`; 0 of the scale: nearest to 0.
    fn code(self, value: f32, scale: f32) -> u8;
}

/// The whole numbers from `low` to `high`; code 0 is `low`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    pub(super) low: f32,
    pub(super) high: f32,
}

impl Whole {
    /// `count` numbers, `zero` of them below 0.
    pub(super) fn of(count: u16, zero: u16) -> Self {
        Self { low: -f32::from(zero), high: f32::from(count - 1 - zero) }
    }
}

impl Alphabet for Whole {
    fn ends(self) -> (f32, f32) {
        (self.low, self.high)
    }

    #[inline]
    fn snap(self, place: f32) -> f32 {
        (place.clamp(self.low, self.high) + ROUND) - ROUND
    }

    #[inline]
    fn code(self, value: f32, scale: f32) -> u8 {
        let place = if scale == 0.0 { 0.0 } else { value / scale };
        (self.snap(place) - self.low) as u8
    }
}

/// The levels of [`NONLINEAR`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Table;

/// Twice the span of the levels, and one: the middles between levels are whole halves.
const SLOTS: usize = 481;

/// For every half between the ends of the levels: the code of the level nearest to what lies
/// there or up to a half below.
const CODES: [u8; SLOTS] = {
    let mut codes = [0; SLOTS];
    let (mut slot, mut code) = (0, 0);
    while slot < SLOTS {
        // Twice the middle between two levels, counted from twice the lowest.
        while code < 15 && slot as i16 > NONLINEAR[code] + NONLINEAR[code + 1] + 254 {
            code += 1;
        }
        codes[slot] = code as u8;
        slot += 1;
    }
    codes
};

/// The level of every slot of [`CODES`].
static SNAPPED: [f32; SLOTS] = {
    let mut levels = [0.0; SLOTS];
    let mut slot = 0;
    while slot < SLOTS {
        levels[slot] = NONLINEAR[CODES[slot] as usize] as f32;
        slot += 1;
    }
    levels
};

impl Table {
    #[inline]
    fn slot(place: f32) -> usize {
        let halves = 2.0 * (place.clamp(-127.0, 113.0) + 127.0);
        let rounded = halves + ROUND;
        // Up to the next whole number.
        (rounded.to_bits() & 0x1FF) as usize + usize::from(rounded - ROUND < halves)
    }
}

impl Alphabet for Table {
    fn ends(self) -> (f32, f32) {
        (-127.0, 113.0)
    }

    #[inline]
    fn snap(self, place: f32) -> f32 {
        SNAPPED[Self::slot(place)]
    }

    #[inline]
    fn code(self, value: f32, scale: f32) -> u8 {
        CODES[Self::slot(if scale == 0.0 { 0.0 } else { value / scale })]
    }
}

/// Weights that share a scale, and how much an error in each matters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a, const N: usize> {
    pub(super) weights: &'a [f32; N],
    pub(super) importance: &'a [f32; N],
}

impl<const N: usize> Target<'_, N> {
    /// `Σ h·w·l` and `Σ h·l²` for the levels nearest to `w · inverse`.
    #[inline]
    fn moments(self, alphabet: impl Alphabet, inverse: f32) -> [f32; 2] {
        let (mut product, mut square) = ([0.0; LANES], [0.0; LANES]);
        let lanes = self.weights.as_chunks::<LANES>().0.iter();
        for (weights, importance) in lanes.zip(self.importance.as_chunks::<LANES>().0) {
            for lane in 0..LANES {
                let level = alphabet.snap(weights[lane] * inverse);
                let weighted = importance[lane] * level;
                product[lane] += weighted * weights[lane];
                square[lane] += weighted * level;
            }
        }
        [product.iter().sum(), square.iter().sum()]
    }

    /// The weighted squared error with every weight at the level of `step` nearest to it.
    #[inline]
    pub(super) fn error(self, alphabet: impl Alphabet, step: Step) -> f32 {
        let inverse = if step.scale == 0.0 { 0.0 } else { 1.0 / step.scale };
        let mut squares = [0.0; LANES];
        let lanes = self.weights.as_chunks::<LANES>().0.iter();
        for (weights, importance) in lanes.zip(self.importance.as_chunks::<LANES>().0) {
            for lane in 0..LANES {
                let weight = weights[lane] - step.offset;
                let error = weight - step.scale * alphabet.snap(weight * inverse);
                squares[lane] += importance[lane] * error * error;
            }
        }
        squares.iter().sum()
    }

    /// The scale with the least weighted squared error.
    pub(super) fn scale(self, alphabet: impl Alphabet) -> f32 {
        let largest = largest(self.weights);
        if largest.abs() < VANISHING {
            return 0.0;
        }
        let (unit, (low, high)) = (1.0 / largest, alphabet.ends());
        let (mut most, mut scale) = (0.0, largest / low);
        for place in PLACES.iter().flat_map(|part| [low * part, high * part]) {
            let [product, square] = self.moments(alphabet, place * unit);
            let gain = product * product / square;
            if gain > most {
                (most, scale) = (gain, product / square);
            }
        }
        for _ in 0..TURNS {
            let [product, square] = self.moments(alphabet, 1.0 / scale);
            if product * product > most * square {
                (most, scale) = (product * product / square, product / square);
            }
        }
        scale
    }
}
