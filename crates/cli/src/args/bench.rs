//! Flags of `kvant bench embed`.

use std::path::PathBuf;

use clap::Args;

use super::{Placed, at_least_one};

/// Texts a second of a sentence encoder, tokenization included
#[derive(Args, Debug)]
pub(crate) struct BenchEmbed {
    /// A directory with safetensors, a GGUF file, or any REF that pull takes
    #[arg(value_name = "MODEL")]
    pub(crate) model: String,
    /// Texts from a .txt (one a line), .jsonl or .parquet file
    #[arg(long, value_name = "FILE")]
    pub(crate) texts: PathBuf,
    /// Texts of a call, in the order of the file
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = at_least_one)]
    pub(crate) batch: usize,
    /// Tokens that go through the network together; the vectors do not depend on it
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) batch_tokens: Option<usize>,
    /// Times through the file
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = at_least_one)]
    pub(crate) rounds: usize,
    /// Instead measure how long texts wait that come one at a time, drawn from the file, so many a
    /// second on average: with the scheduler, and in plain calls of what came meanwhile
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(crate) arrivals: Option<f64>,
    /// Which random arrivals
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Compute in auto (as the model was compressed to), f32, bf16 or int8
    #[arg(long, value_name = "PRECISION", default_value = "auto")]
    pub(crate) compute: kvant_model::Compute,
    #[command(flatten)]
    pub(crate) threads: Placed,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (1e-3..=1e6).contains(rate));
    rate.ok_or_else(|| "expected a number from 0.001 to 1000000".to_owned())
}
