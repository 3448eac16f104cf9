//! The order in which rows lie, and rows that lie in one.

use std::ops::Range;
use std::sync::OnceLock;

use crate::number::{Numbers, put};
use crate::{FileError, Hit, Row, Rows, Scorer};

/// No row: a place that only fills a block.
const NONE: u32 = u32::MAX;

/// Which row lies at each place. A row lies somewhere, or at several places; a place may be empty.
#[derive(Clone, Debug)]
pub struct Order {
    rows: Numbers,
    len: usize,
    /// The first place of each row, where it lies in a file; else found when first asked for, scans
    /// do without.
    kept: Option<Numbers>,
    places: OnceLock<Vec<u32>>,
}

impl PartialEq for Order {
    fn eq(&self, other: &Self) -> bool {
        (&self.rows, self.len) == (&other.rows, other.len)
    }
}

impl Eq for Order {}

impl Order {
    /// The order of places that hold `rows`, `None` for an empty one, of `len` rows.
    ///
    /// `None` if a row is not below `len`, or lies nowhere.
    pub(crate) fn new(rows: impl Iterator<Item = Option<u32>>, len: usize) -> Option<Self> {
        let rows: Vec<u32> = rows.map(|row| row.unwrap_or(NONE)).collect();
        let mut lies = vec![false; len];
        for &row in rows.iter().filter(|&&row| row != NONE) {
            *lies.get_mut(row as usize)? = true;
        }
        let all = lies.iter().all(|&lies| lies);
        all.then(|| Self { rows: rows.into(), len, kept: None, places: OnceLock::new() })
    }

    /// The order that `rows` and the first `places` of rows are, of a file: what they hold is
    /// looked at when it is used.
    pub(crate) fn of_parts(rows: Numbers, places: Numbers) -> Self {
        Self { rows, len: places.len(), kept: Some(places), places: OnceLock::new() }
    }

    /// The rows of all places.
    pub(crate) fn numbers(&self) -> &[u32] {
        self.rows.all()
    }

    /// Appends the rows of all places and the first place of each row.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        put(bytes, self.rows.all());
        match &self.kept {
            Some(kept) => put(bytes, kept.all()),
            None => put(bytes, &self.first_places()),
        }
    }

    /// Whether every row lies somewhere, and is said to lie where it lies first. O(n).
    pub(crate) fn check(&self) -> Result<(), FileError> {
        let rows = self.rows.all().iter().map(|&row| (row != NONE).then_some(row));
        let first = Self::new(rows, self.len).map(|order| order.first_places());
        match (first, &self.kept) {
            (Some(first), Some(kept)) if kept.all() == first => Ok(()),
            (Some(_), None) => Ok(()),
            _ => Err(FileError::Header { name: "row of a list", got: 0 }),
        }
    }

    /// Number of places.
    pub fn places(&self) -> usize {
        self.rows.len()
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The row at a place, if there is one.
    #[inline]
    pub fn row(&self, place: u32) -> Option<Row> {
        let row = self.rows.one(place as usize);
        row.filter(|&row| (row as usize) < self.len()).map(Row)
    }

    /// The first place of a row; of what is no row, and where a file is damaged, some place. The
    /// first call finds those of all, 4 bytes each, unless they lie in a file.
    #[inline]
    pub fn place(&self, row: Row) -> u32 {
        let place = match &self.kept {
            Some(kept) => kept.one(row.position()),
            None => self.places.get_or_init(|| self.first_places()).get(row.position()).copied(),
        };
        let last = (self.rows.len() as u32).saturating_sub(1);
        place.map_or(0, |place| place.min(last))
    }

    #[cold]
    fn first_places(&self) -> Vec<u32> {
        let mut places = vec![NONE; self.len];
        for (place, &row) in (0..).zip(self.rows.all()).filter(|&(_, &row)| row != NONE) {
            let first = &mut places[row as usize];
            *first = place.min(*first);
        }
        places
    }

    /// What lies at some places of which none is empty, each below `len`; else less, or nothing.
    pub(crate) fn rows(&self, places: Range<u32>) -> &[u32] {
        self.rows.some(places.start as usize..places.end as usize)
    }
}

/// Rows whose code lies in an order: a scan of places next to one another reads it in a row.
///
/// Rows have the numbers of their owner; [`Scorer::scan`] has places.
#[derive(Clone, Debug)]
pub struct Ordered<R> {
    rows: R,
    order: std::sync::Arc<Order>,
}

impl<R: Rows> Ordered<R> {
    /// `rows` has a code for each place of `order`.
    ///
    /// # Panics
    /// If there are more or fewer.
    pub fn new(rows: R, order: std::sync::Arc<Order>) -> Self {
        assert_eq!(rows.len(), order.places(), "a code for each place");
        Self { rows, order }
    }

    /// The code of each place.
    pub fn inner(&self) -> &R {
        &self.rows
    }
}

impl<R: Rows> Rows for Ordered<R> {
    type Query = R::Query;
    type Scorer<'q>
        = OrderedScorer<'q, R::Scorer<'q>>
    where
        Self: 'q;

    fn len(&self) -> usize {
        self.order.len()
    }

    fn scorer<'q>(&'q self, query: &'q R::Query) -> Self::Scorer<'q> {
        OrderedScorer { scorer: self.rows.scorer(query), order: &self.order, places: Vec::new() }
    }

    fn scorer_of(&self, row: Row) -> Self::Scorer<'_> {
        let scorer = self.rows.scorer_of(Row(self.order.place(row)));
        OrderedScorer { scorer, order: &self.order, places: Vec::new() }
    }

    fn order(&self) -> Option<&Order> {
        Some(&self.order)
    }

    fn is_scanned(&self) -> bool {
        self.rows.is_scanned()
    }

    fn is_on_disk(&self) -> bool {
        self.rows.is_on_disk()
    }
}

/// Distances of [`Ordered`] rows.
#[derive(Debug)]
pub struct OrderedScorer<'a, S> {
    scorer: S,
    order: &'a Order,
    places: Vec<Row>,
}

impl<S: Scorer> Scorer for OrderedScorer<'_, S> {
    fn score(&mut self, rows: &[Row], out: &mut [f32]) {
        self.places.clear();
        self.places.extend(rows.iter().map(|&row| Row(self.order.place(row))));
        self.scorer.score(&self.places, out);
    }

    fn scan(&mut self, places: Range<u32>, reach: f32, found: &mut Vec<Hit>) {
        self.scorer.scan(places, reach, found);
    }

    fn ahead(&self, places: Range<u32>) {
        self.scorer.ahead(places);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FloatRows, Metric};

    #[test]
    fn rows_and_places_name_one_another() {
        let order = Order::new([Some(2), None, Some(0), Some(1), Some(2)].into_iter(), 3).unwrap();
        assert_eq!((order.places(), order.len(), order.is_empty()), (5, 3, false));
        let rows: Vec<_> = (0..5).map(|place| order.row(place).map(|row| row.0)).collect();
        assert_eq!(rows, [Some(2), None, Some(0), Some(1), Some(2)]);
        assert_eq!([0, 1, 2].map(|row| order.place(Row(row))), [2, 3, 0]);
        assert!(Order::new([Some(0), Some(2)].into_iter(), 3).is_none(), "row 1 lies nowhere");
        assert!(Order::new([Some(0), Some(1)].into_iter(), 1).is_none(), "there is no row 1");
    }

    #[test]
    fn ordered_rows_are_measured_by_their_numbers() {
        let plain = [0.0, 1.0, 2.0];
        let lying = [2.0, 0.0, 1.0, 2.0];
        let order = Order::new([2, 0, 1, 2].map(Some).into_iter(), 3).unwrap();
        let rows = FloatRows::new(&plain, 1, Metric::Manhattan);
        let ordered =
            Ordered::new(FloatRows::new(&lying, 1, Metric::Manhattan), std::sync::Arc::new(order));
        let all = [Row(0), Row(1), Row(2)];
        let (mut expected, mut got) = ([0.0; 3], [0.0; 3]);
        rows.scorer(&[0.75]).score(&all, &mut expected);
        ordered.scorer(&[0.75]).score(&all, &mut got);
        assert_eq!(got, expected);
        rows.scorer_of(Row(2)).score(&all, &mut expected);
        ordered.scorer_of(Row(2)).score(&all, &mut got);
        assert_eq!(got, expected);
        let mut found = Vec::new();
        ordered.scorer(&[0.75]).scan(1..4, 1.0, &mut found);
        let near: Vec<(u32, f32)> = found.iter().map(|hit| (hit.row.0, hit.distance)).collect();
        assert_eq!(near, [(1, 0.75), (2, 0.25)]);
    }
}
