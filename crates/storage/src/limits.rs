//! Upper bounds of everything this crate reads or names.

/// Most path segments of a [`crate::Name`].
pub const NAME_SEGMENTS_MAX: usize = 4;
/// Most bytes of one segment of a [`crate::Name`].
pub const NAME_SEGMENT_SIZE_MAX: usize = 100;
/// Most sections of a framed file.
pub const FRAME_SECTIONS_MAX: usize = 64;
/// Most bytes of a section's name.
pub const FRAME_NAME_SIZE_MAX: usize = 16;
