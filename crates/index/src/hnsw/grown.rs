//! A graph that grows while it is walked.
//!
//! Links are atomic numbers in lists of fixed places. One thread at a time adds rows; any number
//! walk. A walk sees the rows there were when it began ([`Extent`]) and skips links to later ones;
//! of a list that is being replaced it may see a part of the old and a part of the new one, all of
//! which are rows. A row is linked to only after everything of it was written, by stores that
//! release what a walk's loads acquire.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::seed::mix;
use crate::{Account, Hit, Row, Rows, SearchOptions, flat};

use super::build;
use super::find::Idle;
use super::graph::NONE;
use super::net::{Net, Weave};
use super::search::Scratch;

/// A number that threads share; what `std` has, or a model of it under test.
pub(super) trait Atom: Send + Sync {
    fn new(value: u32) -> Self;
    fn get(&self) -> u32;
    fn set(&self, value: u32);
}

impl Atom for AtomicU32 {
    fn new(value: u32) -> Self {
        Self::new(value)
    }

    fn get(&self) -> u32 {
        self.load(Ordering::Acquire)
    }

    fn set(&self, value: u32) {
        self.store(value, Ordering::Release);
    }
}

/// The links of up to a fixed number of rows.
#[derive(Debug)]
pub(super) struct Grown<A = AtomicU32> {
    m: usize,
    seed: u64,
    /// `room × 3m`: half as many again as a finished list has, so that pruning is paid once for
    /// many new links.
    base: Box<[A]>,
    /// Where the lists of each row begin in `upper`, and how many it has: `first << 8 | level`.
    above: Box<[A]>,
    upper: Box<[A]>,
}

/// Which rows of a [`Grown`] there are for a walk, and where it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) len: usize,
    entry: u32,
    top: usize,
    /// Lists above level 0 in use.
    lists: usize,
}

impl Extent {
    /// Some rows without links.
    pub(crate) fn rows(len: usize) -> Self {
        Self { len, ..Self::default() }
    }
}

impl<A: Atom> Grown<A> {
    /// Without rows yet, for at most `room` of them.
    pub(super) fn new(room: usize, m: usize, seed: u64) -> Self {
        let slab = |places: usize| (0..places).map(|_| A::new(NONE)).collect();
        // A row has 1/(m − 1) lists above level 0 on average; with all of them taken, a row stays
        // on level 0.
        let lists = (2 * room / (m - 1) + 16).min((u32::MAX >> 8) as usize);
        let base = slab(room * wide(2 * m));
        Self { m, seed, base, above: slab(room), upper: slab(lists * wide(m)) }
    }

    /// Rows there is room for.
    pub(super) fn room(&self) -> usize {
        self.above.len()
    }

    /// What walks of `extent` see.
    pub(super) fn view(&self, extent: Extent) -> View<'_, A> {
        View { grown: self, extent }
    }

    /// Links the rows that follow those of `extent`, up to the last of `rows`. One call at a time;
    /// the same graph for any number of `threads`.
    ///
    /// # Panics
    /// If there is no room for them.
    pub(super) fn grow<R: Rows>(
        &self,
        rows: &R,
        extent: Extent,
        (threads, ef): (usize, usize),
    ) -> Extent {
        assert!(rows.len() <= self.room(), "{} rows, room for {}", rows.len(), self.room());
        let mut view = self.view(extent);
        for row in extent.len..rows.len() {
            view.claim(Row(row as u32));
        }
        let mut done = extent.len.max(rows.len().min(1));
        let mut scratches: Vec<Scratch> = Vec::new();
        while done < rows.len() {
            if scratches.is_empty() {
                scratches.resize_with(threads.max(1), || Scratch::new(self.room()));
            }
            let most =
                (done / build::BATCH_OF_INSERTED).min(self.room() / build::BATCH_OF_ALL).max(1);
            let batch: Vec<Row> =
                (done..rows.len().min(done + most)).map(|row| Row(row as u32)).collect();
            view.extent.len = done;
            build::insert(rows, &mut view, (&batch, 0), &mut scratches, ef);
            done += batch.len();
            for &row in &batch {
                view.raise(row);
            }
        }
        view.extent.len = rows.len();
        view.extent
    }
}

/// Places of a list that has `most` links when finished.
fn wide(most: usize) -> usize {
    most + most / 2
}

/// A graph as far as it had grown at some time.
#[derive(Debug)]
pub(super) struct View<'a, A> {
    grown: &'a Grown<A>,
    extent: Extent,
}

impl<A: Atom> View<'_, A> {
    /// Gives a new row its level and lists.
    fn claim(&mut self, row: Row) {
        let grown = self.grown;
        let free = grown.upper.len() / wide(grown.m) - self.extent.lists;
        let level = build::level(mix(grown.seed ^ mix(u64::from(row.0))), grown.m);
        let level = usize::from(level).min(free);
        grown.above[row.position()].set((self.extent.lists as u32) << 8 | level as u32);
        self.extent.lists += level;
        if row.0 == 0 {
            (self.extent.entry, self.extent.top) = (0, level);
        }
    }

    /// Makes a linked row the entry if none is on a higher level.
    fn raise(&mut self, row: Row) {
        let level = self.level(row);
        if level > self.extent.top {
            (self.extent.entry, self.extent.top) = (row.0, level);
        }
    }

    fn list(&self, row: Row, level: usize) -> &[A] {
        let grown = self.grown;
        if level == 0 {
            let width = wide(2 * grown.m);
            return &grown.base[row.position() * width..][..width];
        }
        let above = grown.above[row.position()].get();
        assert!(level <= (above & 0xff) as usize, "{row} is not on level {level}");
        let (first, width) = ((above >> 8) as usize, wide(grown.m));
        &grown.upper[(first + level - 1) * width..][..width]
    }
}

impl<A: Atom> Net for View<'_, A> {
    fn len(&self) -> usize {
        self.extent.len
    }

    fn m(&self) -> usize {
        self.grown.m
    }

    fn entry(&self) -> Option<Row> {
        (self.extent.len > 0).then_some(Row(self.extent.entry))
    }

    fn top(&self) -> usize {
        self.extent.top
    }

    fn level(&self, row: Row) -> usize {
        (self.grown.above[row.position()].get() & 0xff) as usize
    }

    fn each_link(&self, row: Row, level: usize) -> impl Iterator<Item = Row> + '_ {
        let ids = self.list(row, level).iter().map(Atom::get).take_while(|&id| id != NONE);
        ids.filter(|&id| (id as usize) < self.extent.len).map(Row)
    }

    fn fetch(&self, row: Row) {
        kvant_kernels::fetch(self.list(row, 0));
    }
}

impl<A: Atom> Weave for View<'_, A> {
    fn most(&self, level: usize) -> usize {
        if level == 0 { 2 * self.grown.m } else { self.grown.m }
    }

    fn width(&self, level: usize) -> usize {
        wide(self.most(level))
    }

    fn set_links(&mut self, row: Row, level: usize, ids: &[u32]) {
        let (list, rest) = self.list(row, level).split_at(ids.len());
        list.iter().zip(ids).for_each(|(place, &id)| place.set(id));
        rest.iter().filter(|place| place.get() != NONE).for_each(|place| place.set(NONE));
    }
}

/// A graph that grows, and the working memory of its searches.
#[derive(Debug)]
pub(crate) struct Growing {
    grown: Grown,
    idle: Idle,
}

impl Growing {
    /// For at most `room` rows, `m` links per node and level.
    pub(crate) fn new(room: usize, m: usize, seed: u64) -> Self {
        Self { grown: Grown::new(room, m, seed), idle: Idle::default() }
    }

    /// Links the rows that follow those of `extent`, see [`Grown::grow`].
    pub(crate) fn grow<R: Rows>(
        &self,
        rows: &R,
        extent: Extent,
        building: (usize, usize),
    ) -> Extent {
        self.grown.grow(rows, extent, building)
    }

    /// The `k` allowed rows of `extent` closest to `query`, as [`Hnsw`](crate::Hnsw) finds them.
    pub(crate) fn search_within<R: Rows>(
        &self,
        (rows, extent): (&R, Extent),
        query: &R::Query,
        options: &SearchOptions<'_>,
        account: &Account<'_>,
    ) -> Vec<Hit> {
        assert_eq!(rows.len(), extent.len, "rows of another extent");
        flat::assert_fits(options.allowed, extent.len);
        self.idle.search(&self.grown.view(extent), (rows, query), options, account)
    }
}

#[cfg(test)]
mod tests;
