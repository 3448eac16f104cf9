//! The best `k` of a stream of rows.

use crate::key::{distance, key};
use crate::{Hit, Row};

/// Collects the `k` closest rows offered; equal distances go to the lower row, so the outcome does
/// not depend on the order of offers.
///
/// Holds at most `2k` keys and halves them by selection when full: O(1) amortised per offer.
#[derive(Clone, Debug)]
pub struct Top {
    k: usize,
    keys: Vec<u64>,
    /// No key at or past this can be among the best.
    bound: u64,
    /// A row may be offered twice.
    doubles: bool,
}

impl Top {
    /// Room for the best `k`; allocates as they come.
    pub fn new(k: usize) -> Self {
        let bound = if k == 0 { 0 } else { u64::MAX };
        Self { k, keys: Vec::new(), bound, doubles: false }
    }

    /// The same, where a row may be offered twice at one distance and counts once.
    pub(crate) fn distinct(k: usize) -> Self {
        Self { doubles: true, ..Self::new(k) }
    }

    /// No row farther than this is among the best; infinite while every row may be.
    pub(crate) fn reach(&self) -> f32 {
        if self.bound == u64::MAX { f32::INFINITY } else { distance((self.bound >> 32) as u32) }
    }

    /// The farthest of the best, infinite while there are fewer.
    pub(crate) fn last(&mut self) -> f32 {
        self.cut();
        self.reach()
    }

    /// Whether as many rows were offered as are wanted.
    pub(crate) fn is_full(&mut self) -> bool {
        if self.doubles && self.keys.len() >= self.k {
            self.cut();
        }
        self.keys.len() >= self.k
    }

    /// Offers one row. A row offered twice counts twice.
    pub fn offer(&mut self, row: Row, distance: f32) {
        let key = key(distance, row);
        if key >= self.bound {
            return;
        }
        self.keys.push(key);
        if self.keys.len() >= self.k.saturating_mul(2) {
            self.cut();
        }
    }

    /// How many rows would be returned.
    pub fn len(&self) -> usize {
        self.keys.len().min(self.k)
    }

    /// Whether nothing was kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows kept, closest first.
    pub fn into_hits(mut self) -> Vec<Hit> {
        self.cut();
        self.keys.sort_unstable();
        let hit = |key: u64| Hit { row: Row(key as u32), distance: distance((key >> 32) as u32) };
        self.keys.into_iter().map(hit).collect()
    }

    fn cut(&mut self) {
        if self.doubles {
            self.keys.sort_unstable();
            self.keys.dedup();
        }
        if self.k > 0 && self.keys.len() > self.k {
            self.keys.select_nth_unstable(self.k - 1);
            self.keys.truncate(self.k);
        }
        if self.k > 0 && self.keys.len() == self.k {
            self.bound = self.keys.iter().copied().max().unwrap_or(u64::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use kvant_testkit::Random;

    use super::*;

    #[test]
    fn keeps_the_best_whatever_the_order() {
        let mut random = Random::new(1);
        for n in [0, 1, 2, 17, 300] {
            for k in [0, 1, 2, 5, 16, 299, 300, 301, usize::MAX] {
                // Few distinct distances: ties are the common case.
                let all: Vec<f32> = (0..n).map(|_| random.below(5) as f32).collect();
                let mut expected: Vec<(f32, u32)> = all.iter().copied().zip(0..).collect();
                expected.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                expected.truncate(k);
                let mut order: Vec<usize> = (0..n).collect();
                (1..n).rev().for_each(|i| order.swap(i, random.below(i + 1)));
                let mut top = Top::new(k);
                for &i in &order {
                    top.offer(Row(i as u32), all[i]);
                }
                assert_eq!((top.len(), top.is_empty()), (n.min(k), n.min(k) == 0));
                let got: Vec<_> =
                    top.into_hits().iter().map(|hit| (hit.distance, hit.row.0)).collect();
                assert_eq!(got, expected, "n {n} k {k}");
            }
        }
    }
}
