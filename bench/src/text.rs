//! Language models: speed of reading a prompt and of writing.

use std::path::Path;

use anyhow::Context;
use kvant_model::{Cache, CacheFormat, Checkpoint, Compute, Decoder, Pool, Step, Workspace};
use serde::Serialize;

use crate::clock::{Clock, peak_mib, round, spread};
use crate::{setting, tag};

/// Tokens of the prompts.
const PROMPTS: [usize; 2] = [128, 512];
/// Tokens written.
const WRITTEN: usize = 128;
const REPEATS: usize = 3;

#[derive(Serialize)]
struct Line<'a> {
    engine: &'a str,
    threads: usize,
    test: String,
    tok_s: f64,
    min: f64,
    max: f64,
    rss_mb: f64,
}

/// A model, a cache for one sequence, and what else a step needs.
struct Run {
    decoder: Decoder,
    cache: Cache,
    room: Workspace,
    pool: Pool,
}

impl Run {
    /// Reads `tokens`; the likeliest token behind them.
    fn step(&mut self, tokens: &[u32]) -> anyhow::Result<usize> {
        let step = Step { cache: &mut self.cache, tokens, from: tokens.len() - 1, cancel: None };
        let logits = self.decoder.advance(&mut [step], &mut self.room, &self.pool)?;
        let best = logits.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b));
        best.map(|(token, _)| token).context("no logits")
    }

    /// Tokens a second of reading `tokens` at once from nothing.
    fn read(&mut self, tokens: &[u32]) -> anyhow::Result<f64> {
        self.cache.truncate(0);
        let clock = Clock::start();
        self.step(tokens)?;
        Ok(tokens.len() as f64 / clock.seconds())
    }

    /// Tokens a second of reading one token after the other, behind a first one.
    fn write(&mut self) -> anyhow::Result<f64> {
        self.cache.truncate(0);
        self.step(&[100])?;
        let clock = Clock::start();
        for token in 100..100 + WRITTEN as u32 {
            self.step(&[token])?;
        }
        Ok(WRITTEN as f64 / clock.seconds())
    }
}

/// Prints a line for each test, after one round to warm up.
pub(crate) fn speed(threads: usize, file: &Path) -> anyhow::Result<()> {
    let checkpoint = Checkpoint::open(file)?.with_compute(setting("KVANT_COMPUTE", Compute::Auto)?);
    let decoder = Decoder::open(&checkpoint)?;
    let cache = decoder.cache_of(setting("KVANT_CACHE", CacheFormat::F16)?, 1024);
    let pool = Pool::new(threads);
    let mut run = Run { decoder, cache, room: Workspace::default(), pool };
    for count in PROMPTS {
        let prompt: Vec<u32> = (0..count as u32).map(|at| at * 37 % 40_000 + 100).collect();
        run.read(&prompt)?;
        let rates = (0..REPEATS).map(|_| run.read(&prompt)).collect::<Result<Vec<_>, _>>()?;
        print(threads, format!("pp{count}"), &rates)?;
    }
    run.write()?;
    let rates = (0..REPEATS).map(|_| run.write()).collect::<Result<Vec<_>, _>>()?;
    print(threads, format!("tg{WRITTEN}"), &rates)
}

fn print(threads: usize, test: String, rates: &[f64]) -> anyhow::Result<()> {
    let (min, middle, max) = spread(rates);
    let engine = &tag("kvant");
    let (tok_s, rss_mb) = (round(middle, 1), round(peak_mib(), 0));
    let (min, max) = (round(min, 1), round(max, 1));
    let line = Line { engine, threads, test, tok_s, min, max, rss_mb };
    println!("{}", serde_json::to_string(&line)?);
    Ok(())
}
