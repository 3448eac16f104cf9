//! Scale and offset of a group of 16 or 32 weights by weighted least squares.
//!
//! As for a scale alone (the neighbouring `search`), a row of ranges is tried; for the codes of a
//! range the best scale and offset solve two linear equations. This is the search of ggml's
//! `make_qkx2_quants`, with ranges that give up a part of either end.

use super::search::{Alphabet, LANES, TURNS, Target, Whole};

/// Smallest and largest weight.
pub(super) fn ends(weights: &[f32]) -> (f32, f32) {
    let low = weights.iter().fold(f32::INFINITY, |low, &w| low.min(w));
    let high = weights.iter().fold(f32::NEG_INFINITY, |high, &w| high.max(w));
    (low, high)
}

/// `scale · code + offset`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) scale: f32,
    pub(super) offset: f32,
}

/// Sums over a group of codes `c` and weights `w`, by importance.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) one: f32,
    pub(super) w: f32,
    pub(super) c: f32,
    pub(super) cc: f32,
    pub(super) cw: f32,
}

impl Sums {
    /// The best line, its offset at most `ceiling`; `None` where the codes are all the same.
    fn line(self, ceiling: f32) -> Option<Line> {
        let Self { one, w, c, cc, cw } = self;
        let determinant = one * cc - c * c;
        if determinant <= one * cc * 1e-6 {
            return None;
        }
        let scale = (one * cw - c * w) / determinant;
        let offset = (w - scale * c) / one;
        let line = if offset > ceiling {
            Line { scale: (cw - ceiling * c) / cc, offset: ceiling }
        } else {
            Line { scale, offset }
        };
        (line.scale > 0.0).then_some(line)
    }

    /// The squared error of a line, up to what no line changes.
    fn error(self, line: Line) -> f32 {
        let Self { one, w, c, cc, cw } = self;
        let Line { scale, offset } = line;
        scale * (scale * cc + 2.0 * (offset * c - cw)) + offset * (offset * one - 2.0 * w)
    }
}

/// Parts of the full range tried to be given up at either end, in all pairs.
const CUTS: [f32; 5] = [0.0, 0.025, 0.06, 0.11, -0.02];

impl<const N: usize> Target<'_, N> {
    /// The sums over the codes nearest on `line`, those without codes taken from `fixed`.
    #[inline]
    pub(super) fn sums(self, codes: impl Alphabet, line: Line, fixed: Sums) -> Sums {
        let inverse = if line.scale == 0.0 { 0.0 } else { 1.0 / line.scale };
        let [mut c, mut cc, mut cw] = [[0.0; LANES]; 3];
        let lanes = self.weights.as_chunks::<LANES>().0.iter();
        for (weights, importance) in lanes.zip(self.importance.as_chunks::<LANES>().0) {
            for lane in 0..LANES {
                let code = codes.snap((weights[lane] - line.offset) * inverse);
                let weighted = importance[lane] * code;
                c[lane] += weighted;
                cc[lane] += weighted * code;
                cw[lane] += weighted * weights[lane];
            }
        }
        let [c, cc, cw] = [c, cc, cw].map(|lanes| lanes.iter().sum());
        Sums { c, cc, cw, ..fixed }
    }

    /// The sums that do not depend on codes.
    pub(super) fn fixed(self) -> Sums {
        let one = self.importance.iter().sum();
        let w = self.weights.iter().zip(self.importance).map(|(w, h)| w * h).sum();
        Sums { one, w, ..Sums::default() }
    }

    /// Scale and offset with the least weighted squared error, for codes from 0 to `top`; the
    /// offset is at most `ceiling`. A scale of 0 where all weights are the offset.
    pub(super) fn line(self, top: f32, ceiling: f32) -> Line {
        let (low, high) = ends(self.weights);
        let low = low.min(ceiling);
        let range = high - low;
        if range < f32::MIN_POSITIVE * 1e6 || range.is_infinite() {
            return Line { scale: range / top, offset: low };
        }
        // From 0 to 1, so that squares neither vanish nor cancel.
        let unit = 1.0 / range;
        let weights = self.weights.map(|w| (w - low) * unit);
        let line = Target { weights: &weights, ..self }.line_of_unit(top, (ceiling - low) / range);
        Line { scale: line.scale * range, offset: low + line.offset * range }
    }

    /// [`Target::line`] for weights from 0 to 1.
    fn line_of_unit(self, top: f32, ceiling: f32) -> Line {
        let (codes, fixed) = (Whole { low: 0.0, high: top }, self.fixed());
        let (mut least, mut best) = (f32::INFINITY, Line { scale: 1.0 / top, offset: 0.0 });
        for below in CUTS {
            for above in CUTS {
                let scale = (1.0 - below - above) / top;
                let sums = self.sums(codes, Line { scale, offset: below.min(ceiling) }, fixed);
                if let Some(line) = sums.line(ceiling) {
                    let error = sums.error(line);
                    if error < least {
                        (least, best) = (error, line);
                    }
                }
            }
        }
        for _ in 0..TURNS {
            if let Some(line) = self.sums(codes, best, fixed).line(ceiling) {
                best = line;
            }
        }
        best
    }
}
