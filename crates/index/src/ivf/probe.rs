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
/// Rows seen for each that is no farther than the candidates, allowed or not, at least.
const ROWS_PER_PASSED: usize = 4;
/// Rows seen for each candidate, at least.
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
    /// Rows in all lists, each as often as it is in one.
    held: usize,
    /// Allowed ones.
    eligible: usize,
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
        Self { lists: wanted.min(all), all, rows, held: ivf.order.places(), eligible }
    }

    /// Lists looked into anyway.
    pub(super) fn lists(&self) -> usize {
        self.lists
    }

    /// The share of allowed rows.
    pub(super) fn share(&self) -> f64 {
        self.eligible as f64 / self.rows as f64
    }

    /// Lists to look into where so large a share of the rows near the query is allowed: the nearest
    /// of rows that are rarer are farther, and spread over more lists.
    pub(super) fn goal(&self, share: f64) -> usize {
        let goal = self.lists as f64 / share.sqrt().max(f64::MIN_POSITIVE);
        if goal < self.all as f64 { goal.ceil() as usize } else { self.all }
    }

    /// The same where `top` was found beside rows that are `barred`: as large a share of those that
    /// are no farther, and lists that hold several times as many rows. All where nothing was found.
    pub(super) fn goal_past(&self, barred: &mut Barred, top: &mut Top) -> usize {
        let (kept, passed) = barred.passed(top);
        let held = ((kept + passed) * ROWS_PER_PASSED * self.all).div_ceil(self.held.max(1));
        self.goal(kept as f64 / (kept + passed).max(1) as f64).max(held).min(self.all)
    }

    /// Whether every allowed row is measured while so many lists are scanned, `single` rows of them
    /// in the time of one that lies anywhere; or half of all is scanned.
    pub(super) fn is_dear(&self, lists: usize, single: usize) -> bool {
        let every = self.eligible.saturating_mul(single).min(self.held / 2);
        self.lists >= self.all || self.is_filtered() && lists * self.held >= every * self.all
    }

    fn is_filtered(&self) -> bool {
        self.eligible < self.rows
    }
}

/// Rows near a query that a filter does not allow: how rare those are that it does.
#[derive(Clone, Debug, Default)]
pub(super) struct Barred {
    distances: Vec<f32>,
}

impl Barred {
    /// One more.
    pub(super) fn add(&mut self, distance: f32) {
        self.distances.push(distance);
    }

    /// Rows of `top`, and those that are no farther and not allowed.
    fn passed(&mut self, top: &mut Top) -> (usize, usize) {
        let reach = top.last();
        self.distances.retain(|&distance| distance <= reach);
        (top.len(), self.distances.len())
    }
}
