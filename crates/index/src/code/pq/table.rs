//! The tables of a query.

use kvant_kernels::{ENTRY_MAX, ScanTables, Sum, kernels};

use super::CENTROIDS;
use crate::Metric;
use crate::metric::scale_of;

/// The part of a distance that each centroid of each part gives.
#[derive(Debug)]
pub(super) struct Lookup {
    entries: Vec<[f32; CENTROIDS]>,
    /// What distances begin with.
    constant: f64,
}

impl Lookup {
    /// For a query.
    pub(super) fn new(query: &[f32], books: &[f32], (metric, parts): (Metric, usize)) -> Self {
        Self::with(query, books, (metric, parts, scale_of(metric, query)))
    }

    /// For a row as a query.
    pub(super) fn of_row(row: &[f32], books: &[f32], (metric, parts): (Metric, usize)) -> Self {
        Self::with(row, books, (metric, parts, 1.0))
    }

    fn with(query: &[f32], books: &[f32], (metric, parts, scale): (Metric, usize, f32)) -> Self {
        let sum = metric.sum();
        let mut entries = vec![[0.0; CENTROIDS]; parts];
        kernels().scan_entries(sum, query, books.as_chunks().0, &mut entries);
        if sum == Sum::Product {
            entries.as_flattened_mut().iter_mut().for_each(|entry| *entry *= -scale);
        }
        Self { entries, constant: if metric == Metric::Cosine { 1.0 } else { 0.0 } }
    }

    /// The distance of a row with these codes.
    pub(super) fn distance(&self, codes: impl Iterator<Item = usize>) -> f32 {
        let sum: f64 = self.entries.iter().zip(codes).map(|(e, code)| f64::from(e[code])).sum();
        (self.constant + sum) as f32
    }

    /// The tables in bytes.
    pub(super) fn round(&self) -> Tables {
        let mut ends = vec![[0.0; 2]; self.entries.len()];
        kernels().scan_ends(&self.entries, &mut ends);
        let span = |&[low, high]: &[f32; 2]| high - low;
        let largest = ends.iter().map(span).fold(0.0f32, f32::max);
        let all: f64 = ends.iter().map(|ends| f64::from(span(ends))).sum();
        // Rounding adds half an entry to the sum for each table at most.
        let room = f64::from(u16::MAX) - ends.len() as f64;
        let step = (f64::from(largest) / f64::from(ENTRY_MAX)).max(all / room);
        let step = if step > 0.0 && step.is_finite() { step } else { 1.0 };
        let per_step = (1.0 / step) as f32;
        let mut entries = vec![[0; CENTROIDS]; ends.len()];
        kernels().scan_round(&self.entries, &ends, per_step, &mut entries);
        let least: f64 = ends.iter().map(|&[low, _]| f64::from(low)).sum();
        let scan = ScanTables::new(&entries);
        Tables { entries, scan, least: self.constant + least, step }
    }
}

/// Tables of whole numbers.
#[derive(Debug)]
pub(super) struct Tables {
    entries: Vec<[u8; CENTROIDS]>,
    scan: ScanTables,
    least: f64,
    step: f64,
}

impl Tables {
    pub(super) fn scan(&self) -> &ScanTables {
        &self.scan
    }

    /// The sum of the entries that codes name.
    pub(super) fn sum(&self, codes: impl Iterator<Item = usize>) -> u16 {
        self.entries.iter().zip(codes).map(|(entries, code)| u16::from(entries[code])).sum()
    }

    /// The distance of a sum.
    pub(super) fn distance(&self, sum: u16) -> f32 {
        (self.least + self.step * f64::from(sum)) as f32
    }

    /// The largest sum whose distance is not farther than `reach`; `None` if none is that near.
    pub(super) fn most(&self, reach: f32) -> Option<u16> {
        let far = |sum: u16| self.distance(sum) > reach;
        let about = ((f64::from(reach) - self.least) / self.step).floor();
        // Off by a few roundings of f32, which may be many steps where the sum is large.
        let (mut low, mut high) = (0u16, u16::MAX);
        let about = about.clamp(0.0, f64::from(u16::MAX)) as u16;
        if far(about) {
            high = about;
        } else {
            low = about;
        }
        if far(low) {
            return None;
        }
        let beside = low.saturating_add(2);
        if beside < high && far(beside) {
            high = beside;
        }
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if far(middle) {
                high = middle - 1;
            } else {
                low = middle;
            }
        }
        Some(low)
    }
}

#[cfg(test)]
mod tests {
    use kvant_testkit::Random;

    use super::*;

    #[test]
    fn whole_tables_are_off_by_half_a_step_each() {
        let mut random = Random::new(6);
        for (dim, parts) in [(1, 1), (7, 3), (48, 24), (200, 100), (1600, 800)] {
            let books = random.normals(dim * CENTROIDS);
            let query = random.normals(dim);
            for metric in Metric::ALL {
                let lookup = Lookup::new(&query, &books, (metric, parts));
                let tables = lookup.round();
                for _ in 0..20 {
                    let codes: Vec<usize> = (0..parts).map(|_| random.below(16)).collect();
                    let fine = lookup.distance(codes.iter().copied());
                    let whole = tables.distance(tables.sum(codes.iter().copied()));
                    let bound = 0.51 * tables.step * parts as f64 + 1e-5 * f64::from(fine.abs());
                    assert!(f64::from((fine - whole).abs()) <= bound, "{metric} {fine} {whole}");
                }
            }
        }
    }

    #[test]
    fn the_largest_sum_within_reach_is_found() {
        let mut random = Random::new(7);
        for scale in [1e-6f32, 1.0, 1e12] {
            let books: Vec<f32> =
                random.normals(32 * CENTROIDS).iter().map(|x| x * scale).collect();
            let tables = Lookup::new(&random.normals(32), &books, (Metric::Dot, 16)).round();
            for sum in [0, 1, 2, 100, 1000, 2031, u16::MAX] {
                let most = tables.most(tables.distance(sum)).unwrap();
                assert_eq!(tables.distance(most), tables.distance(sum), "{scale} {sum}");
                assert!(most == u16::MAX || tables.distance(most + 1) > tables.distance(sum));
            }
            assert_eq!(tables.most(f32::INFINITY), Some(u16::MAX));
            assert_eq!(tables.most(f32::NEG_INFINITY), None);
            assert_eq!(tables.most(f32::NAN), Some(u16::MAX));
        }
    }
}
