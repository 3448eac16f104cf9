//! The most of anything that foreign data may ask for.

/// Bytes of one text, query or label.
pub const TEXT_BYTES: usize = 1 << 20;
/// Texts of one task.
pub const TEXTS: usize = 1_000_000;
/// Classes of one task.
pub const CLASSES: usize = 10_000;
/// Relevant documents one query may list.
pub const RELEVANT: usize = 100_000;
/// Queries taken from a file where every text is one; more are thinned out evenly.
pub const QUERIES: usize = 10_000;
/// Bytes of a `compression.json`.
pub const SIDECAR_BYTES: usize = 16 << 20;
/// Bytes a measuring child process may answer with.
pub const ANSWER_BYTES: usize = 64 << 10;
/// Files counted below a model's directory.
pub const FILES: usize = 100_000;
