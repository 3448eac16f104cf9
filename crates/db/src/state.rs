//! What a collection holds, in memory: the same function of the manifest and the log every time.

use crate::change::Change;
use crate::limits::K_MAX;
use crate::manifest::Listed;
use crate::segment::growing::Growing;
use crate::segment::sealed::{Sealed, corrupt};
use crate::segment::{Columns, passing};
use crate::{Found, OpenError, Point, PointId, Query, SearchError, Settings};
use kvant_index::{Bitmap, Hit, Row, SearchOptions};
use std::collections::HashMap;

/// The points of a collection and where they are.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(crate) parts: Vec<Part>,
    pub(crate) growing: Growing,
    places: HashMap<PointId, Place>,
}

/// A sealed segment and the rows of it that are neither replaced nor deleted.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) segment: Sealed,
    pub(crate) live: Bitmap,
    pub(crate) live_count: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Position among the parts; [`GROWING`] for the growing segment.
    part: u32,
    row: Row,
}

const GROWING: u32 = u32::MAX;

impl Part {
    pub(crate) fn new(segment: Sealed, live: Bitmap) -> Self {
        assert_eq!(segment.len(), live.len(), "one flag per row");
        let live_count = live.count();
        Self { segment, live, live_count }
    }

    /// As the manifest lists it.
    pub(crate) fn listed(&self) -> Listed {
        let (number, identity) = (self.segment.number(), self.segment.identity());
        Listed { number, identity, live: self.live.clone() }
    }
}

impl State {
    pub(crate) fn new(settings: Settings, parts: Vec<Part>) -> Result<Self, OpenError> {
        let growing = Growing::default();
        let mut state = Self { settings, parts: Vec::new(), growing, places: HashMap::new() };
        state.set_parts(parts)?;
        Ok(state)
    }

    /// Takes `part` in place of the growing segment: its rows are the live ones there, in order.
    pub(crate) fn adopt(&mut self, part: Option<Part>) {
        let growing = std::mem::take(&mut self.growing);
        let Some(part) = part else { return };
        let at = self.parts.len() as u32;
        let live = growing.live();
        assert_eq!(part.live_count, live.count(), "what was sealed is what was there");
        for (row, before) in live.iter().enumerate() {
            let place = growing.id(before).and_then(|id| self.places.get_mut(&id));
            if let Some(place) = place {
                assert_eq!(*place, Place { part: GROWING, row: before }, "found where it was");
                *place = Place { part: at, row: Row(row as u32) };
            }
        }
        self.parts.push(part);
    }

    /// Takes `parts` for the ones there were. O(points).
    pub(crate) fn set_parts(&mut self, parts: Vec<Part>) -> Result<(), OpenError> {
        let places = places(parts.iter())?;
        self.replace(places, parts);
        Ok(())
    }

    /// Takes `parts` whose points are at `places`, as [`places`] gives them.
    pub(crate) fn replace(&mut self, places: HashMap<PointId, Place>, parts: Vec<Part>) {
        (self.places, self.parts) = (places, parts);
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn contains(&self, id: &PointId) -> bool {
        self.places.contains_key(id)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &PointId> {
        self.places.keys()
    }

    /// Applies a change and returns how many points it wrote or deleted.
    pub(crate) fn apply(&mut self, change: Change) -> usize {
        match change {
            Change::Upsert(rows) => {
                let ids = rows.ids.clone();
                let first = self.growing.extend(rows);
                for (id, row) in ids.into_iter().zip(first.0..) {
                    let place = Place { part: GROWING, row: Row(row) };
                    if let Some(before) = self.places.insert(id, place) {
                        self.bury(before);
                    }
                }
                self.growing.len() - first.position()
            }
            Change::Delete(ids) => {
                let gone: Vec<Place> = ids.iter().filter_map(|id| self.places.remove(id)).collect();
                for place in &gone {
                    self.bury(*place);
                }
                gone.len()
            }
        }
    }

    fn bury(&mut self, place: Place) {
        if place.part == GROWING {
            self.growing.remove(place.row);
            return;
        }
        let part = &mut self.parts[place.part as usize];
        assert!(part.live.remove(place.row), "row {} buried twice", place.row);
        part.live_count -= 1;
    }

    pub(crate) fn get(&self, id: &PointId) -> Result<Option<Point>, SearchError> {
        let Some(place) = self.places.get(id) else { return Ok(None) };
        let (vector, payload) = match self.parts.get(place.part as usize) {
            Some(part) => (part.segment.vector(place.row), part.segment.object(place.row)?),
            None => (self.growing.vector(place.row), self.growing.object(place.row)?),
        };
        Ok(Some(Point { id: id.clone(), vector: vector.to_vec(), payload }))
    }

    /// The closest points over all segments; equal distances in order of identifier.
    pub(crate) fn search(&self, query: &Query) -> Result<Vec<Found>, SearchError> {
        check(query, self.settings.dim)?;
        let k = query.k.min(self.len());
        let mut all: Vec<(f32, PointId, u32, Row)> = Vec::new();
        if k == 0 {
            return Ok(Vec::new());
        }
        for (at, part) in self.parts.iter().enumerate().filter(|(_, part)| part.live_count > 0) {
            let dead = part.live_count < part.live.len();
            let allowed = if query.filter.is_empty() {
                dead.then(|| part.live.clone())
            } else {
                Some(passing(&part.segment, &part.live, &query.filter)?)
            };
            let allowed = allowed.as_ref();
            let options = SearchOptions { k, effort: query.effort, allowed, ..Default::default() };
            let hits = part.segment.search(&query.vector, &options);
            gather(&mut all, &part.segment, at as u32, hits)?;
        }
        if self.growing.live_count() > 0 {
            let allowed = if query.filter.is_empty() {
                self.growing.allowed()
            } else {
                Some(passing(&self.growing, &self.growing.live(), &query.filter)?)
            };
            let allowed = allowed.as_ref();
            let options = SearchOptions { k, effort: query.effort, allowed, ..Default::default() };
            let hits = self.growing.search(self.settings.metric, &query.vector, &options);
            gather(&mut all, &self.growing, GROWING, hits)?;
        }
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        all.truncate(k);
        let found = |(distance, id, part, row): (f32, PointId, u32, Row)| {
            let payload = match self.parts.get(part as usize) {
                Some(part) => part.segment.object(row)?,
                None => self.growing.object(row)?,
            };
            Ok(Found { id, score: self.settings.metric.score(distance), payload })
        };
        all.into_iter().map(found).collect()
    }
}

fn gather(
    all: &mut Vec<(f32, PointId, u32, Row)>,
    columns: &impl Columns,
    part: u32,
    hits: Vec<Hit>,
) -> Result<(), SearchError> {
    for Hit { row, distance } in hits {
        let id = columns.id(row).ok_or_else(|| columns.damaged(row))?;
        all.push((distance, id, part, row));
    }
    Ok(())
}

fn check(query: &Query, dim: usize) -> Result<(), SearchError> {
    let got = query.vector.len();
    if got != dim {
        return Err(SearchError::Dim { expected: dim, got });
    }
    if let Some(position) = query.vector.iter().position(|x| !x.is_finite()) {
        return Err(SearchError::NotFinite { position, value: query.vector[position] });
    }
    if query.k > K_MAX {
        return Err(SearchError::Limit { max: K_MAX, got: query.k });
    }
    Ok(query.filter.check()?)
}

/// Where every live point of `parts` is. O(points).
///
/// # Errors
/// [`OpenError`] naming the segment whose identifiers make no sense.
pub(crate) fn places<'a>(
    parts: impl Iterator<Item = &'a Part> + Clone,
) -> Result<HashMap<PointId, Place>, OpenError> {
    let count = parts.clone().map(|part| part.live_count).sum();
    let mut places = HashMap::with_capacity(count);
    for (at, part) in parts.enumerate() {
        for row in part.live.iter() {
            let refuse = |what: String| corrupt(part.segment.path(), &what);
            let id = part
                .segment
                .id(row)
                .ok_or_else(|| refuse(format!("the identifier of row {row} is senseless")))?;
            let place = Place { part: at as u32, row };
            if places.insert(id, place).is_some() {
                return Err(refuse(format!("the point of row {row} is there twice")));
            }
        }
    }
    Ok(places)
}
