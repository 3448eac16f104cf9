//! Walking the graph: greedy descent, then the best candidates of one level.

use crate::key::{distance, order};
use crate::{Account, Bitmap, Hit, Row, Scorer};

use super::net::Net;

/// Which rows a walk may return, and how many it may measure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gate<'a> {
    /// `None` admits every row.
    pub(super) allowed: Option<&'a Bitmap>,
    /// A walk that measured more rows gives up.
    pub(super) budget: usize,
    /// Whether only allowed rows are measured.
    pub(super) narrow: bool,
    /// Asked once per hop; `None` lets everything pass.
    pub(super) account: Option<&'a Account<'a>>,
}

impl Gate<'_> {
    /// Admits everything, however long it takes.
    pub(super) const OPEN: Gate<'static> =
        Gate { allowed: None, budget: usize::MAX, narrow: false, account: None };

    fn admits(&self, row: Row) -> bool {
        self.allowed.is_none_or(|allowed| allowed.contains(row))
    }

    /// Cuts the rows about to be measured to those granted; `false` if the search ends with them.
    fn grants(&self, batch: &mut Vec<Row>) -> bool {
        let wanted = batch.len();
        batch.truncate(self.account.map_or(wanted, |account| account.grant(wanted)));
        batch.len() == wanted
    }
}

/// Working memory of one walk at a time, reused from walk to walk.
#[derive(Clone, Debug)]
pub(super) struct Scratch {
    pub(super) visited: Visited,
    pub(super) pool: Pool,
    pub(super) batch: Vec<Row>,
    /// Rows that are not allowed, whose links may be followed.
    pub(super) passed: Vec<Row>,
    /// Where the next walk begins, beside where the upper levels lead.
    pub(super) seeds: Vec<Row>,
    distances: Vec<f32>,
    measured: usize,
}

impl Scratch {
    /// For graphs of `len` rows.
    pub(super) fn new(len: usize) -> Self {
        Self {
            visited: Visited { words: vec![0; len.div_ceil(64)], touched: Vec::new() },
            pool: Pool::default(),
            batch: Vec::new(),
            passed: Vec::new(),
            seeds: Vec::new(),
            distances: Vec::new(),
            measured: 0,
        }
    }

    /// Makes room for graphs of `len` rows.
    pub(super) fn fit(&mut self, len: usize) {
        let words = &mut self.visited.words;
        words.resize(words.len().max(len.div_ceil(64)), 0);
    }

    /// The admitted rows nearest to the scorer's query, closest first, `ef` or as many as the walk
    /// met. `None` if the budget ran out.
    pub(super) fn search(
        &mut self,
        graph: &impl Net,
        scorer: &mut impl Scorer,
        ef: usize,
        gate: &Gate<'_>,
    ) -> Option<impl ExactSizeIterator<Item = Hit> + '_> {
        let start = self.descend(graph, scorer, 0, gate)?;
        let walk = Walk { start, ef, gate };
        let finished = match gate.allowed.filter(|_| gate.narrow) {
            Some(allowed) => self.walk_allowed(graph, scorer, &walk, allowed),
            None => self.walk(graph, 0, scorer, &walk),
        };
        finished.then(|| self.admitted())
    }

    /// From the entry greedily down to the nearest row found above `level` (Alg. 5, lines 5–6);
    /// `None` in an empty graph, or where nothing is granted.
    pub(super) fn descend(
        &mut self,
        graph: &impl Net,
        scorer: &mut impl Scorer,
        level: usize,
        gate: &Gate<'_>,
    ) -> Option<Row> {
        let mut best = graph.entry().filter(|_| gate.account.is_none_or(|a| a.grant(1) == 1))?;
        let mut nearest = [0.0];
        scorer.score(&[best], &mut nearest);
        let mut nearest = order(nearest[0]);
        for level in (level + 1..=graph.top()).rev() {
            loop {
                self.batch.clear();
                self.batch.extend(graph.each_link(best, level));
                if !gate.grants(&mut self.batch) {
                    return Some(best);
                }
                self.score(scorer);
                let orders = self.distances.iter().copied().map(order);
                let closest = orders.zip(&self.batch).min_by_key(|&(order, row)| (order, *row));
                match closest {
                    Some((order, &row)) if order < nearest => (nearest, best) = (order, row),
                    _ => break,
                }
            }
        }
        Some(best)
    }

    /// Keeps the best candidates of `level` met from `walk.start` on (Alg. 2); `false` if the
    /// budget ran out.
    pub(super) fn walk(
        &mut self,
        graph: &impl Net,
        level: usize,
        scorer: &mut impl Scorer,
        walk: &Walk<'_>,
    ) -> bool {
        self.begin(walk.ef);
        self.visited.insert(walk.start);
        self.batch.push(walk.start);
        let (visited, seeds) = (&mut self.visited, self.seeds.drain(..));
        self.batch.extend(seeds.filter(|&row| visited.insert(row)));
        let mut done = self.met(scorer, walk);
        while let Some(row) = self.pool.next().filter(|_| done.is_none()) {
            self.batch.clear();
            let (visited, batch) = (&mut self.visited, &mut self.batch);
            batch.extend(graph.each_link(row, level).filter(|&row| visited.insert(row)));
            // Unless one of these is nearer, it is next.
            if let Some(next) = self.pool.peek().filter(|_| level == 0) {
                graph.fetch(next);
            }
            done = self.met(scorer, walk);
        }
        done.unwrap_or(true)
    }

    /// Forgets the walk before.
    pub(super) fn begin(&mut self, ef: usize) {
        self.visited.clear();
        self.pool.clear(ef);
        self.batch.clear();
        self.measured = 0;
    }

    /// Measures the batch and offers it to the pool; says where the walk ends with it: with what
    /// was granted (`true`), or for want of budget (`false`).
    pub(super) fn met(&mut self, scorer: &mut impl Scorer, walk: &Walk<'_>) -> Option<bool> {
        let granted = walk.gate.grants(&mut self.batch);
        self.meet(scorer, walk.gate);
        match (granted, self.measured > walk.gate.budget) {
            (false, _) => Some(true),
            (true, true) => Some(false),
            (true, false) => None,
        }
    }

    /// What the last walk kept and its gate admits, closest first.
    pub(super) fn admitted(&self) -> impl ExactSizeIterator<Item = Hit> + '_ {
        Admitted { keys: self.pool.keys.iter(), left: self.pool.admitted }
    }

    fn meet(&mut self, scorer: &mut impl Scorer, gate: &Gate<'_>) {
        self.score(scorer);
        self.measured += self.batch.len();
        for (&row, &distance) in self.batch.iter().zip(&self.distances) {
            self.pool.offer(row, distance, gate);
        }
    }

    fn score(&mut self, scorer: &mut impl Scorer) {
        self.distances.resize(self.batch.len(), 0.0);
        scorer.score(&self.batch, &mut self.distances);
    }
}

/// Where a walk starts, how many candidates it keeps, and which.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk<'a> {
    pub(super) start: Row,
    pub(super) ef: usize,
    pub(super) gate: &'a Gate<'a>,
}

/// Rows met by the walk. One bit a row stays in cache where a counter a row would not; clearing
/// costs only what was touched.
#[derive(Clone, Debug)]
pub(super) struct Visited {
    words: Vec<u64>,
    touched: Vec<u32>,
}

impl Visited {
    /// Adds `row`; `false` if it was there.
    pub(super) fn insert(&mut self, row: Row) -> bool {
        let (at, bit) = (row.position() / 64, 1 << (row.position() % 64));
        let word = &mut self.words[at];
        if *word == 0 {
            self.touched.push(at as u32);
        }
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }

    fn clear(&mut self) {
        for at in self.touched.drain(..) {
            self.words[at as usize] = 0;
        }
    }
}

/// Its links were followed.
const EXPANDED: u64 = 1;
/// The gate admits it.
const ADMITTED: u64 = 2;

/// Candidates in rising order, cut after the `ef`-th that the gate admits.
///
/// One sorted array instead of two heaps: at these sizes moving a few cache lines is cheaper. A key
/// is `order of distance << 32 | row << 2 | flags`; no row is met twice, so flags never decide.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    keys: Vec<u64>,
    ef: usize,
    admitted: usize,
    /// Every key before it is expanded.
    cursor: usize,
}

impl Pool {
    pub(super) fn clear(&mut self, ef: usize) {
        self.keys.clear();
        (self.ef, self.admitted, self.cursor) = (ef, 0, 0);
    }

    /// Whether a candidate at `distance` may be kept.
    pub(super) fn takes(&self, distance: f32) -> bool {
        let last = || self.keys.last().map_or(u32::MAX, |&last| (last >> 32) as u32);
        self.admitted < self.ef || order(distance) <= last()
    }

    /// Keeps a candidate, if it is near enough.
    pub(super) fn offer(&mut self, row: Row, distance: f32, gate: &Gate<'_>) {
        let key = u64::from(order(distance)) << 32 | u64::from(row.0) << 2;
        if self.admitted >= self.ef && self.keys.last().is_none_or(|&last| key >= last) {
            return;
        }
        let flag = if gate.admits(row) { ADMITTED } else { 0 };
        let at = self.keys.partition_point(|&other| other < key);
        self.keys.insert(at, key | flag);
        self.cursor = self.cursor.min(at);
        if flag == 0 {
            return;
        }
        self.admitted += 1;
        if self.admitted > self.ef {
            self.keys.pop();
            self.admitted -= 1;
        }
        // Nothing past the last admitted one can lead to a better.
        while self.admitted == self.ef && self.keys.last().is_some_and(|key| key & ADMITTED == 0) {
            self.keys.pop();
        }
    }

    /// What [`next`](Self::next) gives unless something nearer is offered before.
    pub(super) fn peek(&self) -> Option<Row> {
        self.keys.get(self.cursor).map(|&key| row(key))
    }

    /// The nearest candidate whose links were not followed yet.
    pub(super) fn next(&mut self) -> Option<Row> {
        while let Some(key) = self.keys.get_mut(self.cursor) {
            self.cursor += 1;
            if *key & EXPANDED == 0 {
                *key |= EXPANDED;
                return Some(row(*key));
            }
        }
        None
    }
}

fn row(key: u64) -> Row {
    Row(key as u32 >> 2)
}

struct Admitted<'a> {
    keys: std::slice::Iter<'a, u64>,
    left: usize,
}

impl Iterator for Admitted<'_> {
    type Item = Hit;

    fn next(&mut self) -> Option<Hit> {
        let &key = self.keys.by_ref().find(|&&key| key & ADMITTED != 0)?;
        self.left -= 1;
        Some(Hit { row: row(key), distance: distance((key >> 32) as u32) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Admitted<'_> {}
