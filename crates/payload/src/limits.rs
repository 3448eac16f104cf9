//! Upper bounds of what is taken; each is checked where it enters.

/// Most bytes of a text identifier.
pub const ID_SIZE_MAX: usize = 512;
/// Most bytes of a path as text.
pub const PATH_SIZE_MAX: usize = 1024;
/// Most bytes of one payload as JSON.
pub const PAYLOAD_SIZE_MAX: usize = 1 << 20;
/// Deepest nesting of a payload: half of what the JSON reader takes, so all that was written is
/// readable.
pub const PAYLOAD_DEPTH_MAX: usize = 64;
/// Most conditions of a filter, those of nested filters and filters themselves included.
pub const CONDITIONS_MAX: usize = 10_000;
/// Deepest nesting of filters in one another, the outermost included. One takes up to five levels
/// of JSON, so what was read can be written in a log, of which the reader takes 128 levels.
pub const FILTER_DEPTH_MAX: usize = 20;
/// Most identifiers of all conditions `has_id` of a filter together.
pub const FILTER_IDS_MAX: usize = 100_000;
/// Most values of all lists (`any`, `except`) of a filter together.
pub const FILTER_VALUES_MAX: usize = 100_000;
/// Most bytes of a text that a condition looks for.
pub const MATCH_SIZE_MAX: usize = 1 << 16;
/// Most corners of all polygons of a filter together.
pub const FILTER_CORNERS_MAX: usize = 100_000;
/// Most bytes of a vector's name in a condition.
pub const VECTOR_NAME_SIZE_MAX: usize = 1024;
/// Most words of a list of stop words.
pub const STOPWORDS_MAX: usize = 10_000;
/// Most bytes of a stop word.
pub const STOPWORD_SIZE_MAX: usize = 256;
/// Most further parameters kept with a field's schema.
pub const SCHEMA_EXTRA_MAX: usize = 32;
/// Most bytes of all further parameters of a field's schema as JSON.
pub const SCHEMA_EXTRA_SIZE_MAX: usize = 4096;
