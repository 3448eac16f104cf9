//! Changing what lies at a path.

use super::{Path, Step};
use serde_json::{Map, Value};
use std::mem;

/// Why nothing was merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// The same keys at so many places would take too much room.
    #[error("{got} bytes would be written at {places} places, {max} bytes are allowed together")]
    Size {
        /// Bytes of the merged keys as JSON.
        got: usize,
        /// Elements of arrays they would be merged into.
        places: usize,
        /// The bytes allowed.
        max: usize,
    },
}

impl Path {
    /// Gives the objects at this path the keys of `source`; see [`merge`] for what `null` does.
    ///
    /// What is missing on the way is made: a key that is not there, or whose value is of the wrong
    /// kind, becomes an object, or an empty array where the path asks for elements. Elements that
    /// an array does not have are not made: `a[3]` changes nothing in an array of three, `a[]`
    /// nothing in an empty one. A value at the end of the path that is no object becomes one.
    ///
    /// `max` bounds the bytes written at all places of the path together, so that a small request
    /// cannot fill the memory.
    ///
    /// # Errors
    /// [`MergeError`]; the payload is as it was.
    pub fn merge(
        &self,
        payload: &mut Map<String, Value>,
        source: &Map<String, Value>,
        max: usize,
    ) -> Result<(), MergeError> {
        let places = payload.get(&self.first).map_or(1, |value| places(value, &self.rest));
        if places > 1 {
            let got = serde_json::to_vec(source).map_or(usize::MAX, |json| json.len());
            // The keys of the path may have to be made at each place as well.
            if got.saturating_add(self.to_string().len()).saturating_mul(places) > max {
                return Err(MergeError::Size { got, places, max });
            }
        }
        let start = payload.entry(self.first.as_str()).or_insert(Value::Null);
        merge_below(start, &self.rest, source);
        Ok(())
    }

    /// Removes the values at this path and says whether there were any.
    ///
    /// A path that ends in `[]` empties the array. One that ends in an index removes nothing: the
    /// elements behind it would take other indices, so doing it twice would not be doing it once.
    pub fn remove(&self, payload: &mut Map<String, Value>) -> bool {
        match self.rest.as_slice() {
            [] => payload.remove(&self.first).is_some(),
            steps => payload.get_mut(&self.first).is_some_and(|value| remove_below(value, steps)),
        }
    }
}

/// Gives `target` the keys of `source`, whose values replace those there whole; a key whose value
/// is `null` is removed.
pub fn merge(target: &mut Map<String, Value>, source: &Map<String, Value>) {
    for (key, value) in source {
        if value.is_null() {
            target.remove(key);
        } else {
            target.insert(key.clone(), value.clone());
        }
    }
}

/// How many places there are below `value`, which is at most the elements it has.
fn places(value: &Value, steps: &[Step]) -> usize {
    match (steps, value) {
        ([Step::Key(key), rest @ ..], Value::Object(map)) => {
            map.get(key).map_or(1, |value| places(value, rest))
        }
        ([Step::Index(index), rest @ ..], Value::Array(values)) => {
            values.get(*index).map_or(0, |value| places(value, rest))
        }
        ([Step::Every, rest @ ..], Value::Array(values)) => {
            values.iter().map(|value| places(value, rest)).sum()
        }
        _ => 1,
    }
}

/// As deep as the path is long.
fn merge_below(value: &mut Value, steps: &[Step], source: &Map<String, Value>) {
    let Some((step, rest)) = steps.split_first() else {
        return merge(object(value), source);
    };
    match step {
        Step::Key(key) => {
            let inner = object(value).entry(key.as_str()).or_insert(Value::Null);
            merge_below(inner, rest, source);
        }
        Step::Index(index) => {
            if let Some(inner) = array(value).get_mut(*index) {
                merge_below(inner, rest, source);
            }
        }
        Step::Every => {
            for inner in array(value) {
                merge_below(inner, rest, source);
            }
        }
    }
}

fn remove_below(value: &mut Value, steps: &[Step]) -> bool {
    match (steps, value) {
        ([Step::Key(key)], Value::Object(map)) => map.remove(key).is_some(),
        ([Step::Every], Value::Array(values)) => !mem::take(values).is_empty(),
        ([_] | [], _) => false,
        ([Step::Key(key), rest @ ..], Value::Object(map)) => {
            map.get_mut(key).is_some_and(|value| remove_below(value, rest))
        }
        ([Step::Index(index), rest @ ..], Value::Array(values)) => {
            values.get_mut(*index).is_some_and(|value| remove_below(value, rest))
        }
        ([Step::Every, rest @ ..], Value::Array(values)) => {
            values.iter_mut().fold(false, |any, value| remove_below(value, rest) | any)
        }
        _ => false,
    }
}

fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let Value::Object(map) = value else { unreachable!("it was made an object") };
    map
}

fn array(value: &mut Value) -> &mut Vec<Value> {
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    let Value::Array(values) = value else { unreachable!("it was made an array") };
    values
}
