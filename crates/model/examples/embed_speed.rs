//! Texts per second of model directories, end to end on one thread, by length of the texts.
//!
//! `cargo run --release -p kvant-model --example embed_speed -- MODEL_DIR...`
//!
//! The texts are those of `bench/embed.py`. Models take turns, so that the drift of the machine
//! meets all of them; the median of the rounds is printed.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use kvant_model::{EmbedOptions, Encoder};

const SENTENCE: &str =
    "few bits instead of many a bounded error and a fast dot product on the machine at hand ";
/// Tokens per text, and texts per round.
const SETS: [(usize, usize); 3] = [(16, 1024), (64, 256), (256, 64)];
const BATCH: usize = 32;
const ROUNDS: usize = 5;

/// `count` different texts of about `tokens` tokens, special tokens included.
fn texts(tokens: usize, count: usize) -> Vec<String> {
    let long = SENTENCE.repeat(20);
    let words: Vec<&str> = long.split_whitespace().collect();
    let text = |i: usize| words[i % 17..][..tokens - 3].join(" ") + &format!(" {}", i % 97);
    (0..count).map(text).collect()
}

/// Texts per second, `batch` at a time.
fn rate(encoder: &Encoder, texts: &[String], batch: usize) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    for texts in texts.chunks(batch) {
        encoder.embed(texts, &EmbedOptions::default())?;
    }
    Ok(texts.len() as f64 / start.elapsed().as_secs_f64())
}

fn main() -> Result<(), Box<dyn Error>> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let load = |name: &String| Encoder::load(Path::new(name));
    let encoders = names.iter().map(load).collect::<Result<Vec<_>, _>>()?;
    println!("model tokens batch texts/s GMAC/s");
    for (tokens, count) in SETS {
        let texts = texts(tokens, count);
        for batch in [BATCH, 1] {
            let mut rates = vec![Vec::new(); encoders.len()];
            for _ in 0..=ROUNDS {
                for (encoder, rates) in encoders.iter().zip(&mut rates) {
                    rates.push(rate(encoder, &texts, batch)?);
                }
            }
            for ((name, encoder), rates) in names.iter().zip(&encoders).zip(&mut rates) {
                rates.remove(0);
                rates.sort_by(f64::total_cmp);
                let median = rates[ROUNDS / 2];
                let length = encoder.tokenize(&texts[0])?.len();
                let work = encoder.macs(length) as f64 * median / 1e9;
                println!("{name} {length} {batch} {median:.1} {work:.1}");
            }
        }
    }
    Ok(())
}
