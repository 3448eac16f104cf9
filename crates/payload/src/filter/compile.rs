//! Filters made ready to be asked of many points.

use super::check::{Check, Compiled, Group, Within, Words};
use super::{Bounds, Condition, Filter, Match, MatchList, MatchValue, Range, Test};
use crate::datetime::Datetime;
use crate::id::PointId;
use crate::path::Path;
use crate::shape::{At, ShapeError};
use serde_json::{Map, Number, Value};
use std::fmt;

/// A point as a filter sees it.
pub trait Subject {
    /// What it is called.
    fn id(&self) -> &PointId;
    /// Its payload; asked for only where a condition looks at it, so it may be decoded then.
    fn payload(&self) -> &Map<String, Value>;
    /// Whether it has a vector of this name.
    fn has_vector(&self, name: &str) -> bool;
}

/// How the words of texts are compared where a field has an index of words, so that a point is let
/// through by its payload just when the index would.
pub trait Texts {
    /// The test for the texts at `key`, where elements of nested arrays are written `a[].b`, of
    /// [`Match::Text`], [`Match::TextAny`] or [`Match::Phrase`]; `None` where the field's texts
    /// are compared as they are.
    fn prepare(&self, key: &Path, query: &Match) -> Option<Box<dyn TextTest>>;
}

/// Whether a text passes, see [`Texts`].
pub trait TextTest: fmt::Debug + Send + Sync {
    /// Whether `text` passes.
    fn matches(&self, text: &str) -> bool;
}

/// No field has an index of words.
struct Plain;

impl Texts for Plain {
    fn prepare(&self, _: &Path, _: &Match) -> Option<Box<dyn TextTest>> {
        None
    }
}

impl Filter {
    /// Makes the filter ready to be asked of many points, texts compared as they are. O(filter).
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn compile(&self) -> Result<Compiled, ShapeError> {
        self.compile_with(&Plain)
    }

    /// The same, where some fields have indexes of words.
    ///
    /// # Errors
    /// As [`check`](Self::check), and [`ShapeError::Path`] where the paths of nested filters are
    /// too long together.
    pub fn compile_with(&self, texts: &dyn Texts) -> Result<Compiled, ShapeError> {
        self.check()?;
        Ok(Compiled { root: group(self, None, texts)? })
    }
}

/// `outer` are the elements of arrays that `filter` is asked of.
fn group(filter: &Filter, outer: Option<&Path>, texts: &dyn Texts) -> Result<Group, ShapeError> {
    let several = |conditions: &[Condition]| -> Result<Box<[Check]>, ShapeError> {
        let checks = conditions.iter().map(|condition| check(condition, outer, texts));
        let mut checks = checks.collect::<Result<Vec<_>, _>>()?;
        // None of them changes anything, so the cheap ones may come first.
        checks.sort_by_key(Check::cost);
        Ok(checks.into())
    };
    let min_should = match &filter.min_should {
        Some(part) => Some((part.min_count, several(&part.conditions)?)),
        None => None,
    };
    let (must, must_not) = (several(&filter.must)?, several(&filter.must_not)?);
    Ok(Group { must, should: several(&filter.should)?, must_not, min_should })
}

fn check(
    condition: &Condition,
    outer: Option<&Path>,
    texts: &dyn Texts,
) -> Result<Check, ShapeError> {
    let from_root = |key: &Path| match outer {
        None => Ok(key.clone()),
        Some(outer) => outer
            .then(key)
            .map_err(|source| ShapeError::Path { at: At::Root("nested.key").to_string(), source }),
    };
    Ok(match condition {
        Condition::Field { key, test: Test::Match(query) } => {
            let words = match query {
                Match::Text(_) | Match::TextAny(_) | Match::Phrase(_) => {
                    texts.prepare(&from_root(key)?, query)
                }
                Match::Value(_) | Match::Prefix(_) | Match::Any(_) | Match::Except(_) => None,
            };
            let within = words.map_or_else(|| matching(query), Within::Test);
            Check::Any(key.clone(), within)
        }
        Condition::Field { key, test } => field(key.clone(), test),
        Condition::IsEmpty(key) => Check::AllEmpty(key.clone()),
        Condition::IsNull(key) => Check::AnyNull(key.clone()),
        Condition::HasId(ids) => Check::Ids(ids.iter().cloned().collect()),
        Condition::HasVector(name) => Check::Vector(name.clone()),
        Condition::Slice(slice) => Check::Slice(*slice),
        Condition::Nested { key, filter } => {
            let elements = from_root(key)?.every();
            let inner = group(filter, Some(&elements), texts)?;
            Check::Nested(key.clone().every(), Box::new(inner))
        }
        Condition::Filter(filter) => Check::Group(Box::new(group(filter, outer, texts)?)),
    })
}

fn field(key: Path, test: &Test) -> Check {
    let within = match test {
        Test::Match(query) => matching(query),
        Test::Range(Range::Number(bounds)) => numbers(bounds),
        Test::Range(Range::Datetime(bounds)) => moments(bounds),
        Test::GeoBox(area) => Within::Box(*area),
        Test::GeoCircle(area) => Within::Circle(*area),
        Test::GeoPolygon(area) => Within::Polygon(Box::new(area.clone())),
        Test::ValuesCount(bounds) => return Check::Count(key, bounds.clone()),
        Test::IsEmpty(is) => return Check::FieldEmpty(key, *is),
        Test::IsNull(is) => return Check::FieldNull(key, *is),
    };
    Check::Any(key, within)
}

fn matching(query: &Match) -> Within {
    match query {
        Match::Value(MatchValue::Text(text)) => Within::Text(text.as_str().into()),
        Match::Value(MatchValue::Integer(number)) => Within::Integer(*number),
        Match::Value(MatchValue::Bool(flag)) => Within::Bool(*flag),
        Match::Text(text) | Match::Phrase(text) => Within::Part(text.as_str().into()),
        Match::TextAny(text) => {
            Within::Parts(text.split_whitespace().map(Box::<str>::from).collect())
        }
        Match::Prefix(text) => Within::Prefix(text.as_str().into()),
        Match::Any(MatchList::Texts(list)) => Within::Texts(Words::new(list)),
        Match::Any(MatchList::Integers(list)) => Within::Integers(sorted(list)),
        Match::Except(MatchList::Texts(list)) => Within::NoText(Words::new(list)),
        Match::Except(MatchList::Integers(list)) => Within::NoInteger(sorted(list)),
    }
}

fn sorted(list: &[i64]) -> Box<[i64]> {
    let mut list = list.to_vec();
    list.sort_unstable();
    list.dedup();
    list.into()
}

fn moments(bounds: &Bounds<Datetime>) -> Within {
    let (from, to) = moments_within(bounds);
    Within::Moments(from..=to)
}

/// The first and the last microsecond within bounds.
pub(crate) fn moments_within(bounds: &Bounds<Datetime>) -> (i64, i64) {
    let bound = |bound: &Option<Datetime>| bound.map(Datetime::micros);
    // Moments are far from the ends of their numbers.
    let from = bound(&bounds.gte).max(bound(&bounds.gt).map(|micros| micros + 1));
    let to = [bound(&bounds.lte), bound(&bounds.lt).map(|micros| micros - 1)];
    let to = to.into_iter().flatten().min();
    (from.unwrap_or(i64::MIN), to.unwrap_or(i64::MAX))
}

fn numbers(bounds: &Bounds<Number>) -> Within {
    let (whole, float) = numbers_within(bounds);
    Within::Numbers { whole, float }
}

/// The bounds as closed ranges of whole numbers and of floats, so that a payload's number is
/// compared with its own kind and never rounded.
pub(crate) fn numbers_within(bounds: &Bounds<Number>) -> ((i128, i128), (f64, f64)) {
    let (mut whole, mut float) = ((i128::MIN, i128::MAX), (f64::NEG_INFINITY, f64::INFINITY));
    for (bound, open) in [(&bounds.gte, false), (&bounds.gt, true)] {
        let Some(bound) = bound else { continue };
        let (ints, floats) = least(&real(bound), open);
        whole = (whole.0.max(ints), whole.1);
        float = (float.0.max(floats), float.1);
    }
    for (bound, open) in [(&bounds.lte, false), (&bounds.lt, true)] {
        let Some(bound) = bound else { continue };
        let mirrored = match real(bound) {
            Real::Whole(whole) => Real::Whole(-whole),
            Real::Float(float) => Real::Float(-float),
        };
        let (ints, floats) = least(&mirrored, open);
        whole = (whole.0, whole.1.min(ints.saturating_neg()));
        float = (float.0, float.1.min(-floats));
    }
    (whole, float)
}

/// A number, whole ones without rounding.
pub(super) enum Real {
    /// Of 64 bits with sign or without.
    Whole(i128),
    /// Any other.
    Float(f64),
}

pub(super) fn real(number: &Number) -> Real {
    match (number.as_i64(), number.as_u64()) {
        (Some(whole), _) => Real::Whole(i128::from(whole)),
        (None, Some(whole)) => Real::Whole(i128::from(whole)),
        // A JSON number that is not whole is a float.
        (None, None) => Real::Float(number.as_f64().unwrap_or(f64::NAN)),
    }
}

/// The least whole number and the least float that are not below `bound`, or above it.
fn least(bound: &Real, open: bool) -> (i128, f64) {
    match bound {
        Real::Whole(whole) => {
            let float = *whole as f64;
            let rounded = (float as i128).cmp(whole);
            let up = rounded.is_lt() || (open && rounded.is_eq());
            (whole + i128::from(open), if up { float.next_up() } else { float })
        }
        // A cast to a whole number ends at the greatest and the least.
        Real::Float(float) if open => ((float.floor() as i128).saturating_add(1), float.next_up()),
        Real::Float(float) => (float.ceil() as i128, *float),
    }
}
