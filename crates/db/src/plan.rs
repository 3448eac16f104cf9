//! Which rows of a segment pass, by the indexes of its fields where they can tell.

use kvant_index::{Bitmap, Row};
use kvant_payload::field::{Fact, FieldError, Question};
use kvant_payload::{Condition, Filter};
use roaring::RoaringBitmap;

use crate::DamageError;
use crate::segment::sealed::Sealed;

/// Rows that indexes name.
pub(crate) struct Named {
    /// Every row that passes is among them.
    pub(crate) rows: RoaringBitmap,
    /// Whether all of them pass.
    pub(crate) exact: bool,
}

impl Named {
    fn exact(rows: RoaringBitmap) -> Self {
        Self { rows, exact: true }
    }

    /// As a set over `len` rows, those of `live`.
    pub(crate) fn among(&self, live: &Bitmap) -> Bitmap {
        let mut set = Bitmap::new(live.len());
        let len = live.len() as u32;
        for row in self.rows.iter().take_while(|row| *row < len).map(Row) {
            if live.contains(row) {
                set.insert(row);
            }
        }
        set
    }
}

/// The rows that may pass a filter; `None` where indexes say nothing of it.
pub(crate) fn named(sealed: &Sealed, filter: &Filter) -> Result<Option<Named>, DamageError> {
    let (mut rows, mut exact) = (None::<RoaringBitmap>, true);
    let mut narrow = |with: RoaringBitmap| match &mut rows {
        Some(rows) => *rows &= with,
        None => rows = Some(with),
    };
    for condition in &filter.must {
        match of(sealed, condition)? {
            Some(named) => {
                exact &= named.exact;
                narrow(named.rows);
            }
            None => exact = false,
        }
    }
    if !filter.should.is_empty() {
        match any(sealed, &filter.should)? {
            Some(named) => {
                exact &= named.exact;
                narrow(named.rows);
            }
            None => exact = false,
        }
    }
    for condition in &filter.must_not {
        match of(sealed, condition)?.filter(|named| named.exact) {
            Some(named) => {
                let mut others: RoaringBitmap = (0..sealed.len() as u32).collect();
                others -= named.rows;
                narrow(others);
            }
            None => exact = false,
        }
    }
    exact &= filter.min_should.is_none();
    Ok(rows.map(|rows| Named { rows, exact }))
}

/// The rows that may pass one of several conditions.
fn any(sealed: &Sealed, conditions: &[Condition]) -> Result<Option<Named>, DamageError> {
    let mut all = Named::exact(RoaringBitmap::new());
    for condition in conditions {
        let Some(named) = of(sealed, condition)? else { return Ok(None) };
        all.rows |= named.rows;
        all.exact &= named.exact;
    }
    Ok(Some(all))
}

fn of(sealed: &Sealed, condition: &Condition) -> Result<Option<Named>, DamageError> {
    let fact = |path: &kvant_payload::Path, fact: Fact| {
        let Some((place, index)) = sealed.field(path) else { return Ok(None) };
        let rows = index.rows(&Question::Fact(fact)).map_err(|e| damage(place, &e))?;
        Ok(Some(Named::exact(rows)))
    };
    match condition {
        Condition::Field { key, test } => {
            let Some((place, index)) = sealed.field(key) else { return Ok(None) };
            let rows = index.passing(test).map_err(|error| damage(place, &error))?;
            Ok(rows.map(Named::exact))
        }
        Condition::IsEmpty(path) => fact(path, Fact::Empty),
        Condition::IsNull(path) => fact(path, Fact::Null),
        Condition::HasId(ids) => {
            let mut rows = RoaringBitmap::new();
            for id in ids {
                rows.extend(sealed.find(id)?.map(|row| row.0));
            }
            Ok(Some(Named::exact(rows)))
        }
        Condition::Filter(filter) => named(sealed, filter),
        Condition::HasVector(_) | Condition::Slice(_) | Condition::Nested { .. } => Ok(None),
    }
}

fn damage(place: &std::path::Path, error: &FieldError) -> DamageError {
    assert!(!matches!(error, FieldError::Unfit { .. }), "asked what it answers: {error}");
    DamageError { path: place.to_owned(), section: "field", offset: 0 }
}
