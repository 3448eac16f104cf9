//! Rows of few values in very many dimensions.

use crate::{Row, Rows, Scorer};

/// Values at rising indices; the others are zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sparse {
    indices: Vec<u32>,
    values: Vec<f32>,
}

impl Sparse {
    /// From pairs of an index and a value in any order. `None` if an index comes twice, or a value
    /// is not finite.
    pub fn new(mut pairs: Vec<(u32, f32)>) -> Option<Self> {
        pairs.sort_unstable_by_key(|&(index, _)| index);
        let once = pairs.is_sorted_by(|a, b| a.0 < b.0);
        let finite = pairs.iter().all(|(_, value)| value.is_finite());
        let (indices, values) = pairs.into_iter().unzip();
        (once && finite).then_some(Self { indices, values })
    }

    /// The indices, rising.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// The value at each of them.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

/// Rows of few values each, as term weights are (SPLADE, BM25), measured by their inner product:
/// a distance is `−Σ a·b` over the indices that both have.
///
/// 8 bytes a value and 4 a row. A distance costs the values of both; what walks every row is best
/// for it, since rows that share no index are all equally far.
#[derive(Clone, Debug, Default)]
pub struct SparseRows {
    indices: Vec<u32>,
    values: Vec<f32>,
    /// `starts[row]..starts[row + 1]` are the values of a row.
    starts: Vec<usize>,
}

impl FromIterator<Sparse> for SparseRows {
    fn from_iter<I: IntoIterator<Item = Sparse>>(rows: I) -> Self {
        let mut all = Self { starts: vec![0], ..Self::default() };
        for row in rows {
            all.indices.extend_from_slice(&row.indices);
            all.values.extend_from_slice(&row.values);
            all.starts.push(all.indices.len());
        }
        all
    }
}

impl SparseRows {
    /// The indices and values of a row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: Row) -> (&[u32], &[f32]) {
        let range = self.starts[row.position()]..self.starts[row.position() + 1];
        (&self.indices[range.clone()], &self.values[range])
    }
}

impl Rows for SparseRows {
    type Query = Sparse;
    type Scorer<'q> = SparseScorer<'q>;

    fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    fn scorer<'q>(&'q self, query: &'q Sparse) -> SparseScorer<'q> {
        SparseScorer { rows: self, query: (&query.indices, &query.values) }
    }

    fn scorer_of(&self, row: Row) -> SparseScorer<'_> {
        SparseScorer { rows: self, query: self.row(row) }
    }

    fn is_exact(&self) -> bool {
        true
    }
}

/// Distances of [`SparseRows`] to one query.
#[derive(Debug)]
pub struct SparseScorer<'q> {
    rows: &'q SparseRows,
    query: (&'q [u32], &'q [f32]),
}

impl Scorer for SparseScorer<'_> {
    fn score(&mut self, rows: &[Row], out: &mut [f32]) {
        assert_eq!(rows.len(), out.len(), "a distance for each row");
        for (&row, out) in rows.iter().zip(out) {
            *out = 0.0 - product(self.query, self.rows.row(row));
        }
    }
}

/// The inner product of two lists of values at rising indices.
fn product(a: (&[u32], &[f32]), b: (&[u32], &[f32])) -> f32 {
    let (mut i, mut j, mut sum) = (0, 0, 0.0);
    while let (Some(&left), Some(&right)) = (a.0.get(i), b.0.get(j)) {
        if left == right {
            sum += a.1[i] * b.1[j];
        }
        i += usize::from(left <= right);
        j += usize::from(right <= left);
    }
    sum
}

#[cfg(test)]
mod tests {
    use kvant_testkit::Random;

    use super::*;
    use crate::{Flat, SearchOptions};

    fn draw(random: &mut Random) -> Sparse {
        let mut pairs: Vec<(u32, f32)> =
            (0..200).filter(|at| at % 3 < 2).map(|at| (at * 1_000_003, random.normal())).collect();
        pairs.retain(|&(_, value)| value > 1.0);
        pairs.reverse();
        Sparse::new(pairs).unwrap()
    }

    #[test]
    fn a_scan_finds_the_largest_products() {
        let mut random = Random::new(4);
        let all: Vec<Sparse> = (0..300).map(|_| draw(&mut random)).collect();
        let rows: SparseRows = all.iter().cloned().collect();
        assert_eq!(rows.len(), 300);
        for _ in 0..20 {
            let query = draw(&mut random);
            let dense = |row: &Sparse| {
                let at = |index| row.indices.iter().position(|&own| own == index);
                let pairs = query.indices.iter().zip(&query.values);
                pairs.filter_map(|(&i, v)| Some(v * row.values[at(i)?])).sum::<f32>()
            };
            let found = Flat::new(300).search(&rows, &query, &SearchOptions::default());
            let mut truth: Vec<f32> = all.iter().map(dense).collect();
            truth.sort_unstable_by(|a, b| b.total_cmp(a));
            assert_eq!(found.len(), 10);
            for (hit, expected) in found.iter().zip(truth) {
                assert!((hit.distance + expected).abs() < 1e-4, "{hit:?}, {expected}");
            }
        }
    }

    #[test]
    fn indices_come_once_and_values_are_numbers() {
        assert_eq!(Sparse::new(vec![(3, 1.0), (3, 2.0)]), None);
        assert_eq!(Sparse::new(vec![(3, f32::NAN)]), None);
        let sparse = Sparse::new(vec![(9, 1.0), (u32::MAX, 0.5), (0, 2.0)]).unwrap();
        assert_eq!(
            (sparse.indices(), sparse.values()),
            (&[0, 9, u32::MAX][..], &[2., 1., 0.5][..])
        );
        let none = SparseRows::default();
        assert!(
            none.is_empty() && [Sparse::default()].into_iter().collect::<SparseRows>().len() == 1
        );
    }
}
