//! `kvant bench generate MODEL`.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use kvant_eval::cost::Meter;
use kvant_model::{Decoder, Ending, Engine, EngineOptions, Event, Request};
use serde::Serialize;

use super::median;
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

/// How near the machine's limits that is; `null` where the limit was not measured.
#[derive(Debug, Serialize)]
struct Ceiling {
    /// Billions of bytes a second that writing reads: the weights, but for the word table, and the
    /// keys and values held on average, once for every step of all requests together.
    decode_gb_s: f64,
    /// Share of the bandwidth measured in this run.
    decode_share: Option<f64>,
    /// Share of the arithmetic measured in this run.
    prefill_share: Option<f64>,
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
    let audience = Audience::of(args.json);
    let meter = Meter::start();
    let checkpoint = pull::open(&args.model, audience)?.with_compute(args.compute);
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
    let figure = |of: fn(&Round) -> f64| median(&mut rounds.iter().map(of).collect::<Vec<_>>());
    let cache_bytes = rounds.iter().map(|round| round.cache_bytes).max().unwrap_or(0);
    let decode = figure(|round| round.decode);
    // The caches grow evenly from the prompts to all tokens.
    let held = (args.prompt_tokens as f64 + args.new_tokens as f64 / 2.0) / wanted as f64;
    let read = decoder.read_bytes() as f64 + cache_bytes as f64 * held;
    let speed = Speed {
        prompt_tokens: args.prompt_tokens,
        new_tokens: args.new_tokens,
        parallel: args.parallel,
        threads: args.threads.get(),
        cache: args.cache.to_string(),
        rounds: args.rounds,
        prefill_tok_s: figure(|round| round.prefill),
        decode_tok_s: decode,
        first_token_ms: figure(|round| round.first * 1e3),
        weight_bytes: decoder.weight_bytes(),
        cache_bytes,
        peak_rss_mb: meter.and_then(Meter::finish).map(|memory| memory.peak_bytes as f64 / 1e6),
        ceiling: Ceiling {
            decode_gb_s: read * decode / args.parallel as f64 / 1e9,
            decode_share: None,
            prefill_share: None,
        },
    };
    if args.json { print::json(&speed) } else { print::all(&told(&speed)?) }
}

/// Reads the prompts of all requests, then writes to the end of all.
fn round(decoder: &Arc<Decoder>, args: &BenchGenerate) -> anyhow::Result<Round> {
    let options = EngineOptions {
        threads: args.threads.get(),
        cache: args.cache,
        parallel: args.parallel,
        batch_tokens: args.prompt_tokens * args.parallel,
        ..EngineOptions::default()
    };
    let mut engine = Engine::new(Arc::clone(decoder), options);
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
    let Speed { prompt_tokens, new_tokens, parallel, threads, rounds, .. } = speed;
    let mut lines = String::new();
    writeln!(lines, "reading       {:.1} tokens/s", speed.prefill_tok_s)?;
    writeln!(lines, "writing       {:.1} tokens/s", speed.decode_tok_s)?;
    writeln!(lines, "first token   {:.1} ms", speed.first_token_ms)?;
    if let Some(peak) = speed.peak_rss_mb {
        writeln!(lines, "memory        {peak:.0} MB at most")?;
    }
    let read = format!("{parallel} x {prompt_tokens} tokens read, {new_tokens} written");
    writeln!(lines, "{read}, {threads} threads, median of {rounds} rounds")?;
    Ok(lines)
}
