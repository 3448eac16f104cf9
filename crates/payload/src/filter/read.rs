//! Filters from JSON.
//!
//! By hand, over a JSON value: what tells the conditions apart is which keys they have, and an
//! error must name the key and what was expected, not that nothing fitted.

mod test;

use super::{Condition, Filter, MinShould, Slice};
use crate::id::PointId;
use crate::limits::{FILTER_DEPTH_MAX, VECTOR_NAME_SIZE_MAX};
use crate::path::Path;
use crate::shape::{At, Object, ShapeError, list, text};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::Value;

const FILTER: &str = "must, should, must_not or min_should";
const CONDITION: &str = "an object with one of key, is_empty, is_null, has_id, has_vector, slice, \
     nested, must, should, must_not, min_should";
const CONDITIONS: &str = "a condition or an array of conditions";
const ID: &str = "an identifier: a whole number from 0 or a text of 1 to 512 bytes";

impl Filter {
    /// From JSON. O(value); conditions within one another deeper than the limit are not looked at.
    ///
    /// # Errors
    /// [`ShapeError`], which names the key and what was expected.
    pub fn from_json(value: Value) -> Result<Self, ShapeError> {
        let filter = filter(value, 1, &At::Root("filter"))?;
        filter.check()?;
        Ok(filter)
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_json(Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let condition = condition(value, 1, &At::Root("condition")).map_err(D::Error::custom)?;
        let whole = Filter::of(condition);
        whole.check().map_err(D::Error::custom)?;
        whole.must.into_iter().next().ok_or_else(|| D::Error::custom(CONDITION))
    }
}

fn filter(value: Value, depth: usize, at: &At<'_>) -> Result<Filter, ShapeError> {
    let object = Object::new(value, "an object with must, should, must_not or min_should", at)?;
    filter_of(object, depth)
}

fn filter_of(mut object: Object<'_>, depth: usize) -> Result<Filter, ShapeError> {
    let at = object.at;
    if depth > FILTER_DEPTH_MAX {
        let (at, what) = (at.to_string(), "filters in one another");
        return Err(ShapeError::Limit { at, what, got: depth, max: FILTER_DEPTH_MAX });
    }
    let mut part = |key| match object.take(key) {
        Some(value) => conditions(value, depth, &at.key(key)),
        None => Ok(Vec::new()),
    };
    let (must, should, must_not) = (part("must")?, part("should")?, part("must_not")?);
    let min_should = object
        .take("min_should")
        .map(|value| min_should(value, depth, &at.key("min_should")))
        .transpose()?;
    object.end(FILTER)?;
    Ok(Filter { must, should, must_not, min_should })
}

fn conditions(value: Value, depth: usize, at: &At<'_>) -> Result<Vec<Condition>, ShapeError> {
    match value {
        Value::Array(values) => several(values, depth, at),
        Value::Object(_) => Ok(vec![condition(value, depth, at)?]),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Err(at.kind(CONDITIONS, &value))
        }
    }
}

fn several(values: Vec<Value>, depth: usize, at: &At<'_>) -> Result<Vec<Condition>, ShapeError> {
    let read = |(n, value)| condition(value, depth, &at.index(n));
    values.into_iter().enumerate().map(read).collect()
}

fn min_should(value: Value, depth: usize, at: &At<'_>) -> Result<MinShould, ShapeError> {
    let mut object = Object::new(value, "an object with conditions and min_count", at)?;
    let conditions = {
        let at = at.key("conditions");
        several(list(object.need("conditions")?, "an array of conditions", &at)?, depth, &at)?
    };
    let Some(min_count) = object.count("min_count")? else {
        return Err(ShapeError::Missing { at: at.to_string(), key: "min_count" });
    };
    object.end("conditions and min_count")?;
    Ok(MinShould { conditions, min_count })
}

fn condition(value: Value, depth: usize, at: &At<'_>) -> Result<Condition, ShapeError> {
    let mut object = Object::new(value, CONDITION, at)?;
    if let Some(key) = object.take("key") {
        return test::field(path(key, &at.key("key"))?, object);
    }
    let kinds = ["is_empty", "is_null", "has_id", "has_vector", "slice", "nested"];
    let Some(kind) = kinds.into_iter().find(|kind| object.has(kind)) else {
        return filter_or_unknown(object, depth);
    };
    let value = object.need(kind)?;
    let at = at.key(kind);
    let condition = match kind {
        "is_empty" => Condition::IsEmpty(keyed(value, &at)?),
        "is_null" => Condition::IsNull(keyed(value, &at)?),
        "has_id" => Condition::HasId(identifiers(value, &at)?),
        "has_vector" => Condition::HasVector(text(value, VECTOR_NAME_SIZE_MAX, &at)?),
        "slice" => Condition::Slice(slice(value, &at)?),
        _ => nested(value, depth, &at)?,
    };
    object.end("nothing else beside this condition")?;
    Ok(condition)
}

/// An object without a key of a condition is a filter, unless it has a key that none has: what was
/// meant is then any condition.
fn filter_or_unknown(object: Object<'_>, depth: usize) -> Result<Condition, ShapeError> {
    let known = ["must", "should", "must_not", "min_should"];
    if !object.is_empty() && !known.into_iter().any(|key| object.has(key)) {
        let at = object.at;
        return Err(object
            .end(CONDITION)
            .err()
            .unwrap_or_else(|| at.kind(CONDITION, &Value::Null)));
    }
    filter_of(object, depth + 1).map(Condition::Filter)
}

fn path(value: Value, at: &At<'_>) -> Result<Path, ShapeError> {
    let text = text(value, usize::MAX, at)?;
    text.parse().map_err(|source| ShapeError::Path { at: at.to_string(), source })
}

/// `{"key": path}`.
fn keyed(value: Value, at: &At<'_>) -> Result<Path, ShapeError> {
    let mut object = Object::new(value, "an object with key", at)?;
    let key = path(object.need("key")?, &at.key("key"))?;
    object.end("key alone")?;
    Ok(key)
}

fn identifiers(value: Value, at: &At<'_>) -> Result<Vec<PointId>, ShapeError> {
    let values = list(value, "an array of identifiers", at)?;
    let read = |(n, value): (usize, &Value)| {
        PointId::deserialize(value).map_err(|_| at.index(n).kind(ID, value))
    };
    values.iter().enumerate().map(read).collect()
}

fn slice(value: Value, at: &At<'_>) -> Result<Slice, ShapeError> {
    let mut object = Object::new(value, "an object with index and total", at)?;
    let mut part = |key: &'static str, from: u32, expected| {
        let value = object.need(key)?;
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        number.filter(|number| *number >= from).ok_or_else(|| at.key(key).kind(expected, &value))
    };
    let index = part("index", 0, "a whole number of 32 bits from 0")?;
    let total = part("total", 1, "a whole number of 32 bits from 1")?;
    object.end("index and total")?;
    if index >= total {
        return Err(at.key("index").kind("a whole number below \"total\"", &Value::from(index)));
    }
    Ok(Slice { index, total })
}

fn nested(value: Value, depth: usize, at: &At<'_>) -> Result<Condition, ShapeError> {
    let mut object = Object::new(value, "an object with key and filter", at)?;
    let key = path(object.need("key")?, &at.key("key"))?;
    let filter = filter(object.need("filter")?, depth + 1, &at.key("filter"))?;
    object.end("key and filter")?;
    Ok(Condition::Nested { key, filter })
}
