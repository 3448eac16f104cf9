//! The largest things an index takes; each is checked where it enters.

/// Most rows of one index (a row and two flags share 32 bits while searching).
pub const ROWS_MAX: usize = (1 << 30) - 1;
/// Fewest links per node that [`Spec`](crate::Spec) accepts for HNSW.
pub const M_MIN: usize = 4;
/// Most links per node that [`Spec`](crate::Spec) accepts for HNSW.
pub const M_MAX: usize = 128;
/// Most dimensions of an index in a file.
pub(crate) const STORED_DIM_MAX: usize = 1 << 24;
/// Longest name of an index in a file, in bytes.
pub(crate) const SPEC_MAX: usize = 256;
/// Most lists that [`Spec`](crate::Spec) accepts for IVF.
pub const LISTS_MAX: usize = 1 << 20;
/// Highest level of an HNSW node.
pub const LEVEL_MAX: usize = 15;
/// Most dimensions of a row in a code: sums of products of bytes stay in 32 bits.
pub const DIM_MAX: usize = 65_535;
/// Most dimensions that axes are learnt for (`opq`): their matrix is 64 MiB.
pub const AXES_MAX: usize = 4096;
/// Most trees that [`Spec`](crate::Spec) accepts for a forest.
pub const TREES_MAX: usize = 1024;
/// Most tables that [`Spec`](crate::Spec) accepts for hashing.
pub const TABLES_MAX: usize = 256;
/// Most bits of a hash.
pub const BITS_MAX: usize = 24;
