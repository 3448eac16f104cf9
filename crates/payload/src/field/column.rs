//! Values of a fixed width with their rows, ascending by value, then row.

use super::FieldError;
use super::part::Part;
use super::posting::Gather;
use roaring::RoaringBitmap;
use std::ops::Range;

/// A value of a fixed width whose order is that of the index.
pub(super) trait Fixed: Copy + Ord {
    fn put(self, out: &mut Vec<u8>);
    fn at(part: &Part, at: usize) -> Result<Self, FieldError>;
    fn partition(part: &Part, len: usize, before: impl Fn(Self) -> bool) -> usize;
}

macro_rules! fixed {
    ($number:ty) => {
        impl Fixed for $number {
            fn put(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn at(part: &Part, at: usize) -> Result<Self, FieldError> {
                part.fixed(at).map(Self::from_le_bytes)
            }

            fn partition(part: &Part, len: usize, before: impl Fn(Self) -> bool) -> usize {
                part.partition(len, |unit| before(Self::from_le_bytes(unit)))
            }
        }
    };
}

fixed!(i64);
fixed!(u128);

/// The values and rows of `entries` as two sections, sorted, without repetitions.
pub(super) fn write<T: Fixed>(entries: &mut Vec<(T, u32)>) -> (Vec<u8>, Vec<u8>) {
    entries.sort_unstable();
    entries.dedup();
    let mut values = Vec::with_capacity(entries.len() * size_of::<T>());
    let mut rows = Vec::with_capacity(entries.len() * 4);
    for (value, row) in entries {
        value.put(&mut values);
        rows.extend_from_slice(&row.to_le_bytes());
    }
    (values, rows)
}

/// Sorted values with their rows.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) values: Part,
    pub(super) rows: Part,
    /// All rows are below.
    pub(super) limit: u32,
}

impl Column {
    /// Pairs of a value and a row.
    pub(super) fn len(&self) -> usize {
        self.rows.len() / 4
    }

    pub(super) fn value<T: Fixed>(&self, at: usize) -> Result<T, FieldError> {
        T::at(&self.values, at)
    }

    pub(super) fn row(&self, at: usize) -> Result<u32, FieldError> {
        let row = self.rows.u32(at)?;
        if row < self.limit { Ok(row) } else { Err(self.rows.damaged()) }
    }

    /// Where the values from `first` to `last`, both included, stand.
    pub(super) fn span<T: Fixed>(&self, first: T, last: T) -> Range<usize> {
        let from = T::partition(&self.values, self.len(), |value| value < first);
        let to = T::partition(&self.values, self.len(), |value| value <= last);
        from..to.max(from)
    }

    /// Adds the rows of `span` to `gather`.
    pub(super) fn gather(&self, span: Range<usize>, gather: &mut Gather) -> Result<(), FieldError> {
        for at in span {
            gather.add(self.row(at)?);
        }
        Ok(())
    }

    /// Calls `each` with every value and how many of its rows are among `allowed`, if any are.
    pub(super) fn count<T: Fixed>(
        &self,
        allowed: &RoaringBitmap,
        each: &mut dyn FnMut(T, u64),
    ) -> Result<(), FieldError> {
        let mut current: Option<(T, u64)> = None;
        for at in 0..self.len() {
            let value = self.value(at)?;
            let found = u64::from(allowed.contains(self.row(at)?));
            current = match current {
                Some((last, count)) if last == value => Some((value, count + found)),
                Some((last, count)) => {
                    if count > 0 {
                        each(last, count);
                    }
                    Some((value, found))
                }
                None => Some((value, found)),
            };
        }
        if let Some((value, count)) = current.filter(|(_, count)| *count > 0) {
            each(value, count);
        }
        Ok(())
    }
}

/// `number` as a whole number whose order is the same. Zero has no sign.
pub(super) fn float_key(number: f64) -> i64 {
    let bits = (number + 0.0).to_bits().cast_signed();
    bits ^ ((bits >> 63) & i64::MAX)
}

/// The number of a key.
pub(super) fn key_float(key: i64) -> f64 {
    f64::from_bits((key ^ ((key >> 63) & i64::MAX)).cast_unsigned())
}
