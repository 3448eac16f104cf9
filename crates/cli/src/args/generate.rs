//! Flags of the commands that make text.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{BenchAnn, BenchEmbed, Placed, at_least_one};

/// Continue a text
///
/// Streams to standard output what the model makes of the prompt. Where the model brings a chat
/// template the prompt is put to it as a user's question; --raw gives it as it is.
#[derive(Args, Debug)]
pub(crate) struct Generate {
    /// A GGUF file, a directory with safetensors, or any REF that pull takes
    #[arg(value_name = "MODEL")]
    pub(crate) model: String,
    /// The text to continue [default: standard input]
    #[arg(value_name = "PROMPT")]
    pub(crate) prompt: Option<String>,
    /// Put the prompt to the model as a question, by its chat template
    #[arg(long, conflicts_with = "raw")]
    pub(crate) chat: bool,
    /// Give the prompt to the model as it is
    #[arg(long)]
    pub(crate) raw: bool,
    /// What the model is told before a question
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    pub(crate) system: Option<String>,
    #[command(flatten)]
    pub(crate) making: Making,
    /// Tell the log-probability of each token, and of the N most likely ones (with --json)
    #[arg(long, value_name = "N", requires = "json")]
    pub(crate) logprobs: Option<usize>,
    /// json: answer with a JSON object
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// Answer with JSON that fits this JSON schema
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    pub(crate) json_schema: Option<PathBuf>,
    /// Print one JSON object at the end
    #[arg(long)]
    pub(crate) json: bool,
}

/// Talk with a language model
///
/// Reads a line, answers, and remembers: /reset forgets, /exit ends. Standard input may be a file
/// or a pipe, a line a turn.
#[derive(Args, Debug)]
pub(crate) struct Chat {
    /// A GGUF file, a directory with safetensors, or any REF that pull takes
    #[arg(value_name = "MODEL")]
    pub(crate) model: String,
    /// What the model is told before the conversation
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    #[command(flatten)]
    pub(crate) making: Making,
}

/// How text is made.
#[derive(Args, Clone, Debug)]
pub(crate) struct Making {
    /// Compute in auto (as the model says; GGUF files in int8), f32, bf16 or int8
    #[arg(long, value_name = "PRECISION", default_value = "auto")]
    pub(crate) compute: kvant_model::Compute,
    /// Tokens to make at most
    #[arg(long, value_name = "N", default_value_t = 512)]
    pub(crate) max_tokens: usize,
    /// 0 always takes the most likely token, 1 draws from the model's own distribution
    #[arg(long, value_name = "T", default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) temperature: f32,
    /// Which random numbers are drawn
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Draw from the K most likely tokens; 0 for all
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub(crate) top_k: usize,
    /// Draw from the most likely tokens that have this share of the probability
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    pub(crate) top_p: f32,
    /// Draw from tokens at least P times as likely as the most likely one
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    pub(crate) min_p: f32,
    /// Make the last 64 tokens less likely; 1 does not
    #[arg(long, value_name = "R", default_value_t = 1.0)]
    pub(crate) repeat_penalty: f32,
    /// Add to the logit of a token, as 1234=-2.5 or 1234=-inf; may be repeated
    #[arg(long = "logit-bias", value_name = "TOKEN=BIAS", value_parser = bias)]
    pub(crate) logit_bias: Vec<(u32, f32)>,
    /// End before this text; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub(crate) stop: Vec<String>,
    /// Tokens of prompt and text together [default: what the model was trained on]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) context: Option<usize>,
    /// In a full context keep the first N tokens, forget the older half of the rest, and go on
    #[arg(long, value_name = "N")]
    pub(crate) keep: Option<usize>,
    /// Store keys and values in f32, f16 or int8
    #[arg(long, value_name = "FORMAT", default_value = "f16")]
    pub(crate) cache: kvant_model::CacheFormat,
    #[command(flatten)]
    pub(crate) threads: Placed,
}

/// What an answer has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Any text.
    Text,
    /// A JSON object.
    Json,
}

/// Measure how fast a model or an index runs here
#[derive(Args, Debug)]
pub(crate) struct Bench {
    #[command(subcommand)]
    pub(crate) what: Measured,
}

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Measured {
    Ann(Box<BenchAnn>),
    Embed(BenchEmbed),
    Generate(BenchGenerate),
}

/// Tokens a second of a language model, reading and writing
#[derive(Args, Debug)]
pub(crate) struct BenchGenerate {
    /// A GGUF file, a directory with safetensors, or any REF that pull takes
    #[arg(value_name = "MODEL")]
    pub(crate) model: String,
    /// Tokens to read
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = at_least_one)]
    pub(crate) prompt_tokens: usize,
    /// Tokens to write
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = at_least_one)]
    pub(crate) new_tokens: usize,
    /// Requests side by side
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    pub(crate) parallel: usize,
    /// Rounds; the medians are told
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = at_least_one)]
    pub(crate) rounds: usize,
    /// Store keys and values in f32, f16 or int8
    #[arg(long, value_name = "FORMAT", default_value = "f16")]
    pub(crate) cache: kvant_model::CacheFormat,
    /// Compute in auto (as the model says; GGUF files in int8), f32, bf16 or int8
    #[arg(long, value_name = "PRECISION", default_value = "auto")]
    pub(crate) compute: kvant_model::Compute,
    #[command(flatten)]
    pub(crate) threads: Placed,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn bias(text: &str) -> Result<(u32, f32), String> {
    let pair = text.split_once('=');
    let pair = pair.and_then(|(token, bias)| Some((token.parse().ok()?, bias.parse().ok()?)));
    pair.ok_or_else(|| "expected TOKEN=BIAS, as 1234=-2.5".to_owned())
}
