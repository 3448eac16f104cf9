//! `kvant rerank MODEL QUERY [TEXT…]`.

use anyhow::ensure;
use kvant_model::{Classifier, Squash, Texts};
use serde::Serialize;

use super::score;
use super::text::Origin;
use crate::args::Rerank;
use crate::print::{self, Lean, Table};

/// Characters of a text shown on the terminal.
const TEXT_CHARS: usize = 100;

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    query: &'a str,
    /// What the scores are: `sigmoid` of the logits, or the logits, `identity`.
    scores: String,
    /// Best first.
    results: Vec<Ranked<'a>>,
}

/// A document and how well it answers.
#[derive(Serialize)]
struct Ranked<'a> {
    /// Its place among the documents, from 0.
    index: usize,
    score: f32,
    text: &'a str,
}

pub(super) fn run(args: &Rerank) -> anyhow::Result<()> {
    let Rerank { query, scoring, .. } = args;
    ensure!(!query.trim().is_empty(), "the query is empty");
    let (file, field) = (args.documents.as_deref(), args.text_field.as_str());
    let origin = Origin { texts: &args.texts, file, flag: "--documents", field };
    let records = origin.records()?;
    let classifier = score::open(&args.model, scoring)?;
    let labels = classifier.labels().len();
    ensure!(
        labels == 1,
        "{}: a classifier of {labels} labels ({}); rerank takes a cross-encoder, which has one, \
         and kvant classify takes this",
        args.model,
        print::snippet(&classifier.labels().join(", "), 60),
    );
    let mut texts = Vec::new();
    for record in records {
        texts.extend(record?.text);
    }
    ensure!(!texts.is_empty(), origin.nothing());
    let pairs: Vec<Texts<'_>> = texts.iter().map(|text| Texts::Pair(query, text)).collect();
    let logits = score::logits(&classifier, &pairs, scoring)?;
    let answer = answer(args, &classifier, &texts, &logits);
    if scoring.json {
        return print::json(&answer);
    }
    let heads = [("score", Lean::Right), ("index", Lean::Right), ("text", Lean::Left)];
    let mut table = Table::new(&heads);
    for Ranked { index, score, text } in &answer.results {
        let text = print::snippet(text, TEXT_CHARS);
        table.row(vec![format!("{score:.4}"), index.to_string(), text]);
    }
    print::all(&table.to_string())
}

fn answer<'a>(
    args: &'a Rerank,
    classifier: &Classifier,
    texts: &'a [String],
    logits: &[f32],
) -> Answer<'a> {
    let squash = if args.scoring.raw_scores { Squash::Identity } else { classifier.squash() };
    // By logits: far from 0 a sigmoid knows no difference any more.
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    order.truncate(args.top.unwrap_or(usize::MAX));
    let ranked = |index: usize| {
        let mut score = [logits[index]];
        squash.apply(&mut score);
        Ranked { index, score: score[0], text: &texts[index] }
    };
    let results = order.into_iter().map(ranked).collect();
    Answer { query: &args.query, scores: squash.to_string(), results }
}
