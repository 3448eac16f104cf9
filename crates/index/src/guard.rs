//! Rows of a mapped file, of which each block is verified when it is first read.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use kvant_storage::Blocks;

use crate::code::coded::Layout;
use crate::{Account, FloatRows, Hit, Order, Row, Rows, Scorer, SearchError, SearchOptions};

/// When rows are asked for before they are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadAhead {
    /// Where a block is read for the first time: right for a file that fits into memory.
    #[default]
    First,
    /// Always, a call of the system for each row: right for a file that does not.
    Always,
}

/// Where rows lie in the blocks of a section.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    blocks: Arc<Blocks>,
    layout: Layout,
    ahead: ReadAhead,
}

impl Guard {
    /// Rows in `blocks`, what lies before them already verified.
    pub(crate) fn new(blocks: &Arc<Blocks>, layout: Layout, ahead: ReadAhead) -> Self {
        if ahead == ReadAhead::Always {
            blocks.data().read_apart();
        }
        Self { blocks: Arc::clone(blocks), layout, ahead }
    }

    /// Verifies what of `rows` was not read before; those past the last are none.
    #[inline]
    pub(crate) fn touch(&self, rows: impl Iterator<Item = u32> + Clone) {
        let ahead = self.ahead == ReadAhead::Always;
        if !ahead && self.blocks.is_whole() {
            return;
        }
        if ahead || !rows.clone().all(|row| self.blocks.holds(&self.layout.row(row))) {
            self.touch_anew(rows);
        }
    }

    #[cold]
    fn touch_anew(&self, rows: impl Iterator<Item = u32> + Clone) {
        let size = self.blocks.data().len();
        let ranges = rows.map(|row| self.layout.row(row)).filter(|range| range.end <= size);
        for range in ranges.clone() {
            if self.ahead == ReadAhead::Always || !self.blocks.holds(&range) {
                self.blocks.will_need(range);
            }
        }
        for range in ranges {
            self.blocks.touch(range);
        }
    }

    /// The same of rows next to one another.
    fn touch_run(&self, rows: Range<u32>) {
        if self.ahead == ReadAhead::First && self.blocks.is_whole() || rows.is_empty() {
            return;
        }
        let range = self.layout.row(rows.start).start..self.layout.row(rows.end - 1).end;
        let range = range.start..range.end.min(self.blocks.data().len());
        if self.ahead == ReadAhead::Always {
            self.blocks.will_need(range.clone());
        }
        self.blocks.touch(range);
    }

    /// Asks for rows next to one another that are read soon.
    fn ahead(&self, rows: Range<u32>) {
        if self.ahead == ReadAhead::Always && !rows.is_empty() {
            let range = self.layout.row(rows.start).start..self.layout.row(rows.end - 1).end;
            if range.end <= self.blocks.data().len() {
                self.blocks.will_need(range);
            }
        }
    }

    /// Verifies everything.
    pub(crate) fn touch_all(&self) {
        self.blocks.touch(0..self.blocks.data().len());
    }
}

/// Rows whose bytes are verified, block by block, before they are measured.
#[derive(Debug)]
pub struct Guarded<R> {
    rows: R,
    guard: Guard,
}

impl<R> Guarded<R> {
    pub(crate) fn new(rows: R, guard: Guard) -> Self {
        Self { rows, guard }
    }

    /// Verifies one row.
    pub(crate) fn touch(&self, row: Row) {
        self.guard.touch(std::iter::once(row.0));
    }

    /// The rows.
    pub fn inner(&self) -> &R {
        &self.rows
    }
}

impl<R: Rows> Rows for Guarded<R> {
    type Query = R::Query;
    type Scorer<'q>
        = GuardedScorer<'q, R::Scorer<'q>>
    where
        Self: 'q;

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn scorer<'q>(&'q self, query: &'q R::Query) -> Self::Scorer<'q> {
        GuardedScorer { scorer: self.rows.scorer(query), guard: &self.guard }
    }

    fn scorer_of(&self, row: Row) -> Self::Scorer<'_> {
        // It may ask for the lengths of all.
        self.guard.touch_all();
        GuardedScorer { scorer: self.rows.scorer_of(row), guard: &self.guard }
    }

    fn order(&self) -> Option<&Order> {
        self.rows.order()
    }

    fn is_scanned(&self) -> bool {
        self.rows.is_scanned()
    }

    fn vectors(&self) -> Option<FloatRows<'_>> {
        self.guard.touch_all();
        self.rows.vectors()
    }

    fn candidates(&self, k: usize) -> usize {
        self.rows.candidates(k)
    }

    fn refine(&self, query: &R::Query, hits: &mut Vec<Hit>) {
        self.rows.refine(query, hits);
    }

    fn settle(&self, query: &R::Query, hits: &mut Vec<Hit>, k: usize) -> bool {
        self.rows.settle(query, hits, k)
    }

    fn is_on_disk(&self) -> bool {
        self.guard.ahead == ReadAhead::Always
    }

    fn is_exact(&self) -> bool {
        self.rows.is_exact()
    }

    fn nearest(
        &self,
        query: &R::Query,
        options: &SearchOptions<'_>,
        account: &Account<'_>,
    ) -> Option<Vec<Hit>> {
        self.rows.nearest(query, options, account)
    }

    fn nearest_all(
        &self,
        queries: &[&R::Query],
        options: &SearchOptions<'_>,
        account: &Account<'_>,
    ) -> Option<Vec<Vec<Hit>>> {
        // Whatever is measured in this way is read as a whole.
        let found = self.rows.nearest_all(queries, options, account)?;
        self.guard.touch_all();
        Some(found)
    }
}

/// Distances of [`Guarded`] rows.
#[derive(Debug)]
pub struct GuardedScorer<'a, S> {
    scorer: S,
    guard: &'a Guard,
}

// Out of the way of scorers that are not guarded.
impl<S: Scorer> Scorer for GuardedScorer<'_, S> {
    #[inline(never)]
    fn score(&mut self, rows: &[Row], out: &mut [f32]) {
        self.guard.touch(rows.iter().map(|row| row.0));
        self.scorer.score(rows, out);
    }

    #[inline(never)]
    fn scan(&mut self, places: Range<u32>, reach: f32, found: &mut Vec<Hit>) {
        self.guard.touch_run(places.clone());
        self.scorer.scan(places, reach, found);
    }

    fn ahead(&self, places: Range<u32>) {
        self.guard.ahead(places.clone());
        self.scorer.ahead(places);
    }
}

/// A large section, where it begins in the file, and what is known of it.
pub(crate) type Large = (&'static str, u64, Arc<Blocks>);

/// What is verified of a file while it is searched; nothing where an index was built.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch(Option<Arc<Watched>>);

#[derive(Debug)]
struct Watched {
    path: PathBuf,
    /// The sections, and where they begin.
    sections: Vec<Large>,
}

impl Watch {
    /// Over `sections` of the file at `path`, each with where it begins.
    pub(crate) fn new(path: PathBuf, sections: Vec<Large>) -> Self {
        Self(Some(Arc::new(Watched { path, sections })))
    }

    /// The sections.
    pub(crate) fn sections(&self) -> &[Large] {
        self.0.as_ref().map_or(&[], |watched| &watched.sections)
    }

    /// Times that damage was met.
    #[inline]
    pub(crate) fn met(&self) -> u64 {
        self.sections().iter().map(|(_, _, blocks)| blocks.met()).sum()
    }

    /// Refuses what was found if damage was met since it was met `before` times: by this search or,
    /// where several run at once, perhaps by another.
    #[inline]
    pub(crate) fn since(&self, before: u64) -> Result<(), SearchError> {
        if self.met() == before { Ok(()) } else { Err(self.damage()) }
    }

    #[cold]
    fn damage(&self) -> SearchError {
        let path = self.0.as_ref().map(|watched| watched.path.clone()).unwrap_or_default();
        let met = self.sections().iter().find(|(_, _, blocks)| blocks.met() > 0);
        let (section, offset) = met.map_or(("", 0), |(section, start, blocks)| {
            (*section, start + blocks.last_met() as u64)
        });
        SearchError::Damaged { path, section, offset }
    }
}
