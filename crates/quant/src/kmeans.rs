//! K-means in one dimension: the levels that lose least.
//!
//! Centres of numbers on a line split them into neighbouring runs, so the best ones can be found
//! exactly: [`Points::exact`] is the dynamic programme over the ends of the runs (Wang and Song,
//! "Ckmeans.1d.dp", 2011), made `O(k·n·log n)` by divide and conquer, since the best beginning of
//! the last run moves in one direction with its end. [`Points::lloyd`] is the usual alternation.
//!
//! ```
//! use kvant_quant::kmeans::Points;
//!
//! let points = Points::new(&[1.0, 10.0, 2.0, 11.0, 100.0], &[]);
//! assert_eq!(points.exact(3), [1.5, 10.5, 100.0]);
//! let start = points.quantiles(3);
//! assert_eq!(points.lloyd(start, 10), [1.5, 10.5, 100.0]);
//! // What matters a hundred times draws its centre.
//! let points = Points::new(&[0.0, 1.0], &[1.0, 99.0]);
//! assert!((points.exact(1)[0] - 0.99).abs() < 1e-6);
//! ```

/// Numbers in ascending order, each with a weight.
#[derive(Clone, Debug)]
pub struct Points {
    values: Vec<f32>,
    weights: Vec<f64>,
    /// Subtracted before squares are summed.
    middle: f64,
    /// Sums over all points before the i-th: of weights, and of weights times (square of) value.
    sums: Vec<[f64; 3]>,
}

impl Points {
    /// Sorts finite numbers. `weights`: one per number, finite and not negative, or empty: all
    /// the same. Where all are 0 they count as all the same.
    ///
    /// # Panics
    /// If there are weights, but not one per number.
    pub fn new(values: &[f32], weights: &[f32]) -> Self {
        assert!(weights.is_empty() || weights.len() == values.len(), "one weight per number");
        let weight = |index: usize| weights.get(index).map_or(1.0, |&weight| f64::from(weight));
        let mut pairs: Vec<(f32, f64)> =
            values.iter().enumerate().map(|(index, &value)| (value, weight(index))).collect();
        pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        pairs.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 += if same { next.1 } else { 0.0 };
            same
        });
        Self::sorted(pairs)
    }

    /// The same through a histogram of equal `bins`, each of which counts as its mean:
    /// `O(n)`, and the centres of wide data are as good as the bins are fine.
    ///
    /// # Panics
    /// As [`Points::new`]; if there are no bins.
    pub fn binned(values: &[f32], weights: &[f32], bins: usize) -> Self {
        assert!(bins > 0, "at least one bin");
        assert!(weights.is_empty() || weights.len() == values.len(), "one weight per number");
        let low = values.iter().copied().fold(f32::INFINITY, f32::min);
        let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let per_unit = bins as f64 / (f64::from(high) - f64::from(low));
        if !per_unit.is_finite() || values.len() <= bins {
            return Self::new(values, weights);
        }
        let mut sums = vec![(0.0f64, 0.0f64); bins];
        for (index, &value) in values.iter().enumerate() {
            let weight = weights.get(index).map_or(1.0, |&weight| f64::from(weight));
            let bin = ((f64::from(value) - f64::from(low)) * per_unit) as usize;
            let sum = &mut sums[bin.min(bins - 1)];
            sum.0 += weight;
            sum.1 += weight * f64::from(value);
        }
        let filled = sums.into_iter().filter(|(weight, _)| *weight > 0.0);
        let pairs: Vec<_> = filled.map(|(weight, sum)| ((sum / weight) as f32, weight)).collect();
        if pairs.is_empty() { Self::binned(values, &[], bins) } else { Self::sorted(pairs) }
    }

    fn sorted(mut pairs: Vec<(f32, f64)>) -> Self {
        if pairs.iter().all(|(_, weight)| *weight == 0.0) {
            for (_, weight) in &mut pairs {
                *weight = 1.0;
            }
        }
        let total: f64 = pairs.iter().map(|(_, weight)| weight).sum();
        let sum: f64 = pairs.iter().map(|(value, weight)| f64::from(*value) * weight).sum();
        let middle = if total > 0.0 { sum / total } else { 0.0 };
        let mut sums = Vec::with_capacity(pairs.len() + 1);
        sums.push([0.0; 3]);
        let mut at = [0.0; 3];
        for &(value, weight) in &pairs {
            let value = f64::from(value) - middle;
            at = [at[0] + weight, at[1] + weight * value, at[2] + weight * value * value];
            sums.push(at);
        }
        let (values, weights) = pairs.into_iter().unzip();
        Self { values, weights, middle, sums }
    }

    /// How many different numbers there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The `k` centres with the least weighted squared error, ascending. Of fewer different
    /// numbers than `k` the last is repeated; of none all are 0. `O(k·n·log n)` time and `k·n`
    /// numbers of four bytes.
    pub fn exact(&self, k: usize) -> Vec<f32> {
        let (n, k_used) = (self.len(), k.min(self.len()));
        if k_used == 0 {
            return vec![0.0; k];
        }
        // `costs[j]`: the least error of the first `j + 1` numbers with the runs so far.
        let mut costs: Vec<f64> = (0..n).map(|end| self.run_error(0, end + 1)).collect();
        let mut starts = vec![0u32; k_used * n];
        for run in 1..k_used {
            let mut next = vec![0.0; n];
            let layer = &mut starts[run * n..(run + 1) * n];
            self.best_starts(&costs, run, &mut next, layer);
            costs = next;
        }
        let mut centres = vec![0.0; k_used];
        let mut end = n;
        for run in (0..k_used).rev() {
            let start = if run == 0 { 0 } else { starts[run * n + end - 1] as usize };
            centres[run] = self.centre(start, end);
            end = start;
        }
        centres.resize(k, centres[k_used - 1]);
        centres
    }

    /// For every end the beginning of run number `run` with the least error before and in it.
    fn best_starts(&self, costs: &[f64], run: usize, next: &mut [f64], starts: &mut [u32]) {
        // Ends in `ends`, whose best beginnings lie in `from..=to`.
        let mut open = vec![(run..self.len(), run, self.len() - 1)];
        while let Some((ends, from, to)) = open.pop() {
            if ends.is_empty() {
                continue;
            }
            let end = ends.start + ends.len() / 2;
            let mut best = (f64::INFINITY, from);
            for start in from..=to.min(end) {
                let error = costs[start - 1] + self.run_error(start, end + 1);
                if error < best.0 {
                    best = (error, start);
                }
            }
            (next[end], starts[end]) = (best.0, best.1 as u32);
            open.push((ends.start..end, from, best.1));
            open.push((end + 1..ends.end, best.1, to));
        }
    }

    /// The weighted squared error of the numbers `start..end` around their mean.
    fn run_error(&self, start: usize, end: usize) -> f64 {
        let [before, after] = [self.sums[start], self.sums[end]];
        let weight = after[0] - before[0];
        let sum = after[1] - before[1];
        if weight > 0.0 { (after[2] - before[2] - sum * sum / weight).max(0.0) } else { 0.0 }
    }

    /// The mean of the numbers `start..end`.
    fn centre(&self, start: usize, end: usize) -> f32 {
        let [before, after] = [self.sums[start], self.sums[end]];
        let weight = after[0] - before[0];
        if weight <= 0.0 {
            return self.values[start];
        }
        let mean = ((after[1] - before[1]) / weight + self.middle) as f32;
        // Differences of long sums may fall a little outside.
        mean.clamp(self.values[start], self.values[end - 1])
    }

    /// Lloyd's alternation from ascending centres: every number to the nearest one, every centre
    /// to the mean of its numbers, until nothing moves or for `rounds`. Centres without numbers
    /// stay. `O(n + k)` per round.
    pub fn lloyd(&self, start: Vec<f32>, rounds: usize) -> Vec<f32> {
        let mut centres = start;
        for _ in 0..rounds {
            let before = centres.clone();
            let mut first = 0;
            for index in 0..centres.len() {
                let end = match before.get(index + 1) {
                    Some(next) => {
                        let edge = f64::midpoint(f64::from(before[index]), f64::from(*next));
                        first + self.values[first..].partition_point(|v| f64::from(*v) <= edge)
                    }
                    None => self.len(),
                };
                if end > first {
                    centres[index] = self.centre(first, end);
                }
                first = end;
            }
            if centres == before {
                break;
            }
        }
        centres
    }

    /// The numbers below which `(i + ½)/k` of the weight lies, ascending; of none all are 0.
    pub fn quantiles(&self, k: usize) -> Vec<f32> {
        let Some(last) = self.len().checked_sub(1) else { return vec![0.0; k] };
        let total = self.sums[last + 1][0];
        let place = |index: usize| {
            let below = total * (index as f64 + 0.5) / k as f64;
            self.values[(self.sums.partition_point(|sum| sum[0] <= below) - 1).min(last)]
        };
        (0..k).map(place).collect()
    }

    /// The weighted squared error of taking every number to the nearest of ascending centres.
    pub fn error(&self, centres: &[f32]) -> f64 {
        let nearest = |value: f32| {
            let above = centres.partition_point(|&centre| centre < value);
            let around = &centres[above.saturating_sub(1)..(above + 1).min(centres.len())];
            let squares = around.iter().map(|&c| (f64::from(value) - f64::from(c)).powi(2));
            squares.fold(f64::INFINITY, f64::min)
        };
        self.values.iter().zip(&self.weights).map(|(&value, weight)| weight * nearest(value)).sum()
    }
}

#[cfg(test)]
mod tests {
    use kvant_testkit::Random;

    use super::*;

    /// The least error over all ways to cut ascending numbers into `k` runs.
    fn brute(points: &Points, from: usize, k: usize) -> f64 {
        if k == 1 {
            return points.run_error(from, points.len());
        }
        let ends = from + 1..=points.len() - (k - 1);
        let errors = ends.map(|end| points.run_error(from, end) + brute(points, end, k - 1));
        errors.fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn exact_centres_are_those_of_trying_everything() {
        let mut random = Random::new(2);
        for round in 0..200 {
            let n = 1 + random.below(11);
            let values = random.normals(n);
            let weights: Vec<f32> = random.normals(n).iter().map(|w| w * w).collect();
            let weights = if round % 2 == 0 { &weights[..] } else { &[] };
            let points = Points::new(&values, weights);
            for k in 1..=n {
                let centres = points.exact(k);
                assert!(centres.is_sorted() && centres.len() == k);
                let (got, least) = (points.error(&centres), brute(&points, 0, k));
                assert!((got - least).abs() <= 1e-6 * (1.0 + least), "{n} {k}: {got} {least}");
            }
        }
    }

    #[test]
    fn exact_is_no_worse_than_lloyd() {
        let mut random = Random::new(9);
        for k in [2, 4, 16, 64] {
            let values: Vec<f32> = random.normals(3000).iter().map(|v| v * v * v).collect();
            let points = Points::new(&values, &[]);
            let start = points.quantiles(k);
            let (first, lloyd) = (points.error(&start), points.lloyd(start, 100));
            let (lloyd, exact) = (points.error(&lloyd), points.error(&points.exact(k)));
            assert!(
                exact <= lloyd * (1.0 + 1e-6) && lloyd <= first,
                "{k}: {exact} {lloyd} {first}"
            );
        }
    }

    #[test]
    fn histograms_lose_little() {
        let values = Random::new(4).normals(50_000);
        let points = Points::new(&values, &[]);
        let binned = Points::binned(&values, &[], 4096);
        assert!(binned.len() <= 4096);
        let (exact, near) = (points.error(&points.exact(8)), points.error(&binned.exact(8)));
        assert!(near <= exact * 1.0001, "{near} {exact}");
    }

    #[test]
    fn few_and_equal_numbers_are_their_own_centres() {
        assert_eq!(Points::new(&[3.0, 3.0, -1.0], &[]).exact(4), [-1.0, 3.0, 3.0, 3.0]);
        assert_eq!(Points::new(&[], &[]).exact(2), [0.0, 0.0]);
        assert_eq!(Points::new(&[], &[]).quantiles(2), [0.0, 0.0]);
        assert_eq!(Points::new(&[5.0], &[0.0]).exact(1), [5.0]);
        assert_eq!(Points::binned(&[7.0; 10], &[0.0; 10], 4).exact(2), [7.0, 7.0]);
        assert_eq!(Points::new(&[1.0, 2.0, 3.0, 4.0], &[]).quantiles(2), [2.0, 4.0]);
    }

    #[test]
    fn numbers_far_from_zero_keep_their_digits() {
        let values: Vec<f32> = (0..64).map(|i| 1e6 + (i % 4) as f32).collect();
        assert_eq!(Points::new(&values, &[]).exact(4), [1e6, 1e6 + 1.0, 1e6 + 2.0, 1e6 + 3.0]);
    }
}
