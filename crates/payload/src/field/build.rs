//! Building an index of a field from the values of its rows.

use super::column::{self, float_key};
use super::dictionary::DictionaryWriter;
use super::part::put_varint;
use super::posting::{SetWriter, bitmap_bytes};
use super::{BuildError, KIND, place, uuid_of};
use crate::text::{Cutter, Side};
use crate::{Datetime, FieldKind, FieldParams, FieldSchema, GeoPoint, elements};
use kvant_storage::frame::{Section, to_bytes};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// Collects the values of one field, row by row, and writes the index.
///
/// Holds about what the index will take, and for texts a map of the distinct words.
#[derive(Debug)]
pub struct FieldBuilder {
    schema: FieldSchema,
    values: Values,
    facts: Facts,
    next: u32,
}

#[derive(Debug)]
enum Values {
    Texts(HashMap<String, Vec<u32>>),
    Numbers(Numbers),
    Moments(Vec<(i64, u32)>),
    Uuids(Vec<(u128, u32)>),
    Bools([Vec<u32>; 2]),
    Places(Vec<(GeoPoint, u32)>),
    Words(Words),
}

/// Numbers by how they are written, so that none is rounded to be compared.
#[derive(Debug, Default)]
struct Numbers {
    /// Whole numbers of 64 bits with sign.
    whole: Vec<(i64, u32)>,
    /// Keys of numbers that are not whole.
    float: Vec<(i64, u32)>,
    /// Whole numbers above those.
    large: Vec<(u128, u32)>,
}

/// What is known of rows whatever their values are.
#[derive(Debug, Default)]
struct Facts {
    /// See [`Fact`](super::Fact).
    empty: Vec<u32>,
    part_empty: Vec<u32>,
    null: Vec<u32>,
    null_within: Vec<u32>,
    part_solid: Vec<u32>,
    /// Rows with a value that is not of the index's kind.
    other: Vec<u32>,
    /// Rows with one that is.
    valued: Vec<u32>,
    /// Rows with several distinct values of the kind, and how many.
    several: Vec<u32>,
    distinct: Vec<u8>,
    counts: BTreeMap<u64, Vec<u32>>,
    /// Rows the index can answer with, its pairs of a value and a row, most of one row.
    reachable: u32,
    entries: u64,
    most: u32,
}

#[derive(Debug)]
struct Words {
    cutter: Cutter,
    /// Whether places are kept.
    placed: bool,
    numbers: HashMap<String, u32>,
    /// The row of each text. Words have sets of texts, so that all of them stand in one.
    texts: Vec<u32>,
    sets: Vec<Vec<u32>>,
    places: Vec<Vec<u8>>,
    /// The words of the current text with their places.
    found: Vec<(u32, u32)>,
}

impl FieldBuilder {
    /// For a field to be indexed as `schema` says.
    pub fn new(schema: &FieldSchema) -> Self {
        let values = match &schema.params {
            FieldParams::Keyword { .. } => Values::Texts(HashMap::new()),
            FieldParams::Integer { .. } | FieldParams::Float => Values::Numbers(Numbers::default()),
            FieldParams::Datetime => Values::Moments(Vec::new()),
            FieldParams::Uuid => Values::Uuids(Vec::new()),
            FieldParams::Bool => Values::Bools([Vec::new(), Vec::new()]),
            FieldParams::Geo => Values::Places(Vec::new()),
            FieldParams::Text(params) => Values::Words(Words {
                cutter: Cutter::new(params),
                placed: params.phrase_matching == Some(true),
                numbers: HashMap::new(),
                texts: Vec::new(),
                sets: Vec::new(),
                places: Vec::new(),
                found: Vec::new(),
            }),
        };
        Self { schema: schema.clone(), values, facts: Facts::default(), next: 0 }
    }

    /// Takes the next row: `values` are those at the field's path, an array among them being one.
    pub fn push<'v>(&mut self, values: impl IntoIterator<Item = &'v Value>) {
        let row = self.next;
        assert!(row < u32::MAX, "more rows than a segment has");
        self.next += 1;
        let values: Vec<&Value> = values.into_iter().collect();
        let found = self.values.take(self.schema.kind(), row, &values);
        self.facts.take(row, &values, &found);
    }

    /// The index of all rows taken, as the bytes of a file.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn finish(self) -> Result<Vec<u8>, BuildError> {
        let Self { schema, values, facts, next } = self;
        let mut file = File::default();
        file.put("schema", serde_json::to_vec(&schema).unwrap_or_default());
        facts.write(next, &mut file);
        values.write(&mut file)?;
        Ok(file.bytes())
    }
}

/// Sections of a file.
#[derive(Default)]
struct File(Vec<(&'static str, Vec<u8>)>);

impl File {
    fn put(&mut self, name: &'static str, data: Vec<u8>) {
        self.0.push((name, data));
    }

    fn put_sets(&mut self, sets: SetWriter) {
        self.put("slots", sets.slots);
        self.put("sets", sets.sets);
    }

    fn bytes(self) -> Vec<u8> {
        let sections: Vec<Section<'_>> =
            self.0.iter().map(|(name, data)| Section { name, data }).collect();
        to_bytes(&KIND, 0, &sections)
    }
}

/// What a row has of the index's kind.
struct Found {
    /// Distinct values.
    distinct: usize,
    /// Values the index answers with: of numbers, also those that are not of the kind.
    entries: usize,
    /// Elements, `null` not counted, that are no such values.
    other: usize,
}

impl Values {
    fn take(&mut self, kind: FieldKind, row: u32, values: &[&Value]) -> Found {
        let all =
            || values.iter().flat_map(|value| elements(value)).filter(|value| !value.is_null());
        match self {
            Self::Texts(texts) => take_texts(texts, row, all()),
            Self::Numbers(numbers) => numbers.take(kind, row, all()),
            Self::Moments(list) => take_list(list, row, all(), |value| {
                Datetime::from_value(value).map(Datetime::micros)
            }),
            Self::Uuids(list) => take_list(list, row, all(), |v| uuid_of(v.as_str()?)),
            Self::Places(list) => {
                let mut here = Vec::new();
                let bits = |point: GeoPoint| (point.lon().to_bits(), point.lat().to_bits());
                let found =
                    take_list(&mut here, row, all(), |value| GeoPoint::from_value(value).map(bits));
                let point = |(lon, lat)| GeoPoint::new(f64::from_bits(lon), f64::from_bits(lat));
                list.extend(
                    here.into_iter().filter_map(|(bits, row)| Some((point(bits).ok()?, row))),
                );
                found
            }
            Self::Bools(rows) => {
                let (mut other, mut distinct) = (0, 0);
                for value in all() {
                    let Some(value) = value.as_bool() else {
                        other += 1;
                        continue;
                    };
                    let rows = &mut rows[usize::from(value)];
                    if rows.last() != Some(&row) {
                        rows.push(row);
                        distinct += 1;
                    }
                }
                Found { distinct, entries: distinct, other }
            }
            Self::Words(words) => words.take(row, all()),
        }
    }

    fn write(self, file: &mut File) -> Result<(), BuildError> {
        let two = |file: &mut File, (values, rows)| {
            file.put("values", values);
            file.put("rows", rows);
        };
        match self {
            Self::Texts(texts) => {
                let mut texts: Vec<_> = texts.into_iter().collect();
                texts.sort_unstable();
                let texts = texts.iter().map(|(text, rows)| (text.as_str(), rows.as_slice()));
                put_dictionary(file, texts)?;
            }
            Self::Numbers(mut numbers) => {
                two(file, column::write(&mut numbers.whole));
                let (values, rows) = column::write(&mut numbers.float);
                file.put("floats", values);
                file.put("float-rows", rows);
                let (values, rows) = column::write(&mut numbers.large);
                file.put("larges", values);
                file.put("large-rows", rows);
            }
            Self::Moments(mut list) => two(file, column::write(&mut list)),
            Self::Uuids(mut list) => two(file, column::write(&mut list)),
            Self::Places(mut list) => two(file, place::write(&mut list)),
            Self::Bools(rows) => {
                let mut sets = SetWriter::default();
                for rows in &rows {
                    sets.push(rows);
                }
                file.put_sets(sets);
            }
            Self::Words(words) => words.write(file)?,
        }
        Ok(())
    }
}

impl Numbers {
    fn take<'v>(
        &mut self,
        kind: FieldKind,
        row: u32,
        values: impl Iterator<Item = &'v Value> + Clone,
    ) -> Found {
        let all = values.clone().count();
        let whole = take_list(&mut self.whole, row, values.clone(), Value::as_i64);
        let float = take_list(&mut self.float, row, values.clone(), |value| {
            value.as_f64().filter(|_| value.is_f64()).map(float_key)
        });
        let large = take_list(&mut self.large, row, values, |value| {
            value.as_u64().filter(|_| !value.is_i64()).map(u128::from)
        });
        let entries = whole.distinct + float.distinct + large.distinct;
        if kind == FieldKind::Integer {
            return Found { distinct: whole.distinct, entries, other: whole.other };
        }
        let numbers = 3 * all - whole.other - float.other - large.other;
        Found { distinct: entries, entries, other: all - numbers }
    }
}

fn take_texts<'v>(
    texts: &mut HashMap<String, Vec<u32>>,
    row: u32,
    values: impl Iterator<Item = &'v Value>,
) -> Found {
    let (mut other, mut distinct) = (0, 0);
    for value in values {
        let Some(text) = value.as_str() else {
            other += 1;
            continue;
        };
        match texts.get_mut(text) {
            Some(rows) if rows.last() == Some(&row) => continue,
            Some(rows) => rows.push(row),
            None => drop(texts.insert(text.to_owned(), vec![row])),
        }
        distinct += 1;
    }
    Found { distinct, entries: distinct, other }
}

fn take_list<'v, T: Ord + Copy>(
    list: &mut Vec<(T, u32)>,
    row: u32,
    values: impl Iterator<Item = &'v Value>,
    read: impl Fn(&Value) -> Option<T>,
) -> Found {
    let from = list.len();
    let mut other = 0;
    for value in values {
        match read(value) {
            Some(value) => list.push((value, row)),
            None => other += 1,
        }
    }
    list[from..].sort_unstable();
    let mut kept = from;
    for at in from..list.len() {
        if kept == from || list[kept - 1] != list[at] {
            list[kept] = list[at];
            kept += 1;
        }
    }
    list.truncate(kept);
    Found { distinct: kept - from, entries: kept - from, other }
}

fn put_dictionary<'a>(
    file: &mut File,
    texts: impl Iterator<Item = (&'a str, &'a [u32])>,
) -> Result<(), BuildError> {
    let mut dictionary = DictionaryWriter::default();
    for (text, rows) in texts {
        dictionary.push(text, rows)?;
    }
    file.put("keys", dictionary.keys);
    file.put("ends", dictionary.ends);
    file.put_sets(dictionary.sets);
    Ok(())
}

impl Facts {
    fn take(&mut self, row: u32, values: &[&Value], found: &Found) {
        let empty = |value: &&Value| match value {
            Value::Null => true,
            Value::Array(values) => values.is_empty(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => false,
        };
        let null_within = |value: &&Value| elements(value).any(Value::is_null);
        let missing = values.is_empty();
        for (rows, holds) in [
            (&mut self.empty, values.iter().all(empty)),
            (&mut self.part_empty, missing || values.iter().any(empty)),
            (&mut self.null, values.iter().any(|value| value.is_null())),
            (&mut self.null_within, values.iter().any(null_within)),
            (&mut self.part_solid, missing || !values.iter().all(null_within)),
        ] {
            if holds {
                rows.push(row);
            }
        }
        if found.other > 0 {
            self.other.push(row);
        }
        if found.distinct > 0 {
            self.valued.push(row);
        }
        if found.distinct > 1 {
            self.several.push(row);
            self.distinct.extend_from_slice(&(found.distinct as u32).to_le_bytes());
        }
        self.reachable += u32::from(found.entries > 0);
        self.entries += found.entries as u64;
        self.most = self.most.max(found.entries as u32);
        let none = [&Value::Null];
        let counted = if values.is_empty() { &none[..] } else { values };
        for value in counted {
            let count = if value.is_null() { 0 } else { elements(value).count() as u64 };
            let rows = self.counts.entry(count).or_default();
            if rows.last() != Some(&row) {
                rows.push(row);
            }
        }
    }

    fn write(self, rows: u32, file: &mut File) {
        let mut head = Vec::new();
        for number in [rows, self.reachable, self.most, 0] {
            head.extend_from_slice(&number.to_le_bytes());
        }
        head.extend_from_slice(&self.entries.to_le_bytes());
        file.put("head", head);
        for (name, rows) in [
            ("empty", &self.empty),
            ("part-empty", &self.part_empty),
            ("null", &self.null),
            ("null-within", &self.null_within),
            ("part-solid", &self.part_solid),
            ("other", &self.other),
            ("valued", &self.valued),
            ("several", &self.several),
        ] {
            file.put(name, bitmap_bytes(rows));
        }
        file.put("distinct", self.distinct);
        let (mut counts, mut sets) = (Vec::new(), SetWriter::default());
        for (count, rows) in &self.counts {
            counts.extend_from_slice(&count.to_le_bytes());
            sets.push(rows);
        }
        file.put("counts", counts);
        file.put("count-slots", sets.slots);
        file.put("count-sets", sets.sets);
    }
}

impl Words {
    fn take<'v>(&mut self, row: u32, values: impl Iterator<Item = &'v Value>) -> Found {
        let (mut texts, mut other) = (0, 0);
        for value in values {
            match value.as_str() {
                Some(text) => {
                    self.take_text(text);
                    self.texts.push(row);
                    texts += 1;
                }
                None => other += 1,
            }
        }
        Found { distinct: texts, entries: texts, other }
    }

    fn take_text(&mut self, text: &str) {
        let Self { cutter, numbers, texts, sets, places, found, .. } = self;
        found.clear();
        cutter.cut(text, Side::Stored, &mut |token, place| {
            let known = numbers.get(token).copied();
            let number = known.unwrap_or_else(|| {
                let number = sets.len() as u32;
                numbers.insert(token.to_owned(), number);
                sets.push(Vec::new());
                places.push(Vec::new());
                number
            });
            found.push((number, place));
        });
        found.sort_unstable();
        found.dedup();
        for same in found.chunk_by(|a, b| a.0 == b.0) {
            let word = same[0].0 as usize;
            sets[word].push(texts.len() as u32);
            if self.placed {
                let out = &mut places[word];
                put_varint(out, same.len() as u64);
                let mut last = 0;
                for (_, place) in same {
                    put_varint(out, u64::from(place - last));
                    last = *place;
                }
            }
        }
    }

    fn write(self, file: &mut File) -> Result<(), BuildError> {
        let mut order: Vec<(&str, usize)> =
            self.numbers.iter().map(|(word, number)| (word.as_str(), *number as usize)).collect();
        order.sort_unstable();
        put_dictionary(file, order.iter().map(|(word, n)| (*word, self.sets[*n].as_slice())))?;
        file.put("texts", self.texts.iter().flat_map(|row| row.to_le_bytes()).collect());
        if self.placed {
            let (mut starts, mut places) = (Vec::new(), Vec::new());
            for (_, number) in order {
                starts.extend_from_slice(&(places.len() as u64).to_le_bytes());
                places.extend_from_slice(&self.places[number]);
            }
            file.put("starts", starts);
            file.put("places", places);
        }
        Ok(())
    }
}
