//! Reading and writing shapes as bytes: a small header, then the shape's own sections.
//!
//! All numbers are little endian. `magic "KVIX" · version u16 · shape u8 · 0 u8 · rows u64`.

use thiserror::Error;

const MAGIC: [u8; 4] = *b"KVIX";
const VERSION: u16 = 1;

/// Why bytes are not an index.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FileError {
    /// Not an index at all.
    #[error("not an index file: it does not begin with KVIX")]
    Magic,
    /// Written by a later release.
    #[error("index format version {got}, this release reads {VERSION}: upgrade kvant")]
    Version {
        /// The version found.
        got: u16,
    },
    /// A shape this release does not know.
    #[error("unknown index shape {got}")]
    Shape {
        /// The code found.
        got: u8,
    },
    /// More or fewer bytes than the header announces.
    #[error("index of {got} bytes, expected {expected}")]
    Length {
        /// Bytes the header asks for (at least).
        expected: u64,
        /// Bytes there are.
        got: u64,
    },
    /// An index over another number of rows.
    #[error("index over {got} rows, expected {expected}")]
    Rows {
        /// Rows of the caller.
        expected: u64,
        /// Rows in the file.
        got: u64,
    },
    /// A number in the header outside its limits.
    #[error("index header: {name} is {got}")]
    Header {
        /// The field.
        name: &'static str,
        /// Its value.
        got: u64,
    },
    /// A row whose level or links are impossible.
    #[error("index row {row}, level {level}: bad link or level {got}")]
    Link {
        /// The row.
        row: u32,
        /// The level its links are of.
        level: u8,
        /// The offending value.
        got: u32,
    },
}

/// Which shape follows the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Flat,
    Hnsw,
}

/// Bytes of a header.
const HEADER: usize = 16;

/// The header of `len` rows in `shape`.
pub(crate) fn header(shape: Shape, len: usize) -> Vec<u8> {
    let code = match shape {
        Shape::Flat => 0,
        Shape::Hnsw => 1,
    };
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[code, 0]);
    bytes.extend_from_slice(&(len as u64).to_le_bytes());
    bytes
}

/// Bytes read from the front; never past the end.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    read: u64,
}

impl<'a> Reader<'a> {
    /// Reads the header and checks that it speaks of `len` rows.
    pub(crate) fn open(bytes: &'a [u8], len: usize) -> Result<(Shape, Self), FileError> {
        let mut reader = Self { rest: bytes, read: 0 };
        if !bytes.starts_with(&MAGIC) {
            return Err(FileError::Magic);
        }
        let header = reader.take(HEADER)?;
        let version = u16::from_le_bytes([header[4], header[5]]);
        if version != VERSION {
            return Err(FileError::Version { got: version });
        }
        let shape = match header[6] {
            0 => Shape::Flat,
            1 => Shape::Hnsw,
            got => return Err(FileError::Shape { got }),
        };
        if header[7] != 0 {
            return Err(FileError::Header { name: "reserved byte", got: header[7].into() });
        }
        let mut rows = [0; 8];
        rows.copy_from_slice(&header[8..]);
        let got = u64::from_le_bytes(rows);
        if got != len as u64 {
            return Err(FileError::Rows { expected: len as u64, got });
        }
        Ok((shape, reader))
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], FileError> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            let expected = self.read.saturating_add(count as u64);
            return Err(FileError::Length { expected, got: self.read + self.rest.len() as u64 });
        };
        self.rest = rest;
        self.read += count as u64;
        Ok(taken)
    }

    /// The next number.
    pub(crate) fn number(&mut self) -> Result<u32, FileError> {
        let mut number = [0; 4];
        number.copy_from_slice(self.take(4)?);
        Ok(u32::from_le_bytes(number))
    }

    /// The bytes of `lists` lists of `width` numbers.
    pub(crate) fn slab(&mut self, lists: u64, width: usize) -> Result<&'a [u8], FileError> {
        let size = lists.checked_mul(width as u64 * 4).and_then(|size| usize::try_from(size).ok());
        self.take(size.unwrap_or(usize::MAX))
    }

    /// Everything must have been read.
    pub(crate) fn end(self) -> Result<(), FileError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        let got = self.read + self.rest.len() as u64;
        Err(FileError::Length { expected: self.read, got })
    }
}
