//! An index of points of several vectors as one framed file: that of an [`Index`](crate::Index),
//! and which vectors are whose. See [docs/format.md](../../../../docs/format.md).

use std::path::Path;
use std::sync::Arc;

use kvant_storage::frame::{self, Frame, Kind, Pieces, Section};
use kvant_storage::{Bytes, Sink, WriteError};

use super::Multi;
use crate::number::{numbers_of, put};
use crate::stored::Parts;
use crate::{Check, FileError, Stored, StoredError};

const KIND: Kind = Kind { magic: *b"KVANTMUL", version: 2, features: 0 };
/// Where the vectors of each point begin, and those of the last end.
const POINTS: &str = "points";

impl<B: AsRef<[u8]> + Sync> Multi<'_, B> {
    /// Writes the index as one file to `sink`, as [`Index::write`](crate::Index::write) does.
    ///
    /// # Errors
    /// [`WriteError`].
    ///
    /// # Panics
    /// If vectors have more than 2^24 dimensions.
    pub fn write(&self, sink: &mut dyn Sink) -> Result<(), WriteError> {
        let (parts, points) = (Parts::of(&self.index), self.starts());
        let all = parts.sections().chain([(POINTS, &points[..])]);
        let pieces = |(name, data)| Pieces { name, data: vec![data] };
        frame::write(sink, &KIND, 0, &all.map(pieces).collect::<Vec<_>>())
    }

    /// What [`write`](Self::write) writes.
    ///
    /// # Panics
    /// As [`write`](Self::write).
    pub fn to_bytes(&self) -> Vec<u8> {
        let (parts, points) = (Parts::of(&self.index), self.starts());
        let all = parts.sections().chain([(POINTS, &points[..])]);
        let section = |(name, data)| Section { name, data };
        frame::to_bytes(&KIND, 0, &all.map(section).collect::<Vec<_>>())
    }

    fn starts(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(4 * self.starts.len());
        put(&mut bytes, &self.starts);
        bytes
    }
}

/// The file of a [`Multi`], opened. It owns the bytes that [`multi`](Self::multi) borrows.
#[derive(Debug)]
pub struct MultiStored {
    stored: Stored,
    starts: Arc<[u32]>,
}

impl MultiStored {
    /// Opens the index in `bytes` as [`Stored::open`] does; 4 bytes a point are read too.
    ///
    /// # Errors
    /// [`StoredError`], naming the file and the remedy.
    pub fn open(bytes: Bytes, path: &Path, check: Check) -> Result<Self, StoredError> {
        let frame = Frame::open(bytes, path, &KIND)?;
        let wrong = |cause| StoredError::Section { path: path.to_owned(), section: POINTS, cause };
        let points = frame.section(POINTS)?;
        if !points.len().is_multiple_of(4) || points.is_empty() {
            let expected = points.len().max(1).next_multiple_of(4) as u64;
            return Err(wrong(FileError::Length { expected, got: points.len() as u64 }));
        }
        let starts = numbers_of(&points);
        let stored = Stored::of_frame(frame, check)?;
        let (first, last) = (starts.first().copied(), starts.last().copied().unwrap_or(0));
        if first != Some(0) || !starts.is_sorted() || last as usize != stored.len() {
            return Err(wrong(FileError::Rows { expected: stored.len() as u64, got: last.into() }));
        }
        Ok(Self { stored, starts: starts.into() })
    }

    /// The index.
    ///
    /// # Errors
    /// [`StoredError`], naming the file and the remedy.
    pub fn multi(&self) -> Result<Multi<'static, Bytes>, StoredError> {
        Ok(Multi { index: self.stored.index()?, starts: Arc::clone(&self.starts) })
    }

    /// The file of the index over all vectors, which this one is too.
    pub fn stored(&self) -> &Stored {
        &self.stored
    }

    /// The same, to be loaded or read ahead.
    pub fn stored_mut(&mut self) -> &mut Stored {
        &mut self.stored
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there are no points.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
