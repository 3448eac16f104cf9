//! What a collection holds, as a value: a function of its manifest and the records behind it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kvant_index::{Bitmap, Examples, Row};
use kvant_payload::{FieldSchema, Filter, Path, PointId};

use kvant_payload::Edit as PayloadEdit;

use crate::change::{Alteration, Change, Edit};
use crate::journal::Stamp;
use crate::segment::chunk::Chunk;
use crate::segment::sealed::Sealed;
use crate::segment::{Entry, Store, Wanted};
use crate::subject::Ready;
use crate::{Config, DamageError, Only, Point, Selector, Vector, Vectors};

/// A chunk is not put together with others beyond so many rows.
const CHUNK_ROWS_MAX: usize = 16_384;
const MICROS: u64 = 1_000_000;

/// The points of a collection at one moment. Cloning is cheap: what is in it is shared.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) config: Arc<Config>,
    /// Indexed fields.
    pub(crate) fields: Arc<BTreeMap<Path, FieldSchema>>,
    /// Segments first, then chunks, the newest last.
    pub(crate) parts: Vec<Part>,
    /// The record applied last.
    pub(crate) stamp: Stamp,
}

/// Rows and which of them count.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) store: Store,
    pub(crate) live: Arc<Bitmap>,
    pub(crate) count: usize,
    /// Whether no rows are put to it any more: it is being sealed, or is sealed.
    pub(crate) closed: bool,
    /// Vectors that were dropped since it was made.
    pub(crate) hidden: Arc<Vec<String>>,
}

/// What a change did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Points it wrote, changed or deleted.
    pub points: usize,
}

impl Part {
    /// All rows of a store.
    pub(crate) fn whole(store: Store, closed: bool) -> Self {
        let count = store.len();
        let live = Arc::new(Bitmap::full(count));
        Self { live, store, count, closed, hidden: Arc::default() }
    }

    /// Some rows of a segment.
    pub(crate) fn sealed(segment: Arc<Sealed>, live: Bitmap, hidden: Vec<String>) -> Self {
        let store = Store::Sealed(segment);
        assert_eq!(store.len(), live.len(), "a bit a row");
        let (count, live) = (live.count(), Arc::new(live));
        Self { count, store, live, closed: true, hidden: Arc::new(hidden) }
    }

    fn shows(&self, name: &str) -> bool {
        !self.hidden.iter().any(|hidden| hidden == name)
    }

    /// Whether a row has a vector.
    pub(crate) fn has_vector(&self, name: &str, row: Row) -> bool {
        self.shows(name) && self.store.has_vector(name, row)
    }

    /// One vector of a row.
    pub(crate) fn vector(&self, name: &str, row: Row) -> Result<Option<Vector>, DamageError> {
        if self.shows(name) { self.store.vector(name, row) } else { Ok(None) }
    }

    /// The whole row.
    pub(crate) fn entry(&self, row: Row) -> Result<Entry, DamageError> {
        let mut entry = self.store.entry(row)?;
        entry.vectors.retain(|name, _| self.shows(name));
        Ok(entry)
    }

    /// The live rows that are allowed, closest first.
    pub(crate) fn nearest(
        &self,
        name: &str,
        query: &Vector,
        wanted: &Wanted<'_>,
    ) -> Result<Vec<(Row, f32)>, DamageError> {
        if self.shows(name) { self.store.nearest(name, query, wanted) } else { Ok(Vec::new()) }
    }

    /// The rows of the best score by examples, and those scores with a minus.
    pub(crate) fn examples(
        &self,
        name: &str,
        examples: &Examples<Vector>,
        wanted: &Wanted<'_>,
    ) -> Result<Vec<(Row, f32)>, DamageError> {
        if self.shows(name) { self.store.examples(name, examples, wanted) } else { Ok(Vec::new()) }
    }

    /// All live rows, whole.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, DamageError> {
        self.live.iter().map(|row| self.entry(row)).collect()
    }

    fn chunk(&self) -> Option<&Arc<Chunk>> {
        match &self.store {
            Store::Chunk(chunk) => Some(chunk),
            Store::Sealed(_) => None,
        }
    }
}

impl State {
    pub(crate) fn new(config: Config) -> Self {
        let stamp = Stamp { seq: 0, time: 0 };
        let (config, fields) = (Arc::new(config), Arc::default());
        Self { config, fields, parts: Vec::new(), stamp }
    }

    /// Points.
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.count).sum()
    }

    /// Where a point is: newest parts are asked first.
    pub(crate) fn find(&self, id: &PointId) -> Result<Option<(usize, Row)>, DamageError> {
        for (at, part) in self.parts.iter().enumerate().rev() {
            if part.count > 0
                && let Some(row) = part.store.find(id)?
                && part.live.contains(row)
            {
                return Ok(Some((at, row)));
            }
        }
        Ok(None)
    }

    /// A point whole.
    pub(crate) fn entry(&self, id: &PointId) -> Result<Option<Entry>, DamageError> {
        match self.find(id)? {
            Some((at, row)) => self.parts[at].entry(row).map(Some),
            None => Ok(None),
        }
    }

    /// Bytes of rows in memory that are not being sealed, and how many rows.
    pub(crate) fn growing(&self) -> (usize, usize) {
        let open = self.parts.iter().filter(|part| !part.closed);
        open.filter_map(Part::chunk)
            .fold((0, 0), |sum, chunk| (sum.0 + chunk.size_bytes(), sum.1 + chunk.len()))
    }

    /// Bytes of all rows in memory.
    pub(crate) fn chunk_bytes(&self) -> usize {
        self.parts.iter().filter_map(Part::chunk).map(|chunk| chunk.size_bytes()).sum()
    }

    /// The state after a change. Where reading fails nothing is changed.
    pub(crate) fn apply(
        &self,
        stamp: Stamp,
        change: Change,
    ) -> Result<(Self, Outcome), DamageError> {
        let mut next = Writing::new(self.clone(), stamp);
        match change {
            Change::Upsert { points, only, condition } => {
                next.upsert(points, only, condition.as_ref())?;
            }
            Change::SetVectors { points, condition } => {
                for (id, vectors) in points {
                    next.set_vectors(&id, vectors, condition.as_ref())?;
                }
            }
            Change::Edit(edit) => next.edit(edit)?,
        }
        Ok(next.done())
    }
}

/// A filter made ready; of one beyond the limits, which the door refused, nothing passes.
fn ready<'f>(filter: &'f Filter, fields: &BTreeMap<Path, FieldSchema>) -> Option<Ready<'f>> {
    Ready::new(filter, fields).ok()
}

/// A state being made of another one.
struct Writing {
    state: State,
    stamp: Stamp,
    /// Sets of live rows that are this state's own.
    dead: HashMap<usize, Bitmap>,
    fresh: Vec<Entry>,
    points: usize,
}

impl Writing {
    fn new(state: State, stamp: Stamp) -> Self {
        Self { state, stamp, dead: HashMap::new(), fresh: Vec::new(), points: 0 }
    }

    fn done(mut self) -> (State, Outcome) {
        for (at, live) in self.dead {
            let part = &mut self.state.parts[at];
            (part.count, part.live) = (live.count(), Arc::new(live));
        }
        self.state.parts.retain(|part| part.count > 0 || part.closed);
        if !self.fresh.is_empty() {
            let chunk = Chunk::new(self.fresh, &self.state.config);
            self.state.parts.push(Part::whole(Store::Chunk(Arc::new(chunk)), false));
            self.state.gather();
        }
        self.state.stamp = self.stamp;
        (self.state, Outcome { points: self.points })
    }

    /// The row is there no longer.
    fn bury(&mut self, (at, row): (usize, Row)) {
        let parts = &self.state.parts;
        let live = self.dead.entry(at).or_insert_with(|| Bitmap::clone(&parts[at].live));
        live.remove(row);
    }

    /// Where a point is that this change has not touched.
    fn find(&self, id: &PointId) -> Result<Option<(usize, Row)>, DamageError> {
        let found = self.state.find(id)?;
        let gone =
            |(at, row): &(usize, Row)| self.dead.get(at).is_some_and(|live| !live.contains(*row));
        Ok(found.filter(|place| !gone(place)))
    }

    fn upsert(
        &mut self,
        points: Vec<Point>,
        only: Only,
        condition: Option<&Filter>,
    ) -> Result<(), DamageError> {
        let fields = Arc::clone(&self.state.fields);
        let condition = condition.map(|filter| ready(filter, &fields));
        for Point { id, vectors, payload, ttl } in points {
            let place = self.find(&id)?;
            let wanted = match (only, place) {
                (Only::New, Some(_)) | (Only::Old, None) => false,
                (Only::All | Only::New, None) => true,
                (Only::All | Only::Old, Some(place)) => match &condition {
                    Some(Some(condition)) => self.passes(place, condition)?,
                    Some(None) => false,
                    None => true,
                },
            };
            if !wanted {
                continue;
            }
            if let Some(place) = place {
                self.bury(place);
            }
            let ttl = ttl.or(self.state.config.ttl);
            let expires =
                ttl.map_or(0, |s| self.stamp.time.saturating_add(s.saturating_mul(MICROS)));
            let vectors = self.fitting(vectors);
            let (version, payload) = (self.stamp.seq, Arc::new(payload));
            self.fresh.push(Entry { id, version, expires, payload, vectors });
            self.points += 1;
        }
        Ok(())
    }

    /// Vectors that the collection has here and now: it may have changed since they were sent.
    fn fitting(&self, vectors: Vectors) -> Vectors {
        let config = &self.state.config;
        vectors.into_iter().filter(|(name, vector)| config.fits(name, vector).is_ok()).collect()
    }

    fn passes(&self, (at, row): (usize, Row), filter: &Ready<'_>) -> Result<bool, DamageError> {
        crate::subject::passes(&self.state.parts[at], row, filter)
    }

    fn set_vectors(
        &mut self,
        id: &PointId,
        vectors: Vectors,
        condition: Option<&Filter>,
    ) -> Result<(), DamageError> {
        let Some(place) = self.find(id)? else { return Ok(()) };
        if let Some(condition) = condition {
            match ready(condition, &self.state.fields) {
                Some(condition) if self.passes(place, &condition)? => {}
                _ => return Ok(()),
            }
        }
        let vectors = self.fitting(vectors);
        self.rewrite(place, |entry| entry.vectors.extend(vectors))
    }

    /// Writes a row anew, changed.
    fn rewrite(
        &mut self,
        (at, row): (usize, Row),
        change: impl FnOnce(&mut Entry),
    ) -> Result<(), DamageError> {
        let mut entry = self.state.parts[at].entry(row)?;
        change(&mut entry);
        entry.version = self.stamp.seq;
        self.bury((at, row));
        self.fresh.push(entry);
        self.points += 1;
        Ok(())
    }

    /// The points that are meant, by place.
    fn meant(&self, of: &Selector) -> Result<Vec<(usize, Row)>, DamageError> {
        match of {
            Selector::Ids(ids) => {
                let mut seen = std::collections::HashSet::new();
                let mut places = Vec::with_capacity(ids.len());
                for id in ids {
                    if let Some(place) = self.find(id)?.filter(|place| seen.insert(*place)) {
                        places.push(place);
                    }
                }
                Ok(places)
            }
            Selector::Filter(filter) => {
                let mut places = Vec::new();
                let Some(filter) = ready(filter, &self.state.fields) else { return Ok(places) };
                for (at, part) in self.state.parts.iter().enumerate() {
                    let rows = crate::subject::passing(part, &filter)?;
                    places.extend(rows.iter().map(|row| (at, row)));
                }
                Ok(places)
            }
        }
    }

    fn edit(&mut self, change: Edit) -> Result<(), DamageError> {
        match change {
            Edit::Delete(of) => {
                let places = self.meant(&of)?;
                self.points += places.len();
                for place in places {
                    self.bury(place);
                }
            }
            Edit::DeleteVectors { names, of } => {
                for place in self.meant(&of)? {
                    self.rewrite(place, |entry| {
                        entry.vectors.retain(|name, _| !names.contains(name));
                    })?;
                }
            }
            Edit::SetPayload { payload, at, of } => {
                self.payloads(&of, &PayloadEdit::Merge { key: at, payload })?;
            }
            Edit::ReplacePayload { payload, of } => {
                self.payloads(&of, &PayloadEdit::Overwrite(payload))?;
            }
            Edit::DeleteKeys { keys, of } => {
                self.payloads(&of, &PayloadEdit::Remove(keys))?;
            }
            Edit::ClearPayload(of) => self.payloads(&of, &PayloadEdit::Clear)?,
            Edit::SetField { path, schema } => {
                Arc::make_mut(&mut self.state.fields).insert(path, schema);
            }
            Edit::DropField { path } => {
                Arc::make_mut(&mut self.state.fields).remove(&path);
            }
            Edit::Alter(alterations) => alterations.iter().for_each(|one| self.alter(one)),
            Edit::Expire => self.expire()?,
        }
        Ok(())
    }

    fn alter(&mut self, alteration: &Alteration) {
        let mut after = Config::clone(&self.state.config);
        alteration.apply(&mut after);
        // Two who changed it at once may each have been right and both together wrong.
        if after.check().is_err() {
            return;
        }
        self.state.config = Arc::new(after);
        if let Alteration::Dense(name, None) | Alteration::Sparse(name, None) = alteration {
            for part in &mut self.state.parts {
                Arc::make_mut(&mut part.hidden).push(name.clone());
            }
        }
    }

    fn payloads(&mut self, of: &Selector, change: &PayloadEdit) -> Result<(), DamageError> {
        for place in self.meant(of)? {
            self.rewrite(place, |entry| {
                // What outgrows the limits stays as it was.
                if let Ok(payload) = change.apply(&entry.payload) {
                    entry.payload = Arc::new(payload);
                }
            })?;
        }
        Ok(())
    }

    fn expire(&mut self) -> Result<(), DamageError> {
        for at in 0..self.state.parts.len() {
            let part = self.state.parts[at].clone();
            if part.store.earliest() > self.stamp.time {
                continue;
            }
            for row in part.live.iter() {
                let expires = part.store.expires(row)?;
                if expires > 0 && expires <= self.stamp.time {
                    self.bury((at, row));
                    self.points += 1;
                }
            }
        }
        Ok(())
    }
}

impl State {
    /// Puts the last chunks together while the one before is not much larger.
    fn gather(&mut self) {
        while let [.., before, last] = &self.parts[..]
            && !before.closed
            && !last.closed
            && before.count <= 2 * last.count
            && before.count + last.count <= CHUNK_ROWS_MAX
        {
            // Rows in memory are read without fail.
            let rows = |part: &Part| part.entries().unwrap_or_default();
            let entries = [rows(before), rows(last)].concat();
            let chunk = Chunk::new(entries, &self.config);
            self.parts.truncate(self.parts.len() - 2);
            self.parts.push(Part::whole(Store::Chunk(Arc::new(chunk)), false));
        }
    }

    /// Puts no more rows to the chunks there are.
    pub(crate) fn close(&mut self) {
        self.parts.iter_mut().for_each(|part| part.closed = true);
    }
}
