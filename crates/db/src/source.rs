//! Foreign files as a stream of records: text, vectors and payload, one at a time.
//!
//! A [`Source`] names its format by the file's extension and yields [`Record`]s in file order.
//! Every byte is foreign: lengths are checked before they are believed, nothing is allocated on
//! the word of a header alone, and every error names the file and the line or row.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::PointId;

mod error;
mod fvecs;
mod hdf5;
mod json;
mod line;
pub mod npy;
mod parquet;
#[cfg(test)]
mod tests;

pub use error::{HeaderProblem, RecordProblem, SourceError};

/// What a foreign file may at most ask for.
pub mod limits {
    /// Longest line of a `.jsonl` or `.txt` file, in bytes.
    pub const LINE_BYTES_MAX: usize = 16 << 20;
    /// Longest header of a `.npy` file, in bytes.
    pub const NPY_HEADER_BYTES_MAX: usize = 64 << 10;
    /// Bytes of vectors read from an HDF5 file at a time, and of one of its chunks.
    pub const HDF5_READ_BYTES_MAX: usize = 64 << 20;
    /// A file unpacks to at most so many times its size.
    pub const RATIO_MAX: u64 = 1100;
    /// Bytes that one page of a parquet file unpacks to.
    pub const PARQUET_PAGE_BYTES_MAX: i64 = 256 << 20;
    /// Most columns of a parquet file, nested ones counted.
    pub const PARQUET_COLUMNS_MAX: usize = 10_000;
    /// Most components of one vector: what a collection takes.
    pub const DIM_MAX: usize = crate::limits::DIM_MAX;
}

/// The columns (JSON keys) that mean something; every other one is payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// Holds the identifier: a whole number or a string.
    pub id: String,
    /// Holds the text to embed.
    pub text: String,
    /// Holds the vector: numbers.
    pub vector: String,
}

impl Default for Fields {
    fn default() -> Self {
        Self { id: "id".into(), text: "text".into(), vector: "vector".into() }
    }
}

/// One record of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// The identifier, if the file has one.
    pub id: Option<PointId>,
    /// The text to embed, never blank. It also stays in `payload` under its own key, so that a
    /// search can show it.
    pub text: Option<String>,
    /// The vector, every component finite, never empty.
    pub vector: Option<Vec<f32>>,
    /// Everything else, and the text.
    pub payload: Map<String, Value>,
}

/// Where in a file a record stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Line of a text format, from 1.
    Line(u64),
    /// Row of a binary format, from 0.
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Row(row) => write!(f, "row {row}"),
        }
    }
}

/// What a file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line, blank lines are passed over: `.jsonl`, `.ndjson`.
    Jsonl,
    /// One text a line, blank lines are passed over: `.txt`.
    Text,
    /// One `NumPy` array of shape (rows, dim), C order, `<f2`, `<f4` or `<f8`: `.npy`.
    Npy,
    /// Rows of a little-endian `i32` dimension and that many `f32`: `.fvecs`.
    Fvecs,
    /// Columns by name, a vector being a list of numbers: `.parquet`.
    Parquet,
    /// One dataset of shape (rows, dim), named as the vector field or else `train`: `.hdf5`, `.h5`.
    Hdf5,
}

impl Format {
    /// Extensions that [`Format::of`] knows, for messages.
    pub const KNOWN: &'static str = ".jsonl, .txt, .npy, .fvecs, .parquet, .hdf5";

    /// The format that the extension of `path` names.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "txt" => Some(Self::Text),
            "npy" => Some(Self::Npy),
            "fvecs" => Some(Self::Fvecs),
            "parquet" => Some(Self::Parquet),
            "hdf5" | "h5" => Some(Self::Hdf5),
            _ => None,
        }
    }
}

/// An open file of records; iterate it. After an error it yields nothing more.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    reader: Reader,
    place: Place,
    failed: bool,
}

#[derive(Debug)]
enum Reader {
    Jsonl(json::Reader),
    Text(line::Reader),
    Npy(npy::Reader),
    Fvecs(fvecs::Reader),
    Parquet(Box<parquet::Reader>),
    Hdf5(Box<hdf5::Reader>),
}

impl Source {
    /// Opens `path`; the extension says how to read it. Reads headers only, the rest is mapped.
    ///
    /// # Errors
    /// If the file cannot be read, its extension is not known, or its header is broken.
    pub fn open(path: &Path, fields: &Fields) -> Result<Self, SourceError> {
        let Some(format) = Format::of(path) else {
            return Err(SourceError::UnknownFormat { path: path.to_owned() });
        };
        let bytes = kvant_storage::read_file(path)
            .map_err(|source| SourceError::Read { path: path.to_owned(), source })?;
        Self::from_bytes(path, format, bytes, fields)
    }

    /// Reads bytes that are already at hand (standard input); `path` only names them in errors.
    ///
    /// # Errors
    /// If the header is broken.
    pub fn from_bytes(
        path: &Path,
        format: Format,
        bytes: kvant_storage::Bytes,
        fields: &Fields,
    ) -> Result<Self, SourceError> {
        let header = |problem| SourceError::Header { path: path.to_owned(), problem };
        let reader = match format {
            Format::Jsonl => Reader::Jsonl(json::Reader::new(bytes, fields)),
            Format::Text => Reader::Text(line::Reader::new(bytes)),
            Format::Npy => Reader::Npy(npy::Reader::new(&bytes).map_err(header)?),
            Format::Fvecs => Reader::Fvecs(fvecs::Reader::new(bytes).map_err(header)?),
            Format::Parquet => {
                Reader::Parquet(Box::new(parquet::Reader::new(&bytes, fields).map_err(header)?))
            }
            Format::Hdf5 => {
                Reader::Hdf5(Box::new(hdf5::Reader::new(bytes, fields).map_err(header)?))
            }
        };
        Ok(Self { path: path.to_owned(), reader, place: Place::Row(0), failed: false })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the record stands that [`Iterator::next`] gave last.
    pub fn place(&self) -> Place {
        self.place
    }

    /// How many records are left at most. Exact for binary formats; for lines it counts them,
    /// which reads the file once.
    pub fn len_hint(&self) -> Option<usize> {
        match &self.reader {
            Reader::Jsonl(reader) => Some(reader.lines_left()),
            Reader::Text(reader) => Some(reader.lines_left()),
            Reader::Npy(reader) => Some(reader.rows_left()),
            Reader::Fvecs(reader) => Some(reader.rows_left()),
            Reader::Parquet(reader) => Some(reader.rows_left()),
            Reader::Hdf5(reader) => Some(reader.rows_left()),
        }
    }

    /// Skips up to `count` records without decoding them and says how many there were; a killed
    /// import resumes with this. Lines are found but not parsed.
    pub fn skip_records(&mut self, count: usize) -> usize {
        match &mut self.reader {
            Reader::Jsonl(reader) => reader.skip(count),
            Reader::Text(reader) => reader.skip(count),
            Reader::Npy(reader) => reader.skip(count),
            Reader::Fvecs(reader) => reader.skip(count),
            Reader::Parquet(reader) => reader.skip(count),
            Reader::Hdf5(reader) => reader.skip(count),
        }
    }

    fn read(&mut self) -> Option<Result<Record, RecordProblem>> {
        match &mut self.reader {
            Reader::Jsonl(reader) => {
                let read = reader.read();
                self.place = Place::Line(reader.line());
                read
            }
            Reader::Text(reader) => {
                let read = reader.read().map(|text| text.map(text_record));
                self.place = Place::Line(reader.line());
                read
            }
            Reader::Npy(reader) => {
                self.place = Place::Row(reader.row());
                reader.read().map(|vector| Ok(vector_record(vector)))
            }
            Reader::Fvecs(reader) => {
                self.place = Place::Row(reader.row());
                reader.read().map(|vector| vector.map(vector_record))
            }
            Reader::Parquet(reader) => {
                self.place = Place::Row(reader.row());
                reader.read()
            }
            Reader::Hdf5(reader) => {
                self.place = Place::Row(reader.row());
                reader.read().map(|vector| vector.map(vector_record))
            }
        }
    }
}

impl Iterator for Source {
    type Item = Result<Record, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let record = self.read()?.and_then(check);
        Some(record.map_err(|problem| {
            self.failed = true;
            SourceError::Record { path: self.path.clone(), place: self.place, problem }
        }))
    }
}

/// Holds what every format promises: a vector is not empty and finite, a text is not blank.
fn check(record: Record) -> Result<Record, RecordProblem> {
    if let Some(vector) = &record.vector {
        if vector.is_empty() || vector.len() > limits::DIM_MAX {
            return Err(RecordProblem::Dim { got: vector.len() });
        }
        if let Some(column) = vector.iter().position(|v| !v.is_finite()) {
            return Err(RecordProblem::NotFinite { column });
        }
    }
    if record.text.as_ref().is_some_and(|text| text.trim().is_empty()) {
        return Err(RecordProblem::BlankText);
    }
    Ok(record)
}

fn vector_record(vector: Vec<f32>) -> Record {
    Record { vector: Some(vector), ..Record::default() }
}

fn text_record(text: &str) -> Record {
    let mut payload = Map::new();
    payload.insert("text".into(), Value::String(text.into()));
    Record { text: Some(text.into()), payload, ..Record::default() }
}
