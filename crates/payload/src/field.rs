//! Indexes of one field over the rows of one immutable segment: from values to rows.
//!
//! [`FieldBuilder`] takes the values of the field row by row and makes one file of them;
//! [`FieldIndex`] answers from its bytes where they lie, mapped or not. A part of the file is
//! verified when it is first asked; whatever its bytes are, an answer is right or an error.

mod answer;
mod ask;
mod build;
mod column;
mod dictionary;
mod error;
mod estimate;
mod list;
mod part;
mod place;
mod posting;
mod question;
mod word;

pub use ask::text_test;
pub use build::FieldBuilder;
pub use error::{BuildError, FieldError};
pub use place::Area;
pub use question::{Direction, Estimate, Fact, Numbers, Question, Scalar, Walk};

use crate::text::{Cutter, Demand};
use crate::{FieldKind, FieldParams, FieldSchema, PointId};
use column::Column;
use dictionary::Dictionary;
use kvant_storage::Bytes;
use kvant_storage::frame::{Frame, Kind};
use part::Part;
use place::Places;
use posting::Sets;
use std::path::Path;
use word::Texts;

const KIND: Kind = Kind { magic: *b"KVFIELD\n", version: 1, features: 0 };

/// An index of one field, opened.
#[derive(Debug)]
pub struct FieldIndex {
    frame: Frame,
    schema: FieldSchema,
    cutter: Option<Cutter>,
    rows: u32,
    /// Rows it can answer with.
    valued: u32,
    /// Most values of one row.
    most: u32,
    /// Pairs of a value and a row; texts, of an index of words.
    entries: u64,
}

impl FieldIndex {
    /// Opens the index in `bytes`; `path` is for messages. Reads only the head, O(1) but for lists
    /// of stop words.
    ///
    /// # Errors
    /// [`FieldError::Frame`], [`FieldError::Senseless`].
    pub fn open(bytes: Bytes, path: &Path) -> Result<Self, FieldError> {
        let frame = Frame::open(bytes, path, &KIND)?;
        let schema = frame.section("schema")?;
        let senseless = |part| FieldError::Senseless { part };
        let schema: FieldSchema =
            serde_json::from_slice(&schema).map_err(|_| senseless("schema"))?;
        let head = Part::new(frame.section("head")?, "head");
        let (rows, valued, most) = (head.u32(0)?, head.u32(1)?, head.u32(2)?);
        let entries = head.u64(2)?;
        if valued > rows || entries < u64::from(valued) {
            return Err(senseless("head"));
        }
        let mut cutter = None;
        if let FieldParams::Text(params) = &schema.params {
            cutter = Some(Cutter::new(params));
        }
        Ok(Self { frame, schema, cutter, rows, valued, most, entries })
    }

    /// What the field was indexed as.
    pub fn schema(&self) -> &FieldSchema {
        &self.schema
    }

    /// The kind of its values.
    pub fn kind(&self) -> FieldKind {
        self.schema.kind()
    }

    /// Rows it is over.
    pub fn len(&self) -> u32 {
        self.rows
    }

    /// Whether it is over no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Rows that questions about values can have as an answer.
    pub fn valued(&self) -> u32 {
        self.valued
    }

    /// How texts are cut, for an index of words.
    pub fn cutter(&self) -> Option<&Cutter> {
        self.cutter.as_ref()
    }

    /// Holds the whole file against its checksums.
    ///
    /// # Errors
    /// [`FieldError::Frame`].
    pub fn verify(&self) -> Result<(), FieldError> {
        Ok(self.frame.verify()?)
    }

    /// Whether the index answers `question`: the values it names are of its kind, and a phrase is
    /// only asked where places of words are kept.
    pub fn fits(&self, question: &Question<'_>) -> bool {
        let kind = self.kind();
        let all = |scalars: &[Scalar<'_>]| scalars.iter().all(|scalar| is_of(kind, scalar));
        match question {
            Question::Any(scalars) => {
                let listed = matches!(kind, FieldKind::Float | FieldKind::Geo | FieldKind::Text);
                all(scalars) && !listed
            }
            Question::Except(scalars) => {
                let listed = matches!(
                    kind,
                    FieldKind::Keyword | FieldKind::Integer | FieldKind::Bool | FieldKind::Uuid
                );
                all(scalars) && listed
            }
            Question::Prefix(_) => kind == FieldKind::Keyword,
            Question::Range(..) => matches!(kind, FieldKind::Integer | FieldKind::Float),
            Question::Period(..) => kind == FieldKind::Datetime,
            Question::Within(_) => kind == FieldKind::Geo,
            Question::Words(wanted) => {
                let placed = wanted.demand() != Demand::Phrase || self.frame.has("places");
                kind == FieldKind::Text && placed
            }
            Question::Fact(_) | Question::Count(..) => true,
        }
    }

    fn unfit(&self, question: &Question<'_>) -> FieldError {
        let asked = match question {
            Question::Any(_) | Question::Except(_) => "values of another kind",
            Question::Prefix(_) => "beginnings of texts",
            Question::Range(..) => "numbers",
            Question::Period(..) => "moments",
            Question::Within(_) => "places",
            Question::Words(_) => "words, or not for phrases",
            Question::Fact(_) | Question::Count(..) => "what every index knows",
        };
        FieldError::Unfit { kind: self.kind(), asked }
    }

    fn part(&self, name: &'static str) -> Result<Part, FieldError> {
        Ok(Part::new(self.frame.section(name)?, name))
    }

    fn column(&self) -> Result<Column, FieldError> {
        let (values, rows) = (self.part("values")?, self.part("rows")?);
        Ok(Column { values, rows, limit: self.rows })
    }

    fn places(&self) -> Result<Places, FieldError> {
        let (points, rows) = (self.part("values")?, self.part("rows")?);
        Ok(Places { points, rows, limit: self.rows })
    }

    fn sets(&self) -> Result<Sets, FieldError> {
        Ok(Sets { slots: self.part("slots")?, data: self.part("sets")?, limit: self.rows })
    }

    fn dictionary(&self) -> Result<Dictionary, FieldError> {
        let (keys, ends) = (self.part("keys")?, self.part("ends")?);
        Ok(Dictionary { keys, ends, sets: self.sets()? })
    }

    fn texts(&self) -> Result<Texts, FieldError> {
        let mut places = None;
        if self.frame.has("places") {
            let (starts, data) = (self.part("starts")?, self.part("places")?);
            places = Some(word::Places { starts, data });
        }
        let texts = self.part("texts")?;
        let mut words = self.dictionary()?;
        words.sets.limit = (texts.len() / 4) as u32;
        Ok(Texts { words, row_of: texts, places })
    }
}

fn is_of(kind: FieldKind, scalar: &Scalar<'_>) -> bool {
    let other = match scalar {
        Scalar::Text(_) => FieldKind::Keyword,
        Scalar::Integer(_) => FieldKind::Integer,
        Scalar::Float(_) => FieldKind::Float,
        Scalar::Bool(_) => FieldKind::Bool,
        Scalar::Uuid(_) => FieldKind::Uuid,
        Scalar::Moment(_) => FieldKind::Datetime,
    };
    kind == other
}

/// The UUID an index of them has for `text`: only of the one form in which equal UUIDs are equal
/// texts, lower case with hyphens, so that an index answers what comparing texts would. A text of
/// another form is found by no UUID.
pub fn uuid_of(text: &str) -> Option<u128> {
    match text.parse() {
        Ok(PointId::Uuid(value)) if !text.contains(|c: char| c.is_ascii_uppercase()) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
