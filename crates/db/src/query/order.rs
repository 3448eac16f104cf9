//! By a value of the payload, by chance, by name.

use std::cmp::Ordering;

use kvant_payload::{Datetime, Path};
use serde_json::Value;

use super::run::{Candidates, Placed};
use crate::state::State;
use crate::{DamageError, collection::Walk};

/// By a number or a moment of the payload.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderBy {
    /// Where it is. Of several values each counts, and the point is found by each.
    pub path: Path,
    /// Which comes first.
    pub direction: Direction,
    /// Values before it are left out.
    pub start: Option<Start>,
}

/// Which value comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// The least.
    #[default]
    Ascending,
    /// The greatest.
    Descending,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// At a whole number.
    Integer(i64),
    /// At a number.
    Float(f64),
    /// At a moment.
    Moment(Datetime),
}

/// A value that can be put in order.
#[derive(Clone, Debug)]
struct Key {
    number: f64,
    whole: Option<i64>,
    shown: Value,
}

impl Key {
    fn of(value: &Value) -> Option<Self> {
        let shown = value.clone();
        match value {
            Value::Number(number) => {
                let whole = number.as_i64();
                Some(Self { number: number.as_f64()?, whole, shown })
            }
            Value::String(_) => {
                let micros = Datetime::from_value(value)?.micros();
                Some(Self { number: micros as f64, whole: Some(micros), shown })
            }
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn start(start: Start) -> Self {
        let (number, whole) = match start {
            Start::Integer(whole) => (whole as f64, Some(whole)),
            Start::Float(number) => (number, None),
            Start::Moment(moment) => (moment.micros() as f64, Some(moment.micros())),
        };
        Self { number, whole, shown: Value::Null }
    }

    fn order(&self, other: &Self) -> Ordering {
        match (self.whole, other.whole) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => self.number.total_cmp(&other.number),
        }
    }
}

impl State {
    /// The first of the candidates by a value; equal ones in order of their names.
    pub(super) fn ordered(
        &self,
        by: &OrderBy,
        candidates: &Candidates,
        limit: usize,
    ) -> Result<Vec<Placed>, DamageError> {
        let start = by.start.map(Key::start);
        let turn = |order: Ordering| match by.direction {
            Direction::Ascending => order,
            Direction::Descending => order.reverse(),
        };
        let mut keyed = Vec::new();
        for (part, rows) in candidates.parts.iter().enumerate() {
            for row in rows.iter().flat_map(kvant_index::Bitmap::iter) {
                let payload = self.parts[part].store.payload(row)?;
                for value in by.path.values(&payload).flat_map(kvant_payload::elements) {
                    let Some(key) = Key::of(value) else { continue };
                    if start.as_ref().is_none_or(|start| turn(key.order(start)).is_ge()) {
                        let id = self.parts[part].store.id(row)?;
                        keyed.push((key, id, part, row));
                    }
                }
            }
        }
        keyed.sort_by(|a, b| turn(a.0.order(&b.0)).then_with(|| a.1.cmp(&b.1)));
        keyed.truncate(limit);
        let placed = |(key, _, part, row): (Key, _, _, _)| Placed {
            part,
            row,
            score: 0.0,
            order: Some(key.shown),
        };
        Ok(keyed.into_iter().map(placed).collect())
    }

    /// The first of the candidates by name.
    pub(super) fn named(
        &self,
        candidates: &Candidates,
        limit: usize,
    ) -> Result<Vec<Placed>, DamageError> {
        let mut placed = Vec::new();
        let mut walk = Walk::new(self, None)?;
        while placed.len() < limit
            && let Some((_, part, row)) = walk.next()?
        {
            if candidates.contains(part, row) {
                placed.push(Placed { part, row, score: 0.0, order: None });
            }
        }
        Ok(placed)
    }

    /// Some of the candidates by chance, each as likely.
    pub(super) fn sampled(
        &self,
        seed: u64,
        candidates: &Candidates,
        limit: usize,
    ) -> Result<Vec<Placed>, DamageError> {
        let mut drawn = Vec::new();
        for (part, rows) in candidates.parts.iter().enumerate() {
            for row in rows.iter().flat_map(kvant_index::Bitmap::iter) {
                let id = self.parts[part].store.id(row)?;
                drawn.push((crate::segment::table::hash(&id) ^ mixed(seed), part, row));
            }
        }
        drawn.sort_unstable_by_key(|(lot, ..)| mixed(*lot));
        drawn.truncate(limit);
        let placed = |(_, part, row)| Placed { part, row, score: 0.0, order: None };
        Ok(drawn.into_iter().map(placed).collect())
    }
}

/// Spread over all numbers (splitmix64).
fn mixed(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
