//! Fitting scale and zero point of a span.

use crate::fit::range::{Around, Choice, choose};
use crate::fit::search::{Target, scale, scale_and_offset};
use crate::shape::{F16_MAX, at_least, to_half};
use crate::{CodeShape, Observer};

/// Widest range of a row or tensor: `255 · scale` must not overflow f32.
const RANGE_MAX: f32 = f32::MAX / 2.0;

/// Turns of the alternation between codes and scale.
const TURNS: usize = 4;

/// A magnitude that does not fit, and the largest that does.
type Excess = (f32, f32);

/// The scale of a span around zero.
pub(super) fn symmetric(
    target: Target<'_>,
    shape: &CodeShape,
    observer: Observer,
) -> Result<f32, Excess> {
    let whole = covering_zero(target.values, shape)?;
    let levels = usize::from(shape.top()) + 1;
    match choose(target, observer, Around::Zero, levels) {
        Choice::Ends(ends) => covering_zero(&ends, shape),
        Choice::Search => {
            let middle = levels as f32 / 2.0;
            let snap = |v: f32| v.round_ties_even().clamp(-middle, middle - 1.0);
            let found = scale(target, &[-middle, middle - 1.0], snap, |s| stored(s, shape));
            let error = |scale: f32| target.error(|v| scale * snap(v / scale));
            Ok(if is_scale(found) && error(found) < error(whole) { found } else { whole })
        }
    }
}

/// Scale and zero point of a span.
pub(super) fn asymmetric(
    target: Target<'_>,
    shape: &CodeShape,
    observer: Observer,
) -> Result<(f32, u8), Excess> {
    let whole = covering_all(target.values, shape)?;
    match choose(target, observer, Around::Anything, usize::from(shape.top()) + 1) {
        Choice::Ends(ends) => covering_all(&ends, shape),
        Choice::Search => Ok(alternate(target, shape, whole)),
    }
}

/// The scale `s` and zero point `z` with the least squared error.
///
/// For given codes the best real `s` and `b` of `w = s · (q − b)` solve two linear equations
/// ([`scale_and_offset`]); `b` is then taken to either neighbouring integer, and with it codes and
/// scale (closed form again) are renewed in turn.
fn alternate(target: Target<'_>, shape: &CodeShape, whole: (f32, u8)) -> (f32, u8) {
    let top = f32::from(shape.top());
    let error = |scale: f32, zero: f32| {
        let code = |v: f32| (v / scale + zero).round_ties_even().clamp(0.0, top);
        target.error(|v| scale * (code(v) - zero))
    };
    let mut best = whole;
    let mut least = if whole.0 > 0.0 { error(whole.0, f32::from(whole.1)) } else { return whole };
    let (first, offset) = scale_and_offset(target, top, |scale, offset| (scale, offset));
    let place = -offset / first;
    let starts = [(first, place.floor()), (first, place.ceil()), (whole.0, f32::from(whole.1))];
    for (mut scale, zero) in starts {
        let zero = zero.clamp(0.0, top);
        for _ in 0..TURNS {
            let next = stored(refit(target, scale, zero, top), shape);
            if !is_scale(next) || zero.is_nan() {
                break;
            }
            let now = error(next, zero);
            if now < least {
                (least, best) = (now, (next, zero as u8));
            }
            if next == scale {
                break;
            }
            scale = next;
        }
    }
    best
}

/// The best scale for the codes that `scale` and `zero` give.
fn refit(target: Target<'_>, scale: f32, zero: f32, top: f32) -> f32 {
    let (mut product, mut square) = (0.0, 0.0);
    for (index, &value) in target.values.iter().enumerate() {
        let level = (value / scale + zero).round_ties_even().clamp(0.0, top) - zero;
        let importance = target.importance(index);
        product += importance * level * value;
        square += importance * level * level;
    }
    if square > 0.0 { product / square } else { 0.0 }
}

/// A scale as it is stored.
fn stored(scale: f32, shape: &CodeShape) -> f32 {
    if shape.is_half() { to_half(scale) } else { scale }
}

fn is_scale(scale: f32) -> bool {
    scale != 0.0 && scale.is_finite()
}

/// A scale for which `levels` steps cover `range`, as stored, or the range's limit.
fn covering(range: f64, levels: f32, shape: &CodeShape) -> Result<f32, f32> {
    let exact = (range / f64::from(levels)) as f32;
    let short = f64::from(exact) * f64::from(levels) * (1.0 + 2f64.powi(-22)) < range;
    // Only among the subnormal numbers.
    let exact = if short { exact.next_up() } else { exact };
    if shape.is_half() {
        let scale = if exact > F16_MAX { f32::INFINITY } else { at_least(exact) };
        return if scale > F16_MAX { Err(F16_MAX * levels) } else { Ok(scale) };
    }
    if range > f64::from(RANGE_MAX) { Err(RANGE_MAX) } else { Ok(exact) }
}

/// The scale of a span around zero that covers `values`.
fn covering_zero(values: &[f32], shape: &CodeShape) -> Result<f32, (f32, f32)> {
    let max = values.iter().fold(0.0f32, |max, v| max.max(v.abs()));
    let levels = f32::from(shape.top() / 2);
    covering(f64::from(max), levels, shape).map_err(|limit| (max, limit))
}

/// Scale and zero point of a span that cover `values` and 0.
fn covering_all(values: &[f32], shape: &CodeShape) -> Result<(f32, u8), (f32, f32)> {
    let low = values.iter().fold(0.0f32, |low, v| low.min(*v));
    let high = values.iter().fold(0.0f32, |high, v| high.max(*v));
    let range = f64::from(high) - f64::from(low);
    let top = f32::from(shape.top());
    let scale = covering(range, top, shape).map_err(|limit| (range as f32, limit))?;
    let zero = if scale > 0.0 { (-low / scale).round_ties_even().min(top) } else { 0.0 };
    Ok((scale, zero as u8))
}
