//! Summing lists window by window, as far as they can matter.

use std::collections::BinaryHeap;

use super::extremes;
use crate::key::{distance, key};
use crate::{Account, Bitmap, Hit, Row, SearchOptions};

/// Rows of a window: their sums stay in the nearest cache.
const WINDOW: usize = 2048;

/// The postings of a dimension, the weight they are summed with, and how far they were read.
pub(super) struct List<'a> {
    weight: f64,
    rows: &'a [u32],
    /// In bits.
    values: &'a [u32],
    /// The first row of each block, its largest and least value in bits; none of a short list.
    heads: &'a [u32],
    greatest: &'a [u32],
    least: &'a [u32],
    /// No product is larger than this or 0, and none is farther from 0 than `size`.
    most: f64,
    size: f64,
    /// The first posting that was not passed.
    at: usize,
    /// A block that does not begin behind the window.
    block: usize,
}

impl<'a> List<'a> {
    /// As many rows as values, and blocks of all of them or none.
    pub(super) fn new(
        weight: f32,
        (rows, values): (&'a [u32], &'a [u32]),
        (heads, greatest, least): (&'a [u32], &'a [u32], &'a [u32]),
    ) -> Self {
        let weight = f64::from(weight);
        let (top, _) = extremes(if heads.is_empty() { values } else { greatest }.iter().copied());
        let (_, low) = extremes(if heads.is_empty() { values } else { least }.iter().copied());
        let (top, low) = (weight * f64::from(top), weight * f64::from(low));
        let (most, size) = (top.max(low).max(0.0), top.abs().max(low.abs()));
        Self { weight, rows, values, heads, greatest, least, most, size, at: 0, block: 0 }
    }

    /// No product of a row from `from` on and before `to` is larger than this or 0.
    fn bound(&mut self, from: u32, to: u32) -> f64 {
        if self.heads.is_empty() {
            let next = self.rows.get(self.at).is_some_and(|&row| row < to);
            let last = self.rows.last().is_some_and(|&row| row >= from);
            return if next && last { self.most } else { 0.0 };
        }
        while self.heads.get(self.block + 1).is_some_and(|&head| head <= from) {
            self.block += 1;
        }
        let blocks = self.heads[self.block..].iter().take_while(|&&head| head < to).count();
        let bits = self.block..self.block + blocks;
        let value = if self.weight < 0.0 {
            extremes(self.least[bits].iter().copied()).1
        } else {
            extremes(self.greatest[bits].iter().copied()).0
        };
        if blocks == 0 { 0.0 } else { (self.weight * f64::from(value)).max(0.0) }
    }

    /// Number of postings.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Passes every posting before `row`.
    fn seek(&mut self, row: u32) {
        let rest = &self.rows[self.at..];
        let mut reach = 1;
        while rest.get(reach - 1).is_some_and(|&next| next < row) {
            reach *= 2;
        }
        let (from, to) = (reach / 2, reach.min(rest.len()));
        self.at += from.min(to) + rest[from.min(to)..to].partition_point(|&next| next < row);
    }

    /// The product of `row`, if it is there.
    fn product(&mut self, row: u32) -> Option<f64> {
        self.seek(row);
        let there = self.rows.get(self.at) == Some(&row);
        there.then(|| self.weight * f64::from(f32::from_bits(self.values[self.at])))
    }

    /// Adds the products of the rows of a window to `sums`, and says which they are.
    fn add(&mut self, (from, to): (u32, u32), sums: &mut [f64; WINDOW], met: &mut Met) {
        self.seek(from);
        let begin = self.at;
        self.seek(to);
        let (rows, values) = (&self.rows[begin..self.at], &self.values[begin..self.at]);
        for (&row, &value) in rows.iter().zip(values) {
            // Rows rise in what we wrote; elsewhere they may hit any place of the window.
            let place = row.wrapping_sub(from) as usize % WINDOW;
            sums[place] += self.weight * f64::from(f32::from_bits(value));
            met[place / 64] |= 1 << (place % 64);
        }
    }
}

/// Rows of a window, a bit each.
type Met = [u64; WINDOW / 64];

/// One search.
pub(super) struct Scan<'a> {
    kept: Kept,
    allowed: Option<&'a Bitmap>,
    account: &'a Account<'a>,
    /// What sums may be off by.
    slack: f64,
    /// The lists by what they can add in this window, the least first, and what each and all
    /// before it can add.
    order: Vec<(f64, usize)>,
    reach: Vec<f64>,
    sums: Box<[f64; WINDOW]>,
    met: Met,
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        lists: &[List<'_>],
        options: &SearchOptions<'a>,
        account: &'a Account<'a>,
    ) -> Self {
        let size: f64 = lists.iter().map(|list| list.size).sum();
        Self {
            kept: Kept { k: options.k, heap: BinaryHeap::new(), least: f64::NEG_INFINITY },
            allowed: options.allowed,
            account,
            slack: size * (lists.len() + 4) as f64 * f64::EPSILON,
            order: (0..lists.len()).map(|at| (0.0, at)).collect(),
            reach: Vec::with_capacity(lists.len() + 1),
            sums: Box::new([0.0; WINDOW]),
            met: [0; WINDOW / 64],
        }
    }

    /// The best rows below `len`.
    pub(super) fn run(mut self, lists: &mut [List<'_>], len: u32) -> Vec<Hit> {
        for from in (0..len).step_by(WINDOW) {
            let to = len.min(from.saturating_add(WINDOW as u32));
            if self.account.is_late() || !self.window(lists, (from, to)) {
                break;
            }
        }
        self.kept.into_hits()
    }

    /// Sums the rows of a window that may be among the best; `false` where the search ends.
    fn window(&mut self, lists: &mut [List<'_>], (from, to): (u32, u32)) -> bool {
        for place in 0..self.order.len() {
            let (bound, at) = &mut self.order[place];
            *bound = lists[*at].bound(from, to);
            // Much as in the window before.
            let mut place = place;
            while place > 0 && self.order[place - 1].0 > self.order[place].0 {
                self.order.swap(place - 1, place);
                place -= 1;
            }
        }
        self.reach.clear();
        self.reach.push(0.0);
        for &(bound, _) in &self.order {
            let before = self.reach.last().copied().unwrap_or(0.0);
            self.reach.push(before + bound);
        }
        let least = self.kept.least - self.slack;
        // A row that is in none but these is not among the best.
        let spared = self.reach[1..].iter().take_while(|&&reach| reach <= least).count();
        if spared == lists.len() {
            return true;
        }
        for &(_, at) in &self.order[spared..] {
            lists[at].add((from, to), &mut self.sums, &mut self.met);
        }
        // Rows past the last are in no list that we wrote.
        for (at, word) in self.met.iter_mut().enumerate().skip((to - from) as usize / 64) {
            let inside = ((to - from) as usize).saturating_sub(at * 64);
            *word &= if inside < 64 { (1 << inside) - 1 } else { u64::MAX };
        }
        self.only_allowed(from);
        let count: u32 = self.met.iter().map(|word| word.count_ones()).sum();
        let granted = self.account.grant(count as usize);
        let mut left = granted;
        for word in 0..self.met.len() {
            let mut rest = std::mem::take(&mut self.met[word]);
            while rest != 0 {
                let place = word * 64 + rest.trailing_zeros() as usize;
                rest &= rest - 1;
                let sum = std::mem::take(&mut self.sums[place]);
                if left > 0 {
                    left -= 1;
                    self.offer(lists, spared, (from + place as u32, sum));
                }
            }
        }
        granted == count as usize
    }

    /// Forgets the rows of the window that are not allowed.
    fn only_allowed(&mut self, from: u32) {
        let Some(allowed) = self.allowed else { return };
        for (at, word) in self.met.iter_mut().enumerate() {
            let kept = allowed.word(from as usize / 64 + at);
            let mut gone = *word & !kept;
            *word &= kept;
            while gone != 0 {
                self.sums[at * 64 + gone.trailing_zeros() as usize] = 0.0;
                gone &= gone - 1;
            }
        }
    }

    /// Adds to the sum of a row what the `spared` lists have of it, as long as it may be among the
    /// best.
    fn offer(&mut self, lists: &mut [List<'_>], spared: usize, (row, mut sum): (u32, f64)) {
        for at in (0..spared).rev() {
            if sum + self.reach[at + 1] + self.slack <= self.kept.least {
                return;
            }
            sum += lists[self.order[at].1].product(row).unwrap_or(0.0);
        }
        self.kept.offer(Row(row), sum);
    }
}

/// The best rows found so far, by the order of distances as they are given, then by row.
struct Kept {
    k: usize,
    /// The worst on top.
    heap: BinaryHeap<u64>,
    /// A row of a larger number is among the best only if its sum is larger.
    least: f64,
}

impl Kept {
    fn offer(&mut self, row: Row, sum: f64) {
        let key = key(0.0 - sum as f32, row);
        if self.heap.len() < self.k {
            self.heap.push(key);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && key < *worst
        {
            *worst = key;
        }
        if self.heap.len() == self.k
            && let Some(worst) = self.heap.peek()
        {
            let worst = f64::from(distance((worst >> 32) as u32));
            self.least = if worst.is_nan() { f64::NEG_INFINITY } else { -worst };
        }
    }

    fn into_hits(self) -> Vec<Hit> {
        let hit = |key: u64| Hit { row: Row(key as u32), distance: distance((key >> 32) as u32) };
        self.heap.into_sorted_vec().into_iter().map(hit).collect()
    }
}
