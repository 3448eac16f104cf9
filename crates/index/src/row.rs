//! The identity of a vector inside one index.

use std::fmt;

/// Position of a vector among the [`Rows`](crate::Rows) of one index, `0..len`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row(pub u32);

impl Row {
    /// The position as an index into slices.
    pub fn position(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
