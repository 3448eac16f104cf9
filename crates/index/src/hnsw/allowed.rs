//! Walking the graph among allowed rows alone.
//!
//! A row that is not allowed is never measured; where it stands in the way, its own links are
//! followed instead (ACORN-1: Patel et al., 2024, §5). So the cost of a walk is that of one over a
//! graph of the allowed rows, whatever their share is, and a set whose rows are far from the query
//! is walked as well as one that is near: the walk begins in several places.

use crate::{Bitmap, Row, Scorer};

use super::net::Net;
use super::search::{Scratch, Walk};

/// Places at which a walk begins, beside the one that the upper levels lead to.
const SEEDS: usize = 32;
/// Lists of links that are on their way while others are read.
const AHEAD: usize = 4;

impl Scratch {
    /// Keeps the best candidates among `allowed` rows met on level 0; `false` if the budget of
    /// `walk.gate` ran out.
    pub(super) fn walk_allowed(
        &mut self,
        graph: &impl Net,
        scorer: &mut impl Scorer,
        walk: &Walk<'_>,
        allowed: &Bitmap,
    ) -> bool {
        self.begin(walk.ef);
        let seeds = (0..SEEDS).filter_map(|seed| allowed.next(seed * allowed.len() / SEEDS));
        let near = [walk.start].into_iter().chain(self.seeds.drain(..));
        for row in seeds.chain(near.filter(|&row| allowed.contains(row))) {
            if self.visited.insert(row) {
                self.batch.push(row);
            }
        }
        let mut passed = std::mem::take(&mut self.passed);
        let mut done = self.met(scorer, walk);
        while let Some(row) = self.pool.next().filter(|_| done.is_none()) {
            self.batch.clear();
            passed.clear();
            self.gather(graph, row, allowed, &mut passed);
            for at in 0..passed.len() {
                if self.batch.len() >= graph.m() {
                    break;
                }
                if let Some(&next) = passed.get(at + AHEAD) {
                    graph.fetch(next);
                }
                if self.visited.insert(passed[at]) {
                    self.gather(graph, passed[at], allowed, &mut Vec::new());
                }
            }
            done = self.met(scorer, walk);
        }
        self.passed = passed;
        done.unwrap_or(true)
    }

    /// Adds the allowed links of `row` that are new to the batch, the others to `passed`.
    fn gather(&mut self, graph: &impl Net, row: Row, allowed: &Bitmap, passed: &mut Vec<Row>) {
        for link in graph.each_link(row, 0) {
            if !allowed.contains(link) {
                passed.push(link);
            } else if self.visited.insert(link) {
                self.batch.push(link);
            }
        }
    }
}
