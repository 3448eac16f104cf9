//! What an index of a field can be asked.

use super::place::Area;
use crate::text::Wanted;

/// One value of a field.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub enum Scalar<'a> {
    /// A whole text.
    Text(&'a str),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A UUID, most significant byte first.
    Uuid(u128),
    /// A moment, in microseconds since the beginning of 1970 in UTC.
    Moment(i64),
}

/// Which rows are asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Question<'a> {
    /// Rows with a value that is one of these. Keyword, integer, bool, datetime, uuid; numbers that
    /// are written in several ways are asked for by a range.
    Any(&'a [Scalar<'a>]),
    /// Rows with a value that is none of these: a value of another kind counts, `null` does not.
    /// Keyword, integer, bool, uuid.
    Except(&'a [Scalar<'a>]),
    /// Rows with a text that begins so, byte by byte. Keyword.
    Prefix(&'a str),
    /// Rows with a number in between, whether it is of the index's kind or not. Integer, float.
    Range(Numbers),
    /// Rows with a moment from one to another, both included, in microseconds. Datetime.
    Period(i64, i64),
    /// Rows with a place in an area. Geo.
    Within(Area<'a>),
    /// Rows with a text that has words. Text; phrases only where the schema asked for them.
    Words(&'a Wanted),
    /// Rows with a fact about what lies at the path. Any kind.
    Fact(Fact),
    /// Rows with so many elements at the path, both included: those of an array, none for `null`
    /// and for nothing, else one. Any kind.
    Count(u64, u64),
}

/// Numbers in between, both ends included: whole ones and others apart, so that none is rounded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    /// The least and the greatest whole number.
    pub whole: (i128, i128),
    /// The least and the greatest of the others.
    pub float: (f64, f64),
}

/// Something about all that lies at a path: one value, or several where it leads through arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// All of it is `null` or an empty array; nothing at all is.
    Empty,
    /// Some of it is, or there is nothing.
    PartEmpty,
    /// Some of it is neither.
    Filled,
    /// Some of it is `null`.
    Null,
    /// Some of it is `null` or an array with `null`.
    NullWithin,
    /// Some of it is neither, or there is nothing.
    PartSolid,
}

/// About how many rows an answer has: bounds that hold, and a guess between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// At least so many.
    pub min: u64,
    /// Likely so many.
    pub likely: u64,
    /// At most so many.
    pub max: u64,
}

impl Estimate {
    /// Exactly so many.
    pub fn exact(rows: u64) -> Self {
        Self { min: rows, likely: rows, max: rows }
    }
}

/// Which way values are walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the least.
    Ascending,
    /// From the greatest.
    Descending,
}

/// A walk over rows in order of their values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Walk<'a> {
    /// Which way.
    pub direction: Direction,
    /// The value it begins with, included; the first one if `None`.
    pub start: Option<Scalar<'a>>,
    /// Most pairs of a value and a row.
    pub limit: usize,
}
