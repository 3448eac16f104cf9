//! Who is near whom among some points.

use kvant_index::Effort;
use kvant_payload::{Condition, Filter, PointId};

use super::run::Placed;
use super::{Input, Query, Search};
use crate::{Collection, SearchError};

/// What to compare.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// By which of their vectors.
    pub using: String,
    /// Among which points; all where `None`.
    pub filter: Option<Filter>,
    /// How many points, drawn by chance.
    pub sample: usize,
    /// How many neighbours of each, among them.
    pub limit: usize,
    /// The same seed draws the same points.
    pub seed: u64,
}

/// A point and those near it.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixRow {
    /// The point.
    pub id: PointId,
    /// Its neighbours and their scores, nearest first.
    pub near: Vec<(PointId, f32)>,
}

impl Collection {
    /// Draws points that have the vector, and finds for each those nearest to it among them.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    pub fn matrix(&self, matrix: &Matrix) -> Result<Vec<MatrixRow>, SearchError> {
        let state = self.state();
        let candidates = state.candidates(matrix.filter.as_ref())?;
        let every: usize = candidates.parts.iter().flatten().map(kvant_index::Bitmap::count).sum();
        let drawn = state.sampled(matrix.seed, &candidates, every)?;
        let has = |at: &Placed| state.parts[at.part].has_vector(&matrix.using, at.row);
        let drawn: Vec<Placed> = drawn.into_iter().filter(has).take(matrix.sample).collect();
        let ids = drawn.iter().map(|at| state.parts[at.part].store.id(at.row));
        let ids = ids.collect::<Result<Vec<PointId>, _>>()?;
        let mut rows = Vec::with_capacity(ids.len());
        for id in &ids {
            let query = Query::Nearest { to: Input::Point(id.clone()), diversity: None };
            let search = Search {
                query: Some(query),
                using: matrix.using.clone(),
                filter: Some(Filter::of(Condition::HasId(ids.clone()))),
                effort: Effort::Exact,
                limit: matrix.limit,
                ..Search::default()
            };
            let found = state.run(&search)?;
            let near = found
                .into_iter()
                .map(|at| Ok::<_, SearchError>((state.parts[at.part].store.id(at.row)?, at.score)));
            rows.push(MatrixRow { id: id.clone(), near: near.collect::<Result<_, _>>()? });
        }
        Ok(rows)
    }
}
