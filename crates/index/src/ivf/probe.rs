//! How many lists a search looks into.

use crate::{Effort, Metric, Top};

use super::Ivf;

/// A default search looks into one list in so many: of held-out texts it finds 0.967 of the
/// neighbours, of images 0.999.
const SHARE: usize = 8;
/// Or into one in so many where nearness is not that of the space that lists are made in: the
/// largest products, or the least sums of differences, are spread over more of them.
const SHARE_APART: usize = 3;
/// And into so many at least.
const LEAST: usize = 8;
/// Rows seen for each row wanted, at least.
const ROWS_PER_FOUND: usize = 8;

/// When a search has seen enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    /// Lists looked into anyway.
    lists: usize,
    /// Lists there are.
    all: usize,
    /// Rows there are.
    rows: usize,
    found: usize,
    /// Allowed rows to be seen where not all are.
    allowed: Option<usize>,
    /// The share of allowed rows.
    share: f64,
}

/// What a search has seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    rows: usize,
    allowed: usize,
}

impl Seen {
    /// A list of so many rows, of which so many were allowed.
    pub(super) fn add(&mut self, rows: usize, allowed: Option<usize>) {
        self.rows += rows;
        self.allowed += allowed.unwrap_or(rows);
    }
}

impl Probe {
    /// For `k` rows out of `found` candidates, where `eligible` rows are allowed.
    pub(super) fn new(
        ivf: &Ivf,
        (k, found, eligible): (usize, usize, usize),
        effort: Effort,
    ) -> Self {
        let (all, rows) = (ivf.lists(), ivf.len().max(1));
        let wanted = match effort {
            Effort::Probes(lists) => lists.max(1),
            Effort::Default | Effort::Ef(_) | Effort::Exact => {
                // Larger lists reach as far with fewer.
                let enough = (found.max(k) * ROWS_PER_FOUND * all).div_ceil(rows);
                let share = match ivf.metric() {
                    Metric::Cosine | Metric::Euclid => SHARE,
                    Metric::Dot | Metric::Manhattan => SHARE_APART,
                };
                (all / share).max(LEAST).max(enough)
            }
        };
        let lists = wanted.min(all);
        let share = eligible as f64 / rows as f64;
        // Of rows that are rarer the nearest are farther: they are spread over more lists.
        let allowed = (share < 1.0).then(|| (lists * rows / all.max(1)) as f64 * share.sqrt());
        let allowed = allowed.map(|allowed| allowed.ceil() as usize);
        Self { lists, all, rows, found, allowed, share }
    }

    /// Lists looked into anyway.
    pub(super) fn lists(&self) -> usize {
        self.lists
    }

    /// Whether every allowed row is measured as soon: all lists are wanted, or they hold more rows
    /// than are allowed.
    pub(super) fn is_dear(&self, eligible: usize) -> bool {
        self.lists >= self.all || self.lists * self.rows / self.all >= eligible
    }

    /// Whether allowed rows are rare near the query compared to all: then what is near among them
    /// is far from it, and so spread that only a look at all of them finds it.
    pub(super) fn is_hopeless(&self, seen: &Seen, done: usize) -> bool {
        let expected = seen.rows as f64 * self.share;
        done == self.lists && self.allowed.is_some() && 2.0 * (seen.allowed as f64) < expected
    }

    /// Whether `done` lists are enough.
    pub(super) fn is_enough(&self, seen: &Seen, done: usize, top: &mut Top) -> bool {
        done >= self.lists
            && self.allowed.is_none_or(|allowed| seen.allowed >= allowed)
            && (seen.allowed >= 2 * self.found || top.is_full())
    }
}
