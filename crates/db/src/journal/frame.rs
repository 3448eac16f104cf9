//! A file of the log: a header, then one checksummed frame per wait for the disk.
//!
//! ```text
//! header, 64 bytes: magic 8 · version u32 · 0 u32 · features u64 · salt u64 · number u64 ·
//!                   first frame u64 · zeros 12 · crc32c u32 (of the 60 bytes before)
//! frame:            length u32 · crc32c u32 · frame number u64 · body
//! mark:             a frame of length 0 with the number of the frame before it
//! ```
//! The crc covers the salt, the length, the number and the body; the salt, which no other log has,
//! keeps bytes inside payloads from passing as frames. A mark is written, unsynced, once its frame
//! is known to be on the disk: while a mark is there, the frame before it was durable, so that a
//! damaged frame is told from one that a power cut tore. A file is never opened for writing twice:
//! the next writer begins one of its own, with the frames that no mark follows.

use crate::OpenError;
use crate::limits::FRAME_SIZE_MAX;
use kvant_storage::{Bytes, Dir, Log, Name, crc32c, crc32c_append};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where logs are.
pub(crate) const FOLDER: &str = "log";
const MAGIC: [u8; 8] = *b"KVANTWAL";
const VERSION: u32 = 2;
const FEATURES: u64 = 0;
/// Bytes before the first record.
pub(crate) const HEADER: usize = 64;
/// Bytes of a record before its body; all there is of a mark.
const HEAD: usize = 16;
/// How far a later record's number may be ahead of the last one read. What was written behind a
/// damaged record has the very next numbers; a wide window would take vectors for records and sum
/// megabytes at every byte of a torn tail.
const SEQ_AHEAD_MAX: u64 = 1 << 10;

/// A file of the log, as the head lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pin {
    /// The number in its name.
    pub(crate) number: u64,
    /// The number of its first frame, present or to come.
    pub(crate) first: u64,
    /// Bytes known to be durable when the head was made. Of all files but the last nothing behind
    /// counts.
    pub(crate) end: u64,
}

/// The file being written.
pub(crate) struct Writer {
    log: Box<dyn Log>,
    salt: u64,
    /// The number of the last frame.
    last: u64,
    /// Where the last frame ends.
    end: u64,
    size: u64,
}

/// What a file holds.
#[derive(Debug)]
pub(crate) struct Replay {
    /// The frames as they are in the file, without marks.
    pub(crate) frames: Vec<Bytes>,
    /// How many of them are known to be durable; the next file starts with the others.
    pub(crate) confirmed: usize,
    /// Where those end.
    pub(crate) confirmed_end: u64,
}

/// The body of a frame.
pub(crate) fn body(frame: &Bytes) -> Bytes {
    frame.slice(HEAD..frame.len())
}

impl Writer {
    /// Makes file `number` durable, holding `frames`.
    pub(crate) fn create(
        dir: &dyn Dir,
        number: u64,
        salt: u64,
        first: u64,
        frames: &[Bytes],
    ) -> Result<(Self, Pin), OpenError> {
        let mut log = dir.append(&Name::numbered(FOLDER, number))?;
        let mut data = header(number, salt, first).to_vec();
        for frame in frames {
            data.extend_from_slice(frame);
        }
        let failed = |e| OpenError::Save(kvant_storage::frame::SaveError::Write(e));
        log.append(&data).map_err(failed)?;
        log.sync().map_err(failed)?;
        let size = data.len() as u64;
        let last = first - 1 + frames.len() as u64;
        Ok((Self { log, salt, last, end: size, size }, Pin { number, first, end: size }))
    }

    /// Adds one frame and returns when it is durable.
    pub(crate) fn commit(&mut self, body: &[u8]) -> Result<(), kvant_storage::WriteError> {
        assert!(!body.is_empty() && body.len() <= FRAME_SIZE_MAX, "frame of {}", body.len());
        let number = self.last + 1;
        let mut frame = Vec::with_capacity(HEAD + body.len());
        frame.extend_from_slice(&head(self.salt, number, body));
        frame.extend_from_slice(body);
        self.log.append(&frame)?;
        self.log.sync()?;
        self.last = number;
        self.size += frame.len() as u64;
        self.end = self.size;
        self.mark();
        Ok(())
    }

    /// Notes that everything up to here is durable, as is the head that lists this file.
    pub(crate) fn mark(&mut self) {
        // A failure closes the log, so the next commit reports it; what is durable stays so.
        if self.log.append(&head(self.salt, self.last, &[])).is_ok() {
            self.size += HEAD as u64;
        }
    }

    /// The number of the last frame, or the one before the first.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Where the last frame ends.
    pub(crate) fn end(&self) -> u64 {
        self.end
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

/// Whether a file goes on behind what its pin says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// It ends where the pin says.
    Pinned,
    /// It is the last one: what was written later follows.
    Open,
}

/// Reads the file that `pin` names.
pub(crate) fn read(
    dir: &dyn Dir,
    pin: &Pin,
    salt: u64,
    extent: Extent,
) -> Result<Replay, OpenError> {
    let name = Name::numbered(FOLDER, pin.number);
    let path = dir.place().join(name.as_str());
    let mut bytes = dir.read(&name)?;
    check_header(&bytes, pin, salt, &path)?;
    if extent == Extent::Pinned {
        bytes = bytes.slice(0..bytes.len().min(pin.end as usize));
    }
    let scan = Scan { bytes: &bytes, salt, last: pin.first.saturating_sub(1) };
    let Scanned { frames, confirmed, confirmed_end, end } = scan.run();
    let corrupt = |offset: usize, what: &str| {
        Err(OpenError::Corrupt { path: path.clone(), offset: offset as u64, what: what.to_owned() })
    };
    if (end as u64) < pin.end {
        return corrupt(end, "a record that was on the disk is damaged or missing");
    }
    let last = pin.first.saturating_sub(1) + frames.len() as u64;
    if (Scan { bytes: &bytes, salt, last }).is_anything_after(end) {
        return corrupt(end, "a record is damaged and later ones follow it");
    }
    let pinned = frames.iter().filter(|frame| frame.end as u64 <= pin.end).count();
    let (confirmed, confirmed_end) = if confirmed >= pinned {
        (confirmed, confirmed_end.max(pin.end))
    } else {
        (pinned, pin.end)
    };
    let frames = frames.into_iter().map(|range| bytes.slice(range)).collect();
    Ok(Replay { frames, confirmed, confirmed_end })
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
        return Err(corrupt("the log belongs to another directory"));
    }
    Ok(())
}

struct Scan<'a> {
    bytes: &'a [u8],
    salt: u64,
    /// The number of the last frame read.
    last: u64,
}

/// What was found in a file.
struct Scanned {
    frames: Vec<std::ops::Range<usize>>,
    /// Frames that a mark follows, and where the last of them ends.
    confirmed: usize,
    confirmed_end: u64,
    /// Where the valid part ends.
    end: usize,
}

impl Scan<'_> {
    fn run(mut self) -> Scanned {
        let mut found =
            Scanned { frames: Vec::new(), confirmed: 0, confirmed_end: HEADER as u64, end: HEADER };
        loop {
            let at = found.end;
            if self.valid(at) == Some((0, self.last)) {
                found.confirmed = found.frames.len();
                found.confirmed_end = at as u64;
                found.end += HEAD;
                continue;
            }
            // A mark that never reached the disk leaves its place empty: look behind it as well.
            let next = [at, at + HEAD]
                .into_iter()
                .find_map(|start| self.record(start).map(|len| start..start + HEAD + len));
            let Some(range) = next else { return found };
            found.end = range.end;
            found.frames.push(range);
            self.last += 1;
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
        if len as usize > FRAME_SIZE_MAX {
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
