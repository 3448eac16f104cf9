//! Changes to payloads.

use crate::limits::{PAYLOAD_DEPTH_MAX, PAYLOAD_SIZE_MAX};
use crate::path::{MergeError, Path, merge};
use serde_json::{Map, Value};

/// A change to a payload. Doing it twice is doing it once, but for a `Merge` at a path of elements
/// when something else changes those in between.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// The payload becomes this one.
    Overwrite(Map<String, Value>),
    /// The object at the path, or the payload itself, gets these keys; those with `null` are
    /// removed. See [`Path::merge`] for what is made on the way.
    Merge {
        /// Where; the payload itself if absent.
        key: Option<Path>,
        /// The keys. Their values replace those there whole.
        payload: Map<String, Value>,
    },
    /// What lies at these paths is removed, one after the other, see [`Path::remove`].
    Remove(Vec<Path>),
    /// The payload becomes empty.
    Clear,
}

/// Why a payload is not taken, or not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Too many bytes.
    #[error("the payload has {got} bytes as JSON, at most {PAYLOAD_SIZE_MAX} are allowed")]
    Size {
        /// Its bytes.
        got: usize,
    },
    /// Nested too deeply.
    #[error("the payload is nested more than {PAYLOAD_DEPTH_MAX} deep")]
    Depth,
    /// The same keys at so many places would take too much room.
    #[error("the keys cannot be set: {0}")]
    Merge(#[from] MergeError),
}

impl Edit {
    /// The payload after the change; `payload` is as it was.
    ///
    /// What `null` removes in a merge is removed of the top level of what is merged only; further
    /// down it is a value. O(payload and change).
    ///
    /// # Errors
    /// [`PayloadError`], if what came out is over the limits. A payload within them and a change
    /// that adds nothing have no error.
    pub fn apply(&self, payload: &Map<String, Value>) -> Result<Map<String, Value>, PayloadError> {
        let after = match self {
            Self::Overwrite(payload) => payload.clone(),
            Self::Merge { key: None, payload: source } => {
                let mut after = payload.clone();
                merge(&mut after, source);
                after
            }
            Self::Merge { key: Some(key), payload: source } => {
                let mut after = payload.clone();
                key.merge(&mut after, source, PAYLOAD_SIZE_MAX)?;
                after
            }
            Self::Remove(keys) => {
                let mut after = payload.clone();
                for key in keys {
                    key.remove(&mut after);
                }
                return Ok(after);
            }
            Self::Clear => return Ok(Map::new()),
        };
        check_payload(&after)?;
        Ok(after)
    }
}

/// The payload as JSON, the form it is logged and stored in. Within the limits, so that it can be
/// read back.
///
/// # Errors
/// [`PayloadError::Depth`] or [`PayloadError::Size`].
pub fn encode(payload: &Map<String, Value>) -> Result<Vec<u8>, PayloadError> {
    if is_too_deep(payload) {
        return Err(PayloadError::Depth);
    }
    // Serializing a map of strings to JSON values into memory has no way to fail.
    let bytes = serde_json::to_vec(payload).unwrap_or_default();
    assert!(bytes.len() >= 2, "a JSON object has two braces");
    if bytes.len() > PAYLOAD_SIZE_MAX {
        return Err(PayloadError::Size { got: bytes.len() });
    }
    Ok(bytes)
}

/// Reads what [`encode`] wrote; `None` for anything that is no JSON object.
pub fn decode(bytes: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(bytes).ok()
}

/// Checks the limits of a payload. Allocates no JSON.
///
/// # Errors
/// [`PayloadError::Depth`] or [`PayloadError::Size`].
pub fn check_payload(payload: &Map<String, Value>) -> Result<(), PayloadError> {
    if is_too_deep(payload) {
        return Err(PayloadError::Depth);
    }
    let mut counter = Counter(0);
    let counted = serde_json::to_writer(&mut counter, payload).is_ok();
    assert!(counted, "counting bytes has no way to fail");
    if counter.0 > PAYLOAD_SIZE_MAX {
        return Err(PayloadError::Size { got: counter.0 });
    }
    Ok(())
}

/// Counts what is written.
struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Walks without recursion: the value may come from anywhere and be of any depth.
fn is_too_deep(payload: &Map<String, Value>) -> bool {
    let mut open: Vec<(usize, &Value)> = payload.values().map(|value| (2, value)).collect();
    while let Some((depth, value)) = open.pop() {
        let inside: Box<dyn Iterator<Item = &Value>> = match value {
            Value::Array(values) => Box::new(values.iter()),
            Value::Object(map) => Box::new(map.values()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => continue,
        };
        if depth > PAYLOAD_DEPTH_MAX {
            return true;
        }
        open.extend(inside.map(|value| (depth + 1, value)));
    }
    false
}

#[cfg(test)]
mod tests;
