//! The order in which rows lie, and rows that lie in one.

use std::ops::Range;
use std::sync::OnceLock;

use crate::{Hit, Row, Rows, Scorer};

/// No row: a place that only fills a block.
const NONE: u32 = u32::MAX;

/// Which row lies at each place. A row lies somewhere, or at several places; a place may be empty.
#[derive(Clone, Debug)]
pub struct Order {
    rows: Vec<u32>,
    len: usize,
    /// The first place of each row; found when first asked for, scans do without.
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
        all.then_some(Self { rows, len, places: OnceLock::new() })
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
    ///
    /// # Panics
    /// If there is no such place.
    #[inline]
    pub fn row(&self, place: u32) -> Option<Row> {
        Some(self.rows[place as usize]).filter(|&row| row != NONE).map(Row)
    }

    /// The first place of a row; the first call finds those of all, 4 bytes each.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    pub fn place(&self, row: Row) -> u32 {
        self.places.get_or_init(|| self.first_places())[row.position()]
    }

    #[cold]
    fn first_places(&self) -> Vec<u32> {
        let mut places = vec![NONE; self.len];
        for (place, &row) in (0..).zip(&self.rows).filter(|&(_, &row)| row != NONE) {
            let first = &mut places[row as usize];
            *first = place.min(*first);
        }
        places
    }

    /// The rows at some places, of which none is empty.
    pub(crate) fn rows(&self, places: Range<u32>) -> &[u32] {
        &self.rows[places.start as usize..places.end as usize]
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
