//! `kvant bench embed MODEL`.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use kvant_db::source::{Fields, Source};
use kvant_eval::cost::Meter;
use kvant_model::{Checkpoint, Compute, EmbedOptions};
use serde::Serialize;

use super::super::encoder;
use super::probe::{Arithmetic, Probe};
use super::{arrival, median};
use crate::args::BenchEmbed;
use crate::progress::{Audience, Progress, Unit};
use crate::{print, pull};

/// Most texts of a file.
const TEXTS_MAX: usize = 1 << 20;
/// Time that is spent before anything is measured, one call at least.
const WARM_UP: Duration = Duration::from_millis(500);

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Speed {
    texts: usize,
    batch: usize,
    threads: usize,
    rounds: usize,
    compute: String,
    tokens_per_text: f64,
    texts_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    weight_bytes: usize,
    peak_rss_mb: Option<f64>,
    ceiling: Ceiling,
}

/// How near the machine's limit that is.
#[derive(Debug, Serialize)]
struct Ceiling {
    /// What was measured as the limit.
    probe: &'static str,
    /// Billions of operations a second that the probe did, on as many threads.
    probe_gop_s: f64,
    /// Billions of operations a second of embedding: two for each multiply-add of the network.
    gop_s: f64,
    /// One divided by the other.
    share: f64,
}

pub(super) fn run(args: &BenchEmbed) -> anyhow::Result<()> {
    args.threads.hold()?;
    let audience = Audience::of(args.json);
    let texts = texts(&args.texts)?;
    let meter = Meter::start();
    let checkpoint = pull::open(&args.model, audience)?;
    let arithmetic = arithmetic(&checkpoint, args.compute);
    let encoder = encoder::open(&checkpoint.with_compute(args.compute))?;
    if let Some(rate) = args.arrivals {
        return arrival::run(args, rate, &texts, encoder);
    }
    let threads = args.threads.get();
    let options = EmbedOptions { threads, ..EmbedOptions::default() };
    let batch_tokens = args.batch_tokens.unwrap_or(options.batch_tokens);
    let options = EmbedOptions { batch_tokens, ..options };
    let began = Instant::now();
    for batch in texts.chunks(args.batch) {
        encoder.embed(batch, &options)?;
        if began.elapsed() > WARM_UP {
            break;
        }
    }
    let bar = Progress::new("measuring", Some(args.rounds as u64), Unit::Items, audience);
    let probe = Probe::new(arithmetic);
    // Before and after, so that a neighbour on the machine is unlikely to disturb both.
    let mut limit = probe.gop_s(threads);
    let (mut seconds, mut calls) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        let round = Instant::now();
        for batch in texts.chunks(args.batch) {
            let call = Instant::now();
            encoder.embed(batch, &options)?;
            calls.push(call.elapsed().as_secs_f64() * 1e3);
        }
        seconds.push(round.elapsed().as_secs_f64());
        limit = limit.max(probe.gop_s(threads));
        bar.advance(1);
    }
    drop(bar);
    let peak = meter.and_then(Meter::finish).map(|memory| memory.peak_bytes as f64 / 1e6);
    let (mut tokens, mut macs) = (0, 0);
    for text in &texts {
        let length = encoder.tokenize(text)?.len();
        (tokens, macs) = (tokens + length, macs + encoder.macs(length));
    }
    let second = median(&mut seconds);
    let gop_s = 2.0 * macs as f64 / second / 1e9;
    let speed = Speed {
        texts: texts.len(),
        batch: args.batch,
        threads,
        rounds: args.rounds,
        compute: arithmetic.to_string(),
        tokens_per_text: tokens as f64 / texts.len() as f64,
        texts_per_s: texts.len() as f64 / second,
        p50_ms: median(&mut calls),
        p99_ms: calls[(calls.len() * 99).div_ceil(100) - 1],
        weight_bytes: encoder.weight_bytes(),
        peak_rss_mb: peak,
        ceiling: Ceiling {
            probe: arithmetic.probe(),
            probe_gop_s: limit,
            gop_s,
            share: gop_s / limit,
        },
    };
    if args.json { print::json(&speed) } else { print::all(&told(&speed)?) }
}

/// int8 where int8 weights meet activations in int8; all else is multiplied in f32, or in blocks.
fn arithmetic(checkpoint: &Checkpoint, compute: Compute) -> Arithmetic {
    let codes = match compute {
        Compute::Auto => checkpoint.activations().is_some(),
        Compute::Int8 => true,
        Compute::Float32 | Compute::BFloat16 => false,
    };
    let int8 = checkpoint.tensors().iter().any(|tensor| tensor.format.starts_with("int8"));
    if codes && int8 { Arithmetic::Int8 } else { Arithmetic::Float32 }
}

fn texts(path: &Path) -> anyhow::Result<Vec<String>> {
    let mut texts = Vec::new();
    for record in Source::open(path, &Fields { text: "text".into(), ..Fields::default() })? {
        let text = record?.text;
        texts.push(text.with_context(|| format!("{}: a record has no text", path.display()))?);
        ensure!(texts.len() <= TEXTS_MAX, "{}: more than {TEXTS_MAX} texts", path.display());
    }
    ensure!(!texts.is_empty(), "{}: no texts", path.display());
    Ok(texts)
}

fn told(speed: &Speed) -> anyhow::Result<String> {
    let Speed { texts, batch, threads, rounds, ceiling, .. } = speed;
    let mut lines = String::new();
    writeln!(lines, "speed         {:.1} texts/s", speed.texts_per_s)?;
    writeln!(lines, "call          {:.2} ms, of 100 one {:.2} ms", speed.p50_ms, speed.p99_ms)?;
    let (share, probe) = (ceiling.share * 100.0, ceiling.probe);
    writeln!(lines, "arithmetic    {:.0} GOP/s, {share:.0} % of {probe}", ceiling.gop_s)?;
    if let Some(peak) = speed.peak_rss_mb {
        writeln!(lines, "memory        {peak:.0} MB at most")?;
    }
    let read = format!("{texts} texts of {:.1} tokens, {batch} a call", speed.tokens_per_text);
    writeln!(lines, "{read}, {threads} threads, median of {rounds} rounds")?;
    Ok(lines)
}
