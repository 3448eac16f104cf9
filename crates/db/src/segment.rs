//! Rows with identifiers and payloads: growing in memory, then sealed for good.

mod blob;
pub(crate) mod growing;
pub(crate) mod sealed;

use crate::{Filter, PointId, SearchError, payload};
use kvant_index::{Bitmap, Row};
use serde_json::{Map, Value};

/// What a segment says about one row, wherever it keeps it.
pub(crate) trait Columns {
    fn id(&self, row: Row) -> Option<PointId>;
    fn vector(&self, row: Row) -> &[f32];
    /// JSON.
    fn payload(&self, row: Row) -> &[u8];
    /// For messages about damaged payloads.
    fn damaged(&self, row: Row) -> SearchError;

    /// The payload as a map.
    fn object(&self, row: Row) -> Result<Map<String, Value>, SearchError> {
        payload::decode(self.payload(row)).ok_or_else(|| self.damaged(row))
    }
}

/// The rows of `live` that pass. Reads every live payload: O(bytes of payloads).
pub(crate) fn passing(
    columns: &impl Columns,
    live: &Bitmap,
    filter: &Filter,
) -> Result<Bitmap, SearchError> {
    let mut passing = Bitmap::new(live.len());
    for row in live.iter() {
        if filter.matches(&columns.object(row)?) {
            passing.insert(row);
        }
    }
    Ok(passing)
}
