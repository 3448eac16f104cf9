//! Blocks of 256 weights: a whole-number factor for every group, one f16 scale for all of them.
//!
//! Scales (and offsets) are searched per group, then written as factors of the block's own
//! numbers. Those are rounded to f16 before any factor is chosen, the factors before any code.
//! The search tries the neighbours of every factor, then fits the block's numbers again to codes
//! and factors by least squares, and keeps what lost less.

use super::range::{Line, ends};
use super::reference::largest;
use super::search::{Alphabet, Target};
use super::{BLOCK_MAX, BlockFormat, STEPS_MAX, Step, set_number};

/// Rounds of fitting the numbers of a block to its factors and codes.
const ROUNDS: usize = 2;

/// How the scale of a group is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// From the smallest to the largest weight.
    Range,
    /// By least squares.
    Search,
}

/// Whole numbers that the numbers of a block are multiplied by, one of each per group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Factors {
    pub(super) scales: [i16; STEPS_MAX],
    pub(super) minimums: [i16; STEPS_MAX],
}

/// The two numbers of a block: `scale` times a factor multiplies the levels of a group,
/// `minimum` times another is subtracted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers {
    pub(super) scale: f32,
    pub(super) minimum: f32,
}

impl Numbers {
    /// What the levels of group `index` are multiplied by, and what is added.
    pub(super) fn step(self, factors: &Factors, index: usize) -> Step {
        Step {
            scale: self.scale * f32::from(factors.scales[index]),
            offset: -(self.minimum * f32::from(factors.minimums[index])),
        }
    }
}

/// A block to be written: groups of `N` weights.
pub(super) struct Job<'a, const N: usize, A> {
    pub(super) format: BlockFormat,
    pub(super) weights: &'a [f32; BLOCK_MAX],
    pub(super) importance: &'a [f32; BLOCK_MAX],
    pub(super) alphabet: A,
    /// Smallest and largest factor of a scale; minimums have the same largest and at least 0.
    pub(super) factors: (i16, i16),
    pub(super) effort: Effort,
}

/// A choice for a whole block.
#[derive(Clone, Copy, Debug, Default)]
struct Choice {
    numbers: Numbers,
    factors: Factors,
    error: f32,
}

impl<const N: usize, A: Alphabet> Job<'_, N, A> {
    /// Writes numbers, factors and codes.
    pub(super) fn write(&self, block: &mut [u8]) {
        let lines = self.lines();
        let mut best = self.choose(self.numbers(&lines, block), &lines);
        if self.effort == Effort::Search {
            for _ in 0..ROUNDS {
                let numbers = self.store(self.refit(&best), block);
                let next = self.choose(numbers, &lines);
                if next.error < best.error {
                    best = next;
                }
            }
        }
        let numbers = self.store(best.numbers, block);
        self.format.set_factors(&best.factors, block);
        let mut codes = [0; BLOCK_MAX];
        let groups = codes.as_chunks_mut::<N>().0.iter_mut().zip(self.targets());
        for (index, (codes, target)) in groups.enumerate() {
            let Step { scale, offset } = numbers.step(&best.factors, index);
            *codes = target.weights.map(|w| self.alphabet.code(w - offset, scale));
        }
        self.format.pack(&mut codes, block);
    }

    fn targets(&self) -> impl Iterator<Item = Target<'_, N>> {
        let importance = self.importance.as_chunks::<N>().0.iter();
        let pairs = self.weights.as_chunks::<N>().0.iter().zip(importance);
        pairs.map(|(weights, importance)| Target { weights, importance })
    }

    /// The scale and offset that every group would have for itself.
    fn lines(&self) -> [Line; STEPS_MAX] {
        let (low, high) = self.alphabet.ends();
        let mut lines = [Line { scale: 0.0, offset: 0.0 }; STEPS_MAX];
        for (line, target) in lines.iter_mut().zip(self.targets()) {
            *line = match (self.format.has_offsets(), self.effort) {
                (true, Effort::Search) => target.line(high, 0.0),
                (true, Effort::Range) => {
                    let (least, most) = ends(target.weights);
                    let offset = least.min(0.0);
                    Line { scale: (most - offset).max(0.0) / high, offset }
                }
                (false, Effort::Search) => Line { scale: target.scale(self.alphabet), offset: 0.0 },
                (false, Effort::Range) => {
                    Line { scale: largest(target.weights) / low, offset: 0.0 }
                }
            };
        }
        lines
    }

    /// The numbers that put the largest scale and offset on the furthest factor.
    fn numbers(&self, lines: &[Line; STEPS_MAX], block: &mut [u8]) -> Numbers {
        let scale = largest(&lines.map(|line| line.scale));
        let offset = largest(&lines.map(|line| line.offset));
        let (low, high) = self.factors;
        let furthest = if low < 0 { low } else { high };
        let minimum = -offset / f32::from(high);
        self.store(Numbers { scale: scale / f32::from(furthest), minimum }, block)
    }

    /// Writes the numbers and gives them as rounded. Below the normal range of f16 they are
    /// rounded away from zero, so that factors are not past their ends.
    fn store(&self, numbers: Numbers, block: &mut [u8]) -> Numbers {
        let mut stored = [0.0; 2];
        let given = [numbers.scale, numbers.minimum];
        for ((stored, value), &(_, at)) in stored.iter_mut().zip(given).zip(self.format.numbers()) {
            *stored = set_number(block, at, value);
            if value.abs() < MIN_NORMAL && stored.abs() < value.abs() {
                *stored = set_number(block, at, *stored + MIN_STEP.copysign(value));
            }
        }
        Numbers { scale: stored[0], minimum: stored[1] }
    }

    /// The best factors for these numbers.
    fn choose(&self, numbers: Numbers, lines: &[Line; STEPS_MAX]) -> Choice {
        let mut choice = Choice { numbers, ..Choice::default() };
        for (index, (target, line)) in self.targets().zip(lines).enumerate() {
            let scale = nearest(line.scale, numbers.scale, self.factors);
            let minimum = nearest(-line.offset, numbers.minimum, (0, self.factors.1));
            let mut least = f32::INFINITY;
            let reach = i16::from(self.effort == Effort::Search);
            let mut factors = choice.factors;
            for scale in span(scale, reach, self.factors) {
                factors.scales[index] = scale;
                let reach = if self.format.has_offsets() { reach } else { 0 };
                for minimum in span(minimum, reach, (0, self.factors.1)) {
                    factors.minimums[index] = minimum;
                    let error = target.error(self.alphabet, numbers.step(&factors, index));
                    if error < least {
                        least = error;
                        choice.factors.scales[index] = scale;
                        choice.factors.minimums[index] = minimum;
                    }
                }
            }
            choice.error += least;
        }
        choice
    }

    /// The numbers with the least squared error for the factors and codes of a choice.
    fn refit(&self, choice: &Choice) -> Numbers {
        let [mut ss, mut sm, mut mm, mut s, mut m] = [0.0; 5];
        for (index, target) in self.targets().enumerate() {
            let Step { scale, offset } = choice.numbers.step(&choice.factors, index);
            let sums = target.sums(self.alphabet, Line { scale, offset }, target.fixed());
            let by = f32::from(choice.factors.scales[index]);
            let down = f32::from(choice.factors.minimums[index]);
            ss += by * by * sums.cc;
            sm += by * down * sums.c;
            mm += down * down * sums.one;
            s += by * sums.cw;
            m -= down * sums.w;
        }
        if mm == 0.0 {
            let scale = if ss > 0.0 { s / ss } else { choice.numbers.scale };
            return Numbers { scale, ..choice.numbers };
        }
        let determinant = ss * mm - sm * sm;
        if determinant <= ss * mm * 1e-6 {
            return choice.numbers;
        }
        let scale = (s * mm + sm * m) / determinant;
        Numbers { scale, minimum: (m + sm * scale) / mm }
    }
}

/// The smallest normal f16 and the step between those below it.
const MIN_NORMAL: f32 = 1.0 / 16384.0;
const MIN_STEP: f32 = 1.0 / 16_777_216.0;

/// The factor nearest to `value / number`.
fn nearest(value: f32, number: f32, (low, high): (i16, i16)) -> i16 {
    if number == 0.0 {
        return 0;
    }
    (value / number).round_ties_even().clamp(f32::from(low), f32::from(high)) as i16
}

/// The factors at most `reach` away from one.
fn span(factor: i16, reach: i16, (low, high): (i16, i16)) -> impl Iterator<Item = i16> {
    (factor - reach).max(low)..=(factor + reach).min(high)
}
