//! A data directory: collections by name, their log, and the one process that has them open.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kvant_storage::{Dir, FsDir, ReadError};

use crate::catalog::{Catalog, FileCatalog, Listing};
use crate::collection::{Collection, segment_folder};
use crate::journal::file::FileJournal;
use crate::journal::{Journal, Record};
use crate::limits::{COLLECTIONS_MAX, NAME_SIZE_MAX};
use crate::{CatalogError, Config, OpenError, WriteError, manifest};

/// How often the optimizer looks for work that nobody told it of.
const LOOK: Duration = Duration::from_millis(200);

/// The clock of a log, in microseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What may be chosen at every opening; no answer depends on it.
#[derive(Clone)]
pub struct Tuning {
    /// Threads that build indexes.
    pub threads: usize,
    /// Points in memory at which they are sealed.
    pub seal_points: usize,
    /// Bytes in memory at which points are sealed.
    pub seal_size_bytes: usize,
    /// Records behind a manifest at which the next one is made.
    pub seal_records: u64,
    /// Who seals and merges.
    pub optimizer: Optimizing,
    /// Where time comes from.
    pub clock: Clock,
}

/// Who seals and merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optimizing {
    /// A thread of the database, while others write and search.
    Background,
    /// The writer who finds that it is due, before its own change.
    Inline,
}

impl Default for Tuning {
    /// All processors; 20,000 points, 64 MiB or 10,000 records; in the background; the system's
    /// clock.
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            seal_points: 20_000,
            seal_size_bytes: 64 << 20,
            seal_records: 10_000,
            optimizer: Optimizing::Background,
            clock: Arc::new(now),
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// Collections of points in one directory, which one process has open at a time: until this and all
/// of its collections are dropped.
pub struct Database {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
}

struct Shared {
    dir: Arc<dyn Dir>,
    tuning: Tuning,
    journal: Arc<FileJournal>,
    catalog: FileCatalog,
    listing: RwLock<(u64, Listing)>,
    open: RwLock<BTreeMap<u64, Arc<Collection>>>,
    /// Records of collections that were not opened yet.
    waiting: Mutex<BTreeMap<u64, Vec<Record>>>,
    /// Held while collections are made, dropped or opened.
    changing: Mutex<()>,
    /// Whether changes should be looked for, and by whom they are told.
    work: (Mutex<bool>, Condvar),
    stop: AtomicBool,
    background: Arc<AtomicBool>,
}

impl Database {
    /// The data directory at `path`, which is made if it is not there.
    ///
    /// Reads the catalog and the log; collections are opened when they are first asked for.
    ///
    /// # Errors
    /// [`OpenError::Lock`] while another process has it open, [`OpenError::Exists`] where something
    /// else is, and an error naming the file for every damage.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let dir = FsDir::create(path)?;
        Self::open_in(Arc::new(dir), Tuning::default())
    }

    /// The data directory at `path`, which must be there.
    ///
    /// # Errors
    /// [`OpenError::Missing`], else as [`open`](Self::open).
    pub fn open_existing(path: &Path) -> Result<Self, OpenError> {
        let dir = match FsDir::open(path) {
            Err(ReadError::Missing { path }) => return Err(OpenError::Missing { path }),
            other => other?,
        };
        refuse_foreign(&dir)?;
        if dir.list("catalog")?.is_empty() {
            return Err(OpenError::Missing { path: path.to_owned() });
        }
        Self::open_in(Arc::new(dir), Tuning::default())
    }

    /// [`open`](Self::open) in a directory of any kind.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_in(dir: Arc<dyn Dir>, tuning: Tuning) -> Result<Self, OpenError> {
        // Before the lock: what is not ours is not touched, not even by a lock file.
        refuse_foreign(&*dir)?;
        let lock = dir.lock()?;
        let catalog = FileCatalog { dir: Arc::clone(&dir) };
        let listing = catalog.get()?;
        let clock = Arc::clone(&tuning.clock);
        let (mut journal, records) = FileJournal::open(Arc::clone(&dir), clock)?;
        // A collection may outlive the database, and writes to the log as long as it lives.
        journal.hold(lock);
        let mut waiting: BTreeMap<u64, Vec<Record>> = BTreeMap::new();
        for record in records {
            waiting.entry(record.collection).or_default().push(record);
        }
        waiting.retain(|id, _| listing.1.collections.values().any(|known| known == id));
        let background = tuning.optimizer == Optimizing::Background;
        let shared = Arc::new(Shared {
            dir,
            tuning,
            journal: Arc::new(journal),
            catalog,
            listing: RwLock::new(listing),
            open: RwLock::default(),
            waiting: Mutex::new(waiting),
            changing: Mutex::default(),
            work: (Mutex::new(false), Condvar::new()),
            stop: AtomicBool::new(false),
            background: Arc::new(AtomicBool::new(background)),
        });
        let worker = background.then(|| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.work_until_stopped())
        });
        Ok(Self { shared, worker })
    }

    /// Whether a collection can be called so: 1 to 255 bytes that people and addresses can carry.
    ///
    /// # Errors
    /// [`CatalogError::Name`].
    pub fn check_name(name: &str) -> Result<(), CatalogError> {
        check_name(name)
    }

    /// Makes a collection.
    ///
    /// # Errors
    /// [`CatalogError`]; [`CatalogError::Exists`] where there is one of that name.
    pub fn create(&self, name: &str, config: &Config) -> Result<Arc<Collection>, CatalogError> {
        check_name(name)?;
        config.check_indexes()?;
        let shared = &self.shared;
        let _changing = lock(&shared.changing);
        let (version, mut listing) = shared.listing();
        if listing.collections.contains_key(name) || listing.aliases.contains_key(name) {
            return Err(CatalogError::Exists { name: name.to_owned() });
        }
        if listing.collections.len() >= COLLECTIONS_MAX {
            return Err(CatalogError::TooMany { max: COLLECTIONS_MAX });
        }
        // A number whose files may be there from a making that was cut short is passed over.
        let mut id = listing.next.max(1);
        while !shared.dir.list(&manifest::folder(id)).map_err(OpenError::from)?.is_empty() {
            id += 1;
        }
        Collection::create(&*shared.dir, id, config)?;
        listing.collections.insert(name.to_owned(), id);
        listing.next = id + 1;
        shared.list(version, listing)?;
        Ok(shared.opened(id)?)
    }

    /// The collection of a name, or of another name for it.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`] where there is none; [`CatalogError::Open`] if it cannot be
    /// opened.
    pub fn collection(&self, name: &str) -> Result<Arc<Collection>, CatalogError> {
        let id = {
            let listing = self.shared.listing.read().unwrap_or_else(PoisonError::into_inner);
            let of = listing.1.aliases.get(name).map_or(name, String::as_str);
            listing.1.collections.get(of).copied()
        };
        let id = id.ok_or_else(|| CatalogError::Unknown { name: name.to_owned() })?;
        if let Some(collection) =
            self.shared.open.read().unwrap_or_else(PoisonError::into_inner).get(&id)
        {
            return Ok(Arc::clone(collection));
        }
        let _changing = lock(&self.shared.changing);
        Ok(self.shared.opened(id)?)
    }

    /// Deletes a collection, its files and the other names for it. Whether there was one.
    ///
    /// # Errors
    /// [`CatalogError::Open`] if the catalog cannot be written: it is there then.
    pub fn drop_collection(&self, name: &str) -> Result<bool, CatalogError> {
        let shared = &self.shared;
        let _changing = lock(&shared.changing);
        let (version, mut listing) = shared.listing();
        let Some(id) = listing.collections.remove(name) else { return Ok(false) };
        listing.aliases.retain(|_, of| of != name);
        shared.list(version, listing)?;
        let open = shared.open.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        // Whoever still has it may be making files of it.
        if let Some(collection) = open {
            collection.retire();
        }
        lock(&shared.waiting).remove(&id);
        shared.remove_files(id)?;
        Ok(true)
    }

    /// Changes other names all at once: each is given to a collection, or taken away.
    ///
    /// # Errors
    /// [`CatalogError`], with nothing changed.
    pub fn set_aliases(&self, changes: &[(String, Option<String>)]) -> Result<(), CatalogError> {
        let shared = &self.shared;
        let _changing = lock(&shared.changing);
        let (version, mut listing) = shared.listing();
        for (alias, of) in changes {
            let Some(of) = of else {
                listing.aliases.remove(alias);
                continue;
            };
            check_name(alias)?;
            if listing.collections.contains_key(alias) {
                return Err(CatalogError::Exists { name: alias.clone() });
            }
            if !listing.collections.contains_key(of) {
                return Err(CatalogError::Unknown { name: of.clone() });
            }
            listing.aliases.insert(alias.clone(), of.clone());
        }
        shared.list(version, listing)
    }

    /// The names there are, and the other names.
    pub fn listing(&self) -> Listing {
        self.shared.listing().1
    }

    /// Seals what is in memory in every collection that was opened.
    ///
    /// # Errors
    /// As [`Collection::flush`].
    pub fn flush(&self) -> Result<(), WriteError> {
        let open: Vec<_> = self.shared.opened_ones();
        open.iter().try_for_each(|collection| collection.flush())?;
        self.shared.trim();
        Ok(())
    }

    /// Bytes of the log.
    pub fn log_bytes(&self) -> u64 {
        self.shared.journal.size_bytes()
    }
}

impl Drop for Database {
    /// Ends the work in the background; what was written is in the log.
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.background.store(false, Ordering::Relaxed);
        self.shared.work.1.notify_all();
        if let Some(worker) = self.worker.take() {
            // It may have panicked; there is nothing to do about that here.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn listing(&self) -> (u64, Listing) {
        self.listing.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes the next version of the catalog.
    fn list(&self, version: u64, listing: Listing) -> Result<(), CatalogError> {
        if !self.catalog.put(version, &listing)? {
            return Err(CatalogError::Raced);
        }
        *self.listing.write().unwrap_or_else(PoisonError::into_inner) = (version + 1, listing);
        Ok(())
    }

    /// The collection of a number; called with `changing` held.
    fn opened(&self, id: u64) -> Result<Arc<Collection>, OpenError> {
        if let Some(collection) = self.open.read().unwrap_or_else(PoisonError::into_inner).get(&id)
        {
            return Ok(Arc::clone(collection));
        }
        let records = lock(&self.waiting).get(&id).cloned().unwrap_or_default();
        let journal: Arc<dyn Journal> = Arc::clone(&self.journal) as Arc<dyn Journal>;
        let work = (self.tuning.clone(), Arc::clone(&self.background));
        let collection = Collection::open(id, Arc::clone(&self.dir), journal, (work, records))?;
        let collection = Arc::new(collection);
        // Numbers go on behind those that only its manifest knows of.
        let stamp = collection.state().stamp;
        self.journal.skip_to(stamp.seq, stamp.time);
        lock(&self.waiting).remove(&id);
        self.open
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, Arc::clone(&collection));
        Ok(collection)
    }

    fn opened_ones(&self) -> Vec<Arc<Collection>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn remove_files(&self, id: u64) -> Result<(), OpenError> {
        for folder in [manifest::folder(id), segment_folder(id)] {
            for name in self.dir.list(&folder)? {
                // What cannot be removed costs space: nothing refers to it.
                let _ = self.dir.remove(&name);
            }
        }
        Ok(())
    }

    fn work_until_stopped(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let mut any = false;
            for collection in self.opened_ones() {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                // What fails is tried again later; writers are told once there is no room.
                any |= collection.optimize().unwrap_or(false);
            }
            if any {
                self.trim();
            } else {
                let told = lock(&self.work.0);
                drop(self.work.1.wait_timeout(told, LOOK));
            }
        }
    }

    /// Frees the log of what manifests cover.
    fn trim(&self) {
        let listing = self.listing().1;
        let waiting = lock(&self.waiting).keys().copied().collect::<Vec<_>>();
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner).clone();
        let covered = |id: u64| match open.get(&id) {
            Some(collection) => collection.sealed_seq(),
            None if waiting.contains(&id) => 0,
            None if listing.collections.values().any(|known| *known == id) => 0,
            None => u64::MAX,
        };
        // A log that cannot be trimmed costs space, and says so at the next write.
        let _ = self.journal.trim(&covered);
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("dir", &self.shared.dir.place())
            .field("listing", &self.listing())
            .finish_non_exhaustive()
    }
}

/// Refuses a directory that holds anything else, or the collection of an earlier release.
fn refuse_foreign(dir: &dyn Dir) -> Result<(), OpenError> {
    if dir.list("catalog")?.is_empty() {
        if !dir.list("manifest")?.is_empty() {
            return Err(OpenError::Earlier { path: dir.place() });
        }
        // The log begins after the catalog: there was one.
        if !dir.list("head")?.is_empty() {
            let (path, what) = (dir.place().join("catalog"), "the catalog is missing".to_owned());
            return Err(OpenError::Corrupt { path, offset: 0, what });
        }
        if !dir.list("")?.is_empty() {
            return Err(OpenError::Exists { path: dir.place() });
        }
    }
    Ok(())
}

/// A name that people and addresses can carry: no separators, no control characters.
fn check_name(name: &str) -> Result<(), CatalogError> {
    let bad = |c: char| c.is_control() || "/\\<>:\"|?*".contains(c);
    let fits = (1..=NAME_SIZE_MAX).contains(&name.len());
    if !fits || name.chars().any(bad) || name == "." || name == ".." {
        let name = name.chars().take(40).collect();
        return Err(CatalogError::Name { name });
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
