//! The kinds of conditions.

use super::{Filter, Slice};
use crate::datetime::Datetime;
use crate::geo::{GeoBox, GeoCircle, GeoPolygon};
use crate::id::PointId;
use crate::path::Path;
use serde_json::Number;

/// Something a point is or is not.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// The values at a path pass a test: at least one of them does, see [`Test`].
    ///
    /// JSON in which several tests of values stand beside one key means that one of them passes,
    /// and is read as a filter with `should`.
    Field {
        /// Where the values lie.
        key: Path,
        /// What they are asked.
        test: Test,
    },
    /// Nothing lies at the path but `null` and empty arrays.
    IsEmpty(Path),
    /// A `null` lies at the path; one within an array that lies there does not count.
    IsNull(Path),
    /// The point is one of these.
    HasId(Vec<PointId>),
    /// The point has a vector of that name; the unnamed vector's name is empty.
    HasVector(String),
    /// The point falls into one of equal parts of all points.
    Slice(Slice),
    /// One element of an array, an object, passes the filter all by itself: its keys are those of
    /// this object. What is no object passes none. Conditions on the point itself (`has_id`,
    /// `has_vector`, `slice`) ask the point.
    Nested {
        /// Where the array lies, with or without `[]` at the end.
        key: Path,
        /// What one of its elements must pass.
        filter: Filter,
    },
    /// The point passes another filter.
    Filter(Filter),
}

/// What the values at a path are asked.
///
/// All but the last three look at the elements of an array rather than at it, but not at those of
/// an array within an array, and pass if one value does.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// Equality and words.
    Match(Match),
    /// Numbers or moments between bounds.
    Range(Range),
    /// Places in a box.
    GeoBox(GeoBox),
    /// Places near a place.
    GeoCircle(GeoCircle),
    /// Places in a polygon.
    GeoPolygon(GeoPolygon),
    /// How many values there are: the length of an array, 0 for `null` and for nothing, else 1.
    ValuesCount(Bounds<u64>),
    /// True: nothing is there, or `null` or an empty array is. False: something else is.
    IsEmpty(bool),
    /// True: `null` is there or an array with `null`. False: something else or nothing is.
    IsNull(bool),
}

/// Equality and words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// The value itself.
    Value(MatchValue),
    /// A text with all words of this one. Where the field has no index of words: a text that holds
    /// this one as it is, case included.
    Text(String),
    /// A text with one of these words. Without an index: one that holds one of these words, which
    /// are parted by white space, as it is.
    TextAny(String),
    /// A text with these words in this order. Without an index: as [`Text`](Self::Text).
    Phrase(String),
    /// A text that begins with this one, byte by byte.
    Prefix(String),
    /// One of these.
    Any(MatchList),
    /// A value that is none of these and not `null`. A value of another kind is none of these; no
    /// value at all does not pass.
    Except(MatchList),
}

/// A value to be equal to. Texts are compared byte by byte. A whole number equals a payload's only
/// where that is written as one: `1` is not `1.0`, as the reference has it; a [`Range`] from 1 to
/// 1 finds both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MatchValue {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// True or false.
    Bool(bool),
}

/// Values of one kind. An empty list of whole numbers is written, and read back, as one of texts,
/// which means the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MatchList {
    /// Texts.
    Texts(Vec<String>),
    /// Whole numbers.
    Integers(Vec<i64>),
}

/// Values between bounds; without a bound all of its kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Range {
    /// Numbers, compared by value and without rounding, whether they are written as whole or not.
    Number(Bounds<Number>),
    /// Texts that are moments; at least one bound is a text in JSON.
    Datetime(Bounds<Datetime>),
}

/// Bounds, all of which hold; none of them need be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds<T> {
    /// Values are less than this.
    pub lt: Option<T>,
    /// Values are greater than this.
    pub gt: Option<T>,
    /// Values are this or greater.
    pub gte: Option<T>,
    /// Values are this or less.
    pub lte: Option<T>,
}

impl<T> Default for Bounds<T> {
    fn default() -> Self {
        Self { lt: None, gt: None, gte: None, lte: None }
    }
}

impl<T: PartialOrd> Bounds<T> {
    /// Whether `value` is within all bounds.
    pub fn contain(&self, value: &T) -> bool {
        self.lt.as_ref().is_none_or(|bound| value < bound)
            && self.gt.as_ref().is_none_or(|bound| value > bound)
            && self.gte.as_ref().is_none_or(|bound| value >= bound)
            && self.lte.as_ref().is_none_or(|bound| value <= bound)
    }
}

impl MatchList {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Texts(list) => list.len(),
            Self::Integers(list) => list.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
