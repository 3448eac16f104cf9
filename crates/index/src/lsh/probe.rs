//! In which order a query looks into buckets.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Lsh;
use super::hash::Turn;
use crate::key::{distance, order};
use crate::sieve::Lists;

/// Turns of a table that are combined: what a set of them has bits for.
const TURNS: usize = 64;

/// The buckets of all tables, the likeliest first, without empty ones.
///
/// A set of turns of a table is a mask over them in rising order of cost. Each but the empty one
/// comes from one other by moving its last turn on or by adding the next (Lv et al., §4.4); to one
/// whose last turn is of a digit that was turned before, nothing is added.
pub(super) struct Buckets<'a> {
    lsh: &'a Lsh,
    keys: Vec<u32>,
    turns: Vec<Vec<Turn>>,
    /// The order of what a set costs, the table, the set.
    open: BinaryHeap<Reverse<(u32, u32, u64)>>,
    /// Buckets that may still be tried: where so many are empty, a scan is as fast.
    left: usize,
}

impl<'a> Buckets<'a> {
    pub(super) fn new(lsh: &'a Lsh, query: &[f32]) -> Self {
        assert_eq!(query.len(), lsh.space.dim, "query of another dimension");
        let mut values = Vec::new();
        let scale = lsh.space.scale(query);
        lsh.values((query, scale, 0.0), &mut values);
        let axes = lsh.digits.all_axes();
        let (mut keys, mut turns) = (Vec::new(), Vec::new());
        let mut open = BinaryHeap::new();
        for (table, values) in (0..lsh.tables.len() as u32).zip(values.chunks_exact(axes)) {
            keys.push(lsh.digits.key(values));
            let mut own = Vec::new();
            lsh.digits.turns(values, TURNS, &mut own);
            turns.push(own);
            open.push(Reverse((order(0.0), table, 0)));
        }
        let left = lsh.len() + keys.len();
        Self { lsh, keys, turns, open, left }
    }

    /// Puts aside what follows on a set.
    fn follow(&mut self, table: u32, (set, sound): (u64, bool), cost: f32) {
        let turns = &self.turns[table as usize];
        let last = set.checked_ilog2();
        let next = last.map_or(0, |last| last as usize + 1);
        if next >= turns.len() {
            return;
        }
        if sound {
            let added = cost + turns[next].cost;
            self.open.push(Reverse((order(added), table, set | 1 << next)));
        }
        if let Some(last) = last {
            let moved = cost - turns[last as usize].cost + turns[next].cost;
            let set = set & !(1 << last) | 1 << next;
            self.open.push(Reverse((order(moved), table, set)));
        }
    }

    /// The key that a set of turns makes; `None` where two of them are of one digit.
    fn key(&self, table: u32, set: u64) -> Option<u32> {
        let (mut key, mut digits, mut set) = (self.keys[table as usize], 0u32, set);
        while set != 0 {
            let turn = self.turns[table as usize][set.trailing_zeros() as usize];
            if digits >> turn.digit & 1 == 1 {
                return None;
            }
            digits |= 1 << turn.digit;
            key ^= turn.flips;
            set &= set - 1;
        }
        Some(key)
    }
}

impl Lists for Buckets<'_> {
    fn next(&mut self) -> Option<&[u32]> {
        loop {
            let Reverse((cost, table, set)) = self.open.pop()?;
            let key = self.key(table, set);
            self.follow(table, (set, key.is_some()), distance(cost));
            self.left = self.left.checked_sub(1)?;
            let Some(key) = key else { continue };
            let rows = self.lsh.tables[table as usize].bucket(key, self.lsh.digits.bits());
            if !rows.is_empty() {
                return Some(rows);
            }
        }
    }
}
