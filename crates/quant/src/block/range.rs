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

/// Weighted sums over a group of codes `c` and weights `w`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) one: f32,
    pub(super) c: f32,
    pub(super) cc: f32,
    pub(super) w: f32,
    pub(super) cw: f32,
}

impl Sums {
    /// The best line, its offset at most `ceiling`; `None` where the codes are all the same.
    fn line(self, ceiling: f32) -> Option<Line> {
        let Self { one, c, cc, w, cw } = self;
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
        let Self { one, c, cc, w, cw } = self;
        let Line { scale, offset } = line;
        scale * (scale * cc + 2.0 * (offset * c - cw)) + offset * (offset * one - 2.0 * w)
    }
}

/// Ranges tried: the part of the full range given up at the lower and at the upper end.
const CUTS: [(f32, f32); 12] = [
    (0.0, 0.0),
    (-0.025, -0.025),
    (0.0, 0.05),
    (0.05, 0.0),
    (0.025, 0.025),
    (0.05, 0.05),
    (0.075, 0.075),
    (0.03, 0.1),
    (0.1, 0.03),
    (0.1, 0.1),
    (0.13, 0.13),
    (0.17, 0.17),
];

impl<const N: usize> Target<'_, N> {
    /// The sums over the codes nearest to `(w − shift) · unit` on `line`.
    #[inline]
    pub(super) fn sums(self, codes: impl Alphabet, (shift, unit): (f32, f32), line: Line) -> Sums {
        let inverse = if line.scale == 0.0 { 0.0 } else { 1.0 / line.scale };
        let [mut one, mut c, mut cc, mut w, mut cw] = [[0.0; LANES]; 5];
        let lanes = self.weights.as_chunks::<LANES>().0.iter();
        for (weights, importance) in lanes.zip(self.importance.as_chunks::<LANES>().0) {
            for lane in 0..LANES {
                let weight = (weights[lane] - shift) * unit;
                let code = codes.snap((weight - line.offset) * inverse);
                let (h, hc) = (importance[lane], importance[lane] * code);
                one[lane] += h;
                c[lane] += hc;
                cc[lane] += hc * code;
                w[lane] += h * weight;
                cw[lane] += hc * weight;
            }
        }
        let [one, c, cc, w, cw] = [one, c, cc, w, cw].map(|lanes| lanes.iter().sum());
        Sums { one, c, cc, w, cw }
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
        let frame = (low, 1.0 / range);
        let ceiling = (ceiling - low) / range;
        let codes = Whole { low: 0.0, high: top };
        let (mut least, mut best) = (f32::INFINITY, Line { scale: 1.0 / top, offset: 0.0 });
        for (below, above) in CUTS {
            let tried = Line { scale: (1.0 - below - above) / top, offset: below.min(ceiling) };
            let sums = self.sums(codes, frame, tried);
            if let Some(line) = sums.line(ceiling) {
                let error = sums.error(line);
                if error < least {
                    (least, best) = (error, line);
                }
            }
        }
        for _ in 0..TURNS {
            let sums = self.sums(codes, frame, best);
            if let Some(line) = sums.line(ceiling) {
                best = line;
            }
        }
        Line { scale: best.scale * range, offset: low + best.offset * range }
    }
}
