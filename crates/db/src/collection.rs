//! A collection: a state, the changes on their way to it, and what of it is in files.

mod scroll;
mod seal;

pub(crate) use scroll::Walk;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use kvant_payload::PointId;
use kvant_storage::Dir;

use crate::change::Change;
use crate::journal::{Journal, Record, Stamp};
use crate::manifest::{self, Listed, Manifest};
use crate::segment::sealed::{Sealed, Site};
use crate::state::{Outcome, Part, State};
use crate::{Config, Found, Info, OpenError, SearchError, SegmentInfo, Tuning, WriteError};

/// The points of one name in a [`Database`](crate::Database): written durably, batch by batch, and
/// searched.
///
/// Everything takes `&self` and may be called from any number of threads. A read sees the state
/// there is when it begins, whatever is written meanwhile; a write that has returned is in every
/// state from then on.
pub struct Collection {
    id: u64,
    dir: Arc<dyn Dir>,
    journal: Arc<dyn Journal>,
    tuning: Tuning,
    state: RwLock<Arc<State>>,
    /// Changes in the log, in its order, that are not in the state.
    pending: Mutex<VecDeque<(Stamp, Change)>>,
    /// Held while the state is made anew.
    applying: Mutex<Applied>,
    published: Mutex<Published>,
    /// Signalled when rows in memory have become files.
    room: Condvar,
    /// Held by the one who makes files.
    optimizing: Mutex<()>,
    /// Whether somebody else does.
    background: Arc<AtomicBool>,
    /// Whether it was dropped: it writes no more files then.
    dropped: AtomicBool,
}

/// What became of changes that were applied by somebody else.
#[derive(Debug, Default)]
struct Applied {
    outcomes: std::collections::HashMap<u64, Outcome>,
    failed: Option<Arc<str>>,
}

/// What is in files.
#[derive(Debug)]
struct Published {
    manifest: Manifest,
    size: u64,
    /// The segments of the manifest, opened.
    segments: Vec<Arc<Sealed>>,
}

impl Collection {
    /// Makes the first manifest of a collection.
    pub(crate) fn create(dir: &dyn Dir, id: u64, config: &Config) -> Result<(), OpenError> {
        config.check_indexes()?;
        let manifest = Manifest {
            number: 1,
            collection: id,
            config: config.clone(),
            fields: std::collections::BTreeMap::new(),
            seq: 0,
            time: 0,
            segments: Vec::new(),
        };
        manifest.publish(dir).map(|_| ())
    }

    /// Opens what manifests and `records` say. Reads a few pages of every segment.
    pub(crate) fn open(
        id: u64,
        dir: Arc<dyn Dir>,
        journal: Arc<dyn Journal>,
        ((tuning, background), records): ((Tuning, Arc<AtomicBool>), Vec<Record>),
    ) -> Result<Self, OpenError> {
        let missing = || OpenError::Corrupt {
            path: dir.place().join(manifest::folder(id)),
            offset: 0,
            what: "the manifest is missing".to_owned(),
        };
        let found = Manifest::newest(&*dir, id)?.ok_or_else(missing)?;
        let mut state = State::new(found.config.clone());
        state.fields = Arc::new(found.fields.clone());
        state.stamp = Stamp { seq: found.seq, time: found.time };
        let folder = segment_folder(id);
        let site = Site { dir: &*dir, folder: &folder, collection: id, threads: tuning.threads };
        let mut segments = Vec::new();
        for Listed { files, live, hidden } in &found.segments {
            let sealed = Arc::new(Sealed::open(&site, (files, hidden), &state.config)?);
            let part = Part::sealed(Arc::clone(&sealed), live.clone(), hidden.clone());
            state.parts.push(part);
            segments.push(sealed);
        }
        for record in records.into_iter().filter(|record| record.stamp.seq > found.seq) {
            let change = Change::decode(&record.change).ok_or_else(|| OpenError::Corrupt {
                path: dir.place(),
                offset: 0,
                what: format!("record {} is senseless", record.stamp.seq),
            })?;
            (state, _) = state.apply(record.stamp, change)?;
        }
        let name = manifest::numbered(&manifest::folder(id), found.number)?;
        let size = dir.read(&name)?.len() as u64;
        let published = Published { manifest: found, size, segments };
        Ok(Self {
            id,
            dir,
            journal,
            tuning,
            state: RwLock::new(Arc::new(state)),
            pending: Mutex::default(),
            applying: Mutex::default(),
            published: Mutex::new(published),
            room: Condvar::new(),
            optimizing: Mutex::default(),
            background,
            dropped: AtomicBool::new(false),
        })
    }

    /// Ends the making of files: when this returns none is being made, and none will be.
    pub(crate) fn retire(&self) {
        let _one = lock(&self.optimizing);
        self.dropped.store(true, Ordering::Relaxed);
        self.room.notify_all();
    }

    fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The state there is.
    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes a change and returns when it is on the disk and in the state. All of it is done or
    /// nothing.
    ///
    /// # Errors
    /// [`WriteError`], with nothing done; only after [`WriteError::Log`] the change may turn out to
    /// be there, whole, when the data directory is opened again.
    pub fn write(&self, change: Change) -> Result<(Stamp, Outcome), WriteError> {
        let stamp = self.submit(change)?;
        Ok((stamp, self.settle(stamp)?))
    }

    /// Gives a change its place in the log without waiting for the disk: [`settle`](Self::settle)
    /// does. What nobody waits for is lost in a crash, from the end.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn submit(&self, mut change: Change) -> Result<Stamp, WriteError> {
        self.wait_for_room()?;
        change.prepare(&self.state().config)?;
        let body = change.encode();
        let mut pending = lock(&self.pending);
        let stamp = self.journal.enqueue(self.id, body)?;
        pending.push_back((stamp, change));
        Ok(stamp)
    }

    /// Returns when the change is on the disk and in the state.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn settle(&self, stamp: Stamp) -> Result<Outcome, WriteError> {
        self.journal.wait(stamp.seq)?;
        let mut applied = lock(&self.applying);
        self.apply(&mut applied)?;
        Ok(applied.outcomes.remove(&stamp.seq).unwrap_or_default())
    }

    /// Brings into the state what is durable.
    fn apply(&self, applied: &mut MutexGuard<'_, Applied>) -> Result<(), WriteError> {
        if let Some(failed) = &applied.failed {
            return Err(WriteError::Stopped { cause: failed.to_string() });
        }
        let durable = self.journal.durable();
        loop {
            let mut pending = lock(&self.pending);
            let Some((stamp, change)) = pending.pop_front_if(|(stamp, _)| stamp.seq <= durable)
            else {
                return Ok(());
            };
            drop(pending);
            match self.state().apply(stamp, change) {
                Ok((next, outcome)) => {
                    self.replace(next);
                    applied.outcomes.insert(stamp.seq, outcome);
                    Self::forget(applied, stamp.seq);
                }
                Err(damage) => {
                    applied.failed = Some(damage.to_string().into());
                    return Err(WriteError::Stopped { cause: damage.to_string() });
                }
            }
        }
    }

    /// Outcomes that nobody asked for are not kept for ever.
    fn forget(applied: &mut MutexGuard<'_, Applied>, seq: u64) {
        const KEPT: u64 = 10_000;
        if applied.outcomes.len() as u64 > 2 * KEPT {
            applied.outcomes.retain(|of, _| of + KEPT > seq);
        }
    }

    fn replace(&self, next: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }

    /// The points called `ids`, in their order, those that are there.
    ///
    /// # Errors
    /// [`SearchError::Damage`] if a file no longer holds what was written.
    pub fn get(&self, ids: &[PointId]) -> Result<Vec<Found>, SearchError> {
        let state = self.state();
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            let Ok(id) = id.clone().canonical() else { continue };
            found.extend(state.entry(&id)?.map(Found::from));
        }
        Ok(found)
    }

    /// The last record that the log is not needed for.
    pub(crate) fn sealed_seq(&self) -> u64 {
        lock(&self.published).manifest.seq
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.state().len()
    }

    /// Whether there are no points.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it is made of.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.state().config)
    }

    /// Numbers about it.
    pub fn info(&self) -> Info {
        let state = self.state();
        let segments = state.parts.iter().map(SegmentInfo::of).collect();
        let published = lock(&self.published);
        let files: u64 = published.segments.iter().map(|part| part.files().size_bytes()).sum();
        Info {
            points: state.len(),
            config: Arc::clone(&state.config),
            fields: Arc::clone(&state.fields),
            segments,
            bytes_disk: files + published.size,
            bytes_memory: state.chunk_bytes(),
            seq: state.stamp.seq,
            sealed_seq: published.manifest.seq,
        }
    }
}

impl From<crate::segment::Entry> for Found {
    fn from(entry: crate::segment::Entry) -> Self {
        let crate::segment::Entry { id, version, payload, vectors, .. } = entry;
        Self { id, version, vectors, payload }
    }
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collection")
            .field("id", &self.id)
            .field("dir", &self.dir)
            .field("info", &self.info())
            .finish_non_exhaustive()
    }
}

/// The folder of segments of a collection.
pub(crate) fn segment_folder(id: u64) -> String {
    format!("collection/{id}/segment")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
