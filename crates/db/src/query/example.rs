//! By examples: like some vectors and unlike others.

use kvant_index::{Effort, Examples, FloatRows, Metric, Row, Rows, Scorer, Sparse, idf};

use super::run::{Candidates, Placed};
use super::{Input, Query, Search, Strategy};
use crate::segment::Wanted;
use crate::segment::chunk::product;
use crate::state::State;
use crate::{SearchError, Vector, Weighting};

/// The same examples with other vectors.
pub(crate) fn changed<T>(
    examples: &Examples<Vector>,
    change: impl Fn(&Vector) -> T,
) -> Examples<T> {
    let all = |vectors: &[Vector]| vectors.iter().map(&change).collect();
    let pairs =
        |pairs: &[(Vector, Vector)]| pairs.iter().map(|(a, b)| (change(a), change(b))).collect();
    match examples {
        Examples::Best { positive, negative } => {
            Examples::Best { positive: all(positive), negative: all(negative) }
        }
        Examples::Sum { positive, negative } => {
            Examples::Sum { positive: all(positive), negative: all(negative) }
        }
        Examples::Discover { target, context } => {
            Examples::Discover { target: change(target), context: pairs(context) }
        }
        Examples::Context { context } => Examples::Context { context: pairs(context) },
        Examples::Weighted(terms) => {
            Examples::Weighted(terms.iter().map(|(v, weight)| (change(v), *weight)).collect())
        }
    }
}

/// The score of a vector by examples.
pub(crate) fn score(metric: Metric, examples: &Examples<Vector>, vector: &Vector) -> f32 {
    let of = examples.vectors();
    let near: Vec<f32> = of.iter().map(|example| similarity(metric, example, vector)).collect();
    examples.score(|at| near[at])
}

fn similarity(metric: Metric, query: &Vector, vector: &Vector) -> f32 {
    match query {
        Vector::Multi(multi) => {
            metric.similarity(0.0) * multi.rows().len() as f32 - distance(metric, query, vector)
        }
        Vector::Dense(_) | Vector::Sparse(_) => metric.similarity(distance(metric, query, vector)),
    }
}

/// How far a vector is from a query, both in the form they are kept in.
pub(crate) fn distance(metric: Metric, query: &Vector, vector: &Vector) -> f32 {
    match (query, vector) {
        (Vector::Dense(query), Vector::Dense(vector)) => rows_of(metric, query, vector)[0],
        (Vector::Sparse(query), Vector::Sparse(vector)) => -product(vector, query).unwrap_or(0.0),
        (Vector::Multi(query), Vector::Multi(vector)) => {
            let least = |row: &[f32]| {
                rows_of(metric, row, vector.data()).into_iter().fold(f32::INFINITY, f32::min)
            };
            query.rows().map(least).sum()
        }
        _ => f32::INFINITY,
    }
}

/// The distance of each of some rows.
fn rows_of(metric: Metric, query: &[f32], data: &[f32]) -> Vec<f32> {
    let rows = FloatRows::new(data, query.len(), metric);
    let all: Vec<Row> = (0..rows.len() as u32).map(Row).collect();
    let mut distances = vec![0.0; all.len()];
    rows.scorer(query).score(&all, &mut distances);
    distances
}

impl State {
    /// `2·p̄ − n̄` of the examples, or `p̄` where none is negative.
    pub(super) fn average(
        &self,
        search: &Search,
        (positive, negative): (&[Input], &[Input]),
        candidates: &mut Candidates,
    ) -> Result<Vector, SearchError> {
        if positive.is_empty() {
            return Err(SearchError::Question("at least one positive example"));
        }
        let mut all = |inputs: &[Input]| -> Result<Vec<Vector>, SearchError> {
            inputs.iter().map(|input| self.input(input, search, candidates)).collect()
        };
        let (positive, negative) = (all(positive)?, all(negative)?);
        let mut terms: Vec<(&Vector, f32)> = Vec::new();
        let share = |of: &[Vector], weight: f32| weight / of.len().max(1) as f32;
        let toward = if negative.is_empty() { 1.0 } else { 2.0 };
        terms.extend(positive.iter().map(|vector| (vector, share(&positive, toward))));
        terms.extend(negative.iter().map(|vector| (vector, share(&negative, -1.0))));
        combined(&terms)
    }

    /// The rows of the best score by examples.
    pub(super) fn by_examples(
        &self,
        search: &Search,
        query: &Query,
        candidates: &mut Candidates,
        (first, wanted): (bool, usize),
    ) -> Result<Vec<Placed>, SearchError> {
        let examples = self.examples(search, query, candidates)?;
        let metric = self.metric(&search.using);
        let effort = if first { Effort::Exact } else { search.effort };
        let mut hits = Vec::new();
        for (part, rows) in candidates.parts.iter().enumerate() {
            let Some(rows) = rows.as_ref().filter(|rows| rows.count() > 0) else { continue };
            let wanted = Wanted { k: wanted, effort, metric, allowed: Some(rows) };
            let found = self.parts[part].examples(&search.using, &examples, &wanted)?;
            hits.extend(found.into_iter().map(|(row, distance)| (part, row, distance)));
        }
        self.sort(&mut hits, wanted)?;
        let placed = |(part, row, distance): (usize, Row, f32)| Placed {
            part,
            row,
            score: 0.0 - distance,
            order: None,
        };
        Ok(hits.into_iter().map(placed).collect())
    }

    fn examples(
        &self,
        search: &Search,
        query: &Query,
        candidates: &mut Candidates,
    ) -> Result<Examples<Vector>, SearchError> {
        let mut one = |input: &Input| -> Result<Vector, SearchError> {
            let vector = self.input(input, search, candidates)?;
            let mut vector = self.prepared(search, vector)?;
            if let (Vector::Dense(values), Some(dense)) =
                (&mut vector, self.config.dense.get(&search.using))
            {
                dense.metric.prepare(values);
            }
            Ok(vector)
        };
        let none = || SearchError::Question("at least one example");
        Ok(match query {
            Query::Recommend { positive, negative, strategy } => {
                if positive.is_empty() && negative.is_empty() {
                    return Err(none());
                }
                let positive = positive.iter().map(&mut one).collect::<Result<_, _>>()?;
                let negative = negative.iter().map(&mut one).collect::<Result<_, _>>()?;
                match strategy {
                    Strategy::Sum => Examples::Sum { positive, negative },
                    Strategy::Best | Strategy::Average => Examples::Best { positive, negative },
                }
            }
            Query::Discover { target, context } => {
                let target = one(target)?;
                let pairs = context.iter().map(|(a, b)| Ok((one(a)?, one(b)?)));
                Examples::Discover { target, context: pairs.collect::<Result<_, SearchError>>()? }
            }
            Query::Context(context) => {
                if context.is_empty() {
                    return Err(none());
                }
                let pairs = context.iter().map(|(a, b)| Ok((one(a)?, one(b)?)));
                Examples::Context { context: pairs.collect::<Result<_, SearchError>>()? }
            }
            Query::Feedback { target, feedback, weights } => {
                let target = one(target)?;
                let said = feedback.iter().map(|(input, score)| Ok((one(input)?, *score)));
                feedback_of(target, said.collect::<Result<_, SearchError>>()?, *weights)
            }
            Query::Nearest { .. }
            | Query::OrderBy(_)
            | Query::Rrf { .. }
            | Query::Dbsf
            | Query::Formula { .. }
            | Query::Sample { .. } => return Err(none()),
        })
    }

    /// A sparse query, its values multiplied by how rare their indices are where the collection
    /// says so.
    pub(super) fn weighed(&self, search: &Search, query: Sparse) -> Result<Sparse, SearchError> {
        let weighting = self.config.sparse.get(&search.using).map(|sparse| sparse.weighting);
        if weighting != Some(Weighting::Idf) {
            return Ok(query);
        }
        let population = self.candidates(search.population.as_ref())?;
        let (mut rows, mut with) = (0, vec![0; query.indices().len()]);
        for (part, among) in self.parts.iter().zip(&population.parts) {
            let Some(among) = among else { continue };
            rows += among.count();
            let own = part.store.frequencies(&search.using, query.indices(), Some(among))?;
            with.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
        }
        let rarity = |index: u32| {
            let at = query.indices().binary_search(&index).unwrap_or_default();
            idf(rows, with[at])
        };
        Ok(query.weighted(rarity).unwrap_or_default())
    }
}

/// `a·s(target) + Σ c·(confidence)ᵇ·(s(p) − s(n))` over neighbours in the order of what was said.
fn feedback_of(
    target: Vector,
    mut said: Vec<(Vector, f32)>,
    [a, b, c]: [f32; 3],
) -> Examples<Vector> {
    said.sort_by(|one, other| other.1.total_cmp(&one.1));
    let mut terms = vec![(target, a)];
    for pair in said.windows(2) {
        let weight = c * (pair[0].1 - pair[1].1).max(0.0).powf(b);
        terms.push((pair[0].0.clone(), weight));
        terms.push((pair[1].0.clone(), -weight));
    }
    Examples::Weighted(terms)
}

/// The sum of vectors times weights.
fn combined(terms: &[(&Vector, f32)]) -> Result<Vector, SearchError> {
    let mixed = SearchError::Question("examples of one kind and dimension");
    match terms.first() {
        Some((Vector::Dense(first), _)) => {
            let mut sum = vec![0.0; first.len()];
            for (vector, weight) in terms {
                let Vector::Dense(values) = vector else { return Err(mixed) };
                if values.len() != sum.len() {
                    return Err(mixed);
                }
                sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
            }
            Ok(Vector::Dense(sum))
        }
        Some((Vector::Sparse(_), _)) => {
            let mut sum = std::collections::BTreeMap::new();
            for (vector, weight) in terms {
                let Vector::Sparse(sparse) = vector else { return Err(mixed) };
                for (index, value) in sparse.indices().iter().zip(sparse.values()) {
                    *sum.entry(*index).or_insert(0.0) += weight * value;
                }
            }
            Sparse::new(sum.into_iter().collect()).map(Vector::Sparse).ok_or(mixed)
        }
        Some((Vector::Multi(_), _)) if terms.len() == 1 => Ok(terms[0].0.clone()),
        Some((Vector::Multi(_), _)) => {
            Err(SearchError::Question("strategy best_score or sum_scores for multi-vectors"))
        }
        None => Err(mixed),
    }
}
