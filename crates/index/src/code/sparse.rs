//! Rows of few values in very many dimensions.

use crate::{
    Account, Bitmap, Certainty, Row, Rows, Scorer, SearchError, SearchOptions, SearchResult, Top,
};

/// Rows between two looks at the budget.
const RUN: usize = 256;

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

    /// The same with each value multiplied by what `factor` gives for its index, as by
    /// [`idf`](crate::idf); indices stay where it is 0. `None` if a product is not finite.
    pub fn weighted(&self, factor: impl Fn(u32) -> f32) -> Option<Self> {
        let values: Vec<f32> =
            self.indices.iter().zip(&self.values).map(|(&at, value)| value * factor(at)).collect();
        let finite = values.iter().all(|value| value.is_finite());
        finite.then(|| Self { indices: self.indices.clone(), values })
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
        rows.into_iter().for_each(|row| all.push(&row));
        all
    }
}

impl SparseRows {
    /// Puts a row behind the last.
    pub fn push(&mut self, row: &Sparse) {
        if self.starts.is_empty() {
            self.starts.push(0);
        }
        self.indices.extend_from_slice(&row.indices);
        self.values.extend_from_slice(&row.values);
        self.starts.push(self.indices.len());
    }

    /// How many rows have each of `indices`, of those `among` or of all. O(values).
    ///
    /// # Errors
    /// If the set is of another number of rows.
    pub fn frequencies(
        &self,
        indices: &[u32],
        among: Option<&Bitmap>,
    ) -> Result<Vec<usize>, SearchError> {
        self.fits(among)?;
        let mut counts = vec![0; indices.len()];
        let mut once: Vec<u32> = indices.to_vec();
        once.sort_unstable();
        once.dedup();
        let terms = Terms::new(&once);
        let mut found = vec![0; once.len()];
        for row in self.each(among) {
            for &index in self.row(row).0 {
                if let Some(term) = terms.find(index) {
                    found[term] += 1;
                }
            }
        }
        for (count, index) in counts.iter_mut().zip(indices) {
            *count = once.binary_search(index).map_or(0, |at| found[at]);
        }
        Ok(counts)
    }

    /// The `k` allowed rows of the largest products with `query` among those that share an index
    /// with it, best first, as [`Inverted`](crate::Inverted) finds them: for rows that are still
    /// being put. Exact; O(values of all rows).
    ///
    /// # Errors
    /// If the options do not fit.
    pub fn search(
        &self,
        query: &Sparse,
        options: &SearchOptions<'_>,
    ) -> Result<SearchResult, SearchError> {
        self.fits(options.allowed)?;
        if options.k == 0 {
            return Err(SearchError::Nothing);
        }
        let account = Account::new(&options.budget);
        let mut top = Top::new(options.k);
        match options.allowed {
            Some(allowed) => self.scan(query, allowed.iter(), &account, &mut top),
            None => self.scan(query, (0..self.len() as u32).map(Row), &account, &mut top),
        }
        let cut = account.is_cut();
        let certainty = if cut { Certainty::Truncated } else { Certainty::Exact };
        Ok(SearchResult { hits: top.into_hits(), certainty })
    }

    /// Offers those of `rows` that share an index with `query`.
    fn scan(
        &self,
        query: &Sparse,
        mut rows: impl Iterator<Item = Row>,
        account: &Account<'_>,
        top: &mut Top,
    ) {
        let asked = Asked::new(query);
        let mut run = Vec::with_capacity(RUN);
        loop {
            run.clear();
            run.extend(rows.by_ref().take(RUN));
            let granted = account.grant(run.len());
            for &row in &run[..granted] {
                let (indices, values) = self.row(row);
                let own = indices.iter().copied().zip(values.iter().copied());
                if let Some(sum) = asked.product(own) {
                    top.offer(row, 0.0 - sum as f32);
                }
            }
            if run.is_empty() || granted < run.len() {
                return;
            }
        }
    }

    /// The rows of a set, or all.
    fn each<'s>(&self, among: Option<&'s Bitmap>) -> Box<dyn Iterator<Item = Row> + 's> {
        match among {
            Some(among) => Box::new(among.iter()),
            None => Box::new((0..self.len() as u32).map(Row)),
        }
    }

    fn fits(&self, among: Option<&Bitmap>) -> Result<(), SearchError> {
        let (expected, got) = (self.len(), among.map_or(self.len(), Bitmap::len));
        if expected == got { Ok(()) } else { Err(SearchError::Allowed { expected, got }) }
    }

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

/// The golden ratio spreads indices that follow one another.
const GOLDEN: u32 = 0x9E37_79B9;

/// Where an index is among some: a table so wide that most others are told apart by one look.
pub(crate) struct Terms {
    /// An index and its place; no place where nothing is.
    slots: Vec<(u32, u32)>,
    shift: u32,
}

impl Terms {
    /// Of different indices.
    fn new(indices: &[u32]) -> Self {
        let bits = (8 * indices.len()).next_power_of_two().max(2).trailing_zeros().min(32);
        let mut slots = vec![(0, u32::MAX); 1 << bits];
        let shift = 32 - bits;
        for (place, &index) in (0..).zip(indices) {
            let mut at = Self::slot(index, shift);
            while slots[at].1 != u32::MAX {
                at = (at + 1) % slots.len();
            }
            slots[at] = (index, place);
        }
        Self { slots, shift }
    }

    fn slot(index: u32, shift: u32) -> usize {
        (index.wrapping_mul(GOLDEN) >> shift) as usize
    }

    #[inline]
    fn find(&self, index: u32) -> Option<usize> {
        let mut at = Self::slot(index, self.shift);
        loop {
            match self.slots[at] {
                (_, u32::MAX) => return None,
                (own, place) if own == index => return Some(place as usize),
                _ => at = (at + 1) % self.slots.len(),
            }
        }
    }
}

/// A query that rows are multiplied with, one after the other.
pub(crate) enum Asked<'q> {
    Short(Weights),
    Long(Terms, &'q [f32]),
}

impl<'q> Asked<'q> {
    pub(crate) fn new(query: &'q Sparse) -> Self {
        let long = || Self::Long(Terms::new(&query.indices), &query.values);
        Weights::new(query).map_or_else(long, Self::Short)
    }

    /// The product with a row, if it shares an index; in f64, in the order of the row.
    #[inline]
    pub(crate) fn product(&self, row: impl Iterator<Item = (u32, f32)>) -> Option<f64> {
        match self {
            Self::Short(weights) => weights.product(row),
            Self::Long(terms, values) => {
                let one =
                    |(index, value)| Some(f64::from(values[terms.find(index)?]) * f64::from(value));
                row.filter_map(one).reduce(|sum, product| sum + product)
            }
        }
    }
}

/// The values of a short query, each at a place of its own in a small table: what is looked up is
/// multiplied without a branch on whether it is there, which in texts nobody foresees.
pub(crate) struct Weights {
    /// An index and its value, or an index whose place is another.
    slots: Vec<(u32, f32)>,
    factor: u32,
    shift: u32,
}

/// Values of a query that have a table of so many squared.
const SHORT: usize = 64;
/// Factors that are tried for one that keeps places apart; each does so more often than not.
const FACTORS: u32 = 64;

impl Weights {
    /// `None` of a long query, or where no factor was found.
    fn new(query: &Sparse) -> Option<Self> {
        let count = query.indices.len();
        if count > SHORT {
            return None;
        }
        let bits = (count * count).next_power_of_two().max(16).trailing_zeros();
        let mut weights = Self { slots: Vec::new(), factor: GOLDEN, shift: 32 - bits };
        for _ in 0..FACTORS {
            weights.slots = vec![(0, 0.0); 1 << bits];
            // Index 0 has place 0; this one has another, as its factor is odd and large.
            weights.slots[0].0 = 1;
            let mut taken = vec![false; 1 << bits];
            let apart = query.indices.iter().zip(&query.values).all(|(&index, &value)| {
                let at = weights.place(index);
                weights.slots[at] = (index, value);
                !std::mem::replace(&mut taken[at], true)
            });
            if apart && weights.place(1) != 0 {
                return Some(weights);
            }
            weights.factor = weights.factor.wrapping_mul(GOLDEN);
        }
        None
    }

    #[inline]
    fn place(&self, index: u32) -> usize {
        (index.wrapping_mul(self.factor) >> self.shift) as usize
    }

    /// The product with a row, if it shares an index.
    #[inline]
    fn product(&self, row: impl Iterator<Item = (u32, f32)>) -> Option<f64> {
        let (mut sum, mut met) = (0.0, false);
        for (index, value) in row {
            let (own, weight) = self.slots[self.place(index)];
            let here = own == index;
            sum += f64::from(if here { weight } else { 0.0 }) * f64::from(value);
            met |= here;
        }
        met.then_some(sum)
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
