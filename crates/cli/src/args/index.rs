//! Flags of `kvant index` and `kvant bench ann`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};
use kvant_index::{IndexSpec, Memory, Metric, SpecError};

use super::{Threads, at_least_one};

/// Build, search and look into a file of vectors for nearest-neighbour search
#[derive(Args, Debug)]
pub(crate) struct Index {
    #[command(subcommand)]
    pub(crate) what: Indexed,
}

/// What is done with an index.
#[derive(Debug, Subcommand)]
pub(crate) enum Indexed {
    Build(IndexBuild),
    Search(IndexSearch),
    Info(IndexInfo),
    Verify(IndexVerify),
}

/// Which vectors are indexed, and how.
#[derive(Args, Debug)]
pub(crate) struct Indexing {
    /// The vectors: .npy, .fvecs, .hdf5 (its dataset train), .parquet or .jsonl (column vector)
    #[arg(long, value_name = "FILE")]
    pub(crate) base: PathBuf,
    /// cos, ip, l2, l1 (or cosine, dot, euclid, manhattan)
    #[arg(long)]
    pub(crate) metric: Metric,
    /// SHAPE[,CODE[,RERANK]]: flat, hnsw32, qg, ivf256, forest32, lsh16x10 or lshcp16x10; f32, f16,
    /// bf16, int8, rq1 to rq8, sign, bound2, bound4, pq96 or opq96; rerank8, rerank16 or rerank32,
    /// as rerank8x4 with candidates per row wanted. auto tries some on a part of the vectors,
    /// chooses, and says why
    #[arg(long, value_name = "SPEC|auto", default_value = "hnsw")]
    pub(crate) index: Wanted,
    /// With --index auto, the share of true neighbours to find; 1 is all, for sure [default: 0.95]
    #[arg(long, value_name = "SHARE")]
    pub(crate) recall: Option<f64>,
    /// With --index auto, what searches may hold in memory: bytes a row, as 200B, or in all, as
    /// 64MB or 2GiB. What measures again stays in the file and is not counted
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<Memory>,
    /// Which random choices the build makes
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Candidates kept while a graph looks for the neighbours of a new row
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) ef_construction: Option<usize>,
}

/// Which index is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Whatever serves best.
    Auto,
    /// This one.
    Spec(IndexSpec),
}

impl FromStr for Wanted {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        if text == "auto" { Ok(Self::Auto) } else { text.parse().map(Self::Spec) }
    }
}

/// Build an index over the vectors of a file
#[derive(Args, Debug)]
pub(crate) struct IndexBuild {
    #[command(flatten)]
    pub(crate) of: Indexing,
    /// The new file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// With --index auto, how many rows searches will ask for
    #[arg(short, long, default_value_t = 10, value_name = "K", value_parser = at_least_one)]
    pub(crate) k: usize,
    /// When a build has taken so long, keep parts of it in FILE.parts from time to time: the same
    /// command goes on from there if it was ended, and gives the same file
    #[arg(long, value_name = "SECONDS|off", default_value = "5")]
    pub(crate) checkpoint: Checkpoint,
    #[command(flatten)]
    pub(crate) threads: Threads,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// After how long a build keeps parts of its work; never where `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint(pub(crate) Option<Duration>);

impl FromStr for Checkpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let seconds =
            text.parse().map_err(|_| "expected a number of seconds, or off".to_owned())?;
        Duration::try_from_secs_f64(seconds)
            .map(|after| Self(Some(after)))
            .map_err(|error| error.to_string())
    }
}

/// Find the rows closest to each of many queries
#[derive(Args, Debug)]
pub(crate) struct IndexSearch {
    /// A file that index build made
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The queries, in any of the formats of --base (.hdf5: its dataset test)
    #[arg(long, value_name = "FILE")]
    pub(crate) queries: PathBuf,
    /// How many rows for each
    #[arg(short, long, default_value_t = 10, value_name = "K", value_parser = at_least_one)]
    pub(crate) k: usize,
    /// Measure every row instead of asking the index
    #[arg(long, conflicts_with_all = ["ef", "probes"])]
    pub(crate) exact: bool,
    #[command(flatten)]
    pub(crate) effort: Effort,
    /// Only rows that are true, or not 0, in this .npy array of a value for each row
    #[arg(long, value_name = "FILE")]
    pub(crate) filter_mask: Option<PathBuf>,
    /// Rows measured for a query at most; what is found by then is the answer
    #[arg(long, value_name = "N")]
    pub(crate) max_distances: Option<usize>,
    /// Time for all queries together, in milliseconds; what is found by then is the answer
    #[arg(long, value_name = "MS")]
    pub(crate) timeout: Option<u64>,
    /// Write the rows found, (queries, K), as <i4 with -1 for none, to a new .npy file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Hold the whole file against its checksums first
    #[arg(long)]
    pub(crate) verify: bool,
    #[command(flatten)]
    pub(crate) threads: Threads,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// How hard an index tries.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// How hard a graph (hnsw) tries: candidates it keeps
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) ef: Option<usize>,
    /// How hard lists (ivf) try: how many of them are looked into
    #[arg(long, value_name = "N", value_parser = at_least_one, conflicts_with = "ef")]
    pub(crate) probes: Option<usize>,
}

/// Say what an index holds
#[derive(Args, Debug)]
pub(crate) struct IndexInfo {
    /// A file that index build made
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Hold the whole file against its checksums
    #[arg(long)]
    pub(crate) verify: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Hold every block of an index against its checksums, and its links and lists against one another
#[derive(Args, Debug)]
pub(crate) struct IndexVerify {
    /// A file that index build made
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Read so many megabytes a second at most, beside searches that are running
    #[arg(long, value_name = "MB")]
    pub(crate) rate: Option<std::num::NonZeroU32>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Queries a second of an index at each recall, against exact neighbours
///
/// Builds once and searches with every setting of the index. DIR gets result.jsonl, a line for each
/// setting, the rows found as .npy files, the index, and plot.html.
#[derive(Args, Debug)]
pub(crate) struct BenchAnn {
    #[command(flatten)]
    pub(crate) of: Indexing,
    /// The queries, in any of the formats of --base (.hdf5: its dataset test)
    #[arg(long, value_name = "FILE")]
    pub(crate) queries: PathBuf,
    /// How many rows for each
    #[arg(short, long, default_value_t = 10, value_name = "K", value_parser = at_least_one)]
    pub(crate) k: usize,
    /// Threads of a call with all queries; several, as 1,2, are measured one after the other
    #[arg(long, value_name = "N", default_value = "1", value_delimiter = ',')]
    #[arg(value_parser = at_least_one)]
    pub(crate) threads: Vec<usize>,
    /// Threads to build with [default: the most of --threads]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) build_threads: Option<usize>,
    /// Search on these cores, one for each thread, as 0,1; single queries run on the first. The
    /// build is not bound (Linux)
    #[arg(long = "pin", value_name = "CORES")]
    pub(crate) cores: Option<kvant_model::Cores>,
    /// Times that each setting is measured; medians are told
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = at_least_one)]
    pub(crate) reps: usize,
    /// Only rows that are true, or not 0, in this .npy array of a value for each row; repeatable,
    /// each is measured by itself
    #[arg(long = "filter-mask", value_name = "FILE")]
    pub(crate) masks: Vec<PathBuf>,
    /// A .npy array of a whole number for each row: with --filter-below, only rows whose number is
    /// less are allowed, which is found out for every call, within its time
    #[arg(long, value_name = "FILE", conflicts_with = "masks", requires = "filter_below")]
    pub(crate) filter_column: Option<PathBuf>,
    /// What numbers of --filter-column must lie below; several, as 10,500, are measured each
    #[arg(long, value_name = "N", value_delimiter = ',', requires = "filter_column")]
    #[arg(allow_hyphen_values = true)]
    pub(crate) filter_below: Vec<i64>,
    /// The true neighbours, a .npy array (queries, at least K) of whole numbers [default: computed]
    #[arg(long, value_name = "FILE")]
    pub(crate) ground_truth: Option<PathBuf>,
    /// Draw these engines too: a result.jsonl of this command, or what bench/ann wrote; repeatable
    #[arg(long = "engine-results", value_name = "FILE")]
    pub(crate) engines: Vec<PathBuf>,
    /// Search the file of the index, mapped, instead of what was built in memory
    #[arg(long)]
    pub(crate) mapped: bool,
    /// Where everything goes; what an earlier run left there is replaced
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Open an index, search it, and tell the memory that took
#[derive(Args, Debug)]
pub(crate) struct MeasureIndex {
    /// The file
    pub(crate) file: PathBuf,
    /// The queries
    #[arg(long)]
    pub(crate) queries: PathBuf,
    #[arg(long)]
    pub(crate) k: usize,
    #[command(flatten)]
    pub(crate) effort: Effort,
    /// Searches in all
    #[arg(long)]
    pub(crate) count: usize,
}
