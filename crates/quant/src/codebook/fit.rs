//! Fitting the levels, and the scales of groups.

use half::f16;
use kvant_kernels::Matrix;

use super::{Books, CodebookMatrix, CodebookShape, Filling};
use crate::fit::part::parts;
use crate::fit::search::{Target, scale, snap_to};
use crate::kmeans::Points;
use crate::shape::{F16_MAX, at_least};
use crate::{EncodeError, Fit, Observer, Scheme};

/// Points times levels of the exact programme: bounds its time (some 0.1 s) and memory (8 MiB).
const WORK_MAX: usize = 1 << 21;
/// Most points; beyond, and where there are more than [`WORK_MAX`] allows, a histogram of as many
/// bins stands for the weights.
const POINTS_MAX: usize = 1 << 16;
/// Turns of fitting scales to levels and levels to scales.
const TURNS: usize = 2;

impl CodebookMatrix {
    /// Encodes finite rows.
    ///
    /// Levels of up to 65536 weights (fewer above 5 bits: 2^21 over the number of levels) are
    /// exact; of more a histogram of as many bins is taken. Levels have no range that could be
    /// clipped: all observers but [`Observer::MinMax`] search scales with the least squared
    /// error, where groups have one, in turn with the levels.
    pub(crate) fn encode(
        w: Matrix<'_, f32>,
        shape: CodebookShape,
        fit: &Fit<'_>,
    ) -> Result<Self, EncodeError> {
        if !(2..=8).contains(&shape.bits) {
            return Err(EncodeError::Bits { bits: shape.bits });
        }
        let mut out = Self { shape, codes: Vec::new(), levels: Vec::new(), scales: Vec::new() };
        let scheme = shape.scheme();
        parts(w, shape.codes().cut(), fit, |row, target| {
            let max = reach(target, row, scheme)?;
            match shape.books {
                Books::Scaled(_) => out.scales.push(at_least(max)),
                Books::Tensor | Books::Row | Books::Group(_) => {
                    out.levels.extend(levels(target.values, target.importance, &shape));
                }
            }
            Ok(())
        })?;
        if !out.scales.is_empty() {
            out.levels = shared_levels(w, &out, fit);
            if fit.observer != Observer::MinMax && shape.filling == Filling::Kmeans {
                for _ in 0..TURNS {
                    out.scales = searched_scales(w, &out, fit);
                    out.levels = shared_levels(w, &out, fit);
                }
            }
        }
        let codes = out.grid().nearest(w);
        out.set_grid_codes(&codes);
        Ok(out)
    }
}

/// The largest magnitude of a part, if f16 reaches it.
fn reach(target: Target<'_>, row: usize, scheme: Scheme) -> Result<f32, EncodeError> {
    let magnitude = target.values.iter().fold(0.0f32, |max, v| max.max(v.abs()));
    if magnitude > F16_MAX {
        return Err(EncodeError::Range { scheme, row, magnitude, limit: F16_MAX });
    }
    Ok(magnitude)
}

/// The levels of one codebook.
fn levels(values: &[f32], weights: &[f32], shape: &CodebookShape) -> Vec<f32> {
    let k = shape.levels_per_book();
    let points = POINTS_MAX.min(WORK_MAX / k);
    let points = if values.len() <= points {
        Points::new(values, weights)
    } else {
        Points::binned(values, weights, points)
    };
    let levels = match shape.filling {
        Filling::Kmeans => points.exact(k),
        Filling::Quantile => points.quantiles(k),
    };
    levels.into_iter().map(|level| f16::from_f32(level).to_f32()).collect()
}

/// Levels of all weights over the scales of their groups.
fn shared_levels(w: Matrix<'_, f32>, matrix: &CodebookMatrix, fit: &Fit<'_>) -> Vec<f32> {
    let len = matrix.shape.codes().span.weights(w.cols());
    let mut scales = matrix.scales.iter();
    let mut values = Vec::with_capacity(w.rows() * w.cols());
    let mut weights = Vec::with_capacity(w.rows() * w.cols());
    for row in 0..w.rows() {
        let groups = w.row(row).chunks(len).enumerate().zip(&mut scales);
        for ((group, part), &scale) in groups {
            if scale == 0.0 {
                continue;
            }
            values.extend(part.iter().map(|v| v / scale));
            let square = scale * scale;
            let weight = |col: usize| square * fit.importance.map_or(1.0, |all| all[col]);
            match matrix.shape.filling {
                Filling::Kmeans => weights.extend((group * len..).take(part.len()).map(weight)),
                Filling::Quantile => {}
            }
        }
    }
    levels(&values, &weights, &matrix.shape)
}

/// For every group the scale with the least error at these levels.
fn searched_scales(w: Matrix<'_, f32>, matrix: &CodebookMatrix, fit: &Fit<'_>) -> Vec<f32> {
    let levels = &matrix.levels[..];
    let half = |scale: f32| f16::from_f32(scale).to_f32();
    let mut found = Vec::with_capacity(matrix.scales.len());
    let each = |_, target: Target<'_>| -> Result<(), EncodeError> {
        let before = matrix.scales[found.len()];
        let (low, high) = (levels[0], levels[levels.len() - 1]);
        let largest = target.largest();
        // The end on the side of the largest weight: scales stay positive.
        let end = if largest < 0.0 { low } else { high };
        let snap = |v: f32| if levels.len() > 16 { halving(levels, v) } else { snap_to(levels, v) };
        let best = if end * largest > 0.0 { scale(target, &[end], snap, half) } else { before };
        let error = |scale: f32| target.error(|v| scale * snap(v / scale));
        let better = best > 0.0 && best.is_finite() && error(best) < error(before);
        found.push(if better { best } else { before });
        Ok(())
    };
    // No part is refused: all were measured before.
    let searched = parts(w, matrix.shape.codes().cut(), fit, each);
    debug_assert!(searched.is_ok(), "{searched:?}");
    found
}

/// As [`snap_to`], for many levels.
fn halving(levels: &[f32], value: f32) -> f32 {
    let above = levels.partition_point(|&level| level < value).min(levels.len() - 1);
    let below = above.saturating_sub(1);
    if value - levels[below] <= levels[above] - value { levels[below] } else { levels[above] }
}
