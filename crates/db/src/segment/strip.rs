//! Files of sections whose blocks are verified when they are first read.
//!
//! Beside its sections such a file has one called `sums`: four bytes of CRC-32C for each 16 KiB of
//! each of them, in order. A file is called by its content: the first 128 bits of its SHA-256.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kvant_storage::frame::{Frame, Kind, Section, to_bytes};
use kvant_storage::{BLOCK_BYTES, Blocks, Bytes, CreateError, Dir, Name, block_sums};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{DamageError, OpenError};

const SUMS: &str = "sums";

/// A file of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRef {
    /// The first 128 bits of the SHA-256 of what is in it.
    pub(crate) name: String,
    /// Its bytes.
    pub(crate) size: u64,
    /// The checksum of its header, which covers those of its sections: a file exchanged for another
    /// whole one is told by it without reading all of it.
    pub(crate) identity: u32,
}

/// The checksum at the end of the header of a framed file.
fn identity(bytes: &[u8]) -> Option<u32> {
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    number((number(12)? as usize).checked_mul(40)?.checked_add(32)?)
}

impl FileRef {
    /// Where it is below `folder`.
    pub(crate) fn place(&self, folder: &str) -> Result<Name, OpenError> {
        Name::new(&format!("{folder}/{}", self.name)).map_err(|error| OpenError::Corrupt {
            path: PathBuf::from(folder),
            offset: 0,
            what: error.to_string(),
        })
    }

    /// Makes the file durable. One that is there under the name is this one.
    pub(crate) fn publish(dir: &dyn Dir, folder: &str, bytes: &[u8]) -> Result<Self, OpenError> {
        let digest = Sha256::digest(bytes);
        let name = digest[..16].iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte));
        let name = format!("{name:032x}");
        let identity = identity(bytes).unwrap_or_default();
        let file = Self { name, size: bytes.len() as u64, identity };
        match dir.create_new(&file.place(folder)?, bytes) {
            Ok(()) | Err(CreateError::AlreadyExists { .. }) => Ok(file),
            Err(error) => Err(error.into()),
        }
    }

    /// Its bytes, mapped, and where they are from.
    pub(crate) fn read(&self, dir: &dyn Dir, folder: &str) -> Result<(Bytes, PathBuf), OpenError> {
        let name = self.place(folder)?;
        let path = dir.place().join(name.as_str());
        let bytes = dir.read(&name)?;
        if bytes.len() as u64 != self.size {
            let what = format!("{} bytes, the manifest says {}", bytes.len(), self.size);
            return Err(OpenError::Corrupt { path, offset: bytes.len() as u64, what });
        }
        if identity(&bytes) != Some(self.identity) {
            let what = "not the file that the manifest lists".to_owned();
            return Err(OpenError::Corrupt { path, offset: 0, what });
        }
        Ok((bytes, path))
    }
}

/// The bytes of a file of such sections.
pub(crate) fn encode(kind: &Kind, sections: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let sums: Vec<u8> = sections.iter().flat_map(|(_, data)| block_sums(data)).collect();
    let mut all: Vec<Section<'_>> =
        sections.iter().map(|(name, data)| Section { name, data }).collect();
    all.push(Section { name: SUMS, data: &sums });
    to_bytes(kind, 0, &all)
}

/// Opens what [`encode`] made: the sections called `names`, in order, which must be all. Reads the
/// header, the section table and the sums.
pub(crate) fn open(
    bytes: Bytes,
    path: &Path,
    kind: &Kind,
    names: &[&'static str],
) -> Result<Vec<Strip>, OpenError> {
    let frame = Frame::open(bytes, path, kind)?;
    let sums = frame.section(SUMS)?;
    let path: Arc<Path> = path.into();
    let (mut strips, mut at) = (Vec::with_capacity(names.len()), 0);
    for &section in names {
        let size = frame.size(section).unwrap_or(0) as usize;
        let count = size.div_ceil(BLOCK_BYTES) * 4;
        let damaged = || DamageError { path: path.to_path_buf(), section, offset: 0 };
        let table = sums.get(at..at + count).map(|_| sums.slice(at..at + count));
        let table = table.ok_or_else(damaged)?;
        let blocks = frame.blocks(section, Some((table, BLOCK_BYTES)))?.ok_or_else(damaged)?;
        let offset = frame.offset(section).unwrap_or(0);
        strips.push(Strip { blocks, path: Arc::clone(&path), section, offset });
        at += count;
    }
    Ok(strips)
}

/// One section.
#[derive(Debug)]
pub(crate) struct Strip {
    blocks: Blocks,
    path: Arc<Path>,
    section: &'static str,
    offset: u64,
}

impl Strip {
    pub(crate) fn len(&self) -> usize {
        self.blocks.data().len()
    }

    /// The bytes `range`, verified.
    pub(crate) fn read(&self, range: Range<usize>) -> Result<&[u8], DamageError> {
        if range.start > range.end || range.end > self.len() {
            return Err(self.damaged(range.start));
        }
        if !self.blocks.touch(range.clone()) {
            let at = self.blocks.check(&range).unwrap_or(range.start);
            return Err(self.damaged(at));
        }
        Ok(&self.blocks.data()[range])
    }

    /// All of it, verified.
    pub(crate) fn whole(&self) -> Result<Bytes, DamageError> {
        self.read(0..self.len())?;
        Ok(self.blocks.data().clone())
    }

    /// The number at place `at` of an array of them.
    pub(crate) fn u64(&self, at: usize) -> Result<u64, DamageError> {
        let raw = self.read(at * 8..at * 8 + 8)?;
        Ok(u64::from_le_bytes(raw.try_into().unwrap_or_default()))
    }

    /// The number at place `at` of an array of them.
    pub(crate) fn u32(&self, at: usize) -> Result<u32, DamageError> {
        let raw = self.read(at * 4..at * 4 + 4)?;
        Ok(u32::from_le_bytes(raw.try_into().unwrap_or_default()))
    }

    /// Holds every block against its sum.
    pub(crate) fn verify(&self) -> Result<(), DamageError> {
        match self.blocks.check(&(0..self.len())) {
            Some(at) => Err(self.damaged(at)),
            None => Ok(()),
        }
    }

    /// That what lies at `at` is not what was written.
    pub(crate) fn damaged(&self, at: usize) -> DamageError {
        let (path, section) = (self.path.to_path_buf(), self.section);
        DamageError { path, section, offset: self.offset + at as u64 }
    }
}
