//! Conditions of filters, asked of an index.

use roaring::RoaringBitmap;

use super::question::Numbers;
use super::{Area, Fact, FieldError, FieldIndex, Question, Scalar, uuid_of};
use crate::filter::compile::{moments_within, numbers_within};
use crate::text::{Cutter, Demand};
use crate::{Bounds, FieldKind, Match, MatchList, MatchValue, Range, Test, TextTest};

impl FieldIndex {
    /// The rows whose values at the index's path pass a test, just as the test itself says; `None`
    /// where the index cannot tell.
    ///
    /// # Errors
    /// [`FieldError`] for a damaged file.
    pub fn passing(&self, test: &Test) -> Result<Option<RoaringBitmap>, FieldError> {
        match test {
            Test::Match(wanted) => self.matching(wanted),
            Test::Range(Range::Number(bounds)) => {
                let (whole, float) = numbers_within(bounds);
                self.told(&Question::Range(Numbers { whole, float }))
            }
            Test::Range(Range::Datetime(bounds)) => {
                let (from, to) = moments_within(bounds);
                self.told(&Question::Period(from, to))
            }
            Test::GeoBox(area) => self.told(&Question::Within(Area::Box(area))),
            Test::GeoCircle(area) => self.told(&Question::Within(Area::Circle(area))),
            Test::GeoPolygon(area) => self.told(&Question::Within(Area::Polygon(area))),
            Test::ValuesCount(bounds) => {
                let (from, to) = counts_within(bounds);
                self.told(&Question::Count(from, to))
            }
            Test::IsEmpty(true) => self.told(&Question::Fact(Fact::PartEmpty)),
            Test::IsEmpty(false) => self.told(&Question::Fact(Fact::Filled)),
            Test::IsNull(true) => self.told(&Question::Fact(Fact::NullWithin)),
            Test::IsNull(false) => self.told(&Question::Fact(Fact::PartSolid)),
        }
    }

    fn matching(&self, wanted: &Match) -> Result<Option<RoaringBitmap>, FieldError> {
        let words = |text: &str, demand| match self.cutter() {
            Some(cutter) => self.told(&Question::Words(&cutter.wanted(text, demand))),
            None => Ok(None),
        };
        match wanted {
            Match::Text(text) => words(text, Demand::All),
            Match::TextAny(text) => words(text, Demand::Any),
            Match::Phrase(text) => words(text, Demand::Phrase),
            Match::Prefix(text) => self.told(&Question::Prefix(text)),
            Match::Value(value) => match self.scalar(value) {
                Some(scalar) => self.told(&Question::Any(&[scalar])),
                None => Ok(None),
            },
            Match::Any(list) => match self.scalars(list) {
                Some(scalars) => self.told(&Question::Any(&scalars)),
                None => Ok(None),
            },
            Match::Except(list) => match self.scalars(list) {
                Some(scalars) => self.told(&Question::Except(&scalars)),
                None => Ok(None),
            },
        }
    }

    fn told(&self, question: &Question<'_>) -> Result<Option<RoaringBitmap>, FieldError> {
        if self.fits(question) { self.rows(question).map(Some) } else { Ok(None) }
    }

    /// A value as the index has it.
    fn scalar<'a>(&self, value: &'a MatchValue) -> Option<Scalar<'a>> {
        match (value, self.kind()) {
            (MatchValue::Text(text), FieldKind::Keyword) => Some(Scalar::Text(text)),
            (MatchValue::Text(text), FieldKind::Uuid) => uuid_of(text).map(Scalar::Uuid),
            (MatchValue::Integer(whole), FieldKind::Integer) => Some(Scalar::Integer(*whole)),
            (MatchValue::Bool(truth), FieldKind::Bool) => Some(Scalar::Bool(*truth)),
            _ => None,
        }
    }

    fn scalars<'a>(&self, list: &'a MatchList) -> Option<Vec<Scalar<'a>>> {
        match (list, self.kind()) {
            (MatchList::Texts(texts), FieldKind::Keyword) => {
                Some(texts.iter().map(|text| Scalar::Text(text)).collect())
            }
            (MatchList::Texts(texts), FieldKind::Uuid) => {
                texts.iter().map(|text| uuid_of(text).map(Scalar::Uuid)).collect()
            }
            (MatchList::Integers(list), FieldKind::Integer) => {
                Some(list.iter().map(|whole| Scalar::Integer(*whole)).collect())
            }
            _ => None,
        }
    }
}

/// The least and the greatest number of elements within bounds.
fn counts_within(bounds: &Bounds<u64>) -> (u64, u64) {
    // Nothing is less than 0 or more than all there can be.
    let above = bounds.gt.map(|gt| gt.saturating_add(1));
    let from = bounds.gte.max(above).unwrap_or(0);
    let below = bounds.lt.map(|lt| lt.checked_sub(1));
    let to = [bounds.lte, below.flatten()].into_iter().flatten().min().unwrap_or(u64::MAX);
    let none = below == Some(None) || bounds.gt == Some(u64::MAX);
    if none { (1, 0) } else { (from, to) }
}

/// The words of a text, looked for as an index of words would.
#[derive(Debug)]
struct Words {
    cutter: Cutter,
    wanted: crate::text::Wanted,
}

impl TextTest for Words {
    fn matches(&self, text: &str) -> bool {
        self.cutter.matches(text, &self.wanted)
    }
}

/// The test of texts that an index of words of this schema answers; `None` for other schemas, for
/// other conditions, and for phrases where the schema keeps no places.
pub fn text_test(schema: &crate::FieldSchema, query: &Match) -> Option<Box<dyn TextTest>> {
    let crate::FieldParams::Text(params) = &schema.params else { return None };
    let (text, demand) = match query {
        Match::Text(text) => (text, Demand::All),
        Match::TextAny(text) => (text, Demand::Any),
        Match::Phrase(text) => (text, Demand::Phrase),
        Match::Value(_) | Match::Prefix(_) | Match::Any(_) | Match::Except(_) => return None,
    };
    if demand == Demand::Phrase && params.phrase_matching != Some(true) {
        return None;
    }
    let cutter = Cutter::new(params);
    let wanted = cutter.wanted(text, demand);
    Some(Box::new(Words { cutter, wanted }))
}
