//! One state of a live index.

use std::sync::Arc;

use super::part::Part;
use super::{LiveError, LiveOptions, Place};
use crate::hnsw::Extent;
use crate::key::order;
use crate::{Account, Bitmap, Budget, Certainty, Effort, Row, SearchError, SearchOptions};

/// Options of one search of a [`Live`](crate::Live) index.
#[derive(Clone, Copy, Debug)]
pub struct LiveSearch<'a> {
    /// How many ids to return; fewer only where fewer are allowed, or a budget ended the search.
    pub k: usize,
    /// How hard to try.
    pub effort: Effort,
    /// The ids that may be returned; all where `None`.
    pub filter: Option<&'a LiveFilter>,
    /// When to end early; never by default.
    pub budget: Budget<'a>,
}

impl Default for LiveSearch<'_> {
    /// The ten nearest of all ids.
    fn default() -> Self {
        let SearchOptions { k, effort, budget, .. } = SearchOptions::default();
        Self { k, effort, filter: None, budget }
    }
}

/// One id found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LiveHit {
    /// The id.
    pub id: u64,
    /// The distance of its vector to the query: lower is closer.
    pub distance: f32,
}

/// What a search of a live index found.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveResult {
    /// The ids, closest first; of equally close ones the lower.
    pub hits: Vec<LiveHit>,
    /// How sure that is.
    pub certainty: Certainty,
}

/// Ids that a search of one [`Snapshot`] may return.
#[derive(Clone, Debug)]
pub struct LiveFilter {
    version: u64,
    allowed: Vec<Bitmap>,
}

/// One state of a [`Live`](crate::Live) index, which stays as it is whatever is changed. What it
/// holds is given back when it is dropped.
#[derive(Clone, Debug)]
pub struct Snapshot {
    dim: usize,
    version: u64,
    views: Vec<View>,
}

/// A part as one state of the index has it.
#[derive(Clone, Debug)]
pub(super) struct View {
    part: Arc<Part>,
    extent: Extent,
    /// Rows that are neither removed nor replaced, and how many are.
    live: Arc<Bitmap>,
    dead: usize,
}

impl Snapshot {
    pub(super) fn empty(dim: usize) -> Self {
        Self { dim, version: 0, views: Vec::new() }
    }

    /// Of one part that was built.
    pub(super) fn of(dim: usize, part: Arc<Part>) -> Self {
        Self { dim, version: 0, views: vec![View::whole(part)] }
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        self.rows() - self.dead()
    }

    /// Whether there are no ids.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows held, with those that are removed or replaced.
    pub fn rows(&self) -> usize {
        self.views.iter().map(|view| view.extent.len).sum()
    }

    /// Rows held that are removed or replaced: a compaction gives their space back.
    pub fn dead(&self) -> usize {
        self.views.iter().map(|view| view.dead).sum()
    }

    /// Rows of what was built, the others lie in tails.
    pub fn sealed(&self) -> usize {
        let sealed = self.views.iter().filter(|view| !view.part.is_tail());
        sealed.map(|view| view.extent.len).sum()
    }

    /// Parts that grow, or grew.
    pub fn tails(&self) -> usize {
        self.views.iter().filter(|view| view.part.is_tail()).count()
    }

    /// Its ids, each once, in no order that means anything.
    pub fn ids(&self) -> impl Iterator<Item = u64> + '_ {
        let each = |view: &View| {
            let ids = view.part.ids();
            view.live.iter().map(|row| ids[row.position()]).collect::<Vec<_>>()
        };
        self.views.iter().flat_map(each)
    }

    /// The ids that `is_allowed` says may be returned, asked once for each. O(n); good for any
    /// number of searches of this snapshot.
    pub fn filter(&self, is_allowed: impl Fn(u64) -> bool) -> LiveFilter {
        let of = |view: &View| {
            let (mut allowed, ids) = (Bitmap::new(view.extent.len), view.part.ids());
            for row in view.live.iter().filter(|row| is_allowed(ids[row.position()])) {
                allowed.insert(row);
            }
            allowed
        };
        LiveFilter { version: self.version, allowed: self.views.iter().map(of).collect() }
    }

    /// The `k` ids whose vectors are closest to `query`, closest first: never fewer than
    /// `min(k, ids allowed)` unless a budget ends it. Each part is searched as its shape does.
    ///
    /// # Errors
    /// [`LiveError`] if the query or the filter does not fit.
    pub fn search(&self, query: &[f32], search: &LiveSearch<'_>) -> Result<LiveResult, LiveError> {
        self.check(query, search)?;
        let account = Account::new(&search.budget);
        let (mut hits, mut exact) = (Vec::new(), true);
        for (at, view) in self.views.iter().enumerate() {
            let masked = (view.dead > 0).then_some(&*view.live);
            let allowed = search.filter.map_or(masked, |filter| Some(&filter.allowed[at]));
            let &LiveSearch { k, effort, budget, .. } = search;
            let options = SearchOptions { k, effort, allowed, budget };
            let ids = view.part.ids();
            let found = view.part.search(view.extent, query, &options, &account);
            exact &= view.part.is_exact(effort);
            let hit =
                |hit: crate::Hit| LiveHit { id: ids[hit.row.position()], distance: hit.distance };
            hits.extend(found.into_iter().map(hit));
        }
        hits.sort_unstable_by_key(|hit| (order(hit.distance), hit.id));
        hits.truncate(search.k);
        let certainty = match (account.is_cut(), exact) {
            (true, _) => Certainty::Truncated,
            (false, true) => Certainty::Exact,
            (false, false) => Certainty::Bounded,
        };
        Ok(LiveResult { hits, certainty })
    }

    fn check(&self, query: &[f32], search: &LiveSearch<'_>) -> Result<(), LiveError> {
        let (expected, got) = (self.dim, query.len());
        if expected != got {
            return Err(SearchError::Dimension { expected, got }.into());
        }
        if let Some(at) = query.iter().position(|x| !x.is_finite()) {
            return Err(SearchError::NotFinite { at }.into());
        }
        if search.filter.is_some_and(|filter| filter.version != self.version) {
            return Err(LiveError::Filter);
        }
        if search.k == 0 { Err(SearchError::Nothing.into()) } else { Ok(()) }
    }

    /// The vector at a place, unless it is of a part that is not here.
    pub(super) fn vector(&self, place: Place) -> Option<Vec<f32>> {
        let view = self.views.iter().find(|view| view.part.serial == place.part)?;
        Some(view.part.vector(place.row))
    }

    /// Its parts.
    pub(super) fn views(&self) -> &[View] {
        &self.views
    }

    /// Adds a part without rows yet.
    pub(super) fn push(&mut self, part: Arc<Part>) {
        let (extent, live) = (Extent::default(), Arc::default());
        self.views.push(View { part, extent, live, dead: 0 });
    }

    /// Puts `part` in the place of all parts before `serial`.
    pub(super) fn replace(&mut self, serial: u64, part: Arc<Part>) {
        self.views.retain(|view| view.part.serial >= serial);
        self.views.insert(0, View::whole(part));
    }

    /// The last part.
    pub(super) fn last_mut(&mut self) -> Option<&mut View> {
        self.views.last_mut()
    }

    /// Masks the row at a place.
    pub(super) fn mask(&mut self, place: Place) {
        let view = self.views.iter_mut().find(|view| view.part.serial == place.part);
        if let Some(view) = view
            && Arc::make_mut(&mut view.live).remove(Row(place.row))
        {
            view.dead += 1;
        }
    }

    /// The state that follows this one.
    pub(super) fn following(self) -> Self {
        Self { version: self.version + 1, ..self }
    }
}

impl View {
    /// All rows of a part.
    fn whole(part: Arc<Part>) -> Self {
        let len = part.ids().len();
        Self { part, extent: Extent::rows(len), live: Arc::new(Bitmap::full(len)), dead: 0 }
    }

    /// The serial of its part.
    pub(super) fn serial(&self) -> u64 {
        self.part.serial
    }

    /// Its part.
    pub(super) fn part(&self) -> &Part {
        &self.part
    }

    /// Rows there are.
    pub(super) fn len(&self) -> usize {
        self.extent.len
    }

    /// Rows that are neither removed nor replaced, rising.
    pub(super) fn live(&self) -> impl Iterator<Item = Row> + '_ {
        self.live.iter()
    }

    /// Rows that it has room for still.
    pub(super) fn room(&self) -> usize {
        self.part.room() - self.extent.len
    }

    /// Appends rows to its part, which only the last state may do.
    pub(super) fn extend(&mut self, ids: &[u64], vectors: &[f32], options: &LiveOptions) {
        self.extent = self.part.extend(self.extent, (ids, vectors), options);
        Arc::make_mut(&mut self.live).extend(ids.len());
    }
}
