//! `kvant bench generate MODEL`.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use kvant_eval::cost::Meter;
use kvant_model::{Checkpoint, Compute, Decoder, Ending, Engine, EngineOptions, Event, Request};
use serde::Serialize;

use super::probe::{Arithmetic, Probe};
use super::{median, memory};
use crate::args::BenchGenerate;
use crate::print;
use crate::progress::{Audience, Progress, Unit};
use crate::pull;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Speed {
    prompt_tokens: usize,
    new_tokens: usize,
    parallel: usize,
    threads: usize,
    cache: String,
    rounds: usize,
    prefill_tok_s: f64,
    decode_tok_s: f64,
    first_token_ms: f64,
    weight_bytes: usize,
    cache_bytes: usize,
    peak_rss_mb: Option<f64>,
    ceiling: Ceiling,
}

/// How near the machine's limits that is.
#[derive(Debug, Serialize)]
struct Ceiling {
    /// Billions of bytes a second that writing reads: the weights, but for the word table, and the
    /// keys and values held on average, once for every step of all requests together.
    decode_gb_s: f64,
    /// Billions of bytes a second that as many threads read of memory in this run.
    read_gb_s: f64,
    /// One divided by the other.
    decode_share: f64,
    /// What was measured as the limit of reading prompts.
    probe: &'static str,
    /// Billions of operations a second that the probe did, on as many threads.
    probe_gop_s: f64,
    /// Billions of operations a second of reading prompts: two for each multiply-add.
    prefill_gop_s: f64,
    /// One divided by the other.
    prefill_share: f64,
}

/// The machine's limits, measured before and after, so that a neighbour is unlikely to disturb
/// both.
struct Limits {
    probe: Probe,
    threads: usize,
    read_gb_s: f64,
    gop_s: f64,
}

impl Limits {
    fn measure(&mut self) {
        self.read_gb_s = self.read_gb_s.max(memory::read_gb_s(self.threads));
        self.gop_s = self.gop_s.max(self.probe.gop_s(self.threads));
    }
}

/// One round.
#[derive(Clone, Copy, Debug)]
struct Round {
    first: f64,
    prefill: f64,
    decode: f64,
    cache_bytes: usize,
}

pub(super) fn run(args: &BenchGenerate) -> anyhow::Result<()> {
    args.threads.hold()?;
    let audience = Audience::of(args.json);
    let checkpoint = pull::open(&args.model, audience)?;
    let arithmetic = arithmetic(&checkpoint, args.compute);
    let (probe, threads) = (Probe::new(arithmetic), args.threads.get());
    let mut limits = Limits { probe, threads, read_gb_s: 0.0, gop_s: 0.0 };
    limits.measure();
    let meter = Meter::start();
    let checkpoint = checkpoint.with_compute(args.compute);
    let decoder = Arc::new(Decoder::open(&checkpoint)?);
    let (wanted, context) = (args.prompt_tokens + args.new_tokens, decoder.context());
    ensure!(
        wanted <= context,
        "{wanted} tokens, the model holds {context}: lower --prompt-tokens or --new-tokens"
    );
    let bar = Progress::new("measuring", Some(args.rounds as u64 + 1), Unit::Items, audience);
    // The first round warms up caches and pages.
    round(&decoder, args)?;
    bar.advance(1);
    let mut rounds = Vec::new();
    for _ in 0..args.rounds {
        rounds.push(round(&decoder, args)?);
        bar.advance(1);
    }
    drop(bar);
    let peak = meter.and_then(Meter::finish).map(|memory| memory.peak_bytes as f64 / 1e6);
    // The rounds bound this thread to one core.
    args.threads.hold()?;
    limits.measure();
    let figure = |of: fn(&Round) -> f64| median(&mut rounds.iter().map(of).collect::<Vec<_>>());
    let cache_bytes = rounds.iter().map(|round| round.cache_bytes).max().unwrap_or(0);
    let (prefill, decode) = (figure(|round| round.prefill), figure(|round| round.decode));
    // The caches grow evenly from the prompts to all tokens.
    let held = (args.prompt_tokens as f64 + args.new_tokens as f64 / 2.0) / wanted as f64;
    let read = decoder.read_bytes() as f64 + cache_bytes as f64 * held;
    let decode_gb_s = read * decode / args.parallel as f64 / 1e9;
    let operations = 2.0 * decoder.macs(args.prompt_tokens) as f64 / args.prompt_tokens as f64;
    let prefill_gop_s = operations * prefill / 1e9;
    let speed = Speed {
        prompt_tokens: args.prompt_tokens,
        new_tokens: args.new_tokens,
        parallel: args.parallel,
        threads,
        cache: args.cache.to_string(),
        rounds: args.rounds,
        prefill_tok_s: prefill,
        decode_tok_s: decode,
        first_token_ms: figure(|round| round.first * 1e3),
        weight_bytes: decoder.weight_bytes(),
        cache_bytes,
        peak_rss_mb: peak,
        ceiling: Ceiling {
            decode_gb_s,
            read_gb_s: limits.read_gb_s,
            decode_share: decode_gb_s / limits.read_gb_s,
            probe: arithmetic.probe(),
            probe_gop_s: limits.gop_s,
            prefill_gop_s,
            prefill_share: prefill_gop_s / limits.gop_s,
        },
    };
    if args.json { print::json(&speed) } else { print::all(&told(&speed)?) }
}

/// int8 where codes meet activations in int8: always in GGUF files, elsewhere where the model or
/// the flag says so; all else is multiplied in f32.
fn arithmetic(checkpoint: &Checkpoint, compute: Compute) -> Arithmetic {
    let gguf = checkpoint.path().extension().is_some_and(|end| end == "gguf");
    let codes = match compute {
        Compute::Auto => gguf || checkpoint.activations().is_some(),
        Compute::Int8 => true,
        Compute::Float32 | Compute::BFloat16 => false,
    };
    let floats = ["f32", "f16", "bf16"];
    let coded = checkpoint.tensors().iter().any(|tensor| !floats.contains(&&*tensor.format));
    if codes && coded { Arithmetic::Int8 } else { Arithmetic::Float32 }
}

/// Reads the prompts of all requests, then writes to the end of all.
fn round(decoder: &Arc<Decoder>, args: &BenchGenerate) -> anyhow::Result<Round> {
    let options = EngineOptions {
        cache: args.cache,
        parallel: args.parallel,
        batch_tokens: args.prompt_tokens * args.parallel,
        ..EngineOptions::default()
    };
    let mut engine = Engine::with_pool(Arc::clone(decoder), options, args.threads.pool()?);
    for request in 0..args.parallel {
        let prompt = prompt(decoder.vocabulary(), args.prompt_tokens, request);
        // One token comes of reading; the steps after it are the ones that write.
        let request = Request::new(prompt, args.new_tokens + 1);
        engine.submit(Request { ending: Ending::Ignored, ..request })?;
    }
    let (began, mut first, mut read) = (Instant::now(), None, 0);
    while read < args.parallel {
        let events = engine.step()?;
        read += events.iter().filter(|event| matches!(event, Event::Token(_))).count();
        first.get_or_insert_with(|| began.elapsed().as_secs_f64());
    }
    let reading = began.elapsed().as_secs_f64();
    let (began, mut written) = (Instant::now(), 0);
    while !engine.is_idle() {
        let events = engine.step()?;
        written += events.iter().filter(|event| matches!(event, Event::Token(_))).count();
    }
    Ok(Round {
        first: first.unwrap_or(reading),
        prefill: (args.prompt_tokens * args.parallel) as f64 / reading,
        decode: written as f64 / began.elapsed().as_secs_f64(),
        cache_bytes: engine.cache_bytes(),
    })
}

/// Tokens from all over the vocabulary, different for each request, so that none has a beginning
/// in common with another.
fn prompt(vocabulary: usize, count: usize, request: usize) -> Vec<u32> {
    let token = |at: usize| ((at * 7919 + request * 104_729 + 17) % vocabulary) as u32;
    (0..count).map(token).collect()
}

fn told(speed: &Speed) -> anyhow::Result<String> {
    let Speed { prompt_tokens, new_tokens, parallel, threads, rounds, ceiling, .. } = speed;
    let mut lines = String::new();
    writeln!(lines, "reading       {:.1} tokens/s", speed.prefill_tok_s)?;
    let (share, probe) = (ceiling.prefill_share * 100.0, ceiling.probe);
    writeln!(lines, "arithmetic    {:.0} GOP/s, {share:.0} % of {probe}", ceiling.prefill_gop_s)?;
    writeln!(lines, "writing       {:.1} tokens/s", speed.decode_tok_s)?;
    let (share, probe) = (ceiling.decode_share * 100.0, memory::PROBE);
    writeln!(lines, "bandwidth     {:.1} GB/s, {share:.0} % of {probe}", ceiling.decode_gb_s)?;
    writeln!(lines, "first token   {:.1} ms", speed.first_token_ms)?;
    if let Some(peak) = speed.peak_rss_mb {
        writeln!(lines, "memory        {peak:.0} MB at most")?;
    }
    let read = format!("{parallel} x {prompt_tokens} tokens read, {new_tokens} written");
    writeln!(lines, "{read}, {threads} threads, median of {rounds} rounds")?;
    Ok(lines)
}
