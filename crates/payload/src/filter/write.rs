//! Filters to JSON.

use super::{
    Bounds, Condition, Filter, Match, MatchList, MatchValue, MinShould, Range, Slice, Test,
};
use crate::path::Path;
use serde::ser::{Serialize, SerializeMap, Serializer};

/// `{key: value}`.
struct Entry<'a, T: ?Sized>(&'static str, &'a T);

impl<T: Serialize + ?Sized> Serialize for Entry<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, self.1)?;
        map.end()
    }
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let parts = [("must", &self.must), ("should", &self.should), ("must_not", &self.must_not)];
        for (key, conditions) in parts {
            if !conditions.is_empty() {
                map.serialize_entry(key, conditions)?;
            }
        }
        if let Some(part) = &self.min_should {
            map.serialize_entry("min_should", part)?;
        }
        map.end()
    }
}

impl Serialize for MinShould {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("conditions", &self.conditions)?;
        map.serialize_entry("min_count", &self.min_count)?;
        map.end()
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Field { key, test } => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("key", key)?;
                write_test(&mut map, test)?;
                map.end()
            }
            Self::IsEmpty(key) => Entry("is_empty", &Entry("key", key)).serialize(serializer),
            Self::IsNull(key) => Entry("is_null", &Entry("key", key)).serialize(serializer),
            Self::HasId(ids) => Entry("has_id", ids).serialize(serializer),
            Self::HasVector(name) => Entry("has_vector", name).serialize(serializer),
            Self::Slice(slice) => Entry("slice", slice).serialize(serializer),
            Self::Nested { key, filter } => {
                Entry("nested", &Nested { key, filter }).serialize(serializer)
            }
            Self::Filter(filter) => filter.serialize(serializer),
        }
    }
}

#[derive(serde::Serialize)]
struct Nested<'a> {
    key: &'a Path,
    filter: &'a Filter,
}

impl Serialize for Slice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("total", &self.total)?;
        map.serialize_entry("index", &self.index)?;
        map.end()
    }
}

fn write_test<M: SerializeMap>(map: &mut M, test: &Test) -> Result<(), M::Error> {
    match test {
        Test::Match(test) => map.serialize_entry("match", test),
        Test::Range(Range::Number(bounds)) => map.serialize_entry("range", bounds),
        Test::Range(Range::Datetime(bounds)) => map.serialize_entry("range", bounds),
        Test::GeoBox(area) => map.serialize_entry("geo_bounding_box", area),
        Test::GeoCircle(area) => map.serialize_entry("geo_radius", area),
        Test::GeoPolygon(area) => map.serialize_entry("geo_polygon", area),
        Test::ValuesCount(bounds) => map.serialize_entry("values_count", bounds),
        Test::IsEmpty(is) => map.serialize_entry("is_empty", is),
        Test::IsNull(is) => map.serialize_entry("is_null", is),
    }
}

impl Serialize for Match {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => Entry("value", value).serialize(serializer),
            Self::Text(text) => Entry("text", text).serialize(serializer),
            Self::TextAny(text) => Entry("text_any", text).serialize(serializer),
            Self::Phrase(text) => Entry("phrase", text).serialize(serializer),
            Self::Prefix(text) => Entry("prefix", text).serialize(serializer),
            Self::Any(list) => Entry("any", list).serialize(serializer),
            Self::Except(list) => Entry("except", list).serialize(serializer),
        }
    }
}

impl Serialize for MatchValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Bool(flag) => serializer.serialize_bool(*flag),
        }
    }
}

impl Serialize for MatchList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Texts(list) => list.serialize(serializer),
            Self::Integers(list) => list.serialize(serializer),
        }
    }
}

impl<T: Serialize> Serialize for Bounds<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let bounds = [("lt", &self.lt), ("gt", &self.gt), ("gte", &self.gte), ("lte", &self.lte)];
        for (key, bound) in bounds {
            if let Some(bound) = bound {
                map.serialize_entry(key, bound)?;
            }
        }
        map.end()
    }
}
