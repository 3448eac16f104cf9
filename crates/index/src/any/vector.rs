//! Rows read back from their codes.

use crate::{AnyRows, Row};

impl<B: AsRef<[u8]> + Sync> AnyRows<'_, B> {
    /// The values of a row, where some code holds them: as they came, or as halves.
    pub(crate) fn vector(&self, row: Row) -> Option<Vec<f32>> {
        match self.best() {
            Self::Float(rows) => Some(rows.vector(row).to_vec()),
            Self::Half(rows) => Some(rows.vector(row)),
            Self::Proven(rows) => Some(rows.vector(row).to_vec()),
            Self::Guarded(rows) => {
                rows.touch(row);
                rows.inner().vector(row)
            }
            Self::Int8(_)
            | Self::Rotated(_)
            | Self::Blocks(_)
            | Self::Sign(_)
            | Self::Product(_)
            | Self::Ordered(_)
            | Self::Reranked(_) => None,
        }
    }
}
