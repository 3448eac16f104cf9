//! The log as files of a directory.
//!
//! `head/<n>` lists the files that count; like every manifest it is only ever created. The body of
//! a frame is records, each `seq u64 · time u64 · collection u64 · length u32 · change`.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use kvant_storage::frame::{Frame, Kind, Section, to_bytes};
use kvant_storage::{Bytes, Dir, Lock, Name};
use serde::{Deserialize, Serialize};

use super::frame::{self, Extent, Pin, Writer};
use super::{Journal, Record, Stamp};
use crate::codec::Reader;
use crate::limits::{FRAME_SIZE_MAX, RECORD_SIZE_MAX};
use crate::manifest::numbers;
use crate::{Clock, LogError, OpenError};

/// Where heads are.
const HEADS: &str = "head";
const KIND: Kind = Kind { magic: *b"KVANTHED", version: 1, features: 0 };
/// Bytes that one wait for the disk gathers, unless one record has more.
const GROUP_BYTES: usize = 16 << 20;
/// Bytes at which a file is ended and the next one begun.
const FILE_BYTES: u64 = 64 << 20;

/// The log of a data directory. Writers that come while the disk is busy share the next wait.
pub(crate) struct FileJournal {
    dir: Arc<dyn Dir>,
    clock: Clock,
    /// A number no other log has.
    salt: u64,
    queue: Mutex<Queue>,
    /// Signalled when a wait for the disk ended.
    done: Condvar,
    disk: Mutex<Disk>,
    /// Held for its effect.
    lock: Option<Lock>,
}

/// What was given a place and is not on the disk.
struct Queue {
    waiting: Vec<u8>,
    /// Where each record ends in `waiting`.
    ends: Vec<usize>,
    /// Collection and number of each.
    whose: Vec<(u64, u64)>,
    next: u64,
    time: u64,
    durable: u64,
    /// Whether somebody is at the disk.
    busy: bool,
    failed: Option<LogError>,
}

/// What is on it. Touched only by the one who is there.
struct Disk {
    /// The file being written; none before the first write after opening.
    writer: Option<Writer>,
    /// The files that count, the one being written last.
    files: Vec<Use>,
    /// Frames at the end of the last file that are not known to be durable.
    doubtful: Vec<Bytes>,
    /// The number of the next frame that is not doubtful.
    frame: u64,
    head: u64,
}

/// A file and who has records in it.
struct Use {
    pin: Pin,
    /// The last number of each collection.
    last: BTreeMap<u64, u64>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    salt: u64,
    files: Vec<Pin>,
}

impl FileJournal {
    /// The log of `dir` and the records in it, or a new one.
    pub(crate) fn open(dir: Arc<dyn Dir>, clock: Clock) -> Result<(Self, Vec<Record>), OpenError> {
        let heads = numbers(&*dir, HEADS)?;
        let Some(number) = heads.into_iter().max() else {
            refuse_headless(&*dir)?;
            let salt = RandomState::new().build_hasher().finish();
            return Ok((Self::new(dir, clock, salt, Disk::default()), Vec::new()));
        };
        let name = Name::numbered(HEADS, number);
        let path = dir.place().join(name.as_str());
        let corrupt = |what: &str| OpenError::Corrupt {
            path: path.clone(),
            offset: 0,
            what: what.to_owned(),
        };
        let opened = Frame::open(dir.read(&name)?, &path, &KIND)?;
        let head: Head = serde_json::from_slice(&opened.section("files")?)
            .map_err(|error| corrupt(&error.to_string()))?;
        let mut disk = Disk { head: number, ..Disk::default() };
        let mut records = Vec::new();
        let last = head.files.len().wrapping_sub(1);
        for (at, pin) in head.files.into_iter().enumerate() {
            let extent = if at == last { Extent::Open } else { Extent::Pinned };
            disk.read(&*dir, (pin, head.salt, extent), &mut records)?;
        }
        let journal = Self::new(dir, clock, head.salt, disk);
        if let Some(record) = records.last() {
            let mut queue = journal.queue();
            (queue.next, queue.time) = (record.stamp.seq + 1, record.stamp.time);
            queue.durable = record.stamp.seq;
        }
        journal.settle()?;
        Ok((journal, records))
    }

    fn new(dir: Arc<dyn Dir>, clock: Clock, salt: u64, disk: Disk) -> Self {
        let queue = Queue {
            waiting: Vec::new(),
            ends: Vec::new(),
            whose: Vec::new(),
            next: 1,
            time: 0,
            durable: 0,
            busy: false,
            failed: None,
        };
        let (queue, disk) = (Mutex::new(queue), Mutex::new(disk));
        Self { dir, clock, salt, queue, done: Condvar::new(), disk, lock: None }
    }

    /// Keeps the directory locked as long as there is the log.
    pub(crate) fn hold(&mut self, lock: Lock) {
        self.lock = Some(lock);
    }

    /// The next record comes behind this one, which a manifest covers and the log may have lost.
    pub(crate) fn skip_to(&self, seq: u64, time: u64) {
        let mut queue = self.queue();
        queue.next = queue.next.max(seq.saturating_add(1));
        queue.time = queue.time.max(time);
    }

    /// What was read may not be on the disk yet. Writing it anew makes sure; where that is
    /// impossible (a full disk) reading still goes on, and the next write tries again.
    fn settle(&self) -> Result<(), OpenError> {
        let mut disk = self.disk();
        if disk.doubtful.is_empty() {
            disk.clean(&*self.dir)
        } else {
            let _ = disk.turn(&*self.dir, self.salt);
            Ok(())
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits; called with nobody else at the disk.
    fn write(&self, mut queue: MutexGuard<'_, Queue>) {
        let (body, whose) = queue.take();
        queue.busy = true;
        drop(queue);
        let wrote = self.disk().commit(&*self.dir, self.salt, (&body, &whose));
        let mut queue = self.queue();
        queue.busy = false;
        match wrote {
            Ok(()) => queue.durable = whose.last().map_or(queue.durable, |&(_, seq)| seq),
            Err(error) => queue.failed = Some(LogError::from(&error)),
        }
        drop(queue);
        self.done.notify_all();
    }
}

impl Queue {
    /// The front of what waits, as much as one frame takes.
    fn take(&mut self) -> (Vec<u8>, Vec<(u64, u64)>) {
        let fits = self.ends.partition_point(|&end| end <= GROUP_BYTES).max(1);
        let end = self.ends[fits - 1];
        let rest = self.waiting.split_off(end);
        let body = std::mem::replace(&mut self.waiting, rest);
        self.ends.drain(..fits);
        self.ends.iter_mut().for_each(|at| *at -= end);
        (body, self.whose.drain(..fits).collect())
    }
}

impl Journal for FileJournal {
    fn enqueue(&self, collection: u64, change: Vec<u8>) -> Result<Stamp, LogError> {
        if change.len() > RECORD_SIZE_MAX {
            return Err(LogError::Size { got: change.len(), max: RECORD_SIZE_MAX });
        }
        let now = (self.clock)();
        let mut queue = self.queue();
        if let Some(failed) = &queue.failed {
            return Err(failed.clone());
        }
        let stamp = Stamp { seq: queue.next, time: now.max(queue.time) };
        (queue.next, queue.time) = (stamp.seq + 1, stamp.time);
        for number in [stamp.seq, stamp.time, collection] {
            queue.waiting.extend_from_slice(&number.to_le_bytes());
        }
        queue.waiting.extend_from_slice(&(change.len() as u32).to_le_bytes());
        queue.waiting.extend_from_slice(&change);
        let end = queue.waiting.len();
        queue.ends.push(end);
        queue.whose.push((collection, stamp.seq));
        Ok(stamp)
    }

    fn wait(&self, seq: u64) -> Result<(), LogError> {
        let mut queue = self.queue();
        loop {
            if queue.durable >= seq {
                return Ok(());
            }
            if let Some(failed) = &queue.failed {
                return Err(failed.clone());
            }
            if queue.busy || queue.ends.is_empty() {
                queue = self.done.wait(queue).unwrap_or_else(PoisonError::into_inner);
            } else {
                self.write(queue);
                queue = self.queue();
            }
        }
    }

    fn durable(&self) -> u64 {
        self.queue().durable
    }

    fn trim(&self, covered: &dyn Fn(u64) -> u64) -> Result<(), LogError> {
        let mut disk = self.disk();
        let needed = |file: &Use| file.last.iter().any(|(of, last)| covered(*of) < *last);
        let free = disk.files.iter().take_while(|file| !needed(file)).count();
        let writing = usize::from(disk.writer.is_some());
        if free.min(disk.files.len().saturating_sub(writing)) == 0 || !disk.doubtful.is_empty() {
            return Ok(());
        }
        let kept = free.min(disk.files.len() - writing);
        let files = disk.files.split_off(kept);
        let freed = std::mem::replace(&mut disk.files, files);
        let published = disk.publish(&*self.dir, self.salt);
        if let Err(error) = published {
            disk.files.splice(0..0, freed);
            return Err(LogError::from(&error));
        }
        disk.clean(&*self.dir).map_err(|error| LogError::from(&error))
    }

    fn size_bytes(&self) -> u64 {
        self.disk().files.iter().map(|file| file.pin.end).sum()
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self { writer: None, files: Vec::new(), doubtful: Vec::new(), frame: 1, head: 0 }
    }
}

impl Disk {
    /// Reads one file behind those read before.
    fn read(
        &mut self,
        dir: &dyn Dir,
        (pin, salt, extent): (Pin, u64, Extent),
        records: &mut Vec<Record>,
    ) -> Result<(), OpenError> {
        let path = dir.place().join(Name::numbered(frame::FOLDER, pin.number).as_str());
        let replay = frame::read(dir, &pin, salt, extent)?;
        let mut last = BTreeMap::new();
        for (frame, number) in replay.frames.iter().zip(pin.first..) {
            let senseless = || OpenError::Corrupt {
                path: path.clone(),
                offset: 0,
                what: format!("record {number} is senseless"),
            };
            for record in parsed(&frame::body(frame)).ok_or_else(senseless)? {
                let after = records.last().map_or(0, |before: &Record| before.stamp.seq);
                if record.stamp.seq <= after || record.stamp.seq == u64::MAX {
                    return Err(senseless());
                }
                last.insert(record.collection, record.stamp.seq);
                records.push(record);
            }
        }
        self.doubtful = replay.frames[replay.confirmed..].to_vec();
        self.frame = pin.first + replay.confirmed as u64;
        let pin = Pin { end: replay.confirmed_end, ..pin };
        self.files.push(Use { pin, last });
        Ok(())
    }

    fn commit(
        &mut self,
        dir: &dyn Dir,
        salt: u64,
        (body, whose): (&[u8], &[(u64, u64)]),
    ) -> Result<(), OpenError> {
        assert!(body.len() <= FRAME_SIZE_MAX, "records are bounded where they enter");
        if self.writer.as_ref().is_none_or(|writer| writer.size() >= FILE_BYTES) {
            self.turn(dir, salt)?;
        }
        let (Some(writer), Some(file)) = (&mut self.writer, self.files.last_mut()) else {
            return Ok(());
        };
        let failed = |error| OpenError::Save(kvant_storage::frame::SaveError::Write(error));
        writer.commit(body).map_err(failed)?;
        file.pin.end = writer.end();
        file.last.extend(whose.iter().copied());
        self.frame = writer.last() + 1;
        Ok(())
    }

    /// Begins a file, with the frames that may not be on the disk, and a head that makes it count.
    fn turn(&mut self, dir: &dyn Dir, salt: u64) -> Result<(), OpenError> {
        let highest = numbers(dir, frame::FOLDER)?.into_iter().max().unwrap_or(0);
        let doubtful = std::mem::take(&mut self.doubtful);
        let made = Writer::create(dir, highest + 1, salt, self.frame, &doubtful);
        let (mut writer, pin) = match made {
            Ok(made) => made,
            Err(error) => {
                self.doubtful = doubtful;
                return Err(error);
            }
        };
        let last = doubtful.iter().filter_map(|frame| parsed(&frame::body(frame))).flatten();
        let last = last.map(|record| (record.collection, record.stamp.seq)).collect();
        self.files.push(Use { pin, last });
        if let Err(error) = self.publish(dir, salt) {
            self.files.pop();
            self.doubtful = doubtful;
            return Err(error);
        }
        writer.mark();
        self.frame = writer.last() + 1;
        self.writer = Some(writer);
        self.clean(dir)
    }

    fn publish(&mut self, dir: &dyn Dir, salt: u64) -> Result<(), OpenError> {
        let files = self.files.iter().map(|file| file.pin.clone()).collect();
        // A struct of numbers into memory: there is no way to fail.
        let json = serde_json::to_vec(&Head { salt, files }).unwrap_or_default();
        let data = to_bytes(&KIND, 0, &[Section { name: "files", data: &json }]);
        let highest = numbers(dir, HEADS)?.into_iter().max().unwrap_or(0).max(self.head);
        dir.create_new(&Name::numbered(HEADS, highest + 1), &data)?;
        self.head = highest + 1;
        Ok(())
    }

    /// Removes the files that the head, which is durable, does not list. What cannot be removed
    /// costs space until the next time.
    fn clean(&self, dir: &dyn Dir) -> Result<(), OpenError> {
        for number in numbers(dir, HEADS)?.into_iter().filter(|number| *number != self.head) {
            let _ = dir.remove(&Name::numbered(HEADS, number));
        }
        let used = |number: u64| self.files.iter().any(|file| file.pin.number == number);
        for number in numbers(dir, frame::FOLDER)?.into_iter().filter(|number| !used(*number)) {
            let _ = dir.remove(&Name::numbered(frame::FOLDER, number));
        }
        Ok(())
    }
}

/// Refuses files of the log that no head lists though one did: frames come behind the header only
/// when the first head is durable.
fn refuse_headless(dir: &dyn Dir) -> Result<(), OpenError> {
    for number in numbers(dir, frame::FOLDER)? {
        if dir.read(&Name::numbered(frame::FOLDER, number))?.len() > frame::HEADER {
            let (path, what) = (dir.place().join(HEADS), "the head of the log is missing");
            return Err(OpenError::Corrupt { path, offset: 0, what: what.to_owned() });
        }
    }
    Ok(())
}

/// The records of a frame's body; `None` if it is no such body.
fn parsed(body: &Bytes) -> Option<Vec<Record>> {
    let mut reader = Reader::new(body);
    let mut records = Vec::new();
    while reader.left() > 0 {
        let (seq, time, collection) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let len = reader.u32()? as usize;
        let start = body.len() - reader.left();
        reader.take(len)?;
        let change = body.slice(start..start + len);
        records.push(Record { stamp: Stamp { seq, time }, collection, change });
    }
    Some(records)
}

impl fmt::Debug for FileJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = self.queue();
        f.debug_struct("FileJournal")
            .field("dir", &self.dir.place())
            .field("durable", &queue.durable)
            .field("waiting", &queue.whose.len())
            .field("failed", &queue.failed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
