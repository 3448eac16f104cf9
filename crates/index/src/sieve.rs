//! Searching rows that lie in many lists, the most promising first: what forests and hash tables
//! have in common.
//!
//! A row may lie in several lists and is measured once. As many lists are looked into as the effort
//! says, and more while there are too few allowed rows in them; where measuring every allowed row
//! costs no more, that is done instead.

use std::sync::{Mutex, PoisonError};

use crate::choice::Field;
use crate::seen::Seen;
use crate::{Account, Bitmap, Effort, Hit, Row, Rows, Scorer, SearchOptions, Top, flat};

/// Rows measured per call of the scorer.
const BATCH: usize = 128;
/// Rows met for each candidate that a graph keeps: what `Effort::Ef` stands for in lists.
const ROWS_PER_EF: usize = 16;
/// A share of what is expected of a filter that has nothing to do with the query; with less the
/// filter is against it …
const FEWER: f64 = 0.9;
/// … unless it is so by chance: standard deviations.
const MOST_BY_CHANCE: f64 = 3.0;
/// Rows met for each row wanted, at least.
const ROWS_PER_FOUND: usize = 8;

/// Lists of rows in the order in which a query looks into them.
pub(crate) trait Lists {
    /// The rows of the next list, `None` after the last.
    fn next(&mut self) -> Option<&[u32]>;
}

/// How many lists a search of default effort looks into, and how many rows are in one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usual {
    pub(crate) lists: usize,
    /// Rows of a list on average, 0 where there are no lists.
    pub(crate) rows: f64,
}

/// Working memory of searches.
#[derive(Debug)]
pub(crate) struct Sieve {
    len: usize,
    /// Of searches that are not running, one per thread that ever searched at once.
    idle: Mutex<Vec<Seen>>,
}

/// What is looked for in one search.
struct Wanted<'a> {
    lists: usize,
    /// Candidates to find.
    found: usize,
    /// Candidates to keep.
    kept: usize,
    allowed: Option<&'a Bitmap>,
    /// Of the rows.
    share: f64,
}

impl Sieve {
    /// For indexes of `len` rows.
    pub(crate) fn new(len: usize) -> Self {
        Self { len, idle: Mutex::new(Vec::new()) }
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The `k` allowed rows closest to `query` of the lists looked into.
    pub(crate) fn search<R: Rows<Query = [f32]>, L: Lists>(
        &self,
        rows: &R,
        query: &[f32],
        (options, account): (&SearchOptions<'_>, &Account<'_>),
        (usual, lists): (Usual, impl Fn() -> L),
    ) -> Vec<Hit> {
        assert_eq!(rows.len(), self.len, "rows of another index");
        flat::assert_fits(options.allowed, self.len);
        let eligible = options.allowed.map_or(self.len, Bitmap::count);
        let k = options.k.min(eligible);
        let found = rows.candidates(k).min(eligible);
        let wanted = usual.wanted((k, found), options.effort);
        let share = eligible as f64 / self.len.max(1) as f64;
        // Allowed rows that will be measured; of rows that are rarer the nearest are farther.
        let measured = wanted as f64 * usual.rows * share.sqrt();
        if k == 0 || usual.rows <= 0.0 || measured >= eligible as f64 {
            return flat::scan(rows, query, options, account);
        }
        let allowed = options.allowed.filter(|_| eligible < self.len);
        let mut seen = self.checkout();
        let field = Field { options, account, eligible };
        let hits = field.choose(rows, query, |found| {
            let kept = field.kept(rows, found);
            let wanted = Wanted { lists: wanted, found, kept, allowed, share };
            let top = self.gather(rows, query, (&wanted, account), (&mut lists(), &mut seen));
            seen.clear();
            top.map(Top::into_hits)
        });
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        hits.unwrap_or_else(|| flat::scan(rows, query, options, account))
    }

    /// The best of the lists; `None` if they are no way to find what is wanted.
    fn gather<R: Rows<Query = [f32]>>(
        &self,
        rows: &R,
        query: &[f32],
        (wanted, account): (&Wanted<'_>, &Account<'_>),
        (lists, seen): (&mut impl Lists, &mut Seen),
    ) -> Option<Top> {
        let mut meter = Meter {
            scorer: rows.scorer(query),
            account,
            batch: Vec::with_capacity(2 * BATCH),
            out: Vec::new(),
            top: Top::new(wanted.kept),
        };
        let (mut done, mut met, mut taken, mut enough) = (0, 0, 0, usize::MAX);
        loop {
            if done == wanted.lists {
                // Allowed rows that are rare near the query compared to all are spread far.
                let expected = met as f64 * wanted.share;
                let chance = MOST_BY_CHANCE * expected.sqrt();
                if wanted.allowed.is_some() && taken as f64 + chance < FEWER * expected {
                    return None;
                }
                let rows = wanted.allowed.map_or(0.0, |_| met as f64 * wanted.share.sqrt());
                enough = wanted.found.max(rows.ceil() as usize);
            }
            if done >= wanted.lists && taken >= enough {
                break;
            }
            if done > wanted.lists && 2 * met > self.len {
                return None;
            }
            let Some(list) = lists.next() else {
                if taken < wanted.found {
                    return None;
                }
                break;
            };
            let before = meter.batch.len();
            for &row in list.iter().filter(|&&row| seen.insert(row)) {
                met += 1;
                if wanted.allowed.is_none_or(|allowed| allowed.contains(Row(row))) {
                    meter.batch.push(Row(row));
                }
            }
            taken += meter.batch.len() - before;
            done += 1;
            if meter.batch.len() >= BATCH && !meter.measure() {
                return Some(meter.top);
            }
        }
        meter.measure();
        Some(meter.top)
    }

    fn checkout(&self) -> Seen {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| Seen::new(self.len))
    }
}

impl Usual {
    /// Lists to look into for `k` rows out of `found` candidates.
    fn wanted(&self, (k, found): (usize, usize), effort: Effort) -> usize {
        let holding = |rows: usize| {
            let lists = rows as f64 / self.rows.max(f64::MIN_POSITIVE);
            if lists < usize::MAX as f64 { lists.ceil() as usize } else { usize::MAX }
        };
        match effort {
            Effort::Exact => usize::MAX,
            Effort::Probes(lists) => lists.max(1),
            Effort::Ef(ef) => holding(ef.max(found).saturating_mul(ROWS_PER_EF)).max(1),
            Effort::Default => self.lists.max(holding(found.max(k).saturating_mul(ROWS_PER_FOUND))),
        }
    }
}

/// Measures rows a batch at a time.
struct Meter<'a, S> {
    scorer: S,
    account: &'a Account<'a>,
    batch: Vec<Row>,
    out: Vec<f32>,
    top: Top,
}

impl<S: Scorer> Meter<'_, S> {
    /// Measures what has been gathered; `false` if the search ends with it.
    fn measure(&mut self) -> bool {
        let wanted = self.batch.len();
        self.batch.truncate(self.account.grant(wanted));
        self.out.resize(self.batch.len(), 0.0);
        self.scorer.score(&self.batch, &mut self.out);
        for (&row, &distance) in self.batch.iter().zip(&self.out) {
            self.top.offer(row, distance);
        }
        let granted = self.batch.len() == wanted;
        self.batch.clear();
        granted
    }
}
