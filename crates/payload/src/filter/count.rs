//! What filters are bounded by.

use super::{Bounds, Condition, Filter, Match, MatchList, MatchValue, Range, Test};
use crate::limits::{
    CONDITIONS_MAX, FILTER_CORNERS_MAX, FILTER_DEPTH_MAX, FILTER_IDS_MAX, FILTER_VALUES_MAX,
    MATCH_SIZE_MAX, VECTOR_NAME_SIZE_MAX,
};
use crate::shape::{At, ShapeError};
use serde_json::Value;

#[derive(Default)]
struct Count {
    conditions: usize,
    ids: usize,
    values: usize,
    corners: usize,
}

impl Filter {
    /// Checks the limits and what the types leave open; what was read from JSON has been checked.
    /// O(filter), and stops at the first excess.
    ///
    /// # Errors
    /// [`ShapeError::Limit`]; [`ShapeError::Kind`] for a slice that does not exist or a
    /// `min_count` of 0, or moments without a bound.
    pub fn check(&self) -> Result<(), ShapeError> {
        Count::default().filter(self, 1)
    }
}

fn limit(what: &'static str, got: usize, max: usize) -> Result<(), ShapeError> {
    if got <= max {
        return Ok(());
    }
    Err(ShapeError::Limit { at: At::Root("filter").to_string(), what, got, max })
}

impl Count {
    /// As deep as the limit of depth, whatever the filter is.
    fn filter(&mut self, filter: &Filter, depth: usize) -> Result<(), ShapeError> {
        limit("filters in one another", depth, FILTER_DEPTH_MAX)?;
        if let Some(part) = &filter.min_should
            && part.min_count == 0
        {
            let at = At::Root("min_should.min_count");
            return Err(at.kind("a whole number from 1", &Value::from(0)));
        }
        filter.conditions().try_for_each(|condition| self.condition(condition, depth))
    }

    fn condition(&mut self, condition: &Condition, depth: usize) -> Result<(), ShapeError> {
        self.conditions += 1;
        limit("conditions", self.conditions, CONDITIONS_MAX)?;
        match condition {
            Condition::Field { test, .. } => self.test(test),
            Condition::HasId(ids) => {
                self.ids = self.ids.saturating_add(ids.len());
                limit("identifiers", self.ids, FILTER_IDS_MAX)
            }
            Condition::HasVector(name) => {
                limit("bytes of a vector's name", name.len(), VECTOR_NAME_SIZE_MAX)
            }
            Condition::Slice(slice) if slice.index >= slice.total => {
                let at = At::Root("slice.index");
                Err(at.kind("a whole number below \"total\"", &Value::from(slice.index)))
            }
            Condition::Nested { filter, .. } | Condition::Filter(filter) => {
                self.filter(filter, depth + 1)
            }
            Condition::IsEmpty(_) | Condition::IsNull(_) | Condition::Slice(_) => Ok(()),
        }
    }

    fn test(&mut self, test: &Test) -> Result<(), ShapeError> {
        let text = |text: &String| limit("bytes of a text", text.len(), MATCH_SIZE_MAX);
        match test {
            Test::Match(
                Match::Value(MatchValue::Text(value))
                | Match::Text(value)
                | Match::TextAny(value)
                | Match::Phrase(value)
                | Match::Prefix(value),
            ) => text(value),
            Test::Match(Match::Any(list) | Match::Except(list)) => {
                self.values = self.values.saturating_add(list.len());
                limit("values in lists", self.values, FILTER_VALUES_MAX)?;
                match list {
                    MatchList::Texts(texts) => texts.iter().try_for_each(text),
                    MatchList::Integers(_) => Ok(()),
                }
            }
            Test::GeoPolygon(area) => {
                self.corners = self.corners.saturating_add(area.corners());
                limit("corners of polygons", self.corners, FILTER_CORNERS_MAX)
            }
            Test::Range(Range::Datetime(bounds)) if *bounds == Bounds::default() => {
                let at = At::Root("range");
                Err(at.kind("a bound of a range of moments", &Value::Null))
            }
            Test::Match(Match::Value(MatchValue::Integer(_) | MatchValue::Bool(_)))
            | Test::Range(_)
            | Test::GeoBox(_)
            | Test::GeoCircle(_)
            | Test::ValuesCount(_)
            | Test::IsEmpty(_)
            | Test::IsNull(_) => Ok(()),
        }
    }
}
