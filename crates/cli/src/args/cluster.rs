//! Flags of `kvant cluster`.

use std::path::PathBuf;

use clap::Args;
use kvant_index::Metric;

use super::{Threads, at_least_one};

/// Split vectors into clusters by k-means
///
/// Prints the inertia (the sum of squared distances to the centroids, for cos of 1 − cosine), how
/// even the clusters are and how well apart: the silhouette of a sample, in −1..=1.
#[derive(Args, Debug)]
pub(crate) struct Cluster {
    /// The vectors: .npy, .fvecs, .jsonl or what else import reads
    #[arg(long, value_name = "FILE")]
    pub(crate) base: PathBuf,
    /// How many clusters
    #[arg(short, long, value_name = "K", value_parser = at_least_one)]
    pub(crate) k: usize,
    /// l2, or cos: vectors are scaled to unit length, and so are centroids
    #[arg(long, default_value = "l2", value_parser = metric)]
    pub(crate) metric: Metric,
    /// No cluster above this multiple of the mean size [without a number: 1.2]
    #[arg(long, value_name = "TIMES", num_args = 0..=1, default_missing_value = "1.2")]
    pub(crate) balanced: Option<f64>,
    /// Iterations at most
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = at_least_one)]
    pub(crate) iterations: usize,
    /// Vectors of an iteration [default: all of them]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) batch: Option<usize>,
    /// Seed of the start and of batches
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Vectors that the silhouette is measured on; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub(crate) silhouette: usize,
    #[command(flatten)]
    pub(crate) threads: Threads,
    /// Write the centroids to a new .npy file of f32, (k, dimensions)
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Write the cluster of each vector to a new .npy file of i32
    #[arg(long, value_name = "FILE")]
    pub(crate) assign: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn metric(text: &str) -> Result<Metric, String> {
    match text {
        "l2" | "euclid" => Ok(Metric::Euclid),
        "cos" | "cosine" => Ok(Metric::Cosine),
        _ => Err("use l2 or cos".to_owned()),
    }
}
