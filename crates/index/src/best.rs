//! The best `k` of rows measured in f64.

use std::collections::BinaryHeap;

use crate::{Hit, Row};

/// The `k` closest rows offered; equal distances go to the lower row.
#[derive(Clone, Debug)]
pub(crate) struct Best {
    k: usize,
    /// The farthest on top.
    heap: BinaryHeap<(u64, u32)>,
}

/// A value whose integer order is the order of distances; NaN is farther than everything.
fn order(distance: f64) -> u64 {
    if distance.is_nan() {
        return u64::MAX;
    }
    // Adding zero turns −0 into +0: they are equal and must tie.
    let bits = (distance + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn distance(order: u64) -> f64 {
    f64::from_bits(if order >> 63 == 1 { order & !(1 << 63) } else { !order })
}

impl Best {
    /// Room for the best `k`, at least 1; allocates as they come.
    pub(crate) fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::new() }
    }

    pub(crate) fn offer(&mut self, row: u32, distance: f64) {
        let key = (order(distance), row);
        if self.heap.len() < self.k {
            self.heap.push(key);
        } else if let Some(mut farthest) = self.heap.peek_mut()
            && key < *farthest
        {
            *farthest = key;
        }
    }

    /// No row farther than this is among the best; infinite while every row may be.
    pub(crate) fn reach(&self) -> f64 {
        let full = self.heap.len() >= self.k;
        let farthest = self.heap.peek().filter(|_| full).map(|&(order, _)| distance(order));
        farthest.filter(|distance| !distance.is_nan()).unwrap_or(f64::INFINITY)
    }

    /// The rows kept, closest first, with what `finish` makes of their distances.
    pub(crate) fn into_hits(self, finish: impl Fn(f64) -> f32) -> Vec<Hit> {
        let hit = |(order, row)| Hit { row: Row(row), distance: finish(distance(order)) };
        self.heap.into_sorted_vec().into_iter().map(hit).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_closest_and_of_equals_the_first() {
        let mut best = Best::new(3);
        assert_eq!(best.reach(), f64::INFINITY);
        for (row, distance) in
            [(9, 1.0), (4, f64::NAN), (7, 1.0), (3, 2.0), (8, 1.0), (1, -0.0), (2, 1.0)]
        {
            best.offer(row, distance);
        }
        assert_eq!(best.reach(), 1.0);
        let rows: Vec<u32> = best.into_hits(|d| d as f32).iter().map(|hit| hit.row.0).collect();
        assert_eq!(rows, [1, 2, 7]);
        let mut best = Best::new(1);
        best.offer(5, f64::NAN);
        assert_eq!(best.reach(), f64::INFINITY);
        best.offer(6, f64::INFINITY);
        assert_eq!(best.into_hits(|d| d as f32)[0].row.0, 6);
    }
}
