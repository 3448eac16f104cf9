//! What values are asked, from JSON.

use crate::filter::{Bounds, Condition, Filter, Match, MatchList, MatchValue, Range, Test};
use crate::geo::{GeoBox, GeoCircle, GeoError, GeoPoint, GeoPolygon, Ring};
use crate::limits::MATCH_SIZE_MAX;
use crate::path::Path;
use crate::shape::{At, Object, ShapeError, list, text};
use serde_json::{Map, Number, Value};

const TESTS: &str = "beside key one of match, range, geo_bounding_box, geo_radius, geo_polygon, \
     values_count, is_empty or is_null";
const MATCHES: &str = "an object with one of value, text, text_any, phrase, prefix, any, \
     except";
const BOUNDS: &str = "lt, gt, gte, lte";
const TEXTS: &str = "texts throughout, as the first value is one";
const INTEGERS: &str = "whole numbers of 64 bits throughout, as the first value is one";

type Read = fn(Value, &At<'_>) -> Result<Test, ShapeError>;

/// What stands beside a key.
pub(super) fn field(key: Path, mut object: Object<'_>) -> Result<Condition, ShapeError> {
    let at = object.at;
    // Of a list of values each is asked these, the others ask about all of them.
    let mut tests: Vec<(&'static str, Test)> = Vec::new();
    let read: [(&'static str, Read); 8] = [
        ("match", |value, at| matching(value, at).map(Test::Match)),
        ("range", |value, at| range(value, at).map(Test::Range)),
        ("geo_bounding_box", |value, at| geo_box(value, at).map(Test::GeoBox)),
        ("geo_radius", |value, at| geo_circle(value, at).map(Test::GeoCircle)),
        ("geo_polygon", |value, at| geo_polygon(value, at).map(Test::GeoPolygon)),
        ("values_count", |value, at| values_count(value, at).map(Test::ValuesCount)),
        ("is_empty", |value, at| flag(&value, at).map(Test::IsEmpty)),
        ("is_null", |value, at| flag(&value, at).map(Test::IsNull)),
    ];
    for (name, read) in read {
        let Some(value) = object.take(name) else { continue };
        tests.push((name, read(value, &at.key(name))?));
    }
    object.end(TESTS)?;
    let whole =
        |test: &Test| matches!(test, Test::ValuesCount(_) | Test::IsEmpty(_) | Test::IsNull(_));
    let Some((first, test)) = tests.pop() else {
        return Err(at.kind(TESTS, &Value::Null));
    };
    if tests.is_empty() {
        return Ok(Condition::Field { key, test });
    }
    tests.push((first, test));
    if let Some((a, _)) = tests.iter().find(|(_, test)| whole(test)) {
        let b = tests.iter().find(|(b, _)| a != b).map_or("", |(b, _)| *b).to_owned();
        return Err(ShapeError::Conflict { at: at.to_string(), a, b });
    }
    let each = |(_, test)| Condition::Field { key: key.clone(), test };
    let should = tests.into_iter().map(each).collect();
    Ok(Condition::Filter(Filter { should, ..Filter::default() }))
}

fn matching(value: Value, at: &At<'_>) -> Result<Match, ShapeError> {
    let mut object = Object::new(value, MATCHES, at)?;
    let kinds = ["value", "text", "text_any", "phrase", "prefix", "any", "except"];
    let given: Vec<&'static str> = kinds.into_iter().filter(|kind| object.has(kind)).collect();
    let kind = match given.as_slice() {
        [kind] => *kind,
        [a, b, ..] => {
            let (at, b) = (at.to_string(), (*b).to_owned());
            return Err(ShapeError::Conflict { at, a, b });
        }
        [] => {
            let Some(null) = kinds.into_iter().find(|kind| object.holds(kind)) else {
                object.end(MATCHES)?;
                return Err(at.kind(MATCHES, &Value::Object(Map::new())));
            };
            null
        }
    };
    let value = object.need(kind)?;
    object.end(MATCHES)?;
    let at = at.key(kind);
    Ok(match kind {
        "value" => Match::Value(match_value(value, &at)?),
        "text" => Match::Text(text(value, MATCH_SIZE_MAX, &at)?),
        "text_any" => Match::TextAny(text(value, MATCH_SIZE_MAX, &at)?),
        "phrase" => Match::Phrase(text(value, MATCH_SIZE_MAX, &at)?),
        "prefix" => Match::Prefix(text(value, MATCH_SIZE_MAX, &at)?),
        "any" => Match::Any(match_list(value, &at)?),
        _ => Match::Except(match_list(value, &at)?),
    })
}

fn match_value(value: Value, at: &At<'_>) -> Result<MatchValue, ShapeError> {
    let expected = "a text, a whole number of 64 bits, true or false (a range finds other numbers)";
    match value {
        Value::String(_) => text(value, MATCH_SIZE_MAX, at).map(MatchValue::Text),
        Value::Bool(flag) => Ok(MatchValue::Bool(flag)),
        Value::Number(_) | Value::Null | Value::Array(_) | Value::Object(_) => {
            value.as_i64().map(MatchValue::Integer).ok_or_else(|| at.kind(expected, &value))
        }
    }
}

fn match_list(value: Value, at: &At<'_>) -> Result<MatchList, ShapeError> {
    let values = list(value, "an array of texts or of whole numbers", at)?;
    let integers = match values.first() {
        None => return Ok(MatchList::Texts(Vec::new())),
        Some(Value::String(_)) => false,
        Some(first) if first.as_i64().is_some() => true,
        Some(other) => {
            return Err(at.index(0).kind("a text or a whole number of 64 bits", other));
        }
    };
    if integers {
        let read = |(n, value): (usize, &Value)| {
            value.as_i64().ok_or_else(|| at.index(n).kind(INTEGERS, value))
        };
        let numbers: Result<_, _> = values.iter().enumerate().map(read).collect();
        return numbers.map(MatchList::Integers);
    }
    let read = |(n, value): (usize, Value)| {
        let at = at.index(n);
        if value.is_string() {
            text(value, MATCH_SIZE_MAX, &at)
        } else {
            Err(at.kind(TEXTS, &value))
        }
    };
    let texts: Result<_, _> = values.into_iter().enumerate().map(read).collect();
    texts.map(MatchList::Texts)
}

fn bounds<T>(
    value: Value,
    read: impl Fn(Value, &At<'_>) -> Result<T, ShapeError>,
    at: &At<'_>,
) -> Result<Bounds<T>, ShapeError> {
    let mut object = Object::new(value, "an object with bounds: lt, gt, gte, lte", at)?;
    let mut bound = |key| object.take(key).map(|value| read(value, &at.key(key))).transpose();
    let bounds =
        Bounds { lt: bound("lt")?, gt: bound("gt")?, gte: bound("gte")?, lte: bound("lte")? };
    object.end(BOUNDS)?;
    Ok(bounds)
}

fn range(value: Value, at: &At<'_>) -> Result<Range, ShapeError> {
    let texts = |value: &Value| {
        ["lt", "gt", "gte", "lte"].iter().any(|key| value.get(key).is_some_and(Value::is_string))
    };
    if texts(&value) {
        let moment = |value, at: &At<'_>| {
            let Value::String(text) = value else {
                return Err(at.kind("a date and time, as another bound is one", &value));
            };
            text.parse().map_err(|source| ShapeError::Datetime { at: at.to_string(), source })
        };
        return bounds(value, moment, at).map(Range::Datetime);
    }
    let number = |value, at: &At<'_>| -> Result<Number, ShapeError> {
        let Value::Number(number) = value else {
            return Err(at.kind("a number or a date and time", &value));
        };
        Ok(number)
    };
    bounds(value, number, at).map(Range::Number)
}

fn values_count(value: Value, at: &At<'_>) -> Result<Bounds<u64>, ShapeError> {
    let count = |value: Value, at: &At<'_>| {
        value.as_u64().ok_or_else(|| at.kind("a whole number from 0", &value))
    };
    bounds(value, count, at)
}

fn flag(value: &Value, at: &At<'_>) -> Result<bool, ShapeError> {
    value.as_bool().ok_or_else(|| at.kind("true or false", value))
}

fn geo(at: &At<'_>) -> impl FnOnce(GeoError) -> ShapeError {
    |source| ShapeError::Geo { at: at.to_string(), source }
}

fn float(value: &Value, at: &At<'_>) -> Result<f64, ShapeError> {
    value.as_f64().ok_or_else(|| at.kind("a number", value))
}

fn point(value: Value, at: &At<'_>) -> Result<GeoPoint, ShapeError> {
    let mut object = Object::new(value, "an object with lon and lat", at)?;
    let lon = float(&object.need("lon")?, &at.key("lon"))?;
    let lat = float(&object.need("lat")?, &at.key("lat"))?;
    object.end("lon and lat")?;
    GeoPoint::new(lon, lat).map_err(geo(at))
}

fn geo_box(value: Value, at: &At<'_>) -> Result<GeoBox, ShapeError> {
    let mut object = Object::new(value, "an object with top_left and bottom_right", at)?;
    let top_left = point(object.need("top_left")?, &at.key("top_left"))?;
    let bottom_right = point(object.need("bottom_right")?, &at.key("bottom_right"))?;
    object.end("top_left and bottom_right")?;
    Ok(GeoBox { top_left, bottom_right })
}

fn geo_circle(value: Value, at: &At<'_>) -> Result<GeoCircle, ShapeError> {
    let mut object = Object::new(value, "an object with center and radius", at)?;
    let center = point(object.need("center")?, &at.key("center"))?;
    let radius = float(&object.need("radius")?, &at.key("radius"))?;
    object.end("center and radius")?;
    GeoCircle::new(center, radius).map_err(geo(at))
}

fn geo_polygon(value: Value, at: &At<'_>) -> Result<GeoPolygon, ShapeError> {
    let mut object = Object::new(value, "an object with exterior and perhaps interiors", at)?;
    let exterior = ring(object.need("exterior")?, &at.key("exterior"))?;
    let interiors = object.take("interiors").map(|value| {
        let at = at.key("interiors");
        let rings = list(value, "an array of rings", &at)?;
        let read = |(n, value)| ring(value, &at.index(n));
        rings.into_iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()
    });
    object.end("exterior and interiors")?;
    Ok(GeoPolygon { exterior, interiors: interiors.transpose()?.unwrap_or_default() })
}

fn ring(value: Value, at: &At<'_>) -> Result<Ring, ShapeError> {
    let mut object = Object::new(value, "an object with points", at)?;
    let points = {
        let at = at.key("points");
        let points = list(object.need("points")?, "an array of points", &at)?;
        let read = |(n, value)| point(value, &at.index(n));
        points.into_iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?
    };
    object.end("points alone")?;
    Ring::new(points).map_err(geo(at))
}
