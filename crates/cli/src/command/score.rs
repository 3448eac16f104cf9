//! What `rerank` and `classify` share: a model with a head, and its logits.

use kvant_model::{Classifier, EmbedOptions, Texts};

use crate::args::Scoring;
use crate::progress::{Audience, Progress, Unit};
use crate::pull;

/// Opens the classifier that `model` names.
///
/// # Errors
/// If it is not to be had, or has no head.
pub(super) fn open(model: &str, scoring: &Scoring) -> anyhow::Result<Classifier> {
    let checkpoint = pull::open(model, Audience::of(scoring.json))?;
    Ok(Classifier::open(&checkpoint.with_compute(scoring.compute))?)
}

/// The logits of `items`, a row each.
///
/// # Errors
/// Naming the first item at fault.
pub(super) fn logits(
    classifier: &Classifier,
    items: &[Texts<'_>],
    scoring: &Scoring,
) -> anyhow::Result<Vec<f32>> {
    let (total, audience) = (Some(items.len() as u64), Audience::of(scoring.json));
    let bar = Progress::new("scoring", total, Unit::Items, audience);
    let told = |count: usize| bar.advance(count as u64);
    let options = EmbedOptions {
        threads: scoring.threads.get(),
        batch_tokens: scoring.batch_tokens.unwrap_or(EmbedOptions::default().batch_tokens),
        progress: Some(&told),
        ..EmbedOptions::default()
    };
    Ok(classifier.scores(items, &options)?)
}
