//! Which rows an answer is.

use super::column::{Column, float_key};
use super::posting::{Gather, Sets, read_bitmap};
use super::{Fact, FieldError, FieldIndex, Numbers, Question, Scalar};
use crate::FieldKind;
use roaring::RoaringBitmap;
use std::collections::HashMap;
use std::ops::Range;

/// Where the values a question names stand in an index.
pub(super) enum Spot {
    /// A set of a dictionary.
    Set(usize),
    /// A span of a column.
    Span(Range<usize>),
}

impl FieldIndex {
    /// The rows `question` asks for, exactly.
    ///
    /// # Errors
    /// [`FieldError::Unfit`] for a question about other kinds of values; the others for a damaged
    /// file.
    pub fn rows(&self, question: &Question<'_>) -> Result<RoaringBitmap, FieldError> {
        if !self.fits(question) {
            return Err(self.unfit(question));
        }
        let mut gather = Gather::new(self.rows);
        match question {
            Question::Any(scalars) => self.any(scalars, &mut gather)?,
            Question::Except(scalars) => return self.except(scalars),
            Question::Prefix(prefix) => {
                let dictionary = self.dictionary()?;
                for at in dictionary.beginning(prefix)? {
                    dictionary.sets.gather(at, &mut gather)?;
                }
            }
            Question::Range(numbers) => {
                for (column, span) in self.numbers(numbers)? {
                    column.gather(span, &mut gather)?;
                }
            }
            Question::Period(from, to) => {
                let column = self.column()?;
                column.gather(column.span(*from, *to), &mut gather)?;
            }
            Question::Within(area) => self.places()?.gather(*area, &mut gather)?,
            Question::Words(wanted) => return self.texts()?.rows(wanted, self.rows),
            Question::Fact(fact) => return self.fact(*fact),
            Question::Count(from, to) => {
                let sets = self.counts()?;
                for at in self.count_span(*from, *to)? {
                    sets.gather(at, &mut gather)?;
                }
            }
        }
        Ok(gather.finish())
    }

    fn any(&self, scalars: &[Scalar<'_>], gather: &mut Gather) -> Result<(), FieldError> {
        self.spots(scalars, &mut |index, spot| match spot {
            Spot::Set(at) => index.sets()?.gather(at, gather),
            Spot::Span(span) => index.column()?.gather(span, gather),
        })
    }

    /// Calls `each` with where each of the values stands that the index has.
    pub(super) fn spots(
        &self,
        scalars: &[Scalar<'_>],
        each: &mut dyn FnMut(&Self, Spot) -> Result<(), FieldError>,
    ) -> Result<(), FieldError> {
        match self.kind() {
            FieldKind::Keyword => {
                let dictionary = self.dictionary()?;
                for scalar in scalars {
                    if let Scalar::Text(text) = scalar
                        && let Some(at) = dictionary.find(text)?
                    {
                        each(self, Spot::Set(at))?;
                    }
                }
            }
            FieldKind::Bool => {
                for scalar in scalars {
                    if let Scalar::Bool(value) = scalar {
                        each(self, Spot::Set(usize::from(*value)))?;
                    }
                }
            }
            FieldKind::Uuid => {
                let column = self.column()?;
                for scalar in scalars {
                    if let Scalar::Uuid(value) = scalar {
                        each(self, Spot::Span(column.span(*value, *value)))?;
                    }
                }
            }
            FieldKind::Integer | FieldKind::Datetime => {
                let column = self.column()?;
                for key in scalars.iter().filter_map(key) {
                    each(self, Spot::Span(column.span(key, key)))?;
                }
            }
            FieldKind::Float | FieldKind::Geo | FieldKind::Text => {}
        }
        Ok(())
    }

    fn except(&self, scalars: &[Scalar<'_>]) -> Result<RoaringBitmap, FieldError> {
        let scalars = distinct(scalars);
        let mut listed = Gather::new(self.rows);
        self.any(&scalars, &mut listed)?;
        let listed = listed.finish();
        let several = self.set("several")?;
        let mut rows = (self.set("valued")? - &listed) | self.set("other")?;
        // A row with several values may have one that is listed and one that is not.
        let both = several.clone() & listed;
        if both.is_empty() {
            return Ok(rows);
        }
        let mut hits: HashMap<u32, u32> = HashMap::new();
        self.spots(&scalars, &mut |index, spot| {
            let mut here = Gather::new(index.rows);
            match spot {
                Spot::Set(at) => index.sets()?.gather(at, &mut here)?,
                Spot::Span(span) => index.column()?.gather(span, &mut here)?,
            }
            for row in here.finish() & &both {
                *hits.entry(row).or_default() += 1;
            }
            Ok(())
        })?;
        let distinct = self.part("distinct")?;
        for (rank, row) in several.iter().enumerate() {
            if both.contains(row)
                && hits
                    .get(&row)
                    .is_some_and(|hits| distinct.u32(rank).is_ok_and(|all| all > *hits))
            {
                rows.insert(row);
            }
        }
        Ok(rows)
    }

    /// The spans of columns that hold `numbers`.
    pub(super) fn numbers(
        &self,
        numbers: &Numbers,
    ) -> Result<[(Column, Range<usize>); 3], FieldError> {
        let (least, most) = numbers.whole;
        let column = self.column()?;
        let whole = match (i64::try_from(least.max(i64::MIN.into())), most >= i64::MIN.into()) {
            (Ok(least), true) => column.span(least, i64::try_from(most).unwrap_or(i64::MAX)),
            _ => 0..0,
        };
        let floats = self.floats()?;
        let (from, to) = numbers.float;
        let float = if from <= to { floats.span(float_key(from), float_key(to)) } else { 0..0 };
        let larges = self.larges()?;
        let large = match u128::try_from(most) {
            Ok(most) => larges.span(u128::try_from(least).unwrap_or(0), most),
            Err(_) => 0..0,
        };
        Ok([(column, whole), (floats, float), (larges, large)])
    }

    /// Numbers that are not whole.
    pub(super) fn floats(&self) -> Result<Column, FieldError> {
        let (values, rows) = (self.part("floats")?, self.part("float-rows")?);
        Ok(Column { values, rows, limit: self.rows })
    }

    /// Whole numbers above 64 bits with sign.
    pub(super) fn larges(&self) -> Result<Column, FieldError> {
        let (values, rows) = (self.part("larges")?, self.part("large-rows")?);
        Ok(Column { values, rows, limit: self.rows })
    }

    /// Which counts of elements lie in between.
    pub(super) fn count_span(&self, from: u64, to: u64) -> Result<Range<usize>, FieldError> {
        let part = self.part("counts")?;
        let len = part.len() / 8;
        let first = part.partition(len, |unit| u64::from_le_bytes(unit) < from);
        let end = part.partition(len, |unit| u64::from_le_bytes(unit) <= to);
        Ok(first..end.max(first))
    }

    pub(super) fn fact(&self, fact: Fact) -> Result<RoaringBitmap, FieldError> {
        self.set(match fact {
            Fact::Empty => "empty",
            Fact::PartEmpty => "part-empty",
            Fact::Null => "null",
            Fact::NullWithin => "null-within",
            Fact::PartSolid => "part-solid",
            Fact::Filled => {
                let mut all = RoaringBitmap::new();
                all.insert_range(0..self.rows);
                return Ok(all - self.set("empty")?);
            }
        })
    }

    /// A set of rows with a name.
    pub(super) fn set(&self, name: &'static str) -> Result<RoaringBitmap, FieldError> {
        let part = self.part(name)?;
        read_bitmap(&part, &part, self.rows)
    }

    /// Rows by how many elements they have at the path.
    pub(super) fn counts(&self) -> Result<Sets, FieldError> {
        let (slots, data) = (self.part("count-slots")?, self.part("count-sets")?);
        Ok(Sets { slots, data, limit: self.rows })
    }
}

/// Each of `scalars` once.
pub(super) fn distinct<'a>(scalars: &[Scalar<'a>]) -> Vec<Scalar<'a>> {
    let mut scalars = scalars.to_vec();
    scalars.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    scalars.dedup();
    scalars
}

/// The whole number a scalar is ordered by.
pub(super) fn key(scalar: &Scalar<'_>) -> Option<i64> {
    match scalar {
        Scalar::Integer(value) | Scalar::Moment(value) => Some(*value),
        Scalar::Float(value) if !value.is_nan() => Some(float_key(*value)),
        Scalar::Float(_) | Scalar::Text(_) | Scalar::Bool(_) | Scalar::Uuid(_) => None,
    }
}
