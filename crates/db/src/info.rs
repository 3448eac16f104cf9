//! What a collection says about itself.

use serde::Serialize;

/// Numbers and names of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Info {
    /// Points that can be found.
    pub points: usize,
    /// Components of every vector.
    pub dim: usize,
    /// How far apart two vectors are.
    pub metric: String,
    /// The index over sealed segments.
    pub index: String,
    /// The model that made the vectors, where known.
    pub model: Option<String>,
    /// The field of imported records that was embedded, where known.
    pub text_field: Option<String>,
    /// Sealed segments.
    pub segments: usize,
    /// Points in memory and the log, not yet sealed.
    pub growing_points: usize,
    /// Replaced and deleted rows that still take space in sealed segments.
    pub deleted_rows: usize,
    /// Bytes of all files in use: segments, log and manifest.
    pub bytes_disk: u64,
    /// Bytes of those that are the log.
    pub bytes_log: u64,
}
