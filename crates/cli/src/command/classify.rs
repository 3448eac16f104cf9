//! `kvant classify MODEL [TEXT…]`.

use anyhow::{Context, ensure};
use kvant_db::source::Record;
use kvant_model::{Squash, Texts};
use serde::Serialize;
use serde_json::Value;

use super::score;
use super::text::Origin;
use crate::args::Classify;
use crate::print::{self, Lean, Table};

/// Characters of a text shown on the terminal.
const TEXT_CHARS: usize = 100;

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    /// What the labels are called, in the order of every list of scores.
    labels: &'a [String],
    /// What the scores are: `sigmoid` or `softmax` of the logits, or the logits, `identity`.
    scores: String,
    /// In the order of the texts.
    results: Vec<Scored<'a>>,
}

/// A text and what it is.
#[derive(Serialize)]
struct Scored<'a> {
    index: usize,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pair: Option<&'a str>,
    /// The label with the highest score.
    label: &'a str,
    score: f32,
    /// Of every label.
    scores: Vec<f32>,
}

pub(super) fn run(args: &Classify) -> anyhow::Result<()> {
    let scoring = &args.scoring;
    let (file, field) = (args.texts_from.as_deref(), args.text_field.as_str());
    let origin = Origin { texts: &args.texts, file, flag: "--texts", field };
    let records = origin.records()?;
    let classifier = score::open(&args.model, scoring)?;
    let mut texts = Vec::new();
    for record in records {
        texts.push(read(record?, texts.len(), args.pair_field.as_deref())?);
    }
    ensure!(!texts.is_empty(), origin.nothing());
    let items = texts.iter().map(|(text, pair)| match pair {
        None => Texts::One(text),
        Some(pair) => Texts::Pair(text, pair),
    });
    let items: Vec<Texts<'_>> = items.collect();
    let mut scores = score::logits(&classifier, &items, scoring)?;
    let squash = if scoring.raw_scores { Squash::Identity } else { classifier.squash() };
    let labels = classifier.labels();
    let rows = scores.chunks_exact_mut(labels.len()).zip(&texts).enumerate();
    let results = rows.map(|(index, (row, (text, pair)))| {
        // The first of equal ones; chosen before rounding can make others equal.
        let best = (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0);
        squash.apply(row);
        let (label, score, scores) = (labels[best].as_str(), row[best], row.to_vec());
        Scored { index, text, pair: pair.as_deref(), label, score, scores }
    });
    let results: Vec<Scored<'_>> = results.collect();
    if scoring.json {
        return print::json(&Answer { labels, scores: squash.to_string(), results });
    }
    let heads = [("score", Lean::Right), ("label", Lean::Left), ("text", Lean::Left)];
    let mut table = Table::new(&heads);
    for Scored { text, label, score, .. } in &results {
        let (label, text) = (print::snippet(label, 40), print::snippet(text, TEXT_CHARS));
        table.row(vec![format!("{score:.4}"), label, text]);
    }
    print::all(&table.to_string())
}

/// The text of a record, and the second one where a field is named for it.
fn read(
    record: Record,
    index: usize,
    pair: Option<&str>,
) -> anyhow::Result<(String, Option<String>)> {
    let text = record.text.unwrap_or_default();
    let Some(field) = pair else { return Ok((text, None)) };
    let second = record.payload.get(field).and_then(Value::as_str).map(str::to_owned);
    let second = second.with_context(|| format!("record {index}: no text in field {field:?}"))?;
    Ok((text, Some(second)))
}
