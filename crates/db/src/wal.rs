//! The write-ahead log: a header, then one checksummed record per commit.
//!
//! ```text
//! header, 64 bytes: magic 8 · version u32 · 0 u32 · features u64 · collection u64 · number u64 ·
//!                   first seq u64 · zeros 12 · crc32c u32 (of the 60 bytes before)
//! record:           length u32 · crc32c u32 · seq u64 · body
//! mark:             a record of length 0 with the seq of the record before it
//! ```
//! The crc covers the collection's number, the length, the seq and the body; the collection's
//! number keeps bytes inside payloads from passing as records. A mark is written, unsynced, once
//! its record is known to be on the disk: while a mark is there, the record before it was durable,
//! so that a damaged record is told from one that a power cut tore. A log is never opened for
//! writing twice: the next writer copies the records into a new one.

use crate::OpenError;
use crate::limits::RECORD_SIZE_MAX;
use kvant_storage::{Bytes, Dir, Log, Name, crc32c, crc32c_append};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where logs are.
pub(crate) const FOLDER: &str = "wal";
const MAGIC: [u8; 8] = *b"KVANTWAL";
const VERSION: u32 = 1;
const FEATURES: u64 = 0;
/// Bytes before the first record.
pub(crate) const HEADER: usize = 64;
/// Bytes of a record before its body; all there is of a mark.
const HEAD: usize = 16;
/// How far a later record's number may be ahead of the last one read. What was written behind a
/// damaged record has the very next numbers; a wide window would take vectors for records and sum
/// megabytes at every byte of a torn tail.
const SEQ_AHEAD_MAX: u64 = 1 << 10;

/// Which log the manifest goes with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pin {
    /// The number in its name.
    pub(crate) number: u64,
    /// The seq of its first record, present or to come.
    pub(crate) first: u64,
    /// Bytes known to be durable when the manifest was made.
    pub(crate) end: u64,
}

/// The log being written.
pub(crate) struct Wal {
    log: Box<dyn Log>,
    salt: u64,
    /// The seq of the last record.
    last: u64,
    size: u64,
}

/// What a log holds.
#[derive(Debug)]
pub(crate) struct Replay {
    /// The records as they are in the file, without marks: what the next log starts with.
    pub(crate) records: Vec<Bytes>,
    /// Whether everything read is known to be durable.
    pub(crate) confirmed: bool,
    /// Bytes of the file.
    pub(crate) size: u64,
}

/// The bodies of records, in order.
pub(crate) fn bodies(records: &[Bytes]) -> impl Iterator<Item = &[u8]> {
    records.iter().map(|record| &record[HEAD..])
}

impl Wal {
    /// Makes log `number` durable, holding `records`.
    pub(crate) fn create(
        dir: &dyn Dir,
        number: u64,
        salt: u64,
        first: u64,
        records: &[Bytes],
    ) -> Result<(Self, Pin), OpenError> {
        let mut log = dir.append(&Name::numbered(FOLDER, number))?;
        let mut data = header(number, salt, first).to_vec();
        for record in records {
            data.extend_from_slice(record);
        }
        let failed = |e| OpenError::Save(kvant_storage::frame::SaveError::Write(e));
        log.append(&data).map_err(failed)?;
        log.sync().map_err(failed)?;
        let size = data.len() as u64;
        let last = first - 1 + records.len() as u64;
        Ok((Self { log, salt, last, size }, Pin { number, first, end: size }))
    }

    /// Adds one record and returns when it is durable.
    pub(crate) fn commit(&mut self, body: &[u8]) -> Result<(), kvant_storage::WriteError> {
        assert!(!body.is_empty() && body.len() <= RECORD_SIZE_MAX, "record of {}", body.len());
        let seq = self.last + 1;
        let mut record = Vec::with_capacity(HEAD + body.len());
        record.extend_from_slice(&head(self.salt, seq, body));
        record.extend_from_slice(body);
        self.log.append(&record)?;
        self.log.sync()?;
        self.last = seq;
        self.size += record.len() as u64;
        self.mark();
        Ok(())
    }

    /// Notes that everything up to here is durable, as is the manifest this log goes with.
    pub(crate) fn mark(&mut self) {
        // A failure closes the log, so the next commit reports it; what is durable stays so.
        if self.log.append(&head(self.salt, self.last, &[])).is_ok() {
            self.size += HEAD as u64;
        }
    }

    /// The seq of the last record, or the one before the first.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Bytes so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }
}

fn header(number: u64, salt: u64, first: u64) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[..8].copy_from_slice(&MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[16..24].copy_from_slice(&FEATURES.to_le_bytes());
    out[24..32].copy_from_slice(&salt.to_le_bytes());
    out[32..40].copy_from_slice(&number.to_le_bytes());
    out[40..48].copy_from_slice(&first.to_le_bytes());
    let crc = crc32c(&out[..60]);
    out[60..].copy_from_slice(&crc.to_le_bytes());
    out
}

fn head(salt: u64, seq: u64, body: &[u8]) -> [u8; HEAD] {
    let len = body.len() as u32;
    let mut out = [0; HEAD];
    out[..4].copy_from_slice(&len.to_le_bytes());
    out[4..8].copy_from_slice(&crc(salt, len, seq, body).to_le_bytes());
    out[8..].copy_from_slice(&seq.to_le_bytes());
    out
}

fn crc(salt: u64, len: u32, seq: u64, body: &[u8]) -> u32 {
    let mut fixed = [0; 20];
    fixed[..8].copy_from_slice(&salt.to_le_bytes());
    fixed[8..12].copy_from_slice(&len.to_le_bytes());
    fixed[12..].copy_from_slice(&seq.to_le_bytes());
    crc32c_append(crc32c(&fixed), body)
}

/// Reads the log that `pin` names.
pub(crate) fn read(dir: &dyn Dir, pin: &Pin, salt: u64) -> Result<Replay, OpenError> {
    let name = Name::numbered(FOLDER, pin.number);
    let path = dir.place().join(name.as_str());
    let bytes = dir.read(&name)?;
    check_header(&bytes, pin, salt, &path)?;
    let scan = Scan { bytes: &bytes, salt, last: pin.first.saturating_sub(1) };
    let (records, confirmed, end) = scan.run();
    let corrupt = |offset: usize, what: &str| {
        Err(OpenError::Corrupt { path: path.clone(), offset: offset as u64, what: what.to_owned() })
    };
    if (end as u64) < pin.end {
        return corrupt(end, "a record that was on the disk is damaged or missing");
    }
    let last = pin.first.saturating_sub(1) + records.len() as u64;
    if (Scan { bytes: &bytes, salt, last }).is_anything_after(end) {
        return corrupt(end, "a record is damaged and later ones follow it");
    }
    let records = records.into_iter().map(|range| bytes.slice(range)).collect();
    Ok(Replay { records, confirmed, size: bytes.len() as u64 })
}

fn check_header(bytes: &[u8], pin: &Pin, salt: u64, path: &Path) -> Result<(), OpenError> {
    use kvant_storage::frame::FrameError;
    let path = PathBuf::from(path);
    let corrupt =
        |what: &str| OpenError::Corrupt { path: path.clone(), offset: 0, what: what.to_owned() };
    let head = bytes.get(..HEADER).ok_or_else(|| corrupt("the log is cut inside its header"))?;
    let number = |at: usize| Some(u64::from_le_bytes(head.get(at..at + 8)?.try_into().ok()?));
    let version = number(8).unwrap_or_default() as u32;
    if head[..8] != MAGIC {
        return Err(corrupt("not a log"));
    }
    if version > VERSION {
        return Err(FrameError::Version { path, known: VERSION, got: version }.into());
    }
    if crc32c(&head[..60]).to_le_bytes() != head[60..] {
        return Err(corrupt("the header of the log is damaged"));
    }
    let unknown = number(16).unwrap_or_default() & !FEATURES;
    if unknown != 0 {
        return Err(FrameError::Features { path, unknown }.into());
    }
    if head != header(pin.number, salt, pin.first) {
        return Err(corrupt("the log belongs to another collection or manifest"));
    }
    Ok(())
}

struct Scan<'a> {
    bytes: &'a [u8],
    salt: u64,
    /// The seq of the last record read.
    last: u64,
}

impl Scan<'_> {
    /// The records from the start, whether a mark follows the last, and where the valid part ends.
    fn run(mut self) -> (Vec<std::ops::Range<usize>>, bool, usize) {
        let (mut records, mut confirmed, mut at) = (Vec::new(), false, HEADER);
        loop {
            // A mark that never reached the disk leaves its place empty: look behind it as well.
            let next = [at, at + HEAD]
                .into_iter()
                .find_map(|start| self.record(start).map(|len| start..start + HEAD + len));
            if let Some(range) = next {
                at = range.end;
                records.push(range);
                self.last += 1;
                confirmed = false;
            } else if self.valid(at) == Some((0, self.last)) {
                at += HEAD;
                confirmed = true;
            } else {
                return (records, confirmed, at);
            }
        }
    }

    /// The length of the next record's body, if it stands at `at`.
    fn record(&self, at: usize) -> Option<usize> {
        self.valid(at).filter(|(len, seq)| *len > 0 && *seq == self.last + 1).map(|(len, _)| len)
    }

    /// Length and seq of the record or mark at `at`, if one is there, unharmed, that is not older
    /// than what was read. The seq is looked at first: it is cheap and rules out nearly all.
    fn valid(&self, at: usize) -> Option<(usize, u64)> {
        let head = self.bytes.get(at..at.checked_add(HEAD)?)?;
        let seq = u64::from_le_bytes(head[8..].try_into().ok()?);
        if seq < self.last || seq - self.last > SEQ_AHEAD_MAX {
            return None;
        }
        let len = u32::from_le_bytes(head[..4].try_into().ok()?);
        if len as usize > RECORD_SIZE_MAX {
            return None;
        }
        let body = self.bytes.get(at + HEAD..at + HEAD + len as usize)?;
        let stored = u32::from_le_bytes(head[4..8].try_into().ok()?);
        (crc(self.salt, len, seq, body) == stored).then_some((len as usize, seq))
    }

    /// Whether anything that was written later than the record at `end` can be made out behind it.
    /// Since a commit is one record, that proves the record at `end` was once durable.
    fn is_anything_after(&self, end: usize) -> bool {
        let last = self.bytes.len().saturating_sub(HEAD);
        (end + 1..=last).any(|at| self.valid(at).is_some_and(|(_, seq)| seq > self.last))
    }
}

#[cfg(test)]
mod tests;
