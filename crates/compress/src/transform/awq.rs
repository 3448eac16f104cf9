//! Activation-aware scales for weights (AWQ).

use std::collections::HashMap;

use kvant_quant::Scheme;

use super::scale::{Choice, Loss, Rest, Scaled, scale_sites, slots};
use crate::site::{Share, Site};
use crate::{Calibration, Draft, Method, PassError, Task};

/// Exponents tried: 0.05, 0.10, … 0.95; none is 0.
const STEPS: u32 = 20;
/// Channels with less than this part of the largest activation count as this large.
const FLOOR: f32 = 1e-4;

/// How [`awq`] chooses scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AwqOptions<'a> {
    /// The weights that are going to be encoded, and how: those by [`Method::Awq`] choose the
    /// scales, each by its own scheme; an input that none of them reads stays as it is.
    pub tasks: &'a [Task],
    /// Threads to work on; 0 counts as 1. The scales do not depend on it.
    pub threads: usize,
    /// What becomes of inputs with nothing before them that could take a scale.
    pub rest: Rest,
}

/// Multiplies the columns of weights that meet large activations and divides the activations,
/// so that those columns lose less when they are encoded (Lin et al., 2023, §3.2).
///
/// For every input that has something before it to take the scale, `s = mean|x|^α`, normalised
/// by `√(max·min)`, and of 20 exponents the one with the least `tr(ΔW·H·ΔWᵀ)` over all weights
/// that read it, each encoded in its scheme with searched ranges; 256 rows stand for each weight.
/// What the network computes stays the same up to rounding, and `calibration` is made to say
/// what the changed network would show, so any method can round afterwards.
///
/// Costs, per input of `K` channels and weight, 20 encodings and products of 256 rows with
/// `K × K`.
///
/// # Errors
/// [`PassError`] if a tensor does not load or the network is of no known family.
pub fn awq(
    draft: &mut Draft,
    calibration: &mut Calibration,
    options: &AwqOptions<'_>,
) -> Result<Vec<Scaled>, PassError> {
    let wanted = |task: &&Task| task.quantizer.method == Some(Method::Awq);
    let named = options.tasks.iter().filter(wanted);
    let schemes: HashMap<&str, Scheme> =
        named.map(|task| (task.name.as_str(), task.quantizer.scheme)).collect();
    let encoded = |name: &str| schemes.get(name).copied();
    let taken = |site: &Site| site.absorber.is_some() || options.rest == Rest::Store;
    scale_sites(draft, calibration, options.threads, (&encoded, &taken), &choose)
}

fn choose(loss: &Loss<'_>, share: Share) -> Choice {
    let moment = loss.moment;
    let sizes: Vec<f32> = if moment.mean_abs.is_empty() {
        moment.mean_square.iter().map(|square| square.sqrt()).collect()
    } else {
        moment.mean_abs.clone()
    };
    let sizes = slots(&sizes, share, f32::max);
    let candidates = (1..STEPS).map(|step| {
        let alpha = f64::from(step) / f64::from(STEPS);
        (alpha, powers(&sizes, alpha as f32))
    });
    Choice::best(share, moment.dim, candidates, |scale| loss.weights(scale))
}

/// `size^α / √(max·min)`; all ones if no activation is above 0.
fn powers(sizes: &[f32], alpha: f32) -> Vec<f32> {
    let largest = sizes.iter().fold(0.0f32, |max, &size| max.max(size));
    if !(largest > 0.0 && largest.is_finite()) {
        return vec![1.0; sizes.len()];
    }
    let powers: Vec<f32> =
        sizes.iter().map(|size| (size / largest).max(FLOOR).powf(alpha)).collect();
    // The largest power is 1.
    let smallest = powers.iter().fold(1.0f32, |min, &power| min.min(power));
    powers.iter().map(|power| power / smallest.sqrt()).collect()
}
