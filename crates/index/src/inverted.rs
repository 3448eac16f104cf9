//! Rows of few values in very many dimensions, found by the dimensions they have.

use std::ops::Range;

use crate::code::sparse::Asked;
use crate::guard::Watch;
use crate::number::Numbers;
use crate::{
    Account, Bitmap, Certainty, Hit, Row, Rows, SearchError, SearchOptions, SearchResult, Sparse,
    SparseRows, Top,
};

mod file;
mod search;

use search::{List, Scan};

/// Values of a list that share one bound; a shorter list has none.
const BLOCK: usize = 128;

/// How much dearer a value of a row is that is looked up than one of a list that is summed.
const DEARER: usize = 4;
/// Rows between two looks at the budget, where they are measured one by one.
const RUN: usize = 256;

/// An inverted index of sparse rows: for each dimension the rows that have it, rising, with their
/// values. Never changes once built; a file of it is searched where it lies.
///
/// A search gives the rows of the largest inner products with a query among those that have at
/// least one dimension of it, exactly: windows of rows are summed list by list, and lists whose
/// largest values together cannot reach the best found by then are looked into only for rows that
/// the others found (Turtle & Flood, 1995; with the bounds of blocks: Ding & Suel, 2011).
/// A distance is `−Σ a·b`, summed in f64 and rounded once.
///
/// 16 bytes a value (half of them to give rows back) and 16 a dimension.
///
/// ```
/// use kvant_index::{Inverted, SearchOptions, Sparse, SparseRows};
///
/// let text = |pairs: &[(u32, f32)]| Sparse::new(pairs.to_vec()).unwrap();
/// let rows: SparseRows = [text(&[(7, 1.0)]), text(&[(7, 0.5), (9, 2.0)])].into_iter().collect();
/// let inverted = Inverted::build(&rows);
/// let found = inverted.search(&text(&[(9, 1.0), (3, 1.0)]), &SearchOptions::default())?;
/// assert_eq!((found.hits.len(), found.hits[0].row.0, found.hits[0].distance), (1, 1, -2.0));
/// # Ok::<(), kvant_index::SearchError>(())
/// ```
#[derive(Debug)]
pub struct Inverted {
    len: usize,
    lists: Lists,
    forward: Forward,
    watch: Watch,
}

/// The lists, one a dimension.
#[derive(Debug)]
struct Lists {
    /// Rising.
    dimensions: Numbers,
    /// Where each list begins among the postings and the last one ends, in two numbers each, the
    /// low one first.
    starts: Numbers,
    /// The first block of each list, and the end of the last; a list has a block for every
    /// [`BLOCK`] of its postings, or none if it has no more than that.
    first: Numbers,
    /// The first row of each block, its largest value and its least.
    heads: Numbers,
    greatest: Numbers,
    least: Numbers,
    /// The postings.
    rows: Numbers,
    values: Numbers,
}

/// The rows as they came.
#[derive(Debug)]
struct Forward {
    /// Where each begins, and the last one ends, in two numbers each.
    starts: Numbers,
    dimensions: Numbers,
    values: Numbers,
}

/// What lists are weighed by: `ln(1 + (n − df + ½)/(df + ½))` for a dimension that `df` of `n` rows
/// have, as of BM25 (Robertson & Zaragoza, 2009, §3). A search by such weights is one for
/// [`Sparse::weighted`].
pub fn idf(rows: usize, with: usize) -> f32 {
    let (rows, with) = (rows as f64, with as f64);
    (1.0 + ((rows - with).max(0.0) + 0.5) / (with + 0.5)).ln() as f32
}

impl Inverted {
    /// Lists `rows` by dimension. O(values · log values).
    pub fn build(rows: &SparseRows) -> Self {
        let len = rows.len();
        let (mut postings, mut forward) = (Vec::new(), (Vec::new(), Vec::new(), Vec::new()));
        let mut end = 0u64;
        put_wide(&mut forward.0, end);
        for row in 0..len as u32 {
            let (dimensions, values) = rows.row(Row(row));
            postings.extend(dimensions.iter().zip(values).map(|(&d, &v)| (d, row, v.to_bits())));
            forward.1.extend_from_slice(dimensions);
            forward.2.extend(values.iter().map(|value| value.to_bits()));
            end += dimensions.len() as u64;
            put_wide(&mut forward.0, end);
        }
        postings.sort_unstable_by_key(|&(dimension, row, _)| (dimension, row));
        let (starts, dimensions, values) = forward;
        Self {
            len,
            lists: Lists::of(&postings),
            forward: Forward {
                starts: starts.into(),
                dimensions: dimensions.into(),
                values: values.into(),
            },
            watch: Watch::default(),
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of dimensions that a row has.
    pub fn dimensions(&self) -> usize {
        self.lists.dimensions.len()
    }

    /// Values of all rows together.
    pub fn values(&self) -> usize {
        self.lists.rows.len()
    }

    /// A row as it came.
    ///
    /// # Errors
    /// If what was read of its file is damaged.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: Row) -> Result<Sparse, SearchError> {
        assert!(row.position() < self.len, "row {row} of {}", self.len);
        let met = self.watch.met();
        let (dimensions, values) = self.forward.row(row);
        self.watch.since(met)?;
        let values = values.iter().map(|&bits| f32::from_bits(bits));
        Ok(Sparse::new(dimensions.iter().copied().zip(values).collect()).unwrap_or_default())
    }

    /// How many rows have each of `dimensions`, of those `among` or of all. O(log dimensions) for
    /// each, and O(rows that have it) where only some count.
    ///
    /// # Errors
    /// If what was read of its file is damaged, or the set is of another number of rows.
    pub fn frequencies(
        &self,
        dimensions: &[u32],
        among: Option<&Bitmap>,
    ) -> Result<Vec<usize>, SearchError> {
        self.fits(among)?;
        let met = self.watch.met();
        let count = |dimension: &u32| {
            let Some((_, range)) = self.lists.find(*dimension) else { return 0 };
            let Some(among) = among else { return range.len() };
            let rows = self.lists.rows.some(range);
            rows.iter().filter(|&&row| among.contains(Row(row))).count()
        };
        let counts = dimensions.iter().map(count).collect();
        self.watch.since(met).map(|()| counts)
    }

    /// The `k` allowed rows of the largest products with `query` among those that have at least
    /// one dimension of it, best first; rows of equal products by their number. Exact whatever the
    /// effort. Rows that are summed count for the budget.
    ///
    /// # Errors
    /// If the options do not fit, or what was read of its file is damaged.
    pub fn search(
        &self,
        query: &Sparse,
        options: &SearchOptions<'_>,
    ) -> Result<SearchResult, SearchError> {
        self.fits(options.allowed)?;
        if options.k == 0 {
            return Err(SearchError::Nothing);
        }
        let (account, met) = (Account::new(&options.budget), self.watch.met());
        let terms = query.indices().iter().zip(query.values());
        let mut lists: Vec<List<'_>> =
            terms.filter_map(|(&dimension, &weight)| self.lists.list(dimension, weight)).collect();
        let postings: usize = lists.iter().map(List::len).sum();
        let mean = self.values() / self.len.max(1) + 1;
        let few = |allowed: &&Bitmap| {
            allowed.count().saturating_mul(mean).saturating_mul(DEARER) < postings
        };
        let hits = match options.allowed.filter(few) {
            Some(allowed) => self.each(query, (allowed, options.k), &account),
            None => Scan::new(&lists, options, &account).run(&mut lists, self.len as u32),
        };
        self.watch.since(met)?;
        let cut = account.is_cut();
        let certainty = if cut { Certainty::Truncated } else { Certainty::Exact };
        Ok(SearchResult { hits, certainty })
    }

    /// The best of some rows, measured one by one as they came.
    fn each(
        &self,
        query: &Sparse,
        (allowed, k): (&Bitmap, usize),
        account: &Account<'_>,
    ) -> Vec<Hit> {
        let (asked, mut top) = (Asked::new(query), Top::new(k));
        let mut rows = allowed.iter();
        loop {
            let run: Vec<Row> = rows.by_ref().take(RUN).collect();
            let granted = account.grant(run.len());
            for &row in &run[..granted] {
                let (dimensions, values) = self.forward.row(row);
                let values = values.iter().map(|&bits| f32::from_bits(bits));
                if let Some(sum) = asked.product(dimensions.iter().copied().zip(values)) {
                    top.offer(row, 0.0 - sum as f32);
                }
            }
            if run.is_empty() || granted < run.len() {
                return top.into_hits();
            }
        }
    }

    fn fits(&self, allowed: Option<&Bitmap>) -> Result<(), SearchError> {
        let (expected, got) = (self.len, allowed.map_or(self.len, Bitmap::len));
        if expected == got { Ok(()) } else { Err(SearchError::Allowed { expected, got }) }
    }
}

impl Forward {
    /// The dimensions of a row and its values in bits; none where it is damaged.
    fn row(&self, row: Row) -> (&[u32], &[u32]) {
        let range = wide(&self.starts, row.position()).unwrap_or_default();
        (self.dimensions.some(range.clone()), self.values.some(range))
    }
}

impl Lists {
    /// Of postings sorted by dimension, then by row.
    fn of(postings: &[(u32, u32, u32)]) -> Self {
        let (mut dimensions, mut starts, mut first) = (Vec::new(), Vec::new(), vec![0]);
        let (mut heads, mut greatest, mut least) = (Vec::new(), Vec::new(), Vec::new());
        put_wide(&mut starts, 0);
        let mut end = 0;
        for list in postings.chunk_by(|a, b| a.0 == b.0) {
            dimensions.push(list[0].0);
            end += list.len() as u64;
            put_wide(&mut starts, end);
            if list.len() > BLOCK {
                for block in list.chunks(BLOCK) {
                    heads.push(block[0].1);
                    let (most, fewest) = extremes(block.iter().map(|&(.., value)| value));
                    greatest.push(most.to_bits());
                    least.push(fewest.to_bits());
                }
            }
            first.push(heads.len() as u32);
        }
        Self {
            dimensions: dimensions.into(),
            starts: starts.into(),
            first: first.into(),
            heads: heads.into(),
            greatest: greatest.into(),
            least: least.into(),
            rows: postings.iter().map(|&(_, row, _)| row).collect::<Vec<_>>().into(),
            values: postings.iter().map(|&(.., value)| value).collect::<Vec<_>>().into(),
        }
    }

    /// The place of a dimension, and its postings.
    fn find(&self, dimension: u32) -> Option<(usize, Range<usize>)> {
        let dimensions = self.dimensions.some(0..self.dimensions.len());
        let at = dimensions.binary_search(&dimension).ok()?;
        Some((at, wide(&self.starts, at)?))
    }

    /// The list of a dimension, to be summed with such a weight.
    fn list(&self, dimension: u32, weight: f32) -> Option<List<'_>> {
        let (at, range) = self.find(dimension)?;
        let (rows, values) = (self.rows.some(range.clone()), self.values.some(range));
        let blocks = match self.first.some(at..at + 2) {
            &[from, to] if from <= to => from as usize..to as usize,
            _ => 0..0,
        };
        let heads = self.heads.some(blocks.clone());
        let (greatest, least) = (self.greatest.some(blocks.clone()), self.least.some(blocks));
        // Damaged, or of a file that somebody else wrote.
        if rows.is_empty() || rows.len() != values.len() {
            return None;
        }
        let whole = heads.len() == rows.len().div_ceil(BLOCK)
            && (greatest.len(), least.len()) == (heads.len(), heads.len());
        let bounds = if whole { (heads, greatest, least) } else { (&[][..], &[][..], &[][..]) };
        Some(List::new(weight, (rows, values), bounds))
    }
}

/// The largest and the least of some values in bits.
fn extremes(values: impl Iterator<Item = u32>) -> (f32, f32) {
    values.map(f32::from_bits).fold((f32::NEG_INFINITY, f32::INFINITY), |(most, least), value| {
        (most.max(value), least.min(value))
    })
}

/// Appends a number of 64 bits.
fn put_wide(numbers: &mut Vec<u32>, number: u64) {
    numbers.extend([number as u32, (number >> 32) as u32]);
}

/// From the number of 64 bits at `at` to the next, if they rise.
fn wide(numbers: &Numbers, at: usize) -> Option<Range<usize>> {
    let &[low, high, next_low, next_high] = numbers.some(2 * at..2 * at + 4) else { return None };
    let number = |low: u32, high: u32| usize::try_from(u64::from(high) << 32 | u64::from(low));
    let range = number(low, high).ok()?..number(next_low, next_high).ok()?;
    (range.start <= range.end).then_some(range)
}

#[cfg(test)]
mod tests;
