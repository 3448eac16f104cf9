//! Flags of the commands that score texts with the head of a model.

use std::path::PathBuf;

use clap::Args;

use super::{Threads, at_least_one};

/// Sort documents by how well they answer a query
///
/// Takes a cross-encoder: a model that reads query and document together and has one score. More
/// exact than comparing vectors, and slower: for the best few of a search.
#[derive(Args, Debug)]
pub(crate) struct Rerank {
    /// A cross-encoder: a directory, or any REF that pull takes
    #[arg(value_name = "MODEL")]
    pub(crate) model: String,
    /// What is asked
    #[arg(value_name = "QUERY")]
    pub(crate) query: String,
    /// Documents
    #[arg(value_name = "TEXT", conflicts_with = "documents")]
    pub(crate) texts: Vec<String>,
    /// Documents from a .txt (one a line), .jsonl or .parquet file [default: standard input]
    #[arg(long, value_name = "FILE")]
    pub(crate) documents: Option<PathBuf>,
    /// Field of the file that holds the text
    #[arg(long, value_name = "NAME", default_value = "text")]
    pub(crate) text_field: String,
    /// Print the best K only
    #[arg(long, value_name = "K", value_parser = at_least_one)]
    pub(crate) top: Option<usize>,
    #[command(flatten)]
    pub(crate) scoring: Scoring,
}

/// Score the labels of texts
///
/// Takes a classifier; one label, or several that do not exclude each other, are scored from 0 to 1
/// each, labels that do exclude each other share 1.
#[derive(Args, Debug)]
pub(crate) struct Classify {
    /// A classifier: a directory, or any REF that pull takes
    #[arg(value_name = "MODEL")]
    pub(crate) model: String,
    /// Texts
    #[arg(value_name = "TEXT", conflicts_with = "texts_from")]
    pub(crate) texts: Vec<String>,
    /// Texts from a .txt (one a line), .jsonl or .parquet file [default: standard input]
    #[arg(long = "texts", value_name = "FILE")]
    pub(crate) texts_from: Option<PathBuf>,
    /// Field of the file that holds the text
    #[arg(long, value_name = "NAME", default_value = "text")]
    pub(crate) text_field: String,
    /// Field of the file that holds a second text, for models that read pairs
    #[arg(long, value_name = "NAME", requires = "texts_from")]
    pub(crate) pair_field: Option<String>,
    #[command(flatten)]
    pub(crate) scoring: Scoring,
}

/// How scores are computed and told.
#[derive(Args, Debug)]
pub(crate) struct Scoring {
    /// Tell what the network gives, not squashed to 0..1
    #[arg(long)]
    pub(crate) raw_scores: bool,
    /// Compute in auto (as the model was compressed to), f32, bf16 or int8
    #[arg(long, value_name = "PRECISION", default_value = "auto")]
    pub(crate) compute: kvant_model::Compute,
    /// Tokens that go through the network together; the scores do not depend on it
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) batch_tokens: Option<usize>,
    #[command(flatten)]
    pub(crate) threads: Threads,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
