//! Choosing the format of each tensor so that all of them fit a budget.
//!
//! Every tensor is encoded in every format on offer; the loss of a choice is
//! `a · tr(ΔW·H·ΔWᵀ)`, where `a` is measured: one tensor at a time is coded coarsely in an
//! otherwise untouched network, and what its outputs lose on a few texts is set against that
//! trace (the linearity of HIGGS, Malinovskii et al., 2024). What fits best is then an exact
//! knapsack ([`allocate`]).

mod probe;

use kvant_model::{Checkpoint, Weight};
use kvant_quant::Coded;
use serde::Serialize;

pub use probe::{Probe, ProbeError};

use crate::allocate::{Choice, allocate};
use crate::quantize::{Data, encode};
use crate::worker::each;
use crate::{
    Budget, Calibration, CompressError, Draft, Method, PassError, Plan, PlanError, Quantizer, Step,
    Task,
};

/// What a budget came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settled {
    /// The budget.
    pub budget: String,
    /// What is measured: `1 − cosine` or `KL divergence`; `relative error` without texts.
    pub measure: &'static str,
    /// What the sum over the tensors promised.
    pub predicted: f64,
    /// What the compressed network lost on the texts of the calibration; none without texts.
    pub measured: Option<f64>,
}

/// A tensor and what it would cost in each format.
struct Estimate {
    name: String,
    /// Bytes and loss under `H`, one per choice.
    choices: Vec<Choice>,
    /// The coarsest choice, for the measurement.
    coarse: Coded,
}

/// What is to be settled.
pub(crate) struct Request<'a> {
    pub(crate) draft: &'a Draft,
    pub(crate) plan: &'a Plan,
    /// What the layers get to see of the draft.
    pub(crate) seen: Option<&'a Calibration>,
    pub(crate) names: &'a [String],
    pub(crate) budget: Budget,
    pub(crate) choices: &'a [Quantizer],
    /// Bytes that all other tensors take.
    pub(crate) taken: u64,
    pub(crate) progress: &'a dyn Fn(Step),
}

/// Networks that are measured at the same time, each with one tensor coded; each takes the memory
/// of the model in f32.
const NETWORKS: usize = 4;

/// The loss of a format that cannot hold a tensor: beyond every other, and finite.
const UNFIT: f64 = 1e200;

/// The bytes that go to the head of a file: names, shapes and metadata.
const HEAD_BYTES: u64 = 32 << 10;

/// Chooses a quantizer for every tensor of the request.
///
/// # Errors
/// [`PlanError::Budget`] if even the smallest formats take more.
pub(crate) fn settle(
    request: &Request<'_>,
) -> Result<(Vec<Task>, Settled, Option<Probe>), CompressError> {
    let Request { draft, plan, seen, budget, .. } = *request;
    let mut estimates = Vec::with_capacity(request.names.len());
    let results =
        each(plan.threads, request.names, |name| estimate(draft, seen, name, request.choices));
    for result in results {
        estimates.push(result?);
    }
    let probe = if plan.texts.is_empty() {
        None
    } else {
        Some(Probe::new(&open(draft)?, &plan.texts, plan.threads)?)
    };
    let weights = sensitivities(&estimates, probe.as_ref(), request)?;
    let tensors: Vec<Vec<Choice>> = estimates
        .iter()
        .zip(&weights)
        .map(|(estimate, weight)| {
            let scaled = |choice: &Choice| Choice { loss: choice.loss * weight, ..*choice };
            estimate.choices.iter().map(scaled).collect()
        })
        .collect();
    let limit = limit(request, &tensors)?;
    let chosen = allocate(&tensors, limit).ok_or_else(|| too_small(request, &tensors))?;
    let picked = estimates.iter().zip(&chosen);
    let tasks = picked.map(|(estimate, &index)| Task {
        name: estimate.name.clone(),
        quantizer: request.choices[index],
        observer: None,
    });
    let predicted = tensors.iter().zip(&chosen).map(|(choices, &at)| choices[at].loss).sum();
    let measure = probe.as_ref().map_or("relative error", Probe::measure);
    let settled = Settled { budget: budget.to_string(), measure, predicted, measured: None };
    Ok((tasks.collect(), settled, probe))
}

/// The model as transforms left it.
pub(crate) fn open(draft: &Draft) -> Result<Checkpoint, PassError> {
    let mut checkpoint = Checkpoint::open(draft.source().path())?;
    for tensor in draft.tensors() {
        if draft.is_rewritten(&tensor.name) {
            checkpoint.replace(tensor.name.clone(), Weight::Dense(draft.dense(&tensor.name)?));
        }
    }
    for (name, part) in draft.parts() {
        checkpoint.replace(name.clone(), Weight::Dense(part.clone()));
    }
    Ok(checkpoint)
}

fn estimate(
    draft: &Draft,
    calibration: Option<&Calibration>,
    name: &str,
    quantizers: &[Quantizer],
) -> Result<Estimate, PassError> {
    let dense = draft.matrix(name)?;
    let moment = calibration.filter(|_| !draft.is_turned(name)).and_then(|seen| seen.of(name));
    let mut choices = Vec::with_capacity(quantizers.len());
    let mut coarse: Option<Coded> = None;
    for quantizer in quantizers {
        // Ranking formats needs no GPTQ: it gains about the same factor on each.
        let method = match quantizer.method {
            Some(Method::Rtn) => Method::Rtn,
            _ => Method::Search,
        };
        let data = Data { moment, observer: None };
        let coded = match encode(dense.matrix(), quantizer.scheme, method, &data) {
            Ok(coded) => coded,
            Err(kvant_quant::EncodeError::BlockCols { .. }) => {
                choices.push(Choice { bytes: u64::MAX / 4, loss: UNFIT });
                continue;
            }
            Err(source) => return Err(PassError::Encode { tensor: name.to_owned(), source }),
        };
        let restored = coded.decode();
        let loss = crate::quantize::loss(dense.matrix(), &restored, moment);
        choices.push(Choice { bytes: coded.size_bytes() as u64, loss });
        if coarse.as_ref().is_none_or(|coarse| coded.size_bytes() < coarse.size_bytes()) {
            coarse = Some(coded);
        }
    }
    let coarse = coarse.ok_or_else(|| PassError::Unfit {
        path: draft.source().path().to_owned(),
        why: format!("none of the formats holds rows of {} weights ('{name}')", dense.cols()),
    })?;
    Ok(Estimate { name: name.to_owned(), choices, coarse })
}

/// What a unit of each tensor's loss under `H` costs the network's outputs.
fn sensitivities(
    estimates: &[Estimate],
    probe: Option<&Probe>,
    request: &Request<'_>,
) -> Result<Vec<f64>, CompressError> {
    let Request { draft, plan, seen, progress, .. } = *request;
    let total = estimates.len() as u64;
    let networks = plan.threads.clamp(1, NETWORKS);
    let threads = (plan.threads / networks).max(1);
    let mut weights = Vec::with_capacity(estimates.len());
    for estimates in estimates.chunks(networks) {
        let measured = each(networks, estimates, |estimate| match probe {
            Some(probe) => sensitivity(estimate, draft, (probe, threads)),
            None => Ok(1.0 / norm(draft, seen, &estimate.name)?),
        });
        for weight in measured {
            weights.push(weight?);
            progress(Step::Measured { done: weights.len() as u64, total });
        }
    }
    Ok(weights)
}

/// What a unit of the tensor's loss costs, by coding it alone in its coarsest format.
fn sensitivity(
    estimate: &Estimate,
    draft: &Draft,
    (probe, threads): (&Probe, usize),
) -> Result<f64, CompressError> {
    let known = estimate.choices.iter().map(|choice| choice.loss).filter(|loss| *loss < UNFIT);
    let coarse = known.fold(0.0, f64::max);
    if coarse == 0.0 {
        return Ok(0.0);
    }
    let mut checkpoint = open(draft)?;
    checkpoint.replace(estimate.name.clone(), draft.weight(&estimate.name, &estimate.coarse));
    Ok(probe.loss(&checkpoint, threads)? / coarse)
}

/// `tr(W·H·Wᵀ)`, at least so much that dividing by it is safe.
fn norm(draft: &Draft, seen: Option<&Calibration>, name: &str) -> Result<f64, PassError> {
    let dense = draft.matrix(name)?;
    let zeros = vec![0.0; dense.values().len()];
    let moment = seen.filter(|_| !draft.is_turned(name)).and_then(|seen| seen.of(name));
    Ok(crate::quantize::loss(dense.matrix(), &zeros, moment).max(f64::MIN_POSITIVE * 1e9))
}

/// Bytes for the tensors of the request.
fn limit(request: &Request<'_>, tensors: &[Vec<Choice>]) -> Result<u64, CompressError> {
    let all: u64 = request.draft.tensors().iter().map(kvant_model::TensorInfo::elements).sum();
    let bytes = match request.budget {
        Budget::Bits(bits) => (bits * all as f64 / 8.0) as u64,
        Budget::Bytes(bytes) => bytes.saturating_sub(HEAD_BYTES),
        Budget::Cosine(cosine) => return smallest(request, tensors, 1.0 - cosine),
        Budget::Divergence(kld) => return smallest(request, tensors, kld),
    };
    Ok(bytes.checked_sub(request.taken).ok_or_else(|| too_small(request, tensors))?)
}

/// The fewest bytes whose predicted loss is at most `loss`, to a thousandth.
fn smallest(
    request: &Request<'_>,
    tensors: &[Vec<Choice>],
    loss: f64,
) -> Result<u64, CompressError> {
    let sum = |pick: fn(u64, u64) -> u64, start: u64| -> u64 {
        let best = |choices: &Vec<Choice>| choices.iter().map(|c| c.bytes).fold(start, pick);
        tensors.iter().map(best).fold(0, u64::saturating_add)
    };
    let lost = |limit: u64| {
        let chosen = allocate(tensors, limit)?;
        Some(tensors.iter().zip(&chosen).map(|(choices, &at)| choices[at].loss).sum::<f64>())
    };
    let (mut low, mut high) = (sum(u64::min, u64::MAX), sum(u64::max, 0));
    if lost(high).is_none_or(|lost| lost > loss) {
        let (budget, least) = (request.budget.to_string(), lost(high).unwrap_or(f64::INFINITY));
        return Err(PlanError::Quality { budget, least }.into());
    }
    while high - low > high / 1000 {
        let middle = low.midpoint(high);
        if lost(middle).is_some_and(|lost| lost <= loss) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(high)
}

fn too_small(request: &Request<'_>, tensors: &[Vec<Choice>]) -> PlanError {
    let least = |choices: &Vec<Choice>| choices.iter().map(|c| c.bytes).min().unwrap_or(0);
    let bytes = tensors.iter().map(least).sum::<u64>() + request.taken;
    let all: u64 = request.draft.tensors().iter().map(kvant_model::TensorInfo::elements).sum();
    PlanError::Budget {
        budget: request.budget.to_string(),
        bytes,
        bits: bytes as f64 * 8.0 / all.max(1) as f64,
    }
}
