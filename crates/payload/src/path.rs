//! Where in a payload values lie.

mod parse;
mod place;
mod value;

pub use place::{MergeError, merge};
pub use value::{Elements, Values, elements};

use crate::limits::PATH_SIZE_MAX;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use std::fmt;

/// A place, or places, in a payload: a key of it, then steps downwards.
///
/// As text: keys joined by dots, `[3]` for one element of an array, `[]` for all of them:
/// `a.b[0].c`, `a[].b`. A key stands as it is where it has only letters, digits (of any script),
/// `_` and `-`; else in double quotes, within which `\"` and `\\` are the characters themselves:
/// `"a.b".c` begins with the key `a.b`. A dot never looks into an array by itself: the names of all
/// elements of `a` are `a[].name`. At most 1024 bytes.
///
/// Written back in the shortest form, so texts of one place compare equal once parsed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    first: String,
    rest: Vec<Step>,
}

/// One step downwards.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Into the value an object has under this key.
    Key(String),
    /// Into one element of an array, counted from 0.
    Index(usize),
    /// Into every element of an array.
    Every,
}

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No text at all.
    #[error("a path must not be empty")]
    Empty,
    /// Longer than 1024 bytes.
    #[error("path {start:?}… has {got} bytes, at most {PATH_SIZE_MAX} are allowed")]
    TooLong {
        /// How it starts.
        start: String,
        /// Its bytes.
        got: usize,
    },
    /// Something else stands where a part of a path was expected.
    #[error("path {text:?} at byte {at}: expected {expected}")]
    Form {
        /// How it starts.
        text: String,
        /// Where in it.
        at: usize,
        /// What was expected.
        expected: &'static str,
    },
}

impl Path {
    /// The path of one key of the payload itself, whatever characters it has.
    ///
    /// # Errors
    /// [`PathError::TooLong`].
    pub fn key(key: &str) -> Result<Self, PathError> {
        Self::from_steps(key, Vec::new())
    }

    /// From its parts.
    ///
    /// # Errors
    /// [`PathError::TooLong`].
    pub fn from_steps(first: &str, rest: Vec<Step>) -> Result<Self, PathError> {
        let path = Self { first: first.to_owned(), rest };
        let text = path.to_string();
        if text.len() > PATH_SIZE_MAX {
            return Err(too_long(&text));
        }
        Ok(path)
    }

    /// The key of the payload it begins with.
    pub fn first(&self) -> &str {
        &self.first
    }

    /// The steps below that key.
    pub fn steps(&self) -> &[Step] {
        &self.rest
    }

    /// The same place, all of its elements if it is an array: `a` becomes `a[]`, `a[]` stays.
    #[must_use]
    pub fn every(mut self) -> Self {
        if self.rest.last() != Some(&Step::Every) {
            self.rest.push(Step::Every);
        }
        self
    }

    /// The same place without a `[]` at its end.
    #[must_use]
    pub fn whole(mut self) -> Self {
        if self.rest.last() == Some(&Step::Every) {
            self.rest.pop();
        }
        self
    }

    /// `other` as seen from each place of `self`: `a[]` then `b.c` is `a[].b.c`.
    ///
    /// # Errors
    /// [`PathError::TooLong`].
    pub fn then(&self, other: &Self) -> Result<Self, PathError> {
        let step = Step::Key(other.first.clone());
        let steps = self.rest.iter().chain([&step]).chain(&other.rest);
        Self::from_steps(&self.first, steps.cloned().collect())
    }

    /// Whether the places of `self` and `other` may lie within one another, so that a change at one
    /// may be seen at the other. `a[0]` and `a[]` may; so may `a.b` and `a[].c`, of which only
    /// one can exist, but making one removes the other.
    pub fn overlaps(&self, other: &Self) -> bool {
        if self.first != other.first {
            return false;
        }
        for pair in self.rest.iter().zip(&other.rest) {
            match pair {
                (Step::Key(a), Step::Key(b)) if a == b => {}
                (Step::Index(a), Step::Index(b)) if a == b => {}
                (Step::Index(_) | Step::Every, Step::Every) | (Step::Every, Step::Index(_)) => {}
                (Step::Key(_), Step::Key(_)) | (Step::Index(_), Step::Index(_)) => return false,
                // What one makes an object of the other makes an array of.
                (Step::Key(_), Step::Index(_) | Step::Every)
                | (Step::Index(_) | Step::Every, Step::Key(_)) => return true,
            }
        }
        true
    }
}

fn too_long(text: &str) -> PathError {
    PathError::TooLong { start: text.chars().take(24).collect(), got: text.len() }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        parse::write_key(&self.first, f)?;
        for step in &self.rest {
            match step {
                Step::Key(key) => {
                    f.write_str(".")?;
                    parse::write_key(key, f)?;
                }
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Every => f.write_str("[]")?,
            }
        }
        Ok(())
    }
}

impl Serialize for Path {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
