//! Keys from values along axes.

use super::Family;

/// Most bits of one cross-polytope: 256 axes.
const POLYTOPE: usize = 9;

/// What the bits of a key stand for, the first digit highest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Digits {
    family: Family,
    bits: usize,
    /// Bits of each digit.
    widths: Vec<usize>,
}

/// What a key becomes if a row lies on the other side of something, and how far off that is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Turn {
    /// The square of the way there.
    pub(super) cost: f32,
    /// The bits that change.
    pub(super) flips: u32,
    /// The digit they are of.
    pub(super) digit: u32,
}

impl Digits {
    /// Of keys of `bits` bits, at most 32.
    pub(super) fn new(family: Family, bits: usize) -> Self {
        let widths = match family {
            Family::Planes => vec![1; bits],
            Family::Polytopes => {
                // As even as can be.
                let count = bits.div_ceil(POLYTOPE).max(1);
                (0..count).map(|at| (at + 1) * bits / count - at * bits / count).collect()
            }
        };
        Self { family, bits, widths }
    }

    pub(super) fn bits(&self) -> usize {
        self.bits
    }

    /// Axes of a digit.
    fn axes(&self, width: usize) -> usize {
        match self.family {
            Family::Planes => 1,
            Family::Polytopes => 1 << (width - 1),
        }
    }

    /// Axes of a key.
    pub(super) fn all_axes(&self) -> usize {
        self.widths.iter().map(|&width| self.axes(width)).sum()
    }

    /// The key of values along the axes of a table.
    pub(super) fn key(&self, values: &[f32]) -> u32 {
        let (mut key, mut from) = (0, 0);
        for &width in &self.widths {
            let axes = self.axes(width);
            key = key << width | self.digit(&values[from..from + axes]);
            from += axes;
        }
        key
    }

    fn digit(&self, values: &[f32]) -> u32 {
        if self.family == Family::Planes {
            return u32::from(values[0] >= 0.0);
        }
        let (mut largest, mut best) = (0.0, 0);
        for (at, value) in values.iter().enumerate() {
            if value.abs() > largest {
                largest = value.abs();
                best = (at as u32) << 1 | u32::from(*value >= 0.0);
            }
        }
        best
    }

    /// Other keys that rows near these values may have, the nearest `most` of them in order.
    pub(super) fn turns(&self, values: &[f32], most: usize, turns: &mut Vec<Turn>) {
        turns.clear();
        let (mut from, mut below) = (0, self.bits);
        for (&width, digit) in self.widths.iter().zip(0..) {
            let values = &values[from..from + self.axes(width)];
            from += values.len();
            below -= width;
            let own = self.digit(values);
            if self.family == Family::Planes {
                let cost = values[0] * values[0];
                turns.push(Turn { cost, flips: 1 << below, digit });
                continue;
            }
            let largest = values[(own >> 1) as usize].abs();
            for (at, &value) in (0u32..).zip(values) {
                for (sign, along) in [(0, -value), (1, value)] {
                    let other = at << 1 | sign;
                    // To the plane on which both vertices are as near: (largest − along)/√2.
                    let cost = (largest - along).powi(2) / 2.0;
                    if other != own {
                        turns.push(Turn { cost, flips: (other ^ own) << below, digit });
                    }
                }
            }
        }
        let order = |a: &Turn, b: &Turn| a.cost.total_cmp(&b.cost).then(a.flips.cmp(&b.flips));
        if turns.len() > most {
            turns.select_nth_unstable_by(most, order);
            turns.truncate(most);
        }
        turns.sort_unstable_by(order);
    }
}
