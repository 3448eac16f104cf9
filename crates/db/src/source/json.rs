//! `.jsonl`: one JSON object a line; blank lines are passed over.

use kvant_storage::Bytes;
use serde_json::{Map, Value};

use super::error::quote;
use super::{Fields, Record, RecordProblem, line};
use crate::PointId;

/// Walks the objects.
#[derive(Debug)]
pub(super) struct Reader {
    lines: line::Reader,
    fields: Fields,
}

impl Reader {
    pub(super) fn new(bytes: Bytes, fields: &Fields) -> Self {
        Self { lines: line::Reader::new(bytes), fields: fields.clone() }
    }

    pub(super) fn line(&self) -> u64 {
        self.lines.line()
    }

    pub(super) fn lines_left(&self) -> usize {
        self.lines.lines_left()
    }

    /// The next object as a record.
    pub(super) fn read(&mut self) -> Option<Result<Record, RecordProblem>> {
        Some(self.lines.read()?.and_then(|line| record(line, &self.fields)))
    }

    /// Passes over up to `count` objects without parsing them.
    pub(super) fn skip(&mut self, count: usize) -> usize {
        self.lines.skip(count)
    }
}

fn record(line: &str, fields: &Fields) -> Result<Record, RecordProblem> {
    let payload: Map<String, Value> = serde_json::from_str(line).map_err(|error| {
        // The parser counts lines inside the line; only its column helps.
        let text = error.to_string();
        let text = text.split(" at line ").next().unwrap_or_default();
        let said = format!("{text} at column {}", error.column());
        RecordProblem::unreadable("not a JSON object", &said)
    })?;
    split(payload, fields)
}

/// Takes out of an object what means something; the rest stays payload.
pub(super) fn split(
    mut payload: Map<String, Value>,
    fields: &Fields,
) -> Result<Record, RecordProblem> {
    let id = payload.remove(&fields.id).map(|value| point_id(&fields.id, &value)).transpose()?;
    let vector = match payload.remove(&fields.vector) {
        Some(value) => Some(numbers(&fields.vector, &value)?),
        None => None,
    };
    let text = match payload.get(&fields.text) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => return Err(wrong(&fields.text, "a string", other)),
        None => None,
    };
    Ok(Record { id, text, vector, payload })
}

fn point_id(field: &str, value: &Value) -> Result<PointId, RecordProblem> {
    const EXPECTED: &str = "a whole number from 0 or a string of 1 to 512 bytes";
    let id = match value {
        Value::Number(number) => number.as_u64().map(PointId::Number),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    id.ok_or_else(|| wrong(field, EXPECTED, value))
}

fn numbers(field: &str, value: &Value) -> Result<Vec<f32>, RecordProblem> {
    let Value::Array(values) = value else {
        return Err(wrong(field, "an array of numbers", value));
    };
    let number = |value: &Value| match value.as_f64() {
        Some(number) => Ok(number as f32),
        None => Err(wrong(field, "an array of numbers", value)),
    };
    values.iter().map(number).collect()
}

fn wrong(field: &str, expected: &'static str, got: &Value) -> RecordProblem {
    let got = match got {
        Value::Array(values) => format!("an array of {}", values.len()),
        Value::Object(_) => "an object".into(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            quote(&got.to_string())
        }
    };
    RecordProblem::Field { field: quote(field), expected, got }
}
