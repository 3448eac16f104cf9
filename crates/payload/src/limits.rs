//! Upper bounds of what is taken; each is checked where it enters.

/// Most bytes of a text identifier.
pub const ID_SIZE_MAX: usize = 512;
