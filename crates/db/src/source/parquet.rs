//! `.parquet`: columns by name, a vector being a list of numbers.

mod page;
mod time;

use std::panic::{AssertUnwindSafe, catch_unwind};

use kvant_storage::Bytes;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use serde_json::{Map, Number, Value};

use super::{Fields, HeaderProblem, Record, RecordProblem, json, limits};

/// Walks the rows.
///
/// The library trusts what it reads and panics on some broken files. No state of it is used after
/// that, so a panic is caught and becomes an error like any other.
pub(super) struct Reader {
    rows: Option<RowIter<'static>>,
    fields: Fields,
    count: usize,
    row: usize,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("row", &self.row).finish_non_exhaustive()
    }
}

fn unreadable(said: &dyn std::fmt::Display) -> HeaderProblem {
    HeaderProblem::unreadable("parquet", said)
}

impl Reader {
    /// Reads the footer and every page header.
    pub(super) fn new(bytes: &Bytes, fields: &Fields) -> Result<Self, HeaderProblem> {
        let opened = catch_unwind(AssertUnwindSafe(|| open(bytes)));
        let (rows, count) = opened.map_err(|_| unreadable(&"the metadata makes no sense"))??;
        Ok(Self { rows: Some(rows), fields: fields.clone(), count, row: 0 })
    }

    /// The row that [`Self::read`] gives next, from 0.
    pub(super) fn row(&self) -> u64 {
        self.row as u64
    }

    pub(super) fn rows_left(&self) -> usize {
        self.count.saturating_sub(self.row)
    }

    pub(super) fn skip(&mut self, count: usize) -> usize {
        (0..count).take_while(|_| self.next().is_some_and(|row| row.is_ok())).count()
    }

    pub(super) fn read(&mut self) -> Option<Result<Record, RecordProblem>> {
        let row = self.next()?;
        Some(row.and_then(|row| record(row, &self.fields)))
    }

    fn next(&mut self) -> Option<Result<Row, RecordProblem>> {
        let mut rows = self.rows.take()?;
        let next = catch_unwind(AssertUnwindSafe(|| (rows.next(), rows)));
        let Ok((row, rows)) = next else {
            return Some(Err(RecordProblem::unreadable("broken data", &"a page makes no sense")));
        };
        self.rows = Some(rows);
        let row = row?;
        self.row += 1;
        Some(row.map_err(|error| RecordProblem::unreadable("broken data", &error)))
    }
}

fn open(bytes: &Bytes) -> Result<(RowIter<'static>, usize), HeaderProblem> {
    let shared = bytes::Bytes::from_owner(bytes.clone());
    let reader = SerializedFileReader::new(shared).map_err(|error| unreadable(&error))?;
    let meta = reader.metadata().file_metadata();
    let columns = meta.schema_descr().num_columns();
    if columns > limits::PARQUET_COLUMNS_MAX {
        return Err(unreadable(&format!("{columns} columns")));
    }
    let count = usize::try_from(meta.num_rows()).map_err(|_| unreadable(&"rows below 0"))?;
    // The walk over all rows takes it for granted that every group opens.
    for group in 0..reader.num_row_groups() {
        reader.get_row_group(group).map_err(|error| unreadable(&error))?;
        check_group(reader.metadata().row_group(group), bytes)?;
    }
    Ok((RowIter::from_file_into(Box::new(reader)), count))
}

/// Holds every column of a row group to lie inside the file, and its pages to their limits.
fn check_group(group: &RowGroupMetaData, file: &[u8]) -> Result<(), HeaderProblem> {
    for column in group.columns() {
        let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let range = usize::try_from(start).ok().zip(usize::try_from(column.compressed_size()).ok());
        let bytes = range.and_then(|(start, size)| file.get(start..start.checked_add(size)?));
        let bytes = bytes.ok_or_else(|| unreadable(&"a column lies outside the file"))?;
        page::check(bytes).map_err(|problem| unreadable(&problem))?;
    }
    Ok(())
}

fn record(row: Row, fields: &Fields) -> Result<Record, RecordProblem> {
    let mut vector = None;
    let mut object = Map::new();
    for (name, field) in row.into_columns() {
        // A missing value is as if the key were not there.
        if matches!(field, Field::Null) {
            continue;
        }
        if let Field::ListInternal(list) = &field
            && name == fields.vector
        {
            vector = Some(numbers(&name, list.elements())?);
        } else {
            object.insert(name, value(&field));
        }
    }
    let record = json::split(object, fields)?;
    Ok(Record { vector: vector.or(record.vector), ..record })
}

fn numbers(name: &str, elements: &[Field]) -> Result<Vec<f32>, RecordProblem> {
    let number = |field: &Field| {
        // Straight from f32: most vectors are, and JSON would go through f64.
        if let Field::Float(number) = field {
            return Ok(*number);
        }
        if let Field::Double(number) = field {
            return Ok(*number as f32);
        }
        value(field).as_f64().map(|number| number as f32).ok_or_else(|| {
            let got = super::error::quote(&field.to_string());
            RecordProblem::Field { field: name.into(), expected: "a list of numbers", got }
        })
    };
    elements.iter().map(number).collect()
}

/// A field as JSON; times and decimals as text, bytes as text where they are text.
fn value(field: &Field) -> Value {
    let float = |number: f64| Number::from_f64(number).map_or(Value::Null, Value::Number);
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::Bool(*value),
        Field::Byte(number) => (*number).into(),
        Field::Short(number) => (*number).into(),
        Field::Int(number) => (*number).into(),
        Field::Long(number) => (*number).into(),
        Field::UByte(number) => (*number).into(),
        Field::UShort(number) => (*number).into(),
        Field::UInt(number) => (*number).into(),
        Field::ULong(number) => (*number).into(),
        Field::Float16(number) => float(number.to_f64()),
        Field::Float(number) => float((*number).into()),
        Field::Double(number) => float(*number),
        Field::Str(text) => Value::String(text.clone()),
        Field::Bytes(bytes) => Value::String(String::from_utf8_lossy(bytes.data()).into_owned()),
        Field::Decimal(_) => Value::String(field.to_string()),
        Field::Date(days) => Value::String(time::date((*days).into())),
        Field::TimeMillis(millis) => Value::String(time::clock(i64::from(*millis) * 1000)),
        Field::TimeMicros(micros) => Value::String(time::clock(*micros)),
        Field::TimestampMillis(millis) => Value::String(time::instant(millis.saturating_mul(1000))),
        Field::TimestampMicros(micros) => Value::String(time::instant(*micros)),
        Field::Group(row) => Value::Object(
            row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect(),
        ),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        Field::MapInternal(map) => Value::Object(
            map.entries().iter().map(|(key, field)| (name(key), value(field))).collect(),
        ),
    }
}

/// The key of a map as a JSON key.
fn name(key: &Field) -> String {
    let key = value(key);
    key.as_str().map_or_else(|| key.to_string(), ToOwned::to_owned)
}
