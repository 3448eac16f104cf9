//! Which rows have a vector, and where it lies among those that do.

use kvant_index::{Bitmap, Row};

/// The rows with a vector, in order; the slot of a row is its place among them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Slots {
    /// All of so many.
    All(usize),
    /// These of so many, rising.
    Some(Vec<u32>, usize),
}

impl Slots {
    /// Of `len` rows those for which `has` is true.
    pub(crate) fn of(len: usize, has: impl Fn(Row) -> bool) -> Self {
        let rows: Vec<u32> = (0..len as u32).filter(|row| has(Row(*row))).collect();
        if rows.len() == len { Self::All(len) } else { Self::Some(rows, len) }
    }

    /// How many rows have one.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::All(len) => *len,
            Self::Some(rows, _) => rows.len(),
        }
    }

    /// The slot of a row.
    pub(crate) fn slot(&self, row: Row) -> Option<Row> {
        match self {
            Self::All(len) => (row.position() < *len).then_some(row),
            Self::Some(rows, _) => rows.binary_search(&row.0).ok().map(|slot| Row(slot as u32)),
        }
    }

    /// The row of a slot.
    pub(crate) fn row(&self, slot: Row) -> Row {
        match self {
            Self::All(_) => slot,
            Self::Some(rows, _) => Row(rows[slot.position()]),
        }
    }

    /// The slots of the rows of a set; none where all are meant anyway.
    pub(crate) fn allowed(&self, rows: Option<&Bitmap>) -> Option<Bitmap> {
        let Self::Some(of, _) = self else { return None };
        rows.map(|rows| Bitmap::of(of.len(), |slot| rows.contains(Row(of[slot.position()]))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_slots_go_both_ways() {
        let every = Slots::of(5, |_| true);
        assert_eq!(
            (every.count(), every.slot(Row(4)), every.slot(Row(5))),
            (5, Some(Row(4)), None)
        );
        assert_eq!(every.allowed(Some(&Bitmap::new(5))), None);
        let some = Slots::of(6, |row| row.0 % 2 == 1);
        assert_eq!(some, Slots::Some(vec![1, 3, 5], 6));
        assert_eq!(
            (some.slot(Row(3)), some.slot(Row(2)), some.row(Row(2))),
            (Some(Row(1)), None, Row(5))
        );
        let mut rows = Bitmap::new(6);
        rows.insert(Row(5));
        rows.insert(Row(0));
        let slots = some.allowed(Some(&rows)).expect("not all have one");
        assert!(slots.iter().eq([Row(2)]) && slots.len() == 3);
        assert_eq!(some.allowed(None), None);
    }
}
