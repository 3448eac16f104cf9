//! Bounded reading of foreign lines, the same for every task.

use std::path::Path;

use kvant_storage::{Bytes, read_file};
use serde::de::DeserializeOwned;

use super::DataError;
use crate::limits;

/// A data file being read, for its bytes and for errors that name it.
pub(super) struct Source<'a> {
    path: &'a Path,
    bytes: Bytes,
}

/// How a file is laid out, by its extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Tsv,
    Csv,
    Jsonl,
}

impl<'a> Source<'a> {
    pub(super) fn open(path: &'a Path) -> Result<Self, DataError> {
        let bytes = read_file(path).map_err(DataError::Read)?;
        Ok(Self { path, bytes })
    }

    /// The form the extension names, whatever its case.
    pub(super) fn form(&self) -> Option<Form> {
        let extension = self.path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "tsv" => Some(Form::Tsv),
            "csv" => Some(Form::Csv),
            "jsonl" | "ndjson" => Some(Form::Jsonl),
            _ => None,
        }
    }

    pub(super) fn extension(&self, kind: &'static str, expected: &'static str) -> DataError {
        DataError::Extension { path: self.path.into(), kind, expected }
    }

    pub(super) fn line(&self, line: u64, what: impl Into<String>) -> DataError {
        DataError::Line { path: self.path.into(), line, what: what.into() }
    }

    pub(super) fn limit(&self, limit: usize, what: &'static str) -> DataError {
        DataError::Limit { path: self.path.into(), limit, what }
    }

    pub(super) fn empty(&self, what: &'static str) -> DataError {
        DataError::Empty { path: self.path.into(), what }
    }

    /// Numbered lines without their ends, the blank ones left out, in UTF-8.
    pub(super) fn lines(&self) -> impl Iterator<Item = Result<(u64, &str), DataError>> {
        let text = self.bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&self.bytes);
        let lines = text.split(|&byte| byte == b'\n').zip(1u64..);
        lines.filter_map(|(line, number)| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.trim_ascii().is_empty() {
                return None;
            }
            let checked = std::str::from_utf8(line).map(|line| (number, line));
            Some(checked.map_err(|_| self.line(number, "not UTF-8 text")))
        })
    }

    /// Numbered lines, each one JSON value.
    pub(super) fn values<T: DeserializeOwned>(
        &self,
    ) -> impl Iterator<Item = Result<(u64, T), DataError>> {
        self.lines().map(|line| {
            let (number, line) = line?;
            let value = serde_json::from_str(line);
            // The position inside the one line would read like a line of the file.
            let value = value.map_err(|error| {
                let what = error.to_string();
                let what = what.rsplit_once(" at line ").map_or(what.as_str(), |(head, _)| head);
                self.line(number, what)
            })?;
            Ok((number, value))
        })
    }

    /// Numbered `(text, category)` rows of a CSV file whose header names these two columns.
    pub(super) fn rows(&self) -> Result<Vec<(u64, String, String)>, DataError> {
        let mut reader = csv::ReaderBuilder::new().from_reader(&self.bytes[..]);
        let failure = |error: &csv::Error| {
            let line = error.position().map_or(1, csv::Position::line);
            if let csv::ErrorKind::UnequalLengths { expected_len, len, .. } = error.kind() {
                self.line(line, format!("expected {expected_len} fields, got {len}"))
            } else if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) {
                self.line(line, "not UTF-8 text")
            } else {
                self.line(line, "not CSV as of RFC 4180")
            }
        };
        let header = reader.headers().map_err(|error| failure(&error))?.clone();
        let column = |names: &[&str]| {
            let found = header.iter().position(|field| names.contains(&field.trim()));
            found.ok_or_else(|| {
                self.line(1, format!("expected a header 'text,category', found no '{}'", names[0]))
            })
        };
        let (text, category) = (column(&["text"])?, column(&["category", "label"])?);
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| failure(&error))?;
            let line = record.position().map_or(0, csv::Position::line);
            let field = |index: usize| record.get(index).unwrap_or_default();
            let text = self.text(line, field(text))?;
            rows.push((line, text, self.text(line, field(category))?));
            self.count(rows.len())?;
        }
        Ok(rows)
    }

    /// A text that is neither empty nor too long.
    pub(super) fn text(&self, line: u64, text: &str) -> Result<String, DataError> {
        if text.trim().is_empty() {
            return Err(self.line(line, "an empty text"));
        }
        if text.len() > limits::TEXT_BYTES {
            let what = format!("a text of {} bytes, limit {}", text.len(), limits::TEXT_BYTES);
            return Err(self.line(line, what));
        }
        Ok(text.to_owned())
    }

    /// Refuses more texts than a task may have.
    pub(super) fn count(&self, texts: usize) -> Result<(), DataError> {
        if texts > limits::TEXTS { Err(self.limit(limits::TEXTS, "texts")) } else { Ok(()) }
    }
}

/// An id or label given as a string or a whole number; both mean the same.
#[derive(serde::Deserialize)]
#[serde(untagged, expecting = "expected a string or a whole number")]
pub(super) enum Key {
    /// A whole number.
    Number(i64),
    /// A string.
    Text(String),
}

impl Key {
    pub(super) fn into_string(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}
