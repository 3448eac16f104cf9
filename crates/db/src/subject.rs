//! Rows as filters see them.

use std::sync::Arc;

use kvant_index::{Bitmap, Row};
use kvant_payload::{Compiled, PointId, Subject};
use serde_json::{Map, Value};

use crate::DamageError;
use crate::state::Part;

struct Seen<'a> {
    part: &'a Part,
    row: Row,
    id: PointId,
    payload: Arc<Map<String, Value>>,
}

impl Subject for Seen<'_> {
    fn id(&self) -> &PointId {
        &self.id
    }

    fn payload(&self) -> &Map<String, Value> {
        &self.payload
    }

    fn has_vector(&self, name: &str) -> bool {
        self.part.has_vector(name, self.row)
    }
}

/// Whether a row passes.
pub(crate) fn passes(part: &Part, row: Row, filter: &Compiled) -> Result<bool, DamageError> {
    let id = part.store.id(row)?;
    let payload = if filter.reads_payload() { part.store.payload(row)? } else { Arc::default() };
    Ok(filter.matches(&Seen { part, row, id, payload }))
}

/// The live rows of a part that pass.
pub(crate) fn passing(part: &Part, filter: &Compiled) -> Result<Bitmap, DamageError> {
    let mut passing = Bitmap::new(part.live.len());
    for row in part.live.iter() {
        if passes(part, row, filter)? {
            passing.insert(row);
        }
    }
    Ok(passing)
}
