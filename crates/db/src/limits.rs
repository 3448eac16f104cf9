//! Upper bounds of everything a collection takes; each is checked where it enters.

/// Most components of a vector.
pub const DIM_MAX: usize = 65_536;
/// Most vectors of one multi-vector.
pub const MULTI_ROWS_MAX: usize = 16_384;
/// Most values of one sparse vector.
pub const SPARSE_VALUES_MAX: usize = 1 << 20;
/// Most named vectors of a collection.
pub const VECTOR_NAMES_MAX: usize = 256;
/// Most bytes of the name of a vector or a collection.
pub const NAME_SIZE_MAX: usize = 255;
/// Most indexed fields of a collection.
pub const FIELDS_MAX: usize = 1024;
/// Most collections of a data directory.
pub const COLLECTIONS_MAX: usize = 100_000;
/// Most points, or identifiers, of one batch.
pub const BATCH_POINTS_MAX: usize = 100_000;
/// Most bytes of one change in the log; also bounds what reading a damaged log may allocate.
pub const RECORD_SIZE_MAX: usize = 256 << 20;
/// Most bytes that go to the log at once: a change of the largest size and what stands before it.
pub(crate) const FRAME_SIZE_MAX: usize = RECORD_SIZE_MAX + (1 << 20);
/// Most results of one search.
pub const K_MAX: usize = 10_000;
/// Most questions asked first by one, and how deep they may go.
pub const PREFETCH_MAX: usize = 64;
/// Most segments of a collection.
pub const SEGMENTS_MAX: usize = 65_536;
/// Most rows of a collection, deleted ones that still take space included.
pub const ROWS_MAX: usize = 1 << 30;
/// Most bytes of a name as segments hold it.
pub(crate) const ID_ENTRY_MAX: usize = kvant_payload::limits::ID_SIZE_MAX + 3;
