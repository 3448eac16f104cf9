//! Which points a search may return.

use crate::limits::{CONDITIONS_MAX, KEY_SIZE_MAX};
use serde_json::{Map, Number, Value};
use std::cmp::Ordering;
use std::str::FromStr;

/// Conditions on the payload, all of which must hold; the empty filter lets everything through.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// At most 256.
    pub must: Vec<Condition>,
}

/// One key that must have one value.
///
/// The key is a path of object keys joined by dots (a key that itself holds dots is found too).
/// An array on the way or at the end matches where any of its elements does. Numbers are compared
/// by value, so `1` is `1.0`; a missing key matches nothing, not even `null`.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// At most 1024 bytes.
    pub key: String,
    /// The value looked for.
    pub value: Value,
}

/// Why a text is no condition, or a filter is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// No `=` or nothing before it.
    #[error("condition {text:?} is not KEY=VALUE")]
    Form {
        /// How the text starts.
        text: String,
    },
    /// The key is too long.
    #[error("the key of a condition has {got} bytes, at most {KEY_SIZE_MAX} are allowed")]
    Key {
        /// Its bytes.
        got: usize,
    },
    /// Too many conditions.
    #[error("a filter has {got} conditions, at most {CONDITIONS_MAX} are allowed")]
    Count {
        /// How many.
        got: usize,
    },
}

impl Filter {
    /// Whether everything passes.
    pub fn is_empty(&self) -> bool {
        self.must.is_empty()
    }

    /// Whether `payload` passes. O(conditions × path), no allocation.
    pub fn matches(&self, payload: &Map<String, Value>) -> bool {
        self.must.iter().all(|c| holds(payload, &c.key, &c.value))
    }

    /// Checks the limits.
    ///
    /// # Errors
    /// [`ConditionError::Count`] or [`ConditionError::Key`].
    pub(crate) fn check(&self) -> Result<(), ConditionError> {
        if self.must.len() > CONDITIONS_MAX {
            return Err(ConditionError::Count { got: self.must.len() });
        }
        match self.must.iter().map(|c| c.key.len()).find(|len| *len > KEY_SIZE_MAX) {
            Some(got) => Err(ConditionError::Key { got }),
            None => Ok(()),
        }
    }
}

impl FromStr for Condition {
    type Err = ConditionError;

    /// `key=value`: the value is JSON where it parses as JSON (`3`, `true`, `"3"`), else text.
    fn from_str(text: &str) -> Result<Self, ConditionError> {
        let form = || ConditionError::Form { text: text.chars().take(40).collect() };
        let (key, value) =
            text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(form)?;
        if key.len() > KEY_SIZE_MAX {
            return Err(ConditionError::Key { got: key.len() });
        }
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        Ok(Self { key: key.to_owned(), value })
    }
}

/// Depth is bounded by the dots of the key.
fn holds(map: &Map<String, Value>, key: &str, want: &Value) -> bool {
    if map.get(key).is_some_and(|value| is_or_has(value, want)) {
        return true;
    }
    let Some((head, rest)) = key.split_once('.') else { return false };
    match map.get(head) {
        Some(Value::Object(inner)) => holds(inner, rest, want),
        Some(Value::Array(values)) => {
            values.iter().filter_map(Value::as_object).any(|inner| holds(inner, rest, want))
        }
        _ => false,
    }
}

fn is_or_has(value: &Value, want: &Value) -> bool {
    is_same(value, want)
        || value.as_array().is_some_and(|values| values.iter().any(|v| is_same(v, want)))
}

fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => order(a, b) == Some(Ordering::Equal),
        _ => a == b,
    }
}

/// By value and without rounding: whole numbers are compared as such, whichever side is a float.
fn order(a: &Number, b: &Number) -> Option<Ordering> {
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

fn whole(number: &Number) -> Option<i128> {
    let float = || number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 1e30);
    number.as_i128().or_else(|| float().map(|f| f as i128))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(payload: &Value, condition: &str, expected: bool) {
        let filter = Filter { must: vec![condition.parse().unwrap()] };
        let got = filter.matches(payload.as_object().unwrap());
        assert_eq!(got, expected, "{condition} on {payload}");
    }

    #[test]
    fn scalars_arrays_and_paths() {
        let payload = json!({
            "lang": "en", "year": 2020, "score": 1.0, "open": true, "none": null,
            "tags": ["a", 5], "by": {"name": "Ada", "roles": ["x"]}, "a.b": {"c": 1}, "a.b.d": 2,
            "list": [[1], {"k": 3}],
            "big": 9_007_199_254_740_993_u64,
        });
        for yes in [
            "lang=en",
            "lang=\"en\"",
            "year=2020",
            "year=2020.0",
            "score=1",
            "open=true",
            "none=null",
            "tags=a",
            "tags=5",
            "tags=[\"a\",5]",
            "by.name=Ada",
            "by.roles=x",
            "a.b.d=2",
            "list.k=3",
            "list=[1]",
            "big=9007199254740993",
        ] {
            check(&payload, yes, true);
        }
        for no in [
            "lang=EN",
            "year=\"2020\"",
            "year=2020.5",
            "open=1",
            "none=0",
            "missing=null",
            "tags=b",
            "by=Ada",
            "by.name.x=Ada",
            "lang.x=en",
            "list=1",
            "big=9007199254740992",
            "x' or id != '=1",
        ] {
            check(&payload, no, false);
        }
    }

    #[test]
    fn all_conditions_must_hold_and_none_is_everything() {
        let payload = json!({ "a": 1, "b": 2 });
        let filter =
            |texts: &[&str]| Filter { must: texts.iter().map(|t| t.parse().unwrap()).collect() };
        assert!(filter(&[]).matches(payload.as_object().unwrap()));
        assert!(filter(&["a=1", "b=2"]).matches(payload.as_object().unwrap()));
        assert!(!filter(&["a=1", "b=3"]).matches(payload.as_object().unwrap()));
    }

    #[test]
    fn limits_and_forms() {
        for bad in ["", "a", "=1"] {
            assert!(bad.parse::<Condition>().is_err(), "{bad}");
        }
        let condition = |size: usize| Condition { key: "k".repeat(size), value: Value::Null };
        let ok = Filter { must: vec![condition(KEY_SIZE_MAX); CONDITIONS_MAX] };
        assert_eq!(ok.check(), Ok(()));
        let long = Filter { must: vec![condition(KEY_SIZE_MAX + 1)] };
        assert_eq!(long.check(), Err(ConditionError::Key { got: KEY_SIZE_MAX + 1 }));
        let many = Filter { must: vec![condition(1); CONDITIONS_MAX + 1] };
        assert_eq!(many.check(), Err(ConditionError::Count { got: CONDITIONS_MAX + 1 }));
        let dots = Filter { must: vec![format!("{}=1", "a.".repeat(500)).parse().unwrap()] };
        assert!(!dots.matches(&Map::new()));
    }
}
