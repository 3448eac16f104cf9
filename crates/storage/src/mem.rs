//! [`Dir`] in memory, which knows what a power cut would leave.

use crate::{
    Bytes, CreateError, Dir, Lock, LockError, Log, Name, ReadError, RemoveError, Sink, WriteError,
};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A directory in memory; clones are the same directory.
#[derive(Clone, Debug, Default)]
pub struct MemDir {
    state: Arc<Mutex<State>>,
    locked: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<Name, Entry>,
    /// Removed, but the folder was not synced since: a power cut may bring them back.
    removed: Vec<(Name, Entry)>,
}

#[derive(Clone, Debug)]
struct Entry {
    data: Vec<u8>,
    /// Bytes from the start that survive a power cut.
    durable: usize,
    /// Whether the name itself survives a power cut.
    named: bool,
    /// A sync failed once: later ones may lie, so nothing more becomes durable.
    stuck: bool,
}

/// Whether the folder was synced after a change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Folder {
    Synced,
    Unsynced,
}

impl MemDir {
    /// The bytes of every file, in order of name.
    pub fn files(&self) -> Vec<(Name, Vec<u8>)> {
        self.state().files.iter().map(|(n, e)| (n.clone(), e.data.clone())).collect()
    }

    /// Puts a file in place as it is, durable, replacing any: how tests damage bytes.
    pub fn put(&self, name: &Name, data: Vec<u8>) {
        let entry = Entry { durable: data.len(), data, named: true, stuck: false };
        self.state().files.insert(name.clone(), entry);
    }

    /// What a power cut at this moment would leave, one of the possible outcomes chosen by `seed`:
    /// unsynced bytes are kept, cut off or zeroed in any pattern, names that no folder sync made
    /// durable may be gone, removed files may be back.
    #[must_use]
    pub fn after_power_cut(&self, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let state = self.state();
        let mut files = BTreeMap::new();
        for (name, entry) in &state.removed {
            if dice.coin() {
                files.insert(name.clone(), entry.survivor(&mut dice));
            }
        }
        for (name, entry) in &state.files {
            if entry.named || dice.coin() {
                files.insert(name.clone(), entry.survivor(&mut dice));
            }
        }
        let state = State { files, removed: Vec::new() };
        Self { state: Arc::new(Mutex::new(state)), locked: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn insert(
        &self,
        name: &Name,
        data: Vec<u8>,
        folder: Folder,
    ) -> Result<(), CreateError> {
        let mut state = self.state();
        if state.files.contains_key(name) {
            return Err(CreateError::AlreadyExists { path: path(name) });
        }
        let named = folder == Folder::Synced;
        if named {
            state.sync_folder(name.folder());
        }
        let entry = Entry { durable: data.len(), data, named, stuck: false };
        state.files.insert(name.clone(), entry);
        Ok(())
    }

    pub(crate) fn extend(&self, name: &Name, data: &[u8]) {
        if let Some(entry) = self.state().files.get_mut(name) {
            entry.data.extend_from_slice(data);
        }
    }

    pub(crate) fn sync(&self, name: &Name) {
        if let Some(entry) = self.state().files.get_mut(name).filter(|e| !e.stuck) {
            entry.durable = entry.data.len();
        }
    }

    pub(crate) fn fail_sync(&self, name: &Name) {
        if let Some(entry) = self.state().files.get_mut(name) {
            entry.stuck = true;
        }
    }
}

impl State {
    fn sync_folder(&mut self, folder: &str) {
        self.removed.retain(|(name, _)| name.folder() != folder);
        for (name, entry) in &mut self.files {
            entry.named |= name.folder() == folder;
        }
    }
}

impl Entry {
    fn survivor(&self, dice: &mut Dice) -> Self {
        let mut data = self.data.clone();
        let open = data.len() - self.durable;
        if open > 0 {
            data.truncate(self.durable + dice.below(open + 1));
            // Blocks reach the disk in any order: some of what is inside the new length is zero.
            let hole = 1 + dice.below(64);
            if dice.coin() {
                for block in data[self.durable..].chunks_mut(hole) {
                    if dice.coin() {
                        block.fill(0);
                    }
                }
            }
        }
        Self { durable: data.len(), data, named: true, stuck: false }
    }
}

pub(crate) fn path(name: &Name) -> PathBuf {
    Path::new("memory").join(name.as_str())
}

impl Dir for MemDir {
    fn place(&self) -> PathBuf {
        PathBuf::from("memory")
    }

    fn read(&self, name: &Name) -> Result<Bytes, ReadError> {
        let state = self.state();
        let entry = state.files.get(name).ok_or_else(|| ReadError::Missing { path: path(name) })?;
        Ok(Bytes::copy_of(&entry.data))
    }

    fn read_range(&self, name: &Name, range: Range<u64>) -> Result<Bytes, ReadError> {
        let bytes = self.read(name)?;
        let len = bytes.len() as u64;
        if range.start > range.end || range.end > len {
            let (start, end) = (range.start, range.end);
            return Err(ReadError::Range { path: path(name), start, end, len });
        }
        Ok(Bytes::copy_of(&bytes[range.start as usize..range.end as usize]))
    }

    fn create_new(&self, name: &Name, data: &[u8]) -> Result<(), CreateError> {
        self.insert(name, data.to_vec(), Folder::Synced)
    }

    fn create(&self, name: &Name) -> Result<Box<dyn Sink>, CreateError> {
        Ok(Box::new(MemSink { dir: self.clone(), name: name.clone(), data: Vec::new() }))
    }

    fn append(&self, name: &Name) -> Result<Box<dyn Log>, CreateError> {
        self.insert(name, Vec::new(), Folder::Synced)?;
        Ok(Box::new(MemLog { dir: self.clone(), name: name.clone() }))
    }

    fn remove(&self, name: &Name) -> Result<(), RemoveError> {
        let mut state = self.state();
        if let Some(entry) = state.files.remove(name) {
            state.removed.push((name.clone(), entry));
        }
        Ok(())
    }

    fn list(&self, folder: &str) -> Result<Vec<Name>, ReadError> {
        Ok(self.state().files.keys().filter(|n| n.folder() == folder).cloned().collect())
    }

    fn lock(&self) -> Result<Lock, LockError> {
        Lock::memory(&self.locked).ok_or_else(|| LockError::Held {
            path: PathBuf::from("memory"),
            holder: "this process".to_owned(),
        })
    }
}

struct MemSink {
    dir: MemDir,
    name: Name,
    data: Vec<u8>,
}

impl Sink for MemSink {
    fn write(&mut self, data: &[u8]) -> Result<(), WriteError> {
        self.data.extend_from_slice(data);
        Ok(())
    }

    fn publish(self: Box<Self>) -> Result<(), CreateError> {
        self.dir.insert(&self.name, self.data, Folder::Synced)
    }
}

struct MemLog {
    dir: MemDir,
    name: Name,
}

impl Log for MemLog {
    fn append(&mut self, data: &[u8]) -> Result<(), WriteError> {
        self.dir.extend(&self.name, data);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), WriteError> {
        self.dir.sync(&self.name);
        Ok(())
    }
}

/// `SplitMix64` (Steele et al., 2014): outcomes of faults, the same for the same seed.
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.bits() >> 63 == 1
    }
}
