//! What can be wrong with a foreign file.

use std::path::PathBuf;

use super::{Format, Place, limits};

/// Longest piece of a foreign text that a message repeats, in characters.
const QUOTE_MAX: usize = 80;

/// Why a [`super::Source`] cannot give records.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be read at all.
    #[error("{source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said; names the path.
        source: kvant_storage::ReadError,
    },
    /// The extension names no format that can be read.
    #[error("{}: not a known kind of file; rename or convert it to one of {}", path.display(),
        Format::KNOWN)]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// The file opens with something else than its extension promises.
    #[error("{}: {problem}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: HeaderProblem,
    },
    /// One record is broken; those before it were fine.
    #[error("{}: {place}: {problem}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: Place,
        /// What is wrong.
        problem: RecordProblem,
    },
}

/// What is wrong with the beginning of a binary file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderProblem {
    /// Not this kind of file.
    #[error("this is not a {kind} file")]
    Magic {
        /// What the extension promised.
        kind: &'static str,
    },
    /// The header says something that cannot be understood.
    #[error("broken header: {what}")]
    Syntax {
        /// What was expected where.
        what: &'static str,
    },
    /// The header is longer than any honest one.
    #[error("the header claims {got} bytes, more than {} bytes", limits::NPY_HEADER_BYTES_MAX)]
    TooLong {
        /// The claim.
        got: usize,
    },
    /// Numbers of a type that is not read.
    #[error("numbers of type {got:?} are not read; store float32 (array.astype('<f4'))")]
    Dtype {
        /// What the file holds, shortened.
        got: String,
    },
    /// Columns stored one after the other.
    #[error("the array is in Fortran order; store np.ascontiguousarray(array)")]
    FortranOrder,
    /// Not rows × dim.
    #[error(
        "expected an array of shape (rows, dim) with dim in 1..={}, got {got}",
        limits::DIM_MAX
    )]
    Shape {
        /// The shape as the file gives it.
        got: String,
    },
    /// A library that reads the format refuses.
    #[error("cannot be read as {kind}: {said}")]
    Unreadable {
        /// The format.
        kind: &'static str,
        /// Its words, shortened.
        said: String,
    },
    /// The file ends before its header said.
    #[error("the file is cut short: expected {expected} bytes, got {got}; fetch it again")]
    Truncated {
        /// Bytes needed, at least.
        expected: u64,
        /// Bytes there.
        got: u64,
    },
}

impl HeaderProblem {
    /// What a library said, on one line.
    pub(super) fn unreadable(kind: &'static str, said: &dyn std::fmt::Display) -> Self {
        Self::Unreadable { kind, said: quote(&said.to_string()) }
    }
}

/// What is wrong with one record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordProblem {
    /// The line is longer than any honest one.
    #[error("the line is longer than {} bytes; split the text", limits::LINE_BYTES_MAX)]
    TooLong,
    /// Bytes that are no text.
    #[error("not UTF-8; convert the file, for example with iconv -t UTF-8")]
    NotUtf8,
    /// The bytes make no record.
    #[error("{what}: {said}")]
    Unreadable {
        /// What they are not.
        what: &'static str,
        /// What the parser said, shortened.
        said: String,
    },
    /// A field holds the wrong kind of value.
    #[error("field {field:?} must be {expected}, got {got}")]
    Field {
        /// The key.
        field: String,
        /// What is needed, with its article.
        expected: &'static str,
        /// What is there.
        got: String,
    },
    /// Nothing to embed.
    #[error("the text is empty; remove the record or give it a text")]
    BlankText,
    /// Not a number.
    #[error("component {column} of the vector is not a finite number")]
    NotFinite {
        /// Which, from 0.
        column: usize,
    },
    /// A vector of no or too many components.
    #[error("the vector has {got} components, expected 1..={}", limits::DIM_MAX)]
    Dim {
        /// Components there.
        got: usize,
    },
    /// A row whose own length disagrees with the first.
    #[error("the row claims {got} components, expected {expected} like the first row")]
    RowDim {
        /// The first row's.
        expected: usize,
        /// This row's claim.
        got: i64,
    },
}

impl RecordProblem {
    /// What a library said, on one line.
    pub(super) fn unreadable(what: &'static str, said: &dyn std::fmt::Display) -> Self {
        Self::Unreadable { what, said: quote(&said.to_string()) }
    }
}

/// The beginning of a foreign text, for a message of one line.
pub(super) fn quote(text: &str) -> String {
    let mut quoted: String = text.chars().filter(|c| !c.is_control()).take(QUOTE_MAX).collect();
    if text.chars().nth(QUOTE_MAX).is_some() {
        quoted.push('…');
    }
    quoted
}
