//! Asking a point what a filter asks.

use super::compile::{Real, Subject, TextTest, real};
use super::{Bounds, Slice};
use crate::datetime::Datetime;
use crate::geo::{GeoBox, GeoCircle, GeoPoint, GeoPolygon};
use crate::id::PointId;
use crate::path::{Path, elements};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::ops::RangeInclusive;

/// A filter ready to be asked of many points; made by [`Filter::compile`](super::Filter::compile).
#[derive(Debug)]
pub struct Compiled {
    pub(super) root: Group,
}

/// Conditions put together.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) must: Box<[Check]>,
    pub(super) should: Box<[Check]>,
    pub(super) must_not: Box<[Check]>,
    pub(super) min_should: Option<(usize, Box<[Check]>)>,
}

/// One condition.
#[derive(Debug)]
pub(super) enum Check {
    /// One of the values, or elements of them, passes.
    Any(Path, Within),
    Count(Path, Bounds<u64>),
    FieldEmpty(Path, bool),
    FieldNull(Path, bool),
    AllEmpty(Path),
    AnyNull(Path),
    Ids(HashSet<PointId>),
    Vector(String),
    Slice(Slice),
    /// The path of elements.
    Nested(Path, Box<Group>),
    Group(Box<Group>),
}

/// What one value is asked.
#[derive(Debug)]
pub(super) enum Within {
    Text(Box<str>),
    Integer(i64),
    Bool(bool),
    Part(Box<str>),
    Parts(Box<[Box<str>]>),
    Prefix(Box<str>),
    Test(Box<dyn TextTest>),
    Texts(Words),
    NoText(Words),
    /// In order.
    Integers(Box<[i64]>),
    NoInteger(Box<[i64]>),
    /// Least and greatest of whole numbers and of floats, both included.
    Numbers {
        whole: (i128, i128),
        float: (f64, f64),
    },
    /// Microseconds.
    Moments(RangeInclusive<i64>),
    Box(GeoBox),
    Circle(GeoCircle),
    Polygon(Box<GeoPolygon>),
}

/// Texts to be found: few are looked through, many are hashed.
#[derive(Debug)]
pub(super) enum Words {
    Few(Box<[Box<str>]>),
    Many(HashSet<Box<str>>),
}

/// Up to this many texts, comparing each is faster than hashing one.
const FEW: usize = 12;

impl Words {
    pub(super) fn new(texts: &[String]) -> Self {
        let texts = texts.iter().map(|text| text.as_str().into());
        if texts.len() <= FEW { Self::Few(texts.collect()) } else { Self::Many(texts.collect()) }
    }

    fn have(&self, text: &str) -> bool {
        match self {
            Self::Few(list) => list.iter().any(|other| **other == *text),
            Self::Many(set) => set.contains(text),
        }
    }
}

impl Compiled {
    /// Whether a point passes. No allocation but for paths with `[]`.
    pub fn matches(&self, point: &impl Subject) -> bool {
        self.root.holds(point, None)
    }

    /// Whether some condition looks at the payload, so that it must be read.
    pub fn reads_payload(&self) -> bool {
        self.root.reads_payload()
    }
}

impl Group {
    fn all(&self) -> impl Iterator<Item = &Check> {
        let several = self.min_should.iter().flat_map(|(_, checks)| checks);
        self.must.iter().chain(&self.should).chain(&self.must_not).chain(several)
    }

    fn reads_payload(&self) -> bool {
        self.all().any(|check| match check {
            Check::Ids(_) | Check::Vector(_) | Check::Slice(_) => false,
            Check::Group(group) => group.reads_payload(),
            Check::Any(..)
            | Check::Count(..)
            | Check::FieldEmpty(..)
            | Check::FieldNull(..)
            | Check::AllEmpty(_)
            | Check::AnyNull(_)
            | Check::Nested(..) => true,
        })
    }

    /// `element` is the object of an array that is asked in place of the whole payload. As deep
    /// as filters may lie in one another.
    fn holds(&self, point: &impl Subject, element: Option<&Map<String, Value>>) -> bool {
        let holds = |check: &Check| check.holds(point, element);
        let enough = |(least, checks): &(usize, Box<[Check]>)| {
            checks.iter().filter(|check| holds(check)).take(*least).count() == *least
        };
        self.must.iter().all(holds)
            && !self.must_not.iter().any(holds)
            && (self.should.is_empty() || self.should.iter().any(holds))
            && self.min_should.as_ref().is_none_or(enough)
    }
}

impl Check {
    /// What is dearer is asked later.
    pub(super) fn cost(&self) -> u8 {
        match self {
            Self::Vector(_) | Self::Slice(_) | Self::Ids(_) => 0,
            Self::FieldEmpty(..)
            | Self::FieldNull(..)
            | Self::AllEmpty(_)
            | Self::AnyNull(_)
            | Self::Count(..) => 1,
            Self::Any(_, within) => within.cost(),
            Self::Group(_) => 5,
            Self::Nested(..) => 6,
        }
    }

    fn holds(&self, point: &impl Subject, element: Option<&Map<String, Value>>) -> bool {
        let payload = || element.unwrap_or_else(|| point.payload());
        match self {
            Self::Any(key, within) => key
                .values(payload())
                .any(|value| elements(value).any(|element| within.has(element))),
            Self::Count(key, bounds) => {
                let mut counts = key.values(payload()).map(count).peekable();
                match counts.peek() {
                    None => bounds.contain(&0),
                    Some(_) => counts.any(|count| bounds.contain(&count)),
                }
            }
            Self::FieldEmpty(key, is) => {
                let mut values = key.values(payload()).peekable();
                let missing = values.peek().is_none();
                if missing { *is } else { values.any(|value| is_empty(value) == *is) }
            }
            Self::FieldNull(key, is) => {
                let mut values = key.values(payload()).peekable();
                let missing = values.peek().is_none();
                if missing { !*is } else { values.any(|value| has_null(value) == *is) }
            }
            Self::AllEmpty(key) => key.values(payload()).all(is_empty),
            Self::AnyNull(key) => key.values(payload()).any(Value::is_null),
            Self::Ids(ids) => ids.contains(point.id()),
            Self::Vector(name) => point.has_vector(name),
            Self::Slice(slice) => slice.contains(point.id()),
            Self::Nested(key, group) => key
                .values(payload())
                .filter_map(Value::as_object)
                .any(|element| group.holds(point, Some(element))),
            Self::Group(group) => group.holds(point, element),
        }
    }
}

fn count(value: &Value) -> u64 {
    match value {
        Value::Null => 0,
        Value::Array(values) => values.len() as u64,
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => 1,
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

fn has_null(value: &Value) -> bool {
    elements(value).any(Value::is_null)
}

impl Within {
    fn cost(&self) -> u8 {
        match self {
            Self::Bool(_)
            | Self::Integer(_)
            | Self::Text(_)
            | Self::Prefix(_)
            | Self::Numbers { .. }
            | Self::Integers(_)
            | Self::NoInteger(_) => 1,
            Self::Texts(_) | Self::NoText(_) | Self::Box(_) => 2,
            Self::Moments(_) | Self::Circle(_) | Self::Part(_) => 3,
            Self::Parts(_) | Self::Polygon(_) | Self::Test(_) => 4,
        }
    }

    fn has(&self, value: &Value) -> bool {
        match self {
            Self::Bool(flag) => value.as_bool() == Some(*flag),
            Self::Integer(number) => value.as_i64() == Some(*number),
            Self::Integers(list) => {
                value.as_i64().is_some_and(|number| list.binary_search(&number).is_ok())
            }
            Self::NoInteger(list) => {
                let other =
                    value.as_i64().is_none_or(|number| list.binary_search(&number).is_err());
                other && !value.is_null()
            }
            Self::NoText(words) => {
                !value.is_null() && value.as_str().is_none_or(|text| !words.have(text))
            }
            Self::Numbers { whole, float } => {
                value.as_number().is_some_and(|number| match real(number) {
                    Real::Whole(number) => whole.0 <= number && number <= whole.1,
                    Real::Float(number) => float.0 <= number && number <= float.1,
                })
            }
            Self::Box(area) => GeoPoint::from_value(value).is_some_and(|p| area.contains(p)),
            Self::Circle(area) => GeoPoint::from_value(value).is_some_and(|p| area.contains(p)),
            Self::Polygon(area) => GeoPoint::from_value(value).is_some_and(|p| area.contains(p)),
            Self::Moments(range) => {
                Datetime::from_value(value).is_some_and(|moment| range.contains(&moment.micros()))
            }
            Self::Text(_)
            | Self::Part(_)
            | Self::Parts(_)
            | Self::Prefix(_)
            | Self::Test(_)
            | Self::Texts(_) => value.as_str().is_some_and(|text| self.has_text(text)),
        }
    }

    fn has_text(&self, text: &str) -> bool {
        match self {
            Self::Text(other) => **other == *text,
            Self::Part(part) => text.contains(&**part),
            Self::Parts(parts) => parts.iter().any(|part| text.contains(&**part)),
            Self::Prefix(start) => text.starts_with(&**start),
            Self::Test(test) => test.matches(text),
            Self::Texts(words) => words.have(text),
            Self::Bool(_)
            | Self::Integer(_)
            | Self::Integers(_)
            | Self::NoInteger(_)
            | Self::NoText(_)
            | Self::Numbers { .. }
            | Self::Moments(_)
            | Self::Box(_)
            | Self::Circle(_)
            | Self::Polygon(_) => false,
        }
    }
}
