//! Values with counts, rows in order of values, the least and the greatest value.

use super::column::{Column, Fixed, float_key, key_float};
use super::{Direction, FieldError, FieldIndex, Scalar, Walk};
use crate::FieldKind;
use roaring::RoaringBitmap;
use std::ops::Range;

impl FieldIndex {
    /// Calls `each` with every value that a row of `allowed` has, and how many have it, in order
    /// of values. Keyword, integer, bool, uuid, datetime. O(values of the field).
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub fn facet(
        &self,
        allowed: &RoaringBitmap,
        each: &mut dyn FnMut(Scalar<'_>, u64),
    ) -> Result<(), FieldError> {
        match self.kind() {
            FieldKind::Keyword => {
                let dictionary = self.dictionary()?;
                for at in 0..dictionary.len() {
                    let count = dictionary.sets.common(at, allowed)?;
                    if count > 0 {
                        each(Scalar::Text(dictionary.text(at)?), count);
                    }
                }
                Ok(())
            }
            FieldKind::Bool => {
                let sets = self.sets()?;
                for value in [false, true] {
                    let count = sets.common(usize::from(value), allowed)?;
                    if count > 0 {
                        each(Scalar::Bool(value), count);
                    }
                }
                Ok(())
            }
            FieldKind::Uuid => {
                self.column()?.count(allowed, &mut |value, n| each(Scalar::Uuid(value), n))
            }
            FieldKind::Integer | FieldKind::Datetime => {
                let moments = self.kind() == FieldKind::Datetime;
                let scalar =
                    |value| if moments { Scalar::Moment(value) } else { Scalar::Integer(value) };
                self.column()?.count(allowed, &mut |value, n| each(scalar(value), n))
            }
            FieldKind::Float | FieldKind::Geo | FieldKind::Text => {
                Err(FieldError::Unfit { kind: self.kind(), asked: "values with counts" })
            }
        }
    }

    /// Pairs of a value and a row of `allowed` in order of values, then of rows; a row with
    /// several values comes with each. Integer (whole numbers only), float (all numbers; whole
    /// ones come as such), datetime. O(pairs walked over).
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub fn walk(
        &self,
        walk: &Walk<'_>,
        allowed: &RoaringBitmap,
    ) -> Result<Vec<(Scalar<'static>, u32)>, FieldError> {
        let mut runs = self.runs(walk)?;
        let mut found = Vec::new();
        let mut last = None;
        let down = walk.direction == Direction::Descending;
        while found.len() < walk.limit {
            let mut next: Option<(Place, usize)> = None;
            for (at, run) in runs.iter().enumerate() {
                let Some(place) = run.place(down)? else { continue };
                let sooner = |(best, _): &(Place, usize)| {
                    if down { place.key > best.key } else { place.key < best.key }
                };
                if next.as_ref().is_none_or(sooner) {
                    next = Some((place, at));
                }
            }
            let Some((place, at)) = next else { break };
            runs[at].step(down);
            // A number a row has written in two ways comes once.
            if last.replace(place.key) != Some(place.key) && allowed.contains(place.key.1) {
                found.push((place.value, place.key.1));
            }
        }
        Ok(found)
    }

    /// The least and the greatest value, if there is any. Integer, float, datetime. O(1).
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub fn extremes(&self) -> Result<Option<(Scalar<'static>, Scalar<'static>)>, FieldError> {
        let ends = [Direction::Ascending, Direction::Descending].map(|direction| {
            let down = direction == Direction::Descending;
            let mut best: Option<Place> = None;
            for run in self.runs(&Walk { direction, start: None, limit: 1 })? {
                let Some(place) = run.place(down)? else { continue };
                let sooner = |b: &Place| if down { place.key > b.key } else { place.key < b.key };
                if best.as_ref().is_none_or(sooner) {
                    best = Some(place);
                }
            }
            Ok::<_, FieldError>(best.map(|place| place.value))
        });
        let [least, most] = ends;
        Ok(least?.zip(most?))
    }

    /// The runs of pairs a walk goes over, each in order.
    fn runs(&self, walk: &Walk<'_>) -> Result<Vec<Run>, FieldError> {
        let kind = self.kind();
        let unfit = |asked| Err(FieldError::Unfit { kind, asked });
        let down = walk.direction == Direction::Descending;
        let columns = match kind {
            FieldKind::Integer => vec![(self.column()?, Form::Whole)],
            FieldKind::Datetime => vec![(self.column()?, Form::Moment)],
            FieldKind::Float => vec![
                (self.column()?, Form::Whole),
                (self.floats()?, Form::Float),
                (self.larges()?, Form::Large),
            ],
            FieldKind::Keyword
            | FieldKind::Geo
            | FieldKind::Text
            | FieldKind::Bool
            | FieldKind::Uuid => return unfit("rows in order of values"),
        };
        let bounds = match (kind, walk.start) {
            (_, None) => None,
            (FieldKind::Datetime, Some(Scalar::Moment(at)))
            | (FieldKind::Integer | FieldKind::Float, Some(Scalar::Integer(at))) => {
                Some((i128::from(at), at as f64))
            }
            (FieldKind::Integer | FieldKind::Float, Some(Scalar::Float(at))) => {
                let round = if down { at.floor() } else { at.ceil() };
                Some((round as i128, at))
            }
            _ => return unfit("a start of another kind"),
        };
        Ok(columns.into_iter().map(|(column, form)| Run::new(column, form, bounds, down)).collect())
    }
}

/// How the values of a column are written.
#[derive(Clone, Copy)]
enum Form {
    Whole,
    Float,
    Large,
    Moment,
}

/// What is left of a column in a walk.
struct Run {
    column: Column,
    form: Form,
    left: Range<usize>,
}

/// A pair in a walk: its value and row as they are ordered, and the value.
struct Place {
    key: ((i64, i128), u32),
    value: Scalar<'static>,
}

impl Run {
    /// `start` is the first whole number and the first other of the walk.
    fn new(column: Column, form: Form, start: Option<(i128, f64)>, down: bool) -> Self {
        let mut left = 0..column.len();
        if let Some((whole, float)) = start {
            let small = whole.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
            let cut = match form {
                Form::Float => cut(&column, float_key(float), down),
                Form::Large => cut(&column, u128::try_from(whole).unwrap_or(0), down),
                // Beyond all of them.
                _ if !down && whole > i64::MAX.into() => column.len(),
                _ if down && whole < i64::MIN.into() => 0,
                Form::Whole | Form::Moment => cut(&column, small, down),
            };
            left = if down { 0..cut } else { cut..column.len() };
        }
        Self { column, form, left }
    }

    fn place(&self, down: bool) -> Result<Option<Place>, FieldError> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let at = if down { self.left.end - 1 } else { self.left.start };
        let row = self.column.row(at)?;
        // Whole numbers that one float is nearest to are told apart by their distance to it.
        let whole = |number: i128| {
            let float = number as f64;
            (float_key(float), number - float as i128)
        };
        let (key, value) = match self.form {
            Form::Float => {
                let key = self.column.value(at)?;
                ((key, 0), Scalar::Float(key_float(key)))
            }
            Form::Large => {
                let number: u128 = self.column.value(at)?;
                (whole(number as i128), Scalar::Float(number as f64))
            }
            Form::Whole => {
                let number: i64 = self.column.value(at)?;
                (whole(number.into()), Scalar::Integer(number))
            }
            Form::Moment => {
                let moment: i64 = self.column.value(at)?;
                ((moment, 0), Scalar::Moment(moment))
            }
        };
        Ok(Some(Place { key: (key, row), value }))
    }

    fn step(&mut self, down: bool) {
        if down {
            self.left.end -= 1;
        } else {
            self.left.start += 1;
        }
    }
}

/// The first place not below `value`, or behind the last not above it.
fn cut<T: Fixed>(column: &Column, value: T, down: bool) -> usize {
    let span = column.span(value, value);
    if down { span.end } else { span.start }
}
