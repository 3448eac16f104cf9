//! Kvant behind the command line that the runners of CPU inference engines expect.
//!
//! ```text
//! kvant-bench emb THREADS              speed of embedding, one JSON line a set and batch size
//! kvant-bench embed THREADS            vectors of queries and corpus to results/emb_TAG.f32
//! kvant-bench llm THREADS FILE.gguf    speed of reading 128 and 512 tokens, of writing 128
//! ```
//!
//! It runs in the folder that the runners prepared: texts in `data`, the model in `models`. From
//! the environment: `TAG`, the name of the engine in the lines; `KVANT_MODEL`, another directory
//! of the same model; `KVANT_COMPUTE` (`auto`, `f32`, `bf16`, `int8`); `SECS` and `REPS`, how long
//! and how often a cell of `emb` is measured; `KVANT_CACHE` (`f32`, `f16`, `int8`).

mod clock;
mod embed;
mod text;

use std::env;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, bail};

const USAGE: &str = "usage: kvant-bench emb|embed THREADS or kvant-bench llm THREADS FILE.gguf";

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let threads = |word: &str| word.parse().with_context(|| format!("{word}: no count; {USAGE}"));
    match words[..] {
        ["emb", count] => embed::speed(threads(count)?),
        ["embed", count] => embed::vectors(threads(count)?),
        ["llm", count, file] => text::speed(threads(count)?, Path::new(file)),
        _ => bail!(USAGE),
    }
}

/// The name of this engine in the lines.
fn tag(otherwise: &str) -> String {
    env::var("TAG").unwrap_or_else(|_| otherwise.into())
}

/// What the environment says `name` is.
fn setting<T>(name: &str, otherwise: T) -> anyhow::Result<T>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    match env::var(name) {
        Ok(word) => word.parse().with_context(|| format!("{name}={word}")),
        Err(_) => Ok(otherwise),
    }
}
