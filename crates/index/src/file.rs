//! Reading and writing shapes as bytes: a small header, then the shape's own sections.
//!
//! All numbers are little endian. `magic "KVIX" · version u16 · shape u8 · 0 u8 · rows u64`.
//! Version 2 is laid out to be read where it lies; of version 1 everything is copied.

use thiserror::Error;

const MAGIC: [u8; 4] = *b"KVIX";
pub(crate) const VERSION: u16 = 2;
/// Bytes of the header and of a shape's own numbers, before its lists.
pub(crate) const HEAD: usize = 64;

/// Why bytes are not an index.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FileError {
    /// Not an index at all.
    #[error("not an index file: it begins with neither KVIX nor KVXC")]
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
    Ivf,
    Forest,
    Lsh,
    Qg,
}

/// The header of `len` rows in `shape`.
pub(crate) fn header(shape: Shape, len: usize) -> Vec<u8> {
    let code = match shape {
        Shape::Flat => 0,
        Shape::Hnsw => 1,
        Shape::Ivf => 2,
        Shape::Forest => 3,
        Shape::Lsh => 4,
        Shape::Qg => 5,
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
    version: u16,
}

impl<'a> Reader<'a> {
    /// From the first byte.
    pub(crate) fn whole(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, read: 0, version: 0 }
    }

    /// Behind the magic and the version, which must be these.
    pub(crate) fn new(bytes: &'a [u8], magic: [u8; 4], version: u16) -> Result<Self, FileError> {
        Self::versioned(bytes, magic, version..=version)
    }

    /// Behind the magic, which must be this, and the version, one of these.
    fn versioned(
        bytes: &'a [u8],
        magic: [u8; 4],
        versions: std::ops::RangeInclusive<u16>,
    ) -> Result<Self, FileError> {
        let mut reader = Self::whole(bytes);
        if !bytes.starts_with(&magic) {
            return Err(FileError::Magic);
        }
        reader.take(magic.len())?;
        let got = u16::from_le_bytes(reader.array()?);
        reader.version = got;
        if versions.contains(&got) { Ok(reader) } else { Err(FileError::Version { got }) }
    }

    /// The version of the header.
    pub(crate) fn version(&self) -> u16 {
        self.version
    }

    /// Reads the header and checks that it speaks of `len` rows.
    pub(crate) fn open(bytes: &'a [u8], len: usize) -> Result<(Shape, Self), FileError> {
        let mut reader = Self::versioned(bytes, MAGIC, 1..=VERSION)?;
        let [shape, reserved] = reader.array()?;
        let shape = match shape {
            0 => Shape::Flat,
            1 => Shape::Hnsw,
            2 => Shape::Ivf,
            3 => Shape::Forest,
            4 => Shape::Lsh,
            5 => Shape::Qg,
            got => return Err(FileError::Shape { got }),
        };
        if reserved != 0 {
            return Err(FileError::Header { name: "reserved byte", got: reserved.into() });
        }
        let got = u64::from_le_bytes(reader.array()?);
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

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FileError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// The next number.
    pub(crate) fn number(&mut self) -> Result<u32, FileError> {
        self.array().map(u32::from_le_bytes)
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
