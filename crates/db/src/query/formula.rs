//! Scores made by a formula of other scores and of payloads.

use std::collections::HashMap;

use kvant_index::Row;
use kvant_payload::{Datetime, Filter, GeoPoint, Path, elements};
use serde_json::{Map, Value};

use super::run::{Candidates, Placed};
use crate::SearchError;
use crate::state::State;
use crate::subject::{Ready, passes};

/// A number, made of others.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// Itself.
    Constant(f32),
    /// Found in a point, or 0 where neither the point nor a default has it.
    Variable(Variable),
    /// 1 for points that pass, else 0.
    Condition(Box<Filter>),
    /// Metres to a place in the payload.
    Distance {
        /// From here.
        origin: GeoPoint,
        /// To the place there.
        to: Path,
    },
    /// A moment, in seconds since 1970.
    Moment(Datetime),
    /// A moment in the payload, in seconds since 1970.
    MomentAt(Path),
    /// The product.
    Product(Vec<Expression>),
    /// The sum.
    Sum(Vec<Expression>),
    /// With the other sign.
    Negative(Box<Expression>),
    /// Without a sign.
    Absolute(Box<Expression>),
    /// The first by the second.
    Quotient {
        /// Above.
        left: Box<Expression>,
        /// Below.
        right: Box<Expression>,
        /// Where below is 0; an error where `None`.
        by_zero: Option<f32>,
    },
    /// The square root.
    Root(Box<Expression>),
    /// The first to the power of the second.
    Power(Box<Expression>, Box<Expression>),
    /// e to its power.
    Exponential(Box<Expression>),
    /// The logarithm to base 10.
    Decimal(Box<Expression>),
    /// The natural logarithm.
    Natural(Box<Expression>),
    /// Less the farther from a target.
    Decay {
        /// In what way.
        way: Decay,
        /// What is compared.
        x: Box<Expression>,
        /// With what; 0 where `None`.
        target: Option<Box<Expression>>,
        /// How far from it the value is `midpoint`.
        scale: f32,
        /// Above 0 and below 1.
        midpoint: f32,
    },
}

/// Something found in a point.
#[derive(Clone, Debug, PartialEq)]
pub enum Variable {
    /// The score in the answer of one of the questions asked first.
    Score(usize),
    /// A number of the payload.
    Payload(Path),
}

/// How a value falls from 1 with the distance `d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decay {
    /// `max(0, 1 − (1 − midpoint)·d/scale)`.
    Linear,
    /// `midpoint^(d/scale)`.
    Exponential,
    /// `midpoint^(d²/scale²)`.
    Gauss,
}

/// One point as a formula sees it.
struct Seen<'a> {
    state: &'a State,
    at: (usize, Row),
    scores: &'a [Option<f32>],
    payload: &'a Map<String, Value>,
    defaults: &'a Map<String, Value>,
}

impl State {
    /// The candidates by what a formula makes of them, highest first.
    pub(super) fn computed(
        &self,
        (formula, defaults): (&Expression, &Map<String, Value>),
        lists: &[Vec<Placed>],
        candidates: &Candidates,
    ) -> Result<Vec<Placed>, SearchError> {
        let mut scores: HashMap<(usize, Row), Vec<Option<f32>>> = HashMap::new();
        for (of, list) in lists.iter().enumerate() {
            for at in list.iter().filter(|at| candidates.contains(at.part, at.row)) {
                let of_point =
                    scores.entry((at.part, at.row)).or_insert_with(|| vec![None; lists.len()]);
                of_point[of] = Some(at.score);
            }
        }
        let mut hits = Vec::with_capacity(scores.len());
        for (at, scores) in &scores {
            let payload = self.parts[at.0].store.payload(at.1)?;
            let seen = Seen { state: self, at: *at, scores, payload: &payload, defaults };
            let score = seen.value(formula)?;
            if !score.is_finite() {
                return Err(SearchError::Formula { got: score });
            }
            hits.push((at.0, at.1, 0.0 - score as f32));
        }
        let all = hits.len();
        self.sort(&mut hits, all)?;
        let placed = |(part, row, distance): (usize, Row, f32)| Placed {
            part,
            row,
            score: 0.0 - distance,
            order: None,
        };
        Ok(hits.into_iter().map(placed).collect())
    }
}

impl Seen<'_> {
    fn value(&self, expression: &Expression) -> Result<f64, SearchError> {
        let of = |inner: &Expression| self.value(inner);
        Ok(match expression {
            Expression::Constant(value) => f64::from(*value),
            Expression::Variable(variable) => self.variable(variable),
            Expression::Condition(filter) => {
                let part = &self.state.parts[self.at.0];
                f64::from(u8::from(passes(
                    part,
                    self.at.1,
                    &Ready::new(filter, &self.state.fields)?,
                )?))
            }
            Expression::Distance { origin, to } => {
                let found = self.found(to).and_then(|value| GeoPoint::from_value(&value));
                found.map_or(0.0, |place| origin.distance(place))
            }
            Expression::Moment(moment) => moment.micros() as f64 / 1e6,
            Expression::MomentAt(path) => {
                let found = self.found(path).and_then(|value| Datetime::from_value(&value));
                found.map_or(0.0, |moment| moment.micros() as f64 / 1e6)
            }
            Expression::Product(all) => {
                let mut product = 1.0;
                for factor in all {
                    product *= of(factor)?;
                    if product == 0.0 {
                        break;
                    }
                }
                product
            }
            Expression::Sum(all) => all.iter().map(of).sum::<Result<f64, _>>()?,
            Expression::Negative(inner) => -of(inner)?,
            Expression::Absolute(inner) => of(inner)?.abs(),
            Expression::Quotient { left, right, by_zero } => match (of(left)?, of(right)?) {
                (left, right) if right != 0.0 => left / right,
                (left, _) if left == 0.0 && by_zero.is_none() => 0.0,
                (left, right) => by_zero.map_or(left / right, f64::from),
            },
            Expression::Root(inner) => of(inner)?.sqrt(),
            Expression::Power(base, exponent) => of(base)?.powf(of(exponent)?),
            Expression::Exponential(inner) => of(inner)?.exp(),
            Expression::Decimal(inner) => of(inner)?.log10(),
            Expression::Natural(inner) => of(inner)?.ln(),
            Expression::Decay { way, x, target, scale, midpoint } => {
                let target = target.as_deref().map_or(Ok(0.0), of)?;
                way.of((of(x)? - target).abs() / f64::from(*scale), f64::from(*midpoint))
            }
        })
    }

    fn variable(&self, variable: &Variable) -> f64 {
        let number = |value: Value| value.as_f64();
        match variable {
            Variable::Score(of) => {
                let score = self.scores.get(*of).copied().flatten().map(f64::from);
                let named = || self.defaults.get(&format!("$score[{of}]")).cloned();
                let plain = || self.defaults.get("$score").filter(|_| *of == 0).cloned();
                score.or_else(|| named().or_else(plain).and_then(number)).unwrap_or(0.0)
            }
            Variable::Payload(path) => self.found(path).and_then(number).unwrap_or(0.0),
        }
    }

    /// The first value of the payload there, else the default.
    fn found(&self, path: &Path) -> Option<Value> {
        let own = path.values(self.payload).flat_map(elements).next().cloned();
        own.or_else(|| self.defaults.get(&path.to_string()).cloned())
    }
}

impl Decay {
    /// At a distance, in scales.
    fn of(self, far: f64, midpoint: f64) -> f64 {
        match self {
            Self::Linear => (1.0 - (1.0 - midpoint) * far).max(0.0),
            Self::Exponential => midpoint.powf(far),
            Self::Gauss => midpoint.powf(far * far),
        }
    }
}
