//! Flags of what goes into collections, is found there, and is taken out again.

use std::path::PathBuf;

use clap::Args;

use super::{Threads, at_least_one};
use crate::store;

/// Which collection is meant.
#[derive(Args, Debug)]
pub(crate) struct Stored {
    /// The data directory
    #[arg(value_name = "DATA")]
    pub(crate) data: PathBuf,
    /// The collection in it [default: 'default' to import; else the only one]
    #[arg(long, value_name = "NAME")]
    pub(crate) collection: Option<String>,
}

/// Put texts or vectors into a collection
///
/// The first import makes data directory and collection. A record without an identifier gets its
/// row number, and a record that is there already is passed over, so a killed import is resumed by
/// repeating it. Later flags must agree with those of the first import.
#[derive(Args, Debug)]
pub(crate) struct Import {
    #[command(flatten)]
    pub(crate) stored: Stored,
    /// Records: .jsonl, .txt (one text a line), .npy, .fvecs, .parquet, .hdf5
    #[arg(long, value_name = "FILE")]
    pub(crate) from: PathBuf,
    /// The encoder of texts; the collection remembers it
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// cosine (the default), dot, euclid, manhattan
    #[arg(long)]
    pub(crate) metric: Option<kvant_index::Metric>,
    /// SHAPE[,CODE[,RERANK]] as hnsw32,int8,rerank32 [default: what fits the size]
    #[arg(long, value_name = "SPEC")]
    pub(crate) index: Option<kvant_index::IndexSpec>,
    /// Field that holds the identifier [default: id]
    #[arg(long, value_name = "NAME")]
    pub(crate) id_field: Option<String>,
    /// Field that holds the text [default: text]
    #[arg(long, value_name = "NAME")]
    pub(crate) text_field: Option<String>,
    /// Field that holds the vector [default: vector]
    #[arg(long, value_name = "NAME")]
    pub(crate) vector_field: Option<String>,
    /// Records that become durable together
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = batch_size)]
    pub(crate) batch: usize,
    #[command(flatten)]
    pub(crate) threads: Threads,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Find the points closest to a text, a vector or another point
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(crate) struct Search {
    #[command(flatten)]
    pub(crate) stored: Stored,
    /// A text, embedded with the collection's model
    #[arg(value_name = "QUERY", group = "what")]
    pub(crate) query: Option<String>,
    /// A vector as a JSON array
    #[arg(long, value_name = "JSON", group = "what", allow_hyphen_values = true)]
    pub(crate) vector: Option<String>,
    /// The identifier of a point, which is itself left out
    #[arg(long, value_name = "ID", group = "what", allow_hyphen_values = true)]
    pub(crate) like: Option<String>,
    /// Only points whose payload has this; give it again for more conditions
    #[arg(long = "filter", value_name = "KEY=VALUE", value_parser = condition)]
    pub(crate) filters: Vec<String>,
    /// How many
    #[arg(short, default_value_t = 10, value_name = "K", value_parser = at_least_one)]
    pub(crate) k: usize,
    /// Measure every point instead of asking the index
    #[arg(long, conflicts_with = "ef")]
    pub(crate) exact: bool,
    /// How hard the index tries: candidates it keeps
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) ef: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Delete points by identifier or payload
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(false))]
pub(crate) struct Delete {
    #[command(flatten)]
    pub(crate) stored: Stored,
    /// Identifiers
    #[arg(value_name = "ID", group = "which")]
    pub(crate) ids: Vec<String>,
    /// Every point whose payload has this; give it again for more conditions
    #[arg(long = "filter", value_name = "KEY=VALUE", value_parser = condition, group = "which")]
    pub(crate) filters: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Say what a data directory and its collections hold
#[derive(Args, Debug)]
pub(crate) struct Info {
    #[command(flatten)]
    pub(crate) stored: Stored,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn batch_size(text: &str) -> Result<usize, String> {
    let max = kvant_db::limits::BATCH_POINTS_MAX;
    let size = text.parse().ok().filter(|n| (1..=max).contains(n));
    size.ok_or_else(|| format!("expected a number from 1 to {max}"))
}

/// A condition as it was typed, held to be one.
fn condition(text: &str) -> Result<String, String> {
    store::filter(&[text.to_owned()]).map(|_| text.to_owned())
}
