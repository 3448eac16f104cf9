//! A set of rows.

use crate::Row;

const BITS: usize = u64::BITS as usize;

/// A fixed-size set of rows of one index, one bit each. Rows at or past `len` are never in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bitmap {
    words: Vec<u64>,
    len: usize,
    /// Rows in it: every search with a filter asks for their number.
    count: usize,
}

impl Bitmap {
    /// The empty set over rows `0..len`.
    pub fn new(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(BITS)], len, count: 0 }
    }

    /// All rows `0..len`.
    pub fn full(len: usize) -> Self {
        let mut words = vec![u64::MAX; len.div_ceil(BITS)];
        if let Some(last) = words.last_mut()
            && !len.is_multiple_of(BITS)
        {
            *last = (1 << (len % BITS)) - 1;
        }
        Self { words, len, count: len }
    }

    /// The rows of `0..len` that `holds` says yes to; it is asked for each in order. O(len).
    pub fn of(len: usize, mut holds: impl FnMut(Row) -> bool) -> Self {
        let word = |from: usize| {
            let rows = from..len.min(from + BITS);
            rows.fold(0, |word, at| word | u64::from(holds(Row(at as u32))) << (at - from))
        };
        Self::of_words((0..len).step_by(BITS).map(word).collect(), len)
    }

    /// Number of rows the set ranges over (not how many are in it).
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the set ranges over no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn of_words(words: Vec<u64>, len: usize) -> Self {
        let count = words.iter().map(|word| word.count_ones() as usize).sum();
        Self { words, len, count }
    }

    /// How many rows are in the set. O(1).
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether `row` is in the set.
    pub fn contains(&self, row: Row) -> bool {
        let at = row.position();
        self.words.get(at / BITS).is_some_and(|word| (word >> (at % BITS)) & 1 == 1)
    }

    /// Adds `row`; `true` if it was not in the set.
    ///
    /// # Panics
    /// If `row` is not below [`len`](Self::len).
    pub fn insert(&mut self, row: Row) -> bool {
        assert!(row.position() < self.len, "row {row} of {}", self.len);
        let (word, bit) = (&mut self.words[row.position() / BITS], 1 << (row.position() % BITS));
        let fresh = *word & bit == 0;
        *word |= bit;
        self.count += usize::from(fresh);
        fresh
    }

    /// Removes `row`; `true` if it was in the set.
    pub fn remove(&mut self, row: Row) -> bool {
        let present = self.contains(row);
        if present {
            self.words[row.position() / BITS] &= !(1 << (row.position() % BITS));
            self.count -= 1;
        }
        present
    }

    /// Adds the rows `rows`, which must be below [`len`](Self::len).
    pub(crate) fn insert_all(&mut self, rows: std::ops::Range<usize>) {
        assert!(rows.end <= self.len, "rows {rows:?} of {}", self.len);
        let mut from = rows.start;
        while from < rows.end {
            let to = rows.end.min((from / BITS + 1) * BITS);
            self.words[from / BITS] |= (u64::MAX >> (BITS - (to - from))) << (from % BITS);
            from = to;
        }
    }

    /// Which of the 64 rows from `at · 64` on are in the set, the first in the lowest bit.
    pub(crate) fn word(&self, at: usize) -> u64 {
        self.words.get(at).copied().unwrap_or(0)
    }

    /// Adds `more` rows behind the last, all of them in the set.
    pub(crate) fn extend(&mut self, more: usize) {
        let from = self.len;
        self.len += more;
        self.words.resize(self.len.div_ceil(BITS), 0);
        for row in from..self.len {
            self.words[row / BITS] |= 1 << (row % BITS);
        }
        self.count += more;
    }

    /// Keeps only the rows that are in `other` too.
    pub fn intersect(&mut self, other: &Self) {
        for (at, word) in self.words.iter_mut().enumerate() {
            *word &= other.words.get(at).copied().unwrap_or(0);
        }
        *self = Self::of_words(std::mem::take(&mut self.words), self.len);
    }

    /// The first row of the set that is not below `from`.
    pub fn next(&self, from: usize) -> Option<Row> {
        let first = self.words.get(from / BITS)? & (u64::MAX << (from % BITS));
        let rest = self.words[from / BITS + 1..].iter().copied();
        let mut words = std::iter::once(first).chain(rest).zip(from / BITS..);
        let (word, at) = words.find(|&(word, _)| word != 0)?;
        Some(Row((at * BITS) as u32 + word.trailing_zeros()))
    }

    /// The rows of the set, rising.
    pub fn iter(&self) -> impl Iterator<Item = Row> + '_ {
        let mut words = (0u32..).step_by(BITS).zip(&self.words);
        let (mut from, mut rest) = (0, 0);
        std::iter::from_fn(move || {
            while rest == 0 {
                (from, rest) = words.next().map(|(from, &word)| (from, word))?;
            }
            let bit = rest.trailing_zeros();
            rest &= rest - 1;
            Some(Row(from + bit))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_asked_one_by_one() {
        for len in [0, 1, 63, 64, 65, 200] {
            let bitmap = Bitmap::of(len, |row| row.0 % 3 == 1);
            assert_eq!(bitmap.len(), len);
            let rows: Vec<u32> = bitmap.iter().map(|row| row.0).collect();
            assert_eq!(rows, (0..len as u32).filter(|row| row % 3 == 1).collect::<Vec<_>>());
        }
        assert_eq!(Bitmap::of(70, |_| true), Bitmap::full(70));
    }

    #[test]
    fn behaves_as_a_set() {
        for len in [0, 1, 63, 64, 65, 130] {
            let mut set = Bitmap::new(len);
            assert_eq!((set.count(), set.len(), Bitmap::full(len).count()), (0, len, len));
            let odd: Vec<Row> = (0..len as u32).filter(|row| row % 2 == 1).map(Row).collect();
            for &row in &odd {
                assert!(set.insert(row) && !set.insert(row));
            }
            assert_eq!(set.iter().collect::<Vec<_>>(), odd);
            for from in 0..=len {
                let next = odd.iter().copied().find(|row| row.position() >= from);
                assert_eq!(set.next(from), next, "from {from} of {len}");
            }
            assert!(!set.contains(Row(len as u32)) && !set.contains(Row(u32::MAX)));
            let mut rest = Bitmap::full(len);
            for &row in &odd {
                assert!(rest.remove(row) && !rest.remove(row));
            }
            assert_eq!(rest.count() + odd.len(), len);
            rest.intersect(&set);
            assert_eq!(rest, Bitmap::new(len));
            for from in 0..=len {
                let to = from + (len - from) / 2;
                let mut some = Bitmap::new(len);
                some.insert_all(from..to);
                assert!(some.iter().eq((from as u32..to as u32).map(Row)), "{from}..{to}");
                assert_eq!(some.word(0) & 1 == 1, from == 0 && to > 0);
            }
            for more in [0, 1, 64, 100] {
                let mut longer = set.clone();
                longer.extend(more);
                assert_eq!((longer.len(), longer.count()), (len + more, odd.len() + more));
                let rows = odd.iter().copied().chain((len..len + more).map(|row| Row(row as u32)));
                assert!(longer.iter().eq(rows));
            }
            set.intersect(&Bitmap::new(1));
            assert_eq!(set.count(), 0);
        }
    }
}
