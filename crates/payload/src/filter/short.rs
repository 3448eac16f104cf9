//! Conditions as they are typed.

use super::{Bounds, Condition, Match, MatchValue, Range, Test};
use crate::limits::MATCH_SIZE_MAX;
use crate::path::{Path, PathError};
use serde_json::Value;
use std::str::FromStr;

/// Why a text is no condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// No `=` or nothing before it.
    #[error("condition {text:?} is not KEY=VALUE")]
    Form {
        /// How the text starts.
        text: String,
    },
    /// What stands before the `=` is no path.
    #[error("condition {text:?}: {source}")]
    Key {
        /// How the text starts.
        text: String,
        /// What is wrong with it.
        source: PathError,
    },
    /// What stands behind the `=` is no value to be equal to.
    #[error("condition {text:?}: expected text, a number, true, false or null behind '='")]
    Value {
        /// How the text starts.
        text: String,
    },
    /// The value is too long.
    #[error(
        "the value of condition {text:?} has {got} bytes, at most {MATCH_SIZE_MAX} are allowed"
    )]
    Size {
        /// How the text starts.
        text: String,
        /// Its bytes.
        got: usize,
    },
}

impl FromStr for Condition {
    type Err = ConditionError;

    /// `key=value`: the key is a [`Path`], the value is JSON where it parses as JSON (`3`, `true`,
    /// `"3"`), else text. Numbers are compared by value, so `year=2020` finds 2020 and 2020.0;
    /// `key=null` finds `null`, not what is missing.
    fn from_str(text: &str) -> Result<Self, ConditionError> {
        let start = || text.chars().take(40).collect::<String>();
        let Some((key, value)) = split(text).filter(|(key, _)| !key.is_empty()) else {
            return Err(ConditionError::Form { text: start() });
        };
        let key: Path =
            key.parse().map_err(|source| ConditionError::Key { text: start(), source })?;
        if value.len() > MATCH_SIZE_MAX {
            return Err(ConditionError::Size { text: start(), got: value.len() });
        }
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        let test = match value {
            Value::String(value) => Test::Match(Match::Value(MatchValue::Text(value))),
            Value::Bool(value) => Test::Match(Match::Value(MatchValue::Bool(value))),
            Value::Number(value) => {
                let (gte, lte) = (Some(value.clone()), Some(value));
                Test::Range(Range::Number(Bounds { gte, lte, ..Bounds::default() }))
            }
            Value::Null => Test::IsNull(true),
            Value::Array(_) | Value::Object(_) => {
                return Err(ConditionError::Value { text: start() });
            }
        };
        Ok(Self::Field { key, test })
    }
}

/// At the first `=` that stands in no quotes.
fn split(text: &str) -> Option<(&str, &str)> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'"' => quoted = !quoted,
            b'\\' => escaped = quoted,
            b'=' if !quoted => return Some((&text[..at], &text[at + 1..])),
            _ => {}
        }
    }
    None
}
