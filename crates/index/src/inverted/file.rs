//! An inverted index as one framed file. See [docs/format.md](../../../../docs/format.md).

use std::path::Path;
use std::sync::Arc;

use kvant_storage::frame::{self, Frame, Kind, Pieces, Section};
use kvant_storage::{Bytes, Sink, WriteError};

use super::{BLOCK, Forward, Inverted, Lists, extremes, wide};
use crate::file::Reader;
use crate::guard::Watch;
use crate::number::{Numbers, Part, put};
use crate::scrub::{scrub, unverified};
use crate::stored::{BLOCKS, table_of, tables};
use crate::{Check, FileError, ROWS_MAX, ScrubOptions, Scrubbed, StoredError};

/// Its sections have blocks from version 2 on, as those of all indexes.
const KIND: Kind = Kind { magic: *b"KVANTINV", version: 2, features: 0 };
const HEAD: &str = "head";
const LISTS: &str = "lists";
const POSTINGS: &str = "postings";
const ROWS: &str = "rows";
/// The sections that are verified block by block, in the order of their tables.
const LARGE: [&str; 3] = [LISTS, POSTINGS, ROWS];

impl Inverted {
    /// Writes the index as one file to `sink`, which is left to be published; the same rows give
    /// the same bytes.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn write(&self, sink: &mut dyn Sink) -> Result<(), WriteError> {
        let parts = self.sections();
        let pieces: Vec<Pieces<'_>> =
            parts.iter().map(|(name, data)| Pieces { name, data: vec![data] }).collect();
        frame::write(sink, &KIND, 0, &pieces)
    }

    /// What [`write`](Self::write) writes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let parts = self.sections();
        let sections: Vec<Section<'_>> =
            parts.iter().map(|(name, data)| Section { name, data }).collect();
        frame::to_bytes(&KIND, 0, &sections)
    }

    fn sections(&self) -> [(&'static str, Vec<u8>); 5] {
        let (lists, forward) = (&self.lists, &self.forward);
        let counts = [self.len, lists.dimensions.len(), lists.heads.len(), lists.rows.len()];
        let head = counts.iter().flat_map(|&count| (count as u64).to_le_bytes()).collect();
        let joined = |all: &[&Numbers]| {
            let mut bytes = Vec::with_capacity(all.iter().map(|numbers| 4 * numbers.len()).sum());
            for numbers in all {
                put(&mut bytes, numbers.all());
            }
            bytes
        };
        let Lists { dimensions, starts, first, heads, greatest, least, rows, values } = lists;
        let lists = joined(&[dimensions, starts, first, heads, greatest, least]);
        let postings = joined(&[rows, values]);
        let rows = joined(&[&forward.starts, &forward.dimensions, &forward.values]);
        let blocks = table_of([&lists[..], &postings, &rows]);
        [(HEAD, head), (BLOCKS, blocks), (LISTS, lists), (POSTINGS, postings), (ROWS, rows)]
    }

    /// Opens the index in `bytes`, those of a mapped file as a rule; `path` is for messages. Reads
    /// the header, the section table and 4 bytes for each 16 KiB; what searches read is verified
    /// when it is first read, unless `check` says so.
    ///
    /// # Errors
    /// [`StoredError`], naming the file and the remedy.
    pub fn open(bytes: Bytes, path: &Path, check: Check) -> Result<Self, StoredError> {
        let frame = Frame::open(bytes, path, &KIND)?;
        let wrong = |section, cause| StoredError::Section { path: path.to_owned(), section, cause };
        let head = frame.section(HEAD)?;
        let [rows, dimensions, blocks, postings] =
            read_head(&head).map_err(|cause| wrong(HEAD, cause))?;
        let tables = tables(&frame, &LARGE)?;
        let part = |name| {
            let blocks = tables.iter().find(|(of, ..)| *of == name).map(|table| &table.2);
            Ok::<_, StoredError>(Part::new(frame.unverified(name)?, blocks.map(Arc::clone)))
        };
        let counts = [dimensions, 2 * (dimensions + 1), dimensions + 1, blocks, blocks, blocks];
        let lists = part(LISTS)?.numbers(0, counts).map_err(|cause| wrong(LISTS, cause))?;
        let [own, starts, first, heads, greatest, least] = lists;
        let both = part(POSTINGS)?.numbers(0, [postings, postings]);
        let [listed, values] = both.map_err(|cause| wrong(POSTINGS, cause))?;
        let lists =
            Lists { dimensions: own, starts, first, heads, greatest, least, rows: listed, values };
        let forward = part(ROWS)?.numbers(0, [2 * (rows + 1), postings, postings]);
        let [starts, dimensions, values] = forward.map_err(|cause| wrong(ROWS, cause))?;
        let forward = Forward { starts, dimensions, values };
        let watch = Watch::new(path.to_owned(), tables);
        let inverted = Self { len: rows as usize, lists, forward, watch };
        if check == Check::Everything {
            inverted.check(&frame).map_err(|cause| match cause {
                Wrong::Damaged(error) => error,
                Wrong::Section(section, cause) => wrong(section, cause),
            })?;
        }
        Ok(inverted)
    }

    /// Holds everything against its checksums, and lists and rows against what searches expect.
    fn check(&self, frame: &Frame) -> Result<(), Wrong> {
        for name in LARGE {
            frame.section(name).map_err(|error| Wrong::Damaged(error.into()))?;
        }
        let lists = self.lists.check(self.len).map_err(|got| (LISTS, got));
        let rows = self.forward.check(self.len).map_err(|got| (ROWS, got));
        lists.and(rows).map_err(|(section, got)| {
            Wrong::Section(section, FileError::Header { name: "order of the lists", got })
        })
    }

    /// Verifies what was not read yet, as [`Stored::scrub`](crate::Stored::scrub) does.
    pub fn scrub(&self, options: &ScrubOptions<'_>) -> Scrubbed {
        scrub(self.watch.sections(), options)
    }

    /// Bytes that a scrub would look at now.
    pub fn unverified_bytes(&self) -> u64 {
        unverified(self.watch.sections())
    }
}

/// What a whole check found.
enum Wrong {
    Damaged(StoredError),
    Section(&'static str, FileError),
}

impl Lists {
    /// The place of a list that is not as searches expect it, if there is one. O(postings).
    fn check(&self, len: usize) -> Result<(), u64> {
        let dimensions = self.dimensions.all();
        let rising = dimensions.windows(2).position(|pair| pair[0] >= pair[1]);
        rising.map_or(Ok(()), |at| Err(at as u64))?;
        let mut end = 0;
        for at in 0..dimensions.len() {
            let whole =
                wide(&self.starts, at).filter(|range| range.start == end).and_then(|range| {
                    end = range.end;
                    let (rows, values) = (self.rows.some(range.clone()), self.values.some(range));
                    self.is_list(at, (rows, values), len).then_some(())
                });
            whole.ok_or(at as u64)?;
        }
        let last = self.first.all().last().copied();
        let all =
            end == self.rows.len() && last.map(|last| last as usize) == Some(self.heads.len());
        if all { Ok(()) } else { Err(dimensions.len() as u64) }
    }

    fn is_list(&self, at: usize, (rows, values): (&[u32], &[u32]), len: usize) -> bool {
        let rising = rows.is_sorted_by(|a, b| a < b);
        let inside = rows.last().is_some_and(|&row| (row as usize) < len);
        let finite = values.iter().all(|&value| f32::from_bits(value).is_finite());
        let &[from, to] = self.first.some(at..at + 2) else { return false };
        let count = if rows.len() > BLOCK { rows.len().div_ceil(BLOCK) } else { 0 };
        let blocks = from as usize..to as usize;
        let fits = (at > 0 || from == 0) && from <= to && blocks.len() == count;
        let bounds = blocks.clone().zip(rows.chunks(BLOCK).zip(values.chunks(BLOCK)));
        let mut bounds = bounds.map(|(block, (rows, values))| {
            let (most, least) = extremes(values.iter().copied());
            self.heads.one(block) == rows.first().copied()
                && self.greatest.one(block) == Some(most.to_bits())
                && self.least.one(block) == Some(least.to_bits())
        });
        rows.len() == values.len() && rising && inside && finite && fits && bounds.all(|fits| fits)
    }
}

impl Forward {
    /// The first row that is none, if there is one.
    fn check(&self, len: usize) -> Result<(), u64> {
        let mut end = 0;
        for row in 0..len {
            let whole =
                wide(&self.starts, row).filter(|range| range.start == end).filter(|range| {
                    end = range.end;
                    let rising = self.dimensions.some(range.clone()).is_sorted_by(|a, b| a < b);
                    end <= self.dimensions.len() && rising
                });
            whole.ok_or(row as u64)?;
        }
        if end == self.dimensions.len() { Ok(()) } else { Err(len as u64) }
    }
}

/// Rows, dimensions, blocks and values.
fn read_head(bytes: &[u8]) -> Result<[u64; 4], FileError> {
    let mut reader = Reader::whole(bytes);
    let mut counts = [0; 4];
    let most = [ROWS_MAX as u64, 1 << 32, 1 << 48, 1 << 48];
    let names = ["number of rows", "number of dimensions", "number of blocks", "number of values"];
    for ((count, most), name) in counts.iter_mut().zip(most).zip(names) {
        *count = u64::from_le_bytes(reader.array()?);
        if *count > most {
            return Err(FileError::Header { name, got: *count });
        }
    }
    reader.end().map(|()| counts)
}
