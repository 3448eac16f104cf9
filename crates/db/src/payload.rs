//! Which payloads are taken.

use std::fmt;

use crate::limits::{PAYLOAD_DEPTH_MAX, PAYLOAD_SIZE_MAX};
use serde_json::{Map, Value};

/// Why a payload is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Size(usize),
    Depth,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(got) => write!(f, "of {got} bytes, at most {PAYLOAD_SIZE_MAX} are allowed"),
            Self::Depth => write!(f, "nested deeper than {PAYLOAD_DEPTH_MAX} is not allowed"),
        }
    }
}

/// Whether a payload is within the limits, so that what is written can be read back.
pub(crate) fn check(payload: &Map<String, Value>) -> Result<(), Refusal> {
    if is_too_deep(payload) {
        return Err(Refusal::Depth);
    }
    // Serializing a map of strings to JSON values into memory has no way to fail.
    let bytes = serde_json::to_vec(payload).unwrap_or_default();
    assert!(bytes.len() >= 2, "a JSON object has two braces");
    if bytes.len() > PAYLOAD_SIZE_MAX {
        return Err(Refusal::Size(bytes.len()));
    }
    Ok(())
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
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn map(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn nested(depth: usize) -> Map<String, Value> {
        let mut value = json!({});
        for _ in 1..depth {
            value = json!({ "x": value });
        }
        map(&value)
    }

    #[test]
    fn limits_hold_just_under_and_just_over() {
        assert_eq!(check(&nested(PAYLOAD_DEPTH_MAX)), Ok(()));
        assert_eq!(check(&nested(PAYLOAD_DEPTH_MAX + 1)), Err(Refusal::Depth));
        let sized = |bytes: usize| map(&json!({ "t": "x".repeat(bytes - 8) }));
        assert_eq!(check(&sized(PAYLOAD_SIZE_MAX)), Ok(()));
        let over = PAYLOAD_SIZE_MAX + 1;
        assert_eq!(check(&sized(over)), Err(Refusal::Size(over)));
    }

    proptest! {
        #[test]
        fn what_is_taken_is_read_back(number: f64, whole: i64, text in "\\PC*") {
            let payload = map(&json!({ "f": number, "i": whole, "t": text, "l": [null, true] }));
            prop_assert_eq!(check(&payload), Ok(()));
            let bytes = serde_json::to_vec(&payload).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Map<String, Value>>(&bytes).unwrap(), payload);
        }
    }
}
