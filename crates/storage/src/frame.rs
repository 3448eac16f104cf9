//! The container of every write-once file: magic, version, features, checksummed sections.
//!
//! ```text
//! 0   magic            8 bytes, says which kind of file this is
//! 8   format version   u32
//! 12  section count    u32, at most 64
//! 16  features         u64, one bit per feature a reader must know
//! 24  file length      u64
//! 32  section table    count × 40: name [16, zero-padded], offset u64, length u64,
//!                      crc32c u32, zero u32
//! ..  header crc       u32, crc32c of everything before it
//! ..  sections         each on a 64-byte offset, zeros between
//! ```
//! Everything is little-endian. The header crc covers the crc of every section, so it names the
//! whole content: whoever stores it ([`Frame::identity`]) can tell this file from any other.

use crate::limits::{FRAME_NAME_SIZE_MAX, FRAME_SECTIONS_MAX};
use crate::{Blocks, Bytes, CreateError, Dir, Name, Sink, WriteError, crc32c, crc32c_append};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

const FIXED: usize = 32;
const ENTRY: usize = 40;
const ALIGN: usize = 64;

/// What a kind of framed file is and what this program can read of it.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The first eight bytes.
    pub magic: [u8; 8],
    /// The newest format version known; older ones down to 1 are accepted.
    pub version: u32,
    /// The feature bits known.
    pub features: u64,
}

/// One part of a file to be written.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// 1 to 16 bytes of ASCII.
    pub name: &'a str,
    /// The content.
    pub data: &'a [u8],
}

/// A section whose content lies in several places, one piece behind the other.
#[derive(Clone, Debug)]
pub struct Pieces<'a> {
    /// 1 to 16 bytes of ASCII.
    pub name: &'a str,
    /// The content.
    pub data: Vec<&'a [u8]>,
}

/// Why a framed file was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Another kind of file.
    #[error("{path}: not a {expected} file (its first bytes are {got:?})", path = path.display())]
    Magic {
        /// The file.
        path: PathBuf,
        /// The magic looked for.
        expected: String,
        /// What the file starts with.
        got: String,
    },
    /// Written by a newer program.
    #[error(
        "{path}: format version {got}, this program reads up to {known}; use a newer kvant",
        path = path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Newest version known.
        known: u32,
        /// Version found.
        got: u32,
    },
    /// Needs features this program does not know.
    #[error(
        "{path}: needs unknown features {unknown:#x}; use a newer kvant",
        path = path.display()
    )]
    Features {
        /// The file.
        path: PathBuf,
        /// The bits not known.
        unknown: u64,
    },
    /// Shorter or longer than its header says.
    #[error(
        "{path}: {got} bytes, expected {expected}; the file was cut or damaged, restore it from \
         a backup",
        path = path.display()
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes the header asks for.
        expected: u64,
        /// Bytes there are.
        got: u64,
    },
    /// The header or a section does not match its checksum, or the table is senseless.
    #[error(
        "{path}: {part} at byte {offset} is damaged; restore the file from a backup",
        path = path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// `header`, `section table` or the section's name.
        part: String,
        /// Where it starts.
        offset: u64,
    },
    /// The section is not there.
    #[error("{path}: no section {name:?}", path = path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The section looked for.
        name: String,
    },
}

/// Why a framed file was not written.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// Creating or publishing failed.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// Writing the content failed.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Writes `sections` as a new file `name` and returns its identity (see [`Frame::identity`]).
/// `used` are the feature bits a reader must know.
///
/// # Errors
/// [`SaveError`]; after one the file is absent, or whole but perhaps not durable.
///
/// # Panics
/// If there are more than 64 sections or a name is not 1 to 16 bytes of ASCII.
pub fn save(
    dir: &dyn Dir,
    name: &Name,
    kind: &Kind,
    used: u64,
    sections: &[Section<'_>],
) -> Result<u32, SaveError> {
    let rows: Vec<_> = sections.iter().map(Row::of).collect();
    let header = header(kind, used, &rows);
    let identity = crc32c(&header[..header.len() - 4]);
    let mut sink = dir.create(name)?;
    sink.write(&header)?;
    let mut at = header.len();
    for section in sections {
        let start = at.next_multiple_of(ALIGN);
        sink.write(&[0; ALIGN][..start - at])?;
        sink.write(section.data)?;
        at = start + section.data.len();
    }
    sink.publish()?;
    Ok(identity)
}

/// Writes `sections` as a file to `sink`, which is left to be published. Copies nothing.
///
/// # Errors
/// [`WriteError`].
///
/// # Panics
/// As [`save`].
pub fn write(
    sink: &mut dyn Sink,
    kind: &Kind,
    used: u64,
    sections: &[Pieces<'_>],
) -> Result<(), WriteError> {
    let rows: Vec<_> = sections.iter().map(Row::of_pieces).collect();
    let header = header(kind, used, &rows);
    sink.write(&header)?;
    let mut at = header.len();
    for (section, row) in sections.iter().zip(&rows) {
        let start = at.next_multiple_of(ALIGN);
        sink.write(&[0; ALIGN][..start - at])?;
        section.data.iter().try_for_each(|piece| sink.write(piece))?;
        at = start + row.len;
    }
    Ok(())
}

/// `sections` as the bytes [`save`] writes, for small files created in one call.
///
/// # Panics
/// As [`save`].
pub fn to_bytes(kind: &Kind, used: u64, sections: &[Section<'_>]) -> Vec<u8> {
    let rows: Vec<_> = sections.iter().map(Row::of).collect();
    let mut out = header(kind, used, &rows);
    for section in sections {
        out.resize(out.len().next_multiple_of(ALIGN), 0);
        out.extend_from_slice(section.data);
    }
    out
}

/// What the section table says of a section.
struct Row<'a> {
    name: &'a str,
    len: usize,
    crc: u32,
}

impl<'a> Row<'a> {
    fn of(section: &Section<'a>) -> Self {
        let Section { name, data } = *section;
        Self { name, len: data.len(), crc: crc32c(data) }
    }

    fn of_pieces(section: &Pieces<'a>) -> Self {
        let len = section.data.iter().map(|piece| piece.len()).sum();
        let crc = section.data.iter().fold(0, |crc, piece| crc32c_append(crc, piece));
        Self { name: section.name, len, crc }
    }
}

fn header(kind: &Kind, used: u64, sections: &[Row<'_>]) -> Vec<u8> {
    assert!(sections.len() <= FRAME_SECTIONS_MAX, "{} sections", sections.len());
    assert_eq!(used & !kind.features, 0, "feature bits nobody can read");
    let size = FIXED + ENTRY * sections.len() + 4;
    let mut table = Vec::with_capacity(ENTRY * sections.len());
    let mut at = size;
    for section in sections {
        let name = section.name.as_bytes();
        let fits = (1..=FRAME_NAME_SIZE_MAX).contains(&name.len()) && name.is_ascii();
        assert!(fits && !name.contains(&0), "section name {:?}", section.name);
        let start = at.next_multiple_of(ALIGN);
        let mut padded = [0; FRAME_NAME_SIZE_MAX];
        padded[..name.len()].copy_from_slice(name);
        table.extend_from_slice(&padded);
        table.extend_from_slice(&(start as u64).to_le_bytes());
        table.extend_from_slice(&(section.len as u64).to_le_bytes());
        table.extend_from_slice(&section.crc.to_le_bytes());
        table.extend_from_slice(&[0; 4]);
        at = start + section.len;
    }
    let mut out = Vec::with_capacity(size);
    out.extend_from_slice(&kind.magic);
    out.extend_from_slice(&kind.version.to_le_bytes());
    out.extend_from_slice(&(sections.len() as u32).to_le_bytes());
    out.extend_from_slice(&used.to_le_bytes());
    out.extend_from_slice(&(at as u64).to_le_bytes());
    out.extend_from_slice(&table);
    let crc = crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// An opened framed file: its header is verified, each section at its first use.
#[derive(Debug)]
pub struct Frame {
    bytes: Bytes,
    path: PathBuf,
    version: u32,
    features: u64,
    identity: u32,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    offset: u64,
    len: u64,
    crc: u32,
    verified: AtomicBool,
}

impl Frame {
    /// Checks the header of `bytes`; `path` is for messages. Allocates only for the table.
    ///
    /// # Errors
    /// [`FrameError`] naming the file and what is wrong with it.
    pub fn open(bytes: Bytes, path: &Path, kind: &Kind) -> Result<Self, FrameError> {
        let path = path.to_owned();
        let cut = |expected: usize| FrameError::Length {
            path: path.clone(),
            expected: expected as u64,
            got: bytes.len() as u64,
        };
        let damaged = |part: &str, offset: usize| FrameError::Damaged {
            path: path.clone(),
            part: part.to_owned(),
            offset: offset as u64,
        };
        let magic = bytes.get(..8).ok_or_else(|| cut(FIXED + 4))?;
        if magic != kind.magic {
            return Err(FrameError::Magic {
                path,
                expected: kind.magic.escape_ascii().to_string(),
                got: magic.escape_ascii().to_string(),
            });
        }
        let fixed = bytes.get(..FIXED).ok_or_else(|| cut(FIXED + 4))?;
        let (version, count) = (u32_at(fixed, 8), u32_at(fixed, 12) as usize);
        let (features, total) = (u64_at(fixed, 16), u64_at(fixed, 24));
        // A newer version may have another header, so it is asked before the checksum.
        if version > kind.version {
            return Err(FrameError::Version { path, known: kind.version, got: version });
        }
        if version == 0 || count > FRAME_SECTIONS_MAX {
            return Err(damaged("header", 0));
        }
        let end = FIXED + ENTRY * count;
        let header = bytes.get(..end + 4).ok_or_else(|| cut(end + 4))?;
        let identity = u32_at(header, end);
        if crc32c(&header[..end]) != identity {
            return Err(damaged("header", 0));
        }
        if features & !kind.features != 0 {
            return Err(FrameError::Features { path, unknown: features & !kind.features });
        }
        if total != bytes.len() as u64 {
            return Err(FrameError::Length { path, expected: total, got: bytes.len() as u64 });
        }
        let entries = table(&header[FIXED..end], (end + 4) as u64, total)
            .ok_or_else(|| damaged("section table", FIXED))?;
        Ok(Self { bytes, path, version, features, identity, entries })
    }

    /// The format version of the file.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The feature bits the file uses.
    pub fn features(&self) -> u64 {
        self.features
    }

    /// The checksum of the header, which covers the checksums of all sections.
    pub fn identity(&self) -> u32 {
        self.identity
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a section `name`.
    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|e| e.name == name)
    }

    /// The content of section `name`, on a 64-byte boundary. The first use reads and verifies all
    /// of it, O(length).
    ///
    /// # Errors
    /// [`FrameError::Missing`] or [`FrameError::Damaged`].
    pub fn section(&self, name: &str) -> Result<Bytes, FrameError> {
        self.verified(self.entry(name)?)
    }

    /// The content of section `name` as it lies there: of a mapped file nothing is read before it
    /// is touched, and what is damaged is not noticed. [`verify`](Self::verify) says.
    ///
    /// # Errors
    /// [`FrameError::Missing`].
    pub fn unverified(&self, name: &str) -> Result<Bytes, FrameError> {
        Ok(self.data(self.entry(name)?))
    }

    /// Holds every section that was not yet used against its checksum. O(length of the file).
    ///
    /// # Errors
    /// [`FrameError::Damaged`], of the first section that is.
    pub fn verify(&self) -> Result<(), FrameError> {
        self.entries.iter().try_for_each(|entry| self.verified(entry).map(drop))
    }

    /// Bytes of section `name`, if it is there.
    pub fn size(&self, name: &str) -> Option<u64> {
        self.entries.iter().find(|e| e.name == name).map(|entry| entry.len)
    }

    /// Where section `name` begins in the file, if it is there.
    pub fn offset(&self, name: &str) -> Option<u64> {
        self.entries.iter().find(|e| e.name == name).map(|entry| entry.offset)
    }

    /// Section `name` in blocks of `size` bytes, whose checksums are `sums`; as one block where
    /// there are none. `None` in the inner place if the table is not one of this section.
    ///
    /// # Errors
    /// If the section is missing.
    pub fn blocks(
        &self,
        name: &str,
        sums: Option<(Bytes, usize)>,
    ) -> Result<Option<Blocks>, FrameError> {
        let entry = self.entry(name)?;
        let data = self.data(entry);
        Ok(match sums {
            Some((sums, size)) => Blocks::new(data, sums, size),
            None => Some(Blocks::whole(data, entry.crc)),
        })
    }

    fn entry(&self, name: &str) -> Result<&Entry, FrameError> {
        let missing = || FrameError::Missing { path: self.path.clone(), name: name.to_owned() };
        self.entries.iter().find(|e| e.name == name).ok_or_else(missing)
    }

    fn data(&self, entry: &Entry) -> Bytes {
        self.bytes.slice(entry.offset as usize..(entry.offset + entry.len) as usize)
    }

    fn verified(&self, entry: &Entry) -> Result<Bytes, FrameError> {
        let data = self.data(entry);
        if !entry.verified.load(Ordering::Acquire) {
            if crc32c(&data) != entry.crc {
                return Err(FrameError::Damaged {
                    path: self.path.clone(),
                    part: format!("section {:?}", entry.name),
                    offset: entry.offset,
                });
            }
            entry.verified.store(true, Ordering::Release);
        }
        Ok(data)
    }
}

/// The entries of the section table: in order, aligned, without overlap, up to the file's end.
fn table(bytes: &[u8], header: u64, total: u64) -> Option<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::with_capacity(bytes.len() / ENTRY);
    let mut at = header;
    for raw in bytes.chunks_exact(ENTRY) {
        let name = &raw[..FRAME_NAME_SIZE_MAX];
        let size = name.iter().position(|b| *b == 0).unwrap_or(FRAME_NAME_SIZE_MAX);
        let name = std::str::from_utf8(&name[..size]).ok()?.to_owned();
        let (offset, len) = (u64_at(raw, 16), u64_at(raw, 24));
        let next = offset.checked_add(len)?;
        let twice = entries.iter().any(|e| e.name == name);
        if name.is_empty() || twice || offset != at.next_multiple_of(ALIGN as u64) || next > total {
            return None;
        }
        at = next;
        let crc = u32_at(raw, 32);
        entries.push(Entry { name, offset, len, crc, verified: AtomicBool::new(false) });
    }
    (at == total).then_some(entries)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut out = [0; 4];
    out.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(out)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut out = [0; 8];
    out.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(out)
}

#[cfg(test)]
mod tests;
