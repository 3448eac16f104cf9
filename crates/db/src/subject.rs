//! Rows as filters see them.

use std::collections::BTreeMap;
use std::sync::Arc;

use kvant_index::{Bitmap, Row};
use kvant_payload::field::text_test;
use kvant_payload::{
    Compiled, FieldSchema, Filter, Match, Path, PointId, ShapeError, Subject, TextTest, Texts,
};
use serde_json::{Map, Value};

use crate::DamageError;
use crate::plan::named;
use crate::segment::Store;
use crate::state::Part;

/// A filter made ready for the points of a collection.
#[derive(Debug)]
pub(crate) struct Ready<'f> {
    filter: &'f Filter,
    compiled: Compiled,
}

/// Texts of indexed fields are compared by words, wherever a point is.
struct Fields<'a>(&'a BTreeMap<Path, FieldSchema>);

impl Texts for Fields<'_> {
    fn prepare(&self, key: &Path, query: &Match) -> Option<Box<dyn TextTest>> {
        text_test(self.0.get(key)?, query)
    }
}

impl<'f> Ready<'f> {
    /// For a collection with these indexed fields.
    pub(crate) fn new(
        filter: &'f Filter,
        fields: &BTreeMap<Path, FieldSchema>,
    ) -> Result<Self, ShapeError> {
        Ok(Self { filter, compiled: filter.compile_with(&Fields(fields))? })
    }
}

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
pub(crate) fn passes(part: &Part, row: Row, filter: &Ready<'_>) -> Result<bool, DamageError> {
    let id = part.store.id(row)?;
    let reads = filter.compiled.reads_payload();
    let payload = if reads { part.store.payload(row)? } else { Arc::default() };
    Ok(filter.compiled.matches(&Seen { part, row, id, payload }))
}

/// The live rows of a part that pass: by indexes of fields as far as they tell, the rest by looking
/// at the rows that are left.
pub(crate) fn passing(part: &Part, filter: &Ready<'_>) -> Result<Bitmap, DamageError> {
    let by_index = match &part.store {
        Store::Sealed(sealed) => named(sealed, filter.filter)?,
        Store::Chunk(_) => None,
    };
    let (mut set, exact) = match &by_index {
        Some(named) => (named.among(&part.live), named.exact),
        None => (Bitmap::clone(&part.live), false),
    };
    if !exact {
        let rows: Vec<Row> = set.iter().collect();
        for row in rows {
            if !passes(part, row, filter)? {
                set.remove(row);
            }
        }
    }
    Ok(set)
}
