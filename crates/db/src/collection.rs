//! A collection: a directory of manifest, log and segments, and its one writer.

mod seal;

use crate::change::Change;
use crate::limits::RECORD_SIZE_MAX;
use crate::manifest::{self, Manifest};
use crate::segment::sealed::{self, Plan, Sealed};
use crate::state::{Part, State};
use crate::wal::{self, Pin, Wal};
use crate::{Found, Info, OpenError, Point, PointId, Query, SearchError, Settings, WriteError};
use kvant_storage::{Bytes, Dir, FsDir, Lock, Name, ReadError};
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;

/// Points on disk: written durably, batch by batch, and searched.
///
/// One process has a collection open at a time. Reading takes `&self` and may go on from any
/// number of threads; writing takes `&mut self`.
pub struct Collection {
    dir: Box<dyn Dir>,
    #[expect(dead_code, reason = "held for its effect")]
    lock: Lock,
    tuning: Tuning,
    state: State,
    /// A number no other collection has; salts the log and is in every file.
    id: u64,
    journal: Journal,
    /// The log that the manifest names.
    pin: Pin,
    /// The number of the next file of any kind.
    next: u64,
    manifest: u64,
    manifest_size: u64,
}

/// The writing end of the log.
enum Journal {
    /// Not begun. Holds the records that the log on disk has, and its size.
    Idle {
        records: Vec<Bytes>,
        size: u64,
    },
    Open(Wal),
    /// A write failed, so that what the disk holds is in doubt until it is read again.
    Stopped {
        size: u64,
    },
}

/// What may be chosen at every opening; no answer depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Threads that build indexes.
    pub threads: usize,
    /// Points in memory at which the growing segment is sealed.
    pub seal_points: usize,
    /// Bytes in memory at which the growing segment is sealed.
    pub seal_size_bytes: usize,
}

impl Default for Tuning {
    /// All processors; 50 000 points or 256 MiB.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { threads, seal_points: 50_000, seal_size_bytes: 256 << 20 }
    }
}

impl Collection {
    /// A new collection in the directory at `path`, which is made if it is not there.
    ///
    /// # Errors
    /// [`OpenError::Exists`] unless the directory is empty; [`OpenError::Settings`];
    /// [`OpenError::Lock`]; [`OpenError::Save`].
    pub fn create(path: &Path, settings: Settings) -> Result<Self, OpenError> {
        settings.check()?;
        let dir = FsDir::create(path)?;
        let ours = [manifest::FOLDER, wal::FOLDER, sealed::FOLDER];
        if dir.folders()?.iter().any(|folder| !ours.contains(&folder.as_str())) {
            return Err(OpenError::Exists { path: dir.place() });
        }
        Self::create_in(Box::new(dir), settings, Tuning::default())
    }

    /// [`create`](Self::create) in a directory of any kind.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_in(
        dir: Box<dyn Dir>,
        settings: Settings,
        tuning: Tuning,
    ) -> Result<Self, OpenError> {
        settings.check()?;
        // Before the lock too: what is not ours is not touched, not even by a lock file.
        refuse_used(&*dir)?;
        let lock = dir.lock()?;
        refuse_used(&*dir)?;
        let id = RandomState::new().build_hasher().finish();
        let next = next_number(&*dir)?;
        let mut collection = Self {
            dir,
            lock,
            tuning,
            state: State::new(settings, Vec::new())?,
            id,
            journal: Journal::Idle { records: Vec::new(), size: 0 },
            pin: Pin { number: 0, first: 1, end: 0 },
            next,
            manifest: 0,
            manifest_size: 0,
        };
        collection.begin()?;
        Ok(collection)
    }

    /// The collection at `path`.
    ///
    /// Reads and verifies every file: O(bytes on disk).
    ///
    /// # Errors
    /// [`OpenError::Missing`] where there is none, [`OpenError::Lock`] while another process has
    /// it open, and an error naming the file for every damage.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let dir = match FsDir::open(path) {
            Err(ReadError::Missing { path }) => return Err(OpenError::Missing { path }),
            other => other?,
        };
        // A directory that holds none of ours is left as it is, without a lock file.
        if dir.list(manifest::FOLDER)?.is_empty() {
            return Err(OpenError::Missing { path: path.to_owned() });
        }
        Self::open_in(Box::new(dir), Tuning::default())
    }

    /// [`open`](Self::open) in a directory of any kind.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_in(dir: Box<dyn Dir>, tuning: Tuning) -> Result<Self, OpenError> {
        let lock = dir.lock()?;
        let Some((found, manifest_size)) = Manifest::newest(&*dir)? else {
            return Err(OpenError::Missing { path: dir.place() });
        };
        let Manifest { number, settings, collection: id, wal: pin, segments } = found;
        let plan = Plan { settings: &settings, collection: id, threads: tuning.threads };
        let mut parts = Vec::with_capacity(segments.len());
        for listed in segments {
            let segment = Sealed::open(&*dir, &listed, &plan)?;
            parts.push(Part::new(segment, listed.live));
        }
        let mut state = State::new(settings, parts)?;
        let replay = wal::read(&*dir, &pin, id)?;
        for (body, seq) in wal::bodies(&replay.records).zip(pin.first..) {
            for change in changes(body, state.settings.dim).ok_or_else(|| {
                let path = dir.place().join(Name::numbered(wal::FOLDER, pin.number).as_str());
                sealed::corrupt(&path, &format!("record {seq} is senseless"))
            })? {
                state.apply(change);
            }
        }
        let next = next_number(&*dir)?;
        let journal = Journal::Idle { records: replay.records, size: replay.size };
        let manifest = number;
        let mut collection =
            Self { dir, lock, tuning, state, id, journal, pin, next, manifest, manifest_size };
        if replay.confirmed {
            collection.clean();
        } else {
            // What was read may not be on the disk yet. Writing it anew makes sure; where that is
            // impossible (a full disk) reading still goes on, and the next write tries again.
            let _ = collection.begin();
        }
        Ok(collection)
    }

    /// Writes points, replacing those of the same identifiers. When the call returns they are on
    /// the disk. Either all of them are written or none.
    ///
    /// # Errors
    /// [`WriteError`], with nothing written; only after [`WriteError::Log`] the batch may turn out
    /// to be there, whole, when the collection is opened again.
    pub fn upsert(&mut self, points: Vec<Point>) -> Result<(), WriteError> {
        let change = Change::upsert(points, self.state.settings.dim, self.state.settings.metric)?;
        self.commit(vec![change]).map(|_| ())
    }

    /// Deletes points and returns how many there were. When the call returns they are gone from
    /// the disk's point of view; the space comes back with [`compact`](Self::compact).
    ///
    /// # Errors
    /// As [`upsert`](Self::upsert).
    pub fn delete(&mut self, ids: &[PointId]) -> Result<usize, WriteError> {
        let Change::Delete(ids) = Change::delete(ids)? else { return Ok(0) };
        let present = ids.into_iter().filter(|id| self.state.contains(id)).collect();
        self.commit(vec![Change::Delete(present)])
    }

    /// Several batches with one wait for the disk, in order. They become durable together: all or
    /// none. Returns how many points were written or deleted.
    ///
    /// # Errors
    /// As [`upsert`](Self::upsert).
    pub fn write(&mut self, batches: Vec<Batch>) -> Result<usize, WriteError> {
        let Settings { dim, metric, .. } = self.state.settings;
        let decide = |batch| match batch {
            Batch::Upsert(points) => Change::upsert(points, dim, metric),
            Batch::Delete(ids) => Change::delete(&ids),
        };
        let changes = batches.into_iter().map(decide).collect::<Result<Vec<_>, _>>()?;
        self.commit(changes)
    }

    /// Log first, then memory.
    fn commit(&mut self, mut changes: Vec<Change>) -> Result<usize, WriteError> {
        changes.retain(|change| !change.is_empty());
        if changes.is_empty() {
            return Ok(0);
        }
        let body = record(&changes, self.state.settings.dim)?;
        self.seal_if_large()?;
        if matches!(self.journal, Journal::Idle { .. }) {
            self.begin()?;
        }
        let stopped = WriteError::Stopped { path: self.dir.place() };
        let Journal::Open(wal) = &mut self.journal else { return Err(stopped) };
        if let Err(error) = wal.commit(&body) {
            self.journal = Journal::Stopped { size: wal.size() };
            return Err(WriteError::Log(error));
        }
        Ok(changes.into_iter().map(|change| self.state.apply(change)).sum())
    }

    /// The point called `id`. Where the metric is cosine its vector has unit length.
    ///
    /// # Errors
    /// [`SearchError::Damaged`] if the disk no longer gives back what was verified at opening.
    pub fn get(&self, id: &PointId) -> Result<Option<Point>, SearchError> {
        match id.clone().canonical() {
            Ok(id) => self.state.get(&id),
            Err(_) => Ok(None),
        }
    }

    /// Whether there is a point called `id`.
    pub fn contains(&self, id: &PointId) -> bool {
        id.clone().canonical().is_ok_and(|id| self.state.contains(&id))
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.state.len()
    }

    /// Whether there are no points.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The identifiers of all points, in no particular order.
    pub fn ids(&self) -> impl Iterator<Item = &PointId> {
        self.state.ids()
    }

    /// The points closest to a query, closest first: never fewer than `k` or all that pass the
    /// filter. A filter reads the payloads of all points.
    ///
    /// # Errors
    /// [`SearchError`] for a query beyond its limits.
    pub fn search(&self, query: &Query) -> Result<Vec<Found>, SearchError> {
        self.state.search(query)
    }

    /// What it was created with.
    pub fn settings(&self) -> &Settings {
        &self.state.settings
    }

    /// Numbers about it.
    pub fn info(&self) -> Info {
        let settings = &self.state.settings;
        let parts = &self.state.parts;
        let bytes_log = match &self.journal {
            Journal::Open(wal) => wal.size(),
            Journal::Idle { size, .. } | Journal::Stopped { size } => *size,
        };
        let segments: u64 = parts.iter().map(|part| part.segment.size_bytes()).sum();
        Info {
            points: self.len(),
            dim: settings.dim,
            metric: settings.metric.to_string(),
            index: settings.spec.to_string(),
            model: settings.model.clone(),
            text_field: settings.text_field.clone(),
            segments: parts.len(),
            growing_points: self.state.growing.live_count(),
            deleted_rows: parts.iter().map(|part| part.live.len() - part.live_count).sum(),
            bytes_disk: segments + bytes_log + self.manifest_size,
            bytes_log,
        }
    }
}

/// One batch of [`Collection::write`].
#[derive(Clone, Debug, PartialEq)]
pub enum Batch {
    /// As [`Collection::upsert`].
    Upsert(Vec<Point>),
    /// As [`Collection::delete`].
    Delete(Vec<PointId>),
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collection")
            .field("dir", &self.dir)
            .field("info", &self.info())
            .finish_non_exhaustive()
    }
}

/// The body of a record: each change behind its length as u32.
fn record(changes: &[Change], dim: usize) -> Result<Vec<u8>, WriteError> {
    let mut body = Vec::new();
    for change in changes {
        let bytes = change.encode(dim);
        let got = body.len() + bytes.len() + 4;
        if got > RECORD_SIZE_MAX {
            return Err(WriteError::Batch { unit: "bytes", max: RECORD_SIZE_MAX, got });
        }
        body.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        body.extend_from_slice(&bytes);
    }
    Ok(body)
}

/// Reads what [`record`] wrote; `None` for anything else.
fn changes(body: &[u8], dim: usize) -> Option<Vec<Change>> {
    let mut reader = crate::codec::Reader::new(body);
    let mut out = Vec::new();
    while reader.left() > 0 {
        let len = reader.u32()? as usize;
        out.push(Change::decode(reader.take(len)?, dim)?);
    }
    Some(out)
}

/// Refuses a directory that holds anything but the traces of a creation that was cut short: an
/// empty log. Segments or records without a manifest are somebody's data.
fn refuse_used(dir: &dyn Dir) -> Result<(), OpenError> {
    let mut used = false;
    for folder in ["", manifest::FOLDER, sealed::FOLDER] {
        used |= !dir.list(folder)?.is_empty();
    }
    for log in dir.list(wal::FOLDER)? {
        used |= dir.read(&log)?.len() > wal::HEADER;
    }
    if used { Err(OpenError::Exists { path: dir.place() }) } else { Ok(()) }
}

/// One above every file there is, so that no name is ever used twice.
fn next_number(dir: &dyn Dir) -> Result<u64, OpenError> {
    let mut next = 1;
    for folder in [manifest::FOLDER, wal::FOLDER, sealed::FOLDER] {
        let highest = manifest::numbers(dir, folder)?.into_iter().max();
        next = next.max(highest.map_or(0, |n| n.saturating_add(1)));
    }
    Ok(next)
}
