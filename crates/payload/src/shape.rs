//! Reading JSON whose form is prescribed, with errors that say where and what was expected.

use crate::datetime::DatetimeError;
use crate::geo::GeoError;
use crate::path::PathError;
use serde_json::{Map, Value};
use std::fmt;

/// Why JSON is no filter or no schema.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ShapeError {
    /// A value of the wrong kind or outside of what is allowed.
    #[error("{at}: expected {expected}, got {got}")]
    Kind {
        /// Where, as in `filter.must[2].match`.
        at: String,
        /// What was expected there.
        expected: &'static str,
        /// How the value begins.
        got: String,
    },
    /// A key nobody knows.
    #[error("{at}: unknown key {key:?}, expected {expected}")]
    Unknown {
        /// In which object.
        at: String,
        /// The key.
        key: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A key that must be there.
    #[error("{at}: {key:?} is missing")]
    Missing {
        /// In which object.
        at: String,
        /// The key.
        key: &'static str,
    },
    /// Keys that say different things about the same.
    #[error("{at}: {a:?} cannot stand beside {b:?}: write two conditions")]
    Conflict {
        /// In which object.
        at: String,
        /// One key.
        a: &'static str,
        /// The other.
        b: String,
    },
    /// More than is taken.
    #[error("{at}: {got} {what}, at most {max} are allowed")]
    Limit {
        /// Where it was noticed.
        at: String,
        /// Of what.
        what: &'static str,
        /// How many, or at which one it was noticed.
        got: usize,
        /// How many are allowed.
        max: usize,
    },
    /// A key that is no path.
    #[error("{at}: {source}")]
    Path {
        /// Where.
        at: String,
        /// What is wrong with it.
        source: PathError,
    },
    /// A text that is no moment.
    #[error("{at}: {source}")]
    Datetime {
        /// Where.
        at: String,
        /// What is wrong with it.
        source: DatetimeError,
    },
    /// No place or no area.
    #[error("{at}: {source}")]
    Geo {
        /// Where.
        at: String,
        /// What is wrong with it.
        source: GeoError,
    },
}

/// Where in the JSON something stands: a chain upwards, written out only for an error.
#[derive(Clone, Copy, Debug)]
pub(crate) enum At<'a> {
    Root(&'a str),
    Key(&'a At<'a>, &'a str),
    Index(&'a At<'a>, usize),
}

impl<'a> At<'a> {
    pub(crate) fn key(&'a self, key: &'a str) -> Self {
        Self::Key(self, key)
    }

    pub(crate) fn index(&'a self, index: usize) -> Self {
        Self::Index(self, index)
    }

    pub(crate) fn kind(&self, expected: &'static str, got: &Value) -> ShapeError {
        ShapeError::Kind { at: self.to_string(), expected, got: start(got) }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(name) => f.write_str(name),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// How a value begins, for an error.
fn start(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(bool) => bool.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if text.chars().count() <= 40 => format!("{text:?}"),
        Value::String(text) => format!("{:?}…", text.chars().take(40).collect::<String>()),
        Value::Array(values) => format!("an array of {}", values.len()),
        Value::Object(map) => format!("an object of {}", map.len()),
    }
}

/// An object being read: what was expected is taken out, what is left is unknown.
pub(crate) struct Object<'a> {
    pub(crate) at: &'a At<'a>,
    map: Map<String, Value>,
}

impl<'a> Object<'a> {
    pub(crate) fn new(
        value: Value,
        expected: &'static str,
        at: &'a At<'a>,
    ) -> Result<Self, ShapeError> {
        let Value::Object(map) = value else { return Err(at.kind(expected, &value)) };
        Ok(Self { at, map })
    }

    /// Whether a key is there and not `null`.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    /// Whether a key is there, `null` or not.
    pub(crate) fn holds(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// The value of a key that may be left out or be `null`.
    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    /// The value of a key that must be there.
    pub(crate) fn need(&mut self, key: &'static str) -> Result<Value, ShapeError> {
        self.map.remove(key).ok_or_else(|| ShapeError::Missing { at: self.at.to_string(), key })
    }

    pub(crate) fn flag(&mut self, key: &str) -> Result<Option<bool>, ShapeError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(self.at.key(key).kind("true or false", &other)),
        }
    }

    /// A whole number from 0.
    pub(crate) fn count(&mut self, key: &str) -> Result<Option<usize>, ShapeError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        match value.as_u64().and_then(|count| usize::try_from(count).ok()) {
            Some(count) => Ok(Some(count)),
            None => Err(self.at.key(key).kind("a whole number from 0", &value)),
        }
    }

    /// What nobody took.
    pub(crate) fn rest(self) -> Map<String, Value> {
        self.map
    }

    /// That nothing is left.
    pub(crate) fn end(self, expected: &'static str) -> Result<(), ShapeError> {
        match self.map.into_iter().next() {
            None => Ok(()),
            Some((key, _)) => {
                let key = key.chars().take(40).collect();
                Err(ShapeError::Unknown { at: self.at.to_string(), key, expected })
            }
        }
    }
}

/// The elements of an array.
pub(crate) fn list(
    value: Value,
    expected: &'static str,
    at: &At<'_>,
) -> Result<Vec<Value>, ShapeError> {
    let Value::Array(values) = value else { return Err(at.kind(expected, &value)) };
    Ok(values)
}

pub(crate) fn text(value: Value, max: usize, at: &At<'_>) -> Result<String, ShapeError> {
    let Value::String(text) = value else { return Err(at.kind("text", &value)) };
    if text.len() > max {
        let (at, got) = (at.to_string(), text.len());
        return Err(ShapeError::Limit { at, what: "bytes", got, max });
    }
    Ok(text)
}
