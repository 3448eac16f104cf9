//! Scales fitted to blocks of weights, by how much an error in each weight matters.

use kvant_kernels::Matrix;

use super::format::Ladder;
use super::group::{Effort, Job};
use super::search::{Alphabet, Table, Target, Whole};
use super::{BLOCK, BLOCK_MAX, BlockFormat, set_number};

/// The least importance of a weight, as part of the mean one: nothing is quite without a say.
const LEAST: f32 = 1e-6;

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
        if self.weights_per_block() == BLOCK_MAX {
            let pairs = weights.as_chunks().0.iter().zip(importance.as_chunks().0);
            for (weights, importance) in pairs {
                self.write_groups(weights, importance, Effort::Search, block);
            }
            return;
        }
        let groups = weights.as_chunks::<BLOCK>().0.iter();
        for (weights, importance) in groups.zip(importance.as_chunks::<BLOCK>().0) {
            let target = Target { weights, importance };
            match (self.ladder(), self.has_offsets()) {
                (Ladder::Whole { count, .. }, true) => self.ranged(target, count, block),
                (Ladder::Whole { count, zero }, false) => {
                    self.signed(target, Whole::of(count, zero), block);
                }
                (Ladder::Table(_), _) => self.signed(target, Table, block),
            }
        }
    }

    fn signed(self, target: Target<'_, BLOCK>, alphabet: impl Alphabet, block: &mut [u8]) {
        let scale = set_number(block, 0, target.scale(alphabet));
        self.pack(&mut target.weights.map(|w| alphabet.code(w, scale)), block);
    }

    fn ranged(self, target: Target<'_, BLOCK>, count: u16, block: &mut [u8]) {
        let codes = Whole::of(count, 0);
        let line = target.line(codes.high, f32::INFINITY);
        let scale = set_number(block, 0, line.scale);
        let offset = set_number(block, 2, line.offset);
        self.pack(&mut target.weights.map(|w| codes.code(w - offset, scale)), block);
    }

    /// Writes a block of 256 weights.
    pub(super) fn write_groups(
        self,
        weights: &[f32; BLOCK_MAX],
        importance: &[f32; BLOCK_MAX],
        effort: Effort,
        block: &mut [u8],
    ) {
        let (format, factors) = (self, self.factor_ends());
        match (self.ladder(), self.weights_per_scale()) {
            (Ladder::Whole { count, zero }, 16) => {
                let alphabet = Whole::of(count, zero);
                let job = Job::<16, _> { format, weights, importance, alphabet, factors, effort };
                job.write(block);
            }
            (Ladder::Whole { count, zero }, _) => {
                let alphabet = Whole::of(count, zero);
                let job = Job::<32, _> { format, weights, importance, alphabet, factors, effort };
                job.write(block);
            }
            (Ladder::Table(_), _) => {
                let alphabet = Table;
                let job = Job::<32, _> { format, weights, importance, alphabet, factors, effort };
                job.write(block);
            }
        }
    }
}
