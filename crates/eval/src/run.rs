//! The evaluation itself: every model on the same task, in the same run, in turns.

mod error;
mod side;

pub use error::EvalError;
pub use side::{Options, Progress, Side};

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use kvant_model::EmbedOptions;

use crate::Embed;
use crate::cost::{self, Plan};
use crate::metric::{Agreement, MetricError, mean, overlap, paired_bootstrap, paired_cosines};
use crate::report::{
    Answer, Answers, Compute, Entry, Example, Latency, Quality, Ratio, Report, SCHEMA, Size,
    Subject, Throughput, Timing,
};
use crate::task::{Corpus, Outcome, Task, Vectors, nearest, spaced, unit_rows};

/// Texts whose tokens are counted.
const COUNTED: usize = 1000;
/// Documents shown for a question.
const SHOWN: usize = 5;
/// Characters shown of a document.
const TEXT_CHARS: usize = 240;

/// Measures `sides`, the baseline first, on `task`.
///
/// Quality is scored on vectors of length 1. Time is taken on texts of the task, evenly spaced
/// over it, in turns of all models (see [`Options`]). Holds the vectors of two models at a time.
///
/// # Errors
/// [`EvalError`], naming the model.
pub fn evaluate(
    sides: &[Side<'_>],
    task: &Task,
    options: &Options<'_>,
) -> Result<Report, EvalError> {
    check(sides)?;
    let texts = task.texts();
    let mut entries: Vec<Entry> = Vec::with_capacity(sides.len());
    let mut examples = questions(task, options);
    let mut baseline: Option<Scored> = None;
    for (number, side) in sides.iter().enumerate() {
        let scored = score(side, task, &Told { options, before: number, of: sides.len() })?;
        if let Task::Retrieval(corpus) = task {
            ask(side, corpus, &scored, options.threads, &mut examples)?;
        }
        let base = baseline.as_ref();
        let quality = base.map_or_else(
            || Ok(alone(&scored.outcome)),
            |base| compare(task, &scored, base, options).map_err(|cause| lost(side, cause)),
        )?;
        entries.push(entry(side, quality, compute(side, &texts)?));
        baseline.get_or_insert(scored);
    }
    time(sides, &texts, options, &mut entries)?;
    if let Some((first, rest)) = entries.split_first_mut() {
        for entry in rest {
            entry.ratio = Some(Ratio::of(entry, first));
        }
    }
    let (data, test) = options.data.clone();
    Ok(Report {
        schema: SCHEMA,
        task: Subject {
            kind: task.kind().to_string(),
            data,
            test,
            n: task.units(),
            texts: texts.len(),
            metric: task.metric().into(),
        },
        date: cost::utc(options.now),
        machine: cost::machine(),
        timing: Timing {
            threads: options.threads,
            batch_texts: options.batch_texts.min(texts.len()),
            rounds: options.rounds,
        },
        models: entries,
        examples,
    })
}

/// What one model made of the task.
struct Scored {
    vectors: Vec<f32>,
    dim: usize,
    outcome: Outcome,
}

/// Where in the whole an embedding stands, to tell progress.
struct Told<'a> {
    options: &'a Options<'a>,
    before: usize,
    of: usize,
}

fn check(sides: &[Side<'_>]) -> Result<(), EvalError> {
    if sides.is_empty() {
        return Err(EvalError::NoModel);
    }
    let mut labels = BTreeSet::new();
    match sides.iter().find(|side| !labels.insert(&side.label)) {
        Some(side) => Err(EvalError::Label { label: side.label.clone() }),
        None => Ok(()),
    }
}

fn lost(side: &Side<'_>, cause: MetricError) -> EvalError {
    EvalError::Compare { label: side.label.clone(), cause }
}

fn score(side: &Side<'_>, task: &Task, told: &Told<'_>) -> Result<Scored, EvalError> {
    let texts = task.texts();
    let (dim, threads) = (side.model.dim(), told.options.threads);
    let (before, total) = (told.before * texts.len(), told.of * texts.len());
    let embedded = AtomicUsize::new(before);
    let finished = |count| {
        let done = embedded.fetch_add(count, Ordering::Relaxed) + count;
        if let Some(progress) = told.options.progress {
            progress(Progress::Embed { done, total });
        }
    };
    let vectors = embed(
        side,
        &texts,
        &EmbedOptions { threads, progress: Some(&finished), ..EmbedOptions::default() },
    )?;
    let outcome = task
        .score(Vectors::new(&vectors, dim, threads))
        .map_err(|cause| EvalError::Task { label: side.label.clone(), cause })?;
    Ok(Scored { vectors, dim, outcome })
}

/// Vectors of length 1, checked.
fn embed(
    side: &Side<'_>,
    texts: &[&str],
    options: &EmbedOptions<'_>,
) -> Result<Vec<f32>, EvalError> {
    let label = || side.label.clone();
    let dim = side.model.dim();
    let vectors = side.model.embed_with(texts, options);
    let mut vectors = vectors.map_err(|cause| EvalError::Embed { label: label(), cause })?;
    let expected = texts.len() * dim;
    if vectors.len() != expected || dim == 0 {
        return Err(EvalError::Shape { label: label(), expected, got: vectors.len() });
    }
    if let Some(index) = vectors.iter().position(|value| !value.is_finite()) {
        let text: String = texts[index / dim].chars().take(TEXT_CHARS).collect();
        return Err(EvalError::NotFinite { label: label(), text });
    }
    unit_rows(&mut vectors, dim);
    Ok(vectors)
}

fn alone(outcome: &Outcome) -> Quality {
    Quality {
        score: outcome.score,
        scores: outcome.scores.clone(),
        kept: None,
        difference: None,
        agreement: None,
        overlap: None,
    }
}

fn compare(
    task: &Task,
    scored: &Scored,
    base: &Scored,
    options: &Options<'_>,
) -> Result<Quality, MetricError> {
    let (mine, theirs) = (&scored.outcome, &base.outcome);
    let mut quality = alone(mine);
    quality.kept = (theirs.score > 0.0).then(|| mine.score / theirs.score);
    if options.resamples > 0 {
        let difference = |chosen: &[usize]| {
            Ok(task.figure(&mine.units, chosen)? - task.figure(&theirs.units, chosen)?)
        };
        let units = mine.units.len();
        let interval = paired_bootstrap(units, options.resamples, options.seed, &difference)?;
        quality.difference = Some(interval);
    }
    // Vectors of different length live in different spaces; only neighbours can be compared.
    if scored.dim == base.dim {
        let cosines = paired_cosines(&scored.vectors, &base.vectors, base.dim)?;
        quality.agreement = Some(Agreement::of(&cosines)?);
    }
    let pairs = mine.neighbours.iter().zip(&theirs.neighbours);
    let shares: Vec<f64> = pairs.filter_map(|(mine, theirs)| overlap(mine, theirs).ok()).collect();
    quality.overlap = mean(&shares).ok();
    Ok(quality)
}

fn entry(side: &Side<'_>, quality: Quality, compute: Option<Compute>) -> Entry {
    let loaded = side.size.loaded_bytes.or_else(|| u64::try_from(side.model.weight_bytes()).ok());
    Entry {
        label: side.label.clone(),
        path: side.path.as_ref().map(|path| path.display().to_string()),
        quality,
        latency: None,
        throughput: None,
        compute,
        size: Size { loaded_bytes: loaded, ..side.size },
        memory: side.memory,
        ratio: None,
        tensors: side.tensors.clone(),
    }
}

/// Mean tokens and arithmetic of evenly spaced texts.
fn compute(side: &Side<'_>, texts: &[&str]) -> Result<Option<Compute>, EvalError> {
    let (mut tokens, mut macs) = (Vec::new(), Vec::new());
    for i in spaced(texts.len(), COUNTED) {
        let count = side.model.tokens(texts[i]);
        let count = count.map_err(|cause| EvalError::Embed { label: side.label.clone(), cause })?;
        tokens.push(count as f64);
        macs.push(side.model.macs(count) as f64);
    }
    let pair = (mean(&tokens).ok(), mean(&macs).ok());
    Ok(pair
        .0
        .zip(pair.1)
        .map(|(tokens_per_text, macs_per_text)| Compute { tokens_per_text, macs_per_text }))
}

/// Takes the time of all models and puts it into their entries.
fn time(
    sides: &[Side<'_>],
    texts: &[&str],
    options: &Options<'_>,
    entries: &mut [Entry],
) -> Result<(), EvalError> {
    let models: Vec<&dyn Embed> = sides.iter().map(|side| side.model).collect();
    let pick = |most| spaced(texts.len(), most).map(|i| texts[i]).collect::<Vec<_>>();
    let done = std::cell::Cell::new(0);
    let total = 2 * options.rounds * sides.len();
    let turned = || {
        done.set(done.get() + 1);
        if let Some(progress) = options.progress {
            progress(Progress::Time { done: done.get(), total });
        }
    };
    let (threads, rounds) = (options.threads, options.rounds);
    let plan = Plan { threads, rounds, calls: options.calls, turned: &turned };
    let failed = |(model, cause): (usize, _)| {
        let label = sides[model].label.clone();
        EvalError::Embed { label, cause }
    };
    let single: Vec<Option<Latency>> =
        cost::latencies(&models, &pick(options.calls), &plan).map_err(failed)?;
    let batch: Vec<Option<Throughput>> =
        cost::throughputs(&models, &pick(options.batch_texts), &plan).map_err(failed)?;
    for ((entry, latency), throughput) in entries.iter_mut().zip(single).zip(batch) {
        entry.latency = latency;
        entry.throughput = throughput;
    }
    Ok(())
}

/// The questions of a retrieval task, still without answers.
fn questions(task: &Task, options: &Options<'_>) -> Vec<Example> {
    let asked: &[String] =
        if matches!(task, Task::Retrieval(_)) { &options.questions } else { &[] };
    asked.iter().map(|query| Example { query: query.clone(), answers: Vec::new() }).collect()
}

/// Puts every question to one model.
fn ask(
    side: &Side<'_>,
    corpus: &Corpus,
    scored: &Scored,
    threads: usize,
    examples: &mut [Example],
) -> Result<(), EvalError> {
    let texts: Vec<&str> = examples.iter().map(|example| example.query.as_str()).collect();
    if texts.is_empty() {
        return Ok(());
    }
    let options = EmbedOptions { threads, ..EmbedOptions::default() };
    let vectors = embed(side, &texts, &options)?;
    let queries = Vectors::new(&vectors, scored.dim, threads);
    let documents = corpus.documents();
    let rows = Vectors::new(&scored.vectors, scored.dim, threads).slice(0..documents.len());
    let lists = nearest(queries, rows, &vec![None; texts.len()], SHOWN);
    for (example, list) in examples.iter_mut().zip(lists) {
        let found = list.into_iter().map(|hit| Answer {
            id: corpus.id(hit.row).to_owned(),
            score: f64::from(hit.score),
            text: documents[hit.row as usize].chars().take(TEXT_CHARS).collect(),
        });
        example.answers.push(Answers { label: side.label.clone(), found: found.collect() });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
