//! How well a language model predicts a text, alone and against a reference.
//!
//! The protocol is that of llama.cpp's `llama-perplexity`, so figures can be put side by side: the
//! text is tokenized once and cut into windows of `context` tokens (what is left over is not
//! used), the first token of each window gives way to the token that begins texts if the model
//! wants one, and only the second half of a window is scored, where every position has seen at
//! least half of the context.

mod score;
#[cfg(test)]
mod tests;

use std::fmt;

use kvant_model::{Cancel, Decoder, ForwardError, ForwardOptions};
use serde::Serialize;

use crate::metric::{median, percentile};
use score::{Position, score};

/// How [`perplexity`] runs.
#[derive(Clone, Copy)]
pub struct PerplexityOptions<'a> {
    /// Tokens of a window, at least 4.
    pub context: usize,
    /// Windows at most; all of the text if `None`.
    pub chunks: Option<usize>,
    /// Threads, at least 1. The figures do not depend on it.
    pub threads: usize,
    /// Called with the windows done and their number.
    pub progress: Option<&'a dyn Fn(usize, usize)>,
    /// Ends the call early, with [`ForwardError::Cancelled`].
    pub cancel: Option<&'a Cancel>,
}

impl Default for PerplexityOptions<'_> {
    fn default() -> Self {
        Self { context: 512, chunks: None, threads: 1, progress: None, cancel: None }
    }
}

impl fmt::Debug for PerplexityOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerplexityOptions")
            .field("context", &self.context)
            .field("chunks", &self.chunks)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// A mean and its standard error over the scored tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub value: f64,
    /// One standard error; 0 for a single token.
    pub error: f64,
}

/// How far a model is from its reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Divergence {
    /// Perplexity of the reference.
    pub reference: Estimate,
    /// Perplexity of the model over that of the reference.
    pub ratio: Estimate,
    /// Mean Kullback-Leibler divergence of the model's next-token distribution from the
    /// reference's, nats a token.
    pub mean: Estimate,
    /// Its median.
    pub median: f64,
    /// Its 99th percentile.
    pub p99: f64,
    /// Its largest value.
    pub max: f64,
    /// Share of tokens, 0 to 1, where both think the same token most likely.
    pub same_top: Estimate,
}

/// What [`perplexity`] found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Perplexity {
    /// `e` to the mean loss.
    pub perplexity: Estimate,
    /// Tokens of a window.
    pub context: usize,
    /// Windows.
    pub chunks: usize,
    /// Tokens that were scored.
    pub scored: usize,
    /// The comparison, if there was a reference.
    pub against: Option<Divergence>,
}

/// Why a text gives no perplexity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PerplexityError {
    /// The model cannot be run on it.
    #[error("the model: {0}")]
    Model(ForwardError),
    /// The reference cannot be run on it.
    #[error("the reference: {0}")]
    Reference(ForwardError),
    /// A window that the models do not take.
    #[error("a context of {got} tokens; expected 4 to {limit}, which the models were trained on")]
    Context {
        /// Tokens asked for.
        got: usize,
        /// The smaller of the models' contexts.
        limit: usize,
    },
    /// Less than one window.
    #[error("the text has {tokens} tokens, one window is {context}; give a longer text")]
    Short {
        /// Tokens of the text.
        tokens: usize,
        /// Tokens of a window.
        context: usize,
    },
    /// The tokens of both models do not mean the same.
    #[error("model and reference have different vocabularies; compare models of one family")]
    Foreign,
}

/// Scores `model` on `text`, and if there is one, its distance from `reference`.
///
/// One window is held at a time: `context / 2` rows of logits of each model. Costs a forward
/// pass of each model over the text.
///
/// # Errors
/// [`PerplexityError`] if the text is too short, the context too long, the models have different
/// vocabularies, one cannot be run, or the call is cancelled.
pub fn perplexity(
    model: &Decoder,
    reference: Option<&Decoder>,
    text: &str,
    options: &PerplexityOptions<'_>,
) -> Result<Perplexity, PerplexityError> {
    let context = options.context;
    let limit = reference.map_or(model.context(), |other| other.context().min(model.context()));
    if !(4..=limit).contains(&context) {
        return Err(PerplexityError::Context { got: context, limit });
    }
    let tokens = model.tokenize(text).map_err(PerplexityError::Model)?;
    if let Some(reference) = reference {
        let others = reference.tokenize(text).map_err(PerplexityError::Reference)?;
        if others != tokens || reference.vocabulary() != model.vocabulary() {
            return Err(PerplexityError::Foreign);
        }
    }
    let chunks = (tokens.len() / context).min(options.chunks.unwrap_or(usize::MAX));
    if chunks == 0 {
        return Err(PerplexityError::Short { tokens: tokens.len(), context });
    }
    let mut positions = Vec::new();
    for (index, window) in tokens.chunks_exact(context).take(chunks).enumerate() {
        let mut window = window.to_vec();
        let prefix = model.prefix();
        window[..prefix.len().min(context)].copy_from_slice(prefix);
        let logits = |decoder: &Decoder| run(decoder, &window, options);
        let ours = logits(model).map_err(PerplexityError::Model)?;
        let theirs = reference.map(logits).transpose().map_err(PerplexityError::Reference)?;
        let next = &window[context / 2 + 1..];
        positions.extend(score(&ours, theirs.as_deref(), next, options.threads));
        if let Some(progress) = options.progress {
            progress(index + 1, chunks);
        }
    }
    Ok(summarise(&positions, context, chunks, reference.is_some()))
}

/// The logits of the second half of `window`, but for the last token, which nothing follows.
fn run(
    decoder: &Decoder,
    window: &[u32],
    options: &PerplexityOptions<'_>,
) -> Result<Vec<f32>, ForwardError> {
    let PerplexityOptions { threads, cancel, .. } = *options;
    let options = ForwardOptions { threads, from: window.len() / 2, tap: None, cancel };
    decoder.logits(&window[..window.len() - 1], options)
}

fn summarise(positions: &[Position], context: usize, chunks: usize, compared: bool) -> Perplexity {
    let losses: Vec<f64> = positions.iter().map(|position| position.loss).collect();
    Perplexity {
        perplexity: exponential(estimate(&losses)),
        context,
        chunks,
        scored: positions.len(),
        against: compared.then(|| divergence(positions)),
    }
}

fn divergence(positions: &[Position]) -> Divergence {
    let each = |figure: fn(&Position) -> f64| positions.iter().map(figure).collect::<Vec<f64>>();
    let divergences = each(|position| position.divergence);
    let ratios = each(|position| position.loss - position.reference_loss);
    Divergence {
        reference: exponential(estimate(&each(|position| position.reference_loss))),
        ratio: exponential(estimate(&ratios)),
        mean: estimate(&divergences),
        median: median(&divergences).unwrap_or(f64::NAN),
        p99: percentile(&divergences, 99.0).unwrap_or(f64::NAN),
        max: divergences.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        same_top: estimate(&each(|position| f64::from(u8::from(position.same_top)))),
    }
}

/// The mean of `values` and its standard error.
fn estimate(values: &[f64]) -> Estimate {
    let count = values.len() as f64;
    let value = values.iter().sum::<f64>() / count;
    let spread = values.iter().map(|other| (other - value).powi(2)).sum::<f64>() / count;
    let error = if values.len() > 1 { (spread / (count - 1.0)).sqrt() } else { 0.0 };
    Estimate { value, error }
}

/// `e` to the estimate, its error to first order.
fn exponential(estimate: Estimate) -> Estimate {
    let value = estimate.value.exp();
    Estimate { value, error: value * estimate.error }
}
