//! Stand-in.
#![allow(missing_docs)]
use crate::Path;
use serde_json::{Map, Value};
pub fn set(object: &mut Map<String, Value>, at: Option<&Path>, payload: &Map<String, Value>) {
    if at.is_none() {
        object.extend(payload.clone());
    }
}
pub fn delete(object: &mut Map<String, Value>, keys: &[Path]) {
    for key in keys {
        object.remove(&key.to_string());
    }
}
