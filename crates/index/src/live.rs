//! An index that changes while it is searched.

mod compact;
mod part;
mod snapshot;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use thiserror::Error;

pub use compact::Compaction;
use part::Part;
pub use snapshot::{LiveFilter, LiveHit, LiveResult, LiveSearch, Snapshot};

use crate::{
    BuildOptions, CodeError, FloatRows, Index, IndexSpec, Metric, ROWS_MAX, Rows, SearchError, Spec,
};

/// Rows of a part that grows, unless said otherwise.
const TAIL: usize = 1 << 14;
/// Links of a tail where the shape has none.
const M_TAIL: usize = 16;
/// Parts that grow beyond which compaction is due.
const TAILS: usize = 4;

/// How a [`Live`] index grows and is compacted.
#[derive(Clone, Copy, Debug)]
pub struct LiveOptions {
    /// Seed of levels, orders and rotations.
    pub seed: u64,
    /// Threads that a [`Live::put`] of many rows and a compaction use; 0 counts as 1.
    pub threads: usize,
    /// Candidates kept while looking for the neighbours of a new row.
    pub ef_construction: usize,
    /// Rows of a part that grows, 1..=[`ROWS_MAX`]: when it is full another begins.
    pub tail: usize,
}

impl Default for LiveOptions {
    fn default() -> Self {
        let BuildOptions { seed, ef_construction, .. } = BuildOptions::default();
        Self { seed, threads: 1, ef_construction, tail: TAIL }
    }
}

/// Why a change or a search of a [`Live`] index is refused. Nothing was changed then.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LiveError {
    /// Not as many vectors as ids.
    #[error(
        "{got} values for {ids} ids of {dim} dimensions: give {expected}",
        expected = ids * dim
    )]
    Values {
        /// Ids given.
        ids: usize,
        /// Values of a vector.
        dim: usize,
        /// Values given.
        got: usize,
    },
    /// A value that is no finite number.
    #[error("value {at} of the vector of id {id} is not a finite number")]
    NotFinite {
        /// Whose vector.
        id: u64,
        /// Which value.
        at: usize,
    },
    /// More rows than an index can have.
    #[error("{0} rows: an index has at most {ROWS_MAX}; compact it, or begin another")]
    Full(usize),
    /// A filter made of another state of the index.
    #[error("the filter is of another snapshot: make it of the one that is searched")]
    Filter,
    /// The query does not fit.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The code cannot hold the rows.
    #[error(transparent)]
    Code(#[from] CodeError),
}

/// An index of vectors under ids, of any [`IndexSpec`], that takes new vectors, replaces and
/// removes them at any time, while other threads search.
///
/// What was built last is one index as `spec` says, and never changes; what was put since lies in
/// *tails*, graphs over f32 that grow beneath their readers. A removed row is masked at once and
/// walked through but never returned. [`compact`](Self::compact) makes one index of everything that
/// is left and gives the space of the rest back, while searches and changes go on.
///
/// A search sees one state of the index: every [`put`](Self::put) and [`remove`](Self::remove)
/// that returned before it began, each as a whole. A [`Snapshot`] keeps such a state for as long
/// as it is wanted. Writers wait for one another, searches for nothing but the copy of a pointer.
///
/// Memory: the vectors (4·dim bytes a row) beside the index itself, 24 bytes a row for ids; a row
/// of a tail takes 12·m bytes more. Removing costs a copy of one bit a row, n/8 bytes.
///
/// ```
/// use kvant_index::{Live, LiveOptions, LiveSearch, Metric};
///
/// let live = Live::new("hnsw,rq4,rerank32".parse()?, 2, Metric::Euclid, LiveOptions::default());
/// live.put(&[7, 8, 9], &[0.0, 0.0, 3.0, 4.0, 1.0, 1.0])?;
/// live.put(&[8], &[0.1, 0.0])?;
/// live.remove(&[7]);
/// let found = live.search(&[0.0, 0.0], &LiveSearch::default())?;
/// assert_eq!(found.hits.iter().map(|hit| hit.id).collect::<Vec<_>>(), [8, 9]);
/// live.compact()?;
/// assert_eq!((live.len(), live.search(&[1.0, 1.0], &LiveSearch::default())?.hits[0].id), (2, 9));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Live {
    spec: IndexSpec,
    dim: usize,
    metric: Metric,
    options: LiveOptions,
    now: RwLock<Arc<Snapshot>>,
    writer: Mutex<Writer>,
    /// Held by a compaction from its beginning to its end.
    compacting: Mutex<()>,
}

/// What writers share.
#[derive(Debug, Default)]
struct Writer {
    places: HashMap<u64, Place>,
    /// The serial of the next part.
    serial: u64,
    /// Parts before this one take no more rows.
    open: u64,
    /// Ids put or removed since a compaction began, while one runs.
    changed: Option<Vec<u64>>,
}

impl Writer {
    /// Notes that ids are changed while a compaction runs.
    fn note(&mut self, ids: &[u64]) {
        if let Some(changed) = &mut self.changed {
            changed.extend_from_slice(ids);
        }
    }
}

/// Where the vector of an id lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    part: u64,
    row: u32,
}

impl Live {
    /// An empty index of vectors of `dim` values. Vectors of [`Metric::Cosine`] are brought to unit
    /// length as they come.
    ///
    /// # Panics
    /// If `dim` is 0.
    pub fn new(spec: IndexSpec, dim: usize, metric: Metric, options: LiveOptions) -> Self {
        assert!(dim > 0, "vectors without values");
        let options = LiveOptions { tail: options.tail.clamp(1, ROWS_MAX), ..options };
        let now = RwLock::new(Arc::new(Snapshot::empty(dim)));
        let (writer, compacting) = (Mutex::default(), Mutex::default());
        Self { spec, dim, metric, options, now, writer, compacting }
    }

    /// Goes on from an index that was built over rows that are shared
    /// ([`FloatRows::shared`]); `ids` are those of its rows, in order. `None` if there are more or
    /// fewer rows or ids than it was built over, or an id twice.
    pub fn over(
        index: Index<'static>,
        vectors: FloatRows<'static>,
        ids: Vec<u64>,
        options: LiveOptions,
    ) -> Option<Self> {
        let live = Self::new(index.spec(), index.dim(), index.metric(), options);
        let places: HashMap<_, _> =
            ids.iter().zip(0..).map(|(&id, row)| (id, Place { part: 0, row })).collect();
        let shapes = [(vectors.len(), vectors.dim()), (ids.len(), index.dim())];
        if shapes != [(index.len(), index.dim()); 2] || places.len() != index.len() {
            return None;
        }
        let writer = Writer { places, serial: 1, ..Writer::default() };
        let first = Snapshot::of(live.dim, Arc::new(Part::sealed(0, index, vectors, ids)));
        Some(Self { now: RwLock::new(Arc::new(first)), writer: Mutex::new(writer), ..live })
    }

    /// What compactions build.
    pub fn spec(&self) -> IndexSpec {
        self.spec
    }

    /// Values of a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The measure.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// How it grows and is compacted.
    pub fn options(&self) -> LiveOptions {
        self.options
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        self.snapshot().len()
    }

    /// Whether there are no ids.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The index as it is now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// [`Snapshot::search`] of the index as it is now.
    ///
    /// # Errors
    /// [`LiveError`] if the query does not fit.
    pub fn search(&self, query: &[f32], search: &LiveSearch<'_>) -> Result<LiveResult, LiveError> {
        self.snapshot().search(query, search)
    }

    /// The vector of `id`, as it is kept.
    pub fn get(&self, id: u64) -> Option<Vec<f32>> {
        let writer = self.writer();
        let (place, now) = (writer.places.get(&id).copied()?, self.snapshot());
        drop(writer);
        now.vector(place)
    }

    /// Whether there is a vector under `id`.
    pub fn contains(&self, id: u64) -> bool {
        self.writer().places.contains_key(&id)
    }

    /// Puts vectors under ids, `vectors` one after the other; what lay under them is replaced. All
    /// of them can be found as soon as this returns, and none before. Returns how many ids are new.
    ///
    /// O(log n) walks of the tail a row, and n/8 bytes copied where something is replaced.
    ///
    /// # Errors
    /// [`LiveError`]; nothing is put then.
    pub fn put(&self, ids: &[u64], vectors: &[f32]) -> Result<usize, LiveError> {
        if ids.len().checked_mul(self.dim) != Some(vectors.len()) {
            let (ids, dim, got) = (ids.len(), self.dim, vectors.len());
            return Err(LiveError::Values { ids, dim, got });
        }
        if let Some(at) = vectors.iter().position(|x| !x.is_finite()) {
            let (id, at) = (ids[at / self.dim], at % self.dim);
            return Err(LiveError::NotFinite { id, at });
        }
        let mut kept = vectors.to_vec();
        kept.chunks_exact_mut(self.dim).for_each(|vector| self.metric.prepare(vector));
        let mut writer = self.writer();
        let mut next = Snapshot::clone(&self.snapshot());
        let rows = next.rows() + ids.len();
        if rows > ROWS_MAX {
            return Err(LiveError::Full(rows));
        }
        let before = writer.places.len();
        let (mut ids, mut kept) = (ids, &kept[..]);
        while !ids.is_empty() {
            let tail = self.tail(&mut next, &mut writer);
            let fits = tail.room().min(ids.len());
            let (serial, first) = (tail.serial(), tail.len() as u32);
            tail.extend(&ids[..fits], &kept[..fits * self.dim], &self.options);
            for (&id, row) in ids[..fits].iter().zip(first..) {
                let old = writer.places.insert(id, Place { part: serial, row });
                if let Some(old) = old {
                    next.mask(old);
                }
            }
            writer.note(&ids[..fits]);
            (ids, kept) = (&ids[fits..], &kept[fits * self.dim..]);
        }
        let new = writer.places.len() - before;
        self.publish(next);
        Ok(new)
    }

    /// Removes what lies under `ids`; how many of them there were. It is not found any more as soon
    /// as this returns. O(n/8) bytes copied.
    pub fn remove(&self, ids: &[u64]) -> usize {
        let mut writer = self.writer();
        let gone: Vec<Place> = ids.iter().filter_map(|id| writer.places.remove(id)).collect();
        if !gone.is_empty() {
            writer.note(ids);
            let mut next = Snapshot::clone(&self.snapshot());
            for &place in &gone {
                next.mask(place);
            }
            self.publish(next);
        }
        gone.len()
    }

    /// Whether searches have become dearer enough, by rows in tails and rows removed, for
    /// [`compact`](Self::compact) to be worth its time: a quarter of all rows, or four tails.
    pub fn wants_compaction(&self) -> bool {
        let now = self.snapshot();
        let loose = now.rows() - now.sealed();
        now.tails() >= TAILS || 4 * (loose + now.dead()) > now.rows().max(self.options.tail)
    }

    /// The part that takes new rows, in `next`; a new one where the last is full or closed.
    fn tail<'s>(&self, next: &'s mut Snapshot, writer: &mut Writer) -> &'s mut snapshot::View {
        let open = writer.open;
        if next.last_mut().is_none_or(|last| last.room() == 0 || last.serial() < open) {
            let m = if let Spec::Hnsw { m } = self.spec.shape { m } else { M_TAIL };
            let (room, seed) = (self.options.tail, self.options.seed);
            let part = Part::tail(writer.serial, (room, m), (self.dim, self.metric), seed);
            next.push(Arc::new(part));
            writer.serial += 1;
        }
        next.last_mut().unwrap_or_else(|| unreachable!("a part was pushed"))
    }

    fn publish(&self, next: Snapshot) {
        let next = Arc::new(next.following());
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = next;
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
