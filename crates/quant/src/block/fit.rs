//! Scales fitted to blocks of weights, by how much an error in each weight matters.

use kvant_kernels::Matrix;

use super::search::{Alphabet, Table, Target, Whole};
use super::{BLOCK, BlockFormat, set_number};

/// The least importance of a weight, as part of the mean one: nothing is quite without a say.
const LEAST: f32 = 1e-6;

/// Places tried for the largest weight, as parts of either end of the levels.
const PLACES: [f32; 10] = [0.85, 0.885, 0.92, 0.95, 0.975, 1.0, 1.025, 1.06, 1.1, 1.15];

/// Importances of the columns with mean 1.
pub(super) fn importance(w: Matrix<'_, f32>, given: Option<&[f32]>) -> Vec<f32> {
    let Some(given) = given else { return vec![1.0; w.cols()] };
    let mean = given.iter().map(|&h| f64::from(h)).sum::<f64>() / given.len().max(1) as f64;
    let unit = if mean > 0.0 { 1.0 / mean } else { 0.0 };
    given.iter().map(|&h| ((f64::from(h) * unit) as f32).max(LEAST)).collect()
}

impl BlockFormat {
    /// Writes scales and codes of a block with the least squared error found, weighted.
    pub(super) fn search(self, weights: &[f32], importance: &[f32], block: &mut [u8]) {
        let groups = weights.as_chunks::<BLOCK>().0.iter();
        for (weights, importance) in groups.zip(importance.as_chunks::<BLOCK>().0) {
            let target = Target { weights, importance };
            match self {
                Self::Q4_0 => self.signed(target, Whole { low: -8.0, high: 7.0 }, block),
                Self::Q5_0 => self.signed(target, Whole { low: -16.0, high: 15.0 }, block),
                Self::Q8_0 => self.signed(target, Whole { low: -128.0, high: 127.0 }, block),
                Self::IQ4_NL => self.signed(target, Table, block),
                Self::Q4_1 => self.ranged(target, 15.0, block),
                Self::Q5_1 => self.ranged(target, 31.0, block),
            }
        }
    }

    fn signed(self, target: Target<'_, BLOCK>, alphabet: impl Alphabet, block: &mut [u8]) {
        let (low, high) = (alphabet.snap(f32::NEG_INFINITY), alphabet.snap(f32::INFINITY));
        let mut places = [0.0; 2 * PLACES.len()];
        for (pair, part) in places.as_chunks_mut::<2>().0.iter_mut().zip(PLACES) {
            *pair = [low * part, high * part];
        }
        let scale = target.scale(alphabet, &places);
        let scale = set_number(block, 0, scale);
        self.pack(&mut target.weights.map(|w| alphabet.code(w, scale)), block);
    }

    fn ranged(self, target: Target<'_, BLOCK>, top: f32, block: &mut [u8]) {
        let line = target.line(top, f32::INFINITY);
        let scale = set_number(block, 0, line.scale);
        let offset = set_number(block, 2, line.offset);
        let codes = Whole { low: 0.0, high: top };
        self.pack(&mut target.weights.map(|w| codes.code(w - offset, scale)), block);
    }
}
