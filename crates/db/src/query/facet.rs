//! How many points have each value.

use std::collections::{HashMap, HashSet};

use kvant_payload::{Filter, Path, elements};
use serde_json::Value;

use crate::{Collection, SearchError};

/// What to count.
#[derive(Clone, Debug, PartialEq)]
pub struct Facet {
    /// Texts, whole numbers or truths of the payload there.
    pub path: Path,
    /// Among which points; all where `None`.
    pub filter: Option<Filter>,
    /// How many values.
    pub limit: usize,
}

/// A value and how many points have it.
#[derive(Clone, Debug, PartialEq)]
pub struct FacetValue {
    /// The value.
    pub value: Value,
    /// Points that have it, each once.
    pub count: usize,
}

impl Collection {
    /// The values that most points have, most first; equal ones in order of their text.
    ///
    /// # Errors
    /// [`SearchError::Damage`].
    pub fn facet(&self, facet: &Facet) -> Result<Vec<FacetValue>, SearchError> {
        let state = self.state();
        let candidates = state.candidates(facet.filter.as_ref())?;
        let mut counts: HashMap<Value, usize> = HashMap::new();
        for (part, rows) in candidates.parts.iter().enumerate() {
            for row in rows.iter().flat_map(kvant_index::Bitmap::iter) {
                let payload = state.parts[part].store.payload(row)?;
                let values: HashSet<&Value> = facet
                    .path
                    .values(&payload)
                    .flat_map(elements)
                    .filter(|value| {
                        value.is_string() || value.is_i64() || value.is_u64() || value.is_boolean()
                    })
                    .collect();
                for value in values {
                    match counts.get_mut(value) {
                        Some(count) => *count += 1,
                        None => drop(counts.insert(value.clone(), 1)),
                    }
                }
            }
        }
        let mut counts: Vec<FacetValue> =
            counts.into_iter().map(|(value, count)| FacetValue { value, count }).collect();
        counts.sort_by(|a, b| {
            b.count.cmp(&a.count).then_with(|| a.value.to_string().cmp(&b.value.to_string()))
        });
        counts.truncate(facet.limit);
        Ok(counts)
    }
}
