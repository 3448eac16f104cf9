//! The values at a path.

use super::{Path, Step};
use serde_json::{Map, Value};
use std::slice;

/// The values at a path, in the order they stand in the payload. See [`Path::values`].
#[derive(Clone, Debug)]
pub struct Values<'p, 'v> {
    steps: &'p [Step],
    /// The value still to look into, and the steps taken so far.
    next: Option<(&'v Value, usize)>,
    /// Arrays whose every element is looked into, and the steps taken to their elements.
    open: Vec<(slice::Iter<'v, Value>, usize)>,
}

impl Path {
    /// The values at this path. An array at its end is one value; its elements are those of
    /// [`elements`], or of the path with `[]` behind it. Allocates only where the path has a `[]`.
    pub fn values<'p, 'v>(&'p self, payload: &'v Map<String, Value>) -> Values<'p, 'v> {
        let next = payload.get(&self.first).map(|value| (value, 0));
        Values { steps: &self.rest, next, open: Vec::new() }
    }

    /// The first value at this path.
    pub fn get<'v>(&self, payload: &'v Map<String, Value>) -> Option<&'v Value> {
        self.values(payload).next()
    }
}

impl<'v> Iterator for Values<'_, 'v> {
    type Item = &'v Value;

    fn next(&mut self) -> Option<&'v Value> {
        loop {
            let next = self.next.take().or_else(|| self.sibling())?;
            if let Some(value) = self.descend(next) {
                return Some(value);
            }
        }
    }
}

impl<'v> Values<'_, 'v> {
    /// The next element of the innermost array that has one left.
    fn sibling(&mut self) -> Option<(&'v Value, usize)> {
        while let Some((elements, taken)) = self.open.last_mut() {
            if let Some(value) = elements.next() {
                return Some((value, *taken));
            }
            self.open.pop();
        }
        None
    }

    fn descend(&mut self, (mut value, mut taken): (&'v Value, usize)) -> Option<&'v Value> {
        while let Some(step) = self.steps.get(taken) {
            taken += 1;
            value = match (step, value) {
                (Step::Key(key), Value::Object(map)) => map.get(key)?,
                (Step::Index(index), Value::Array(values)) => values.get(*index)?,
                (Step::Every, Value::Array(values)) => {
                    self.open.push((values.iter(), taken));
                    return None;
                }
                _ => return None,
            };
        }
        Some(value)
    }
}

/// The elements of an array, or the value itself where it is none: what conditions on values look
/// at. Arrays within arrays stay whole.
pub fn elements(value: &Value) -> Elements<'_> {
    Elements(match value {
        Value::Array(values) => values.iter(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            slice::from_ref(value).iter()
        }
    })
}

/// See [`elements`].
#[derive(Clone, Debug)]
pub struct Elements<'v>(slice::Iter<'v, Value>);

impl<'v> Iterator for Elements<'v> {
    type Item = &'v Value;

    fn next(&mut self) -> Option<&'v Value> {
        self.0.next()
    }
}
