//! Scales that make activations easier to quantize (`SmoothQuant`).

use kvant_quant::Scheme;

use super::scale::{Choice, Loss, Rest, Scaled, scale_sites, slots};
use crate::site::{Origin, Share, Site};
use crate::{Calibration, Draft, PassError};

/// Exponents tried: 0.05, 0.10, … 1.
const STEPS: u32 = 20;
/// Channels and columns with less than this part of the largest count as this large.
const FLOOR: f32 = 1e-4;

/// How [`smooth`] chooses scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmoothOptions {
    /// Threads to work on; 0 counts as 1. The scales do not depend on it.
    pub threads: usize,
    /// What becomes of inputs with nothing before them that could take a scale.
    pub rest: Rest,
}

impl Default for SmoothOptions {
    fn default() -> Self {
        Self { threads: 1, rest: Rest::Leave }
    }
}

/// Moves the range of activations into the weights, for models that run with int8 weights per
/// channel and int8 activations per token (Xiao et al., 2023, eq. 4).
///
/// For every input that has something before it to take the scale,
/// `s = max|x|^α / max|w|^(1−α)`, and of 20 exponents the one with the least expected squared
/// error of the products: `tr(ΔW·H·ΔWᵀ)` for the weights, and for the activations the noise
/// `d²/12·‖W‖²` of rounding to a step `d = peak/127` (twice the peak by 255), where a token's peak
/// is taken as the largest `√(max|x| · rms x)` over the channels: between what is usual and what
/// was seen once.
/// What the network computes stays the same up to rounding; `calibration` follows.
///
/// With [`Rest::Store`] the states of tokens take one too, but not what comes out of a
/// nonlinearity: it is nearly one-sided, so that a code over its range loses little, and flattening
/// its few large channels would cost the weights more.
///
/// # Errors
/// [`PassError`] if a tensor does not load or the network is of no known family.
pub fn smooth(
    draft: &mut Draft,
    calibration: &mut Calibration,
    options: &SmoothOptions,
) -> Result<Vec<Scaled>, PassError> {
    let encoded = |_: &str| Some(Scheme::Int8);
    let stored = |site: &Site| options.rest == Rest::Store && site.origin == Origin::States;
    let taken = |site: &Site| site.absorber.is_some() || stored(site);
    scale_sites(draft, calibration, options.threads, (&encoded, &taken), &choose)
}

fn choose(loss: &Loss<'_>, share: Share) -> Choice {
    let moment = loss.moment;
    if moment.max_abs.is_empty() {
        return Choice::best(share, moment.dim, std::iter::empty(), |scale| loss.weights(scale));
    }
    let inputs = slots(&moment.max_abs, share, f32::max);
    let weights = slots(&loss.columns_max, share, f32::max);
    let candidates = (1..=STEPS).filter_map(|step| {
        let alpha = f64::from(step) / f64::from(STEPS);
        balance(&inputs, &weights, alpha as f32).map(|scale| (alpha, scale))
    });
    Choice::best(share, moment.dim, candidates, |scale| {
        let channels = moment.max_abs.iter().zip(&moment.mean_square).zip(scale);
        let peaks = channels.map(|((max, square), s)| max * square.sqrt() / (s * s));
        let peak = f64::from(peaks.fold(0.0f32, f32::max));
        loss.weights(scale) + peak / (127.0 * 127.0 * 12.0) * loss.norm(scale)
    })
}

/// `max|x|^α / max|w|^(1−α)`, both relative to their largest; none if either is zero throughout.
fn balance(inputs: &[f32], weights: &[f32], alpha: f32) -> Option<Vec<f32>> {
    let largest = |values: &[f32]| {
        let max = values.iter().fold(0.0f32, |max, &value| max.max(value));
        (max > 0.0 && max.is_finite()).then_some(max)
    };
    let (x_max, w_max) = (largest(inputs)?, largest(weights)?);
    let scale = inputs.iter().zip(weights).map(|(x, w)| {
        let (x, w) = ((x / x_max).max(FLOOR), (w / w_max).max(FLOOR));
        x.powf(alpha) / w.powf(1.0 - alpha)
    });
    Some(scale.collect())
}
