//! Searching by examples: rows like some vectors and unlike others.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;

use crate::key::key;
use crate::{
    Account, AnyShape, Effort, Hit, Index, Metric, Row, Rows, Scorer, SearchError, SearchOptions,
    SearchResult, flat,
};

/// Candidates of a walk that says nothing of it: the best rows by examples lie in several places,
/// and at the edges of what a target wants.
const EF_LEAST: usize = 192;
/// Candidates per wanted row of such a walk.
const EF_PER_K: usize = 8;
/// Rows near each example that rows are to be like, at which a walk begins.
const NEAR: usize = 4;
/// Candidates of the walk that finds them.
const NEAR_EF: usize = 32;
/// Other rows at which it begins: what is far from every example may lie anywhere.
const SPREAD: usize = 32;

/// Vectors, and what makes of a row's similarities to them one score, higher for better rows.
///
/// `s(v)` is the similarity of a row to `v` ([`Metric::similarity`]): a cosine, a product, or a
/// distance with a minus, squared for [`Metric::Euclid`]. `σ(x) = (x/(1 + |x|) + 1)/2` is between 0
/// and 1.
#[derive(Clone, Debug, PartialEq)]
pub enum Examples<V = Vec<f32>> {
    /// By the example that is nearest: `σ(s⁺)` where the most similar of the positive ones, at
    /// `s⁺`, is more so than the most similar negative one, at `s⁻`, else `−σ(s⁻)`. Without
    /// positive ones the rows farthest from all negative ones are best.
    Best {
        /// Rows are to be like any of them.
        positive: Vec<V>,
        /// And like none of these.
        negative: Vec<V>,
    },
    /// By all of them: `Σ s(positive) − Σ s(negative)`.
    Sum {
        /// Rows are to be like all of them.
        positive: Vec<V>,
        /// And unlike all of these.
        negative: Vec<V>,
    },
    /// Rows like a target on the right side of pairs: `σ(s(target)) + Σ sign(s(p) − s(n))` over
    /// the pairs, so that the sides come first, and among equals the target.
    Discover {
        /// Rows are to be like it.
        target: V,
        /// Pairs `(p, n)`: rows are to be nearer to the first than to the second.
        context: Vec<(V, V)>,
    },
    /// Rows on the right side of all pairs, whatever they are like: `Σ min(d/(1 + |d|), 0)` where
    /// `d = s(p) − s(n) − ε`, a loss as of triplets; 0 is the best there is, and the score of many.
    Context {
        /// Pairs `(p, n)`: rows are to be nearer to the first than to the second.
        context: Vec<(V, V)>,
    },
    /// `Σ w·s(v)` over vectors and their weights, which may be below 0. Feedback on what was found
    /// is of this form: `a·s(target) + Σ c·(confidence)ᵇ·(s(p) − s(n))`.
    Weighted(Vec<(V, f32)>),
}

impl<V> Examples<V> {
    /// All vectors, in the order in which [`score`](Self::score) counts their similarities.
    pub fn vectors(&self) -> Vec<&V> {
        match self {
            Self::Best { positive, negative } | Self::Sum { positive, negative } => {
                positive.iter().chain(negative).collect()
            }
            Self::Discover { target, context } => {
                let context = context.iter().flat_map(|(p, n)| [p, n]);
                [target].into_iter().chain(context).collect()
            }
            Self::Context { context } => context.iter().flat_map(|(p, n)| [p, n]).collect(),
            Self::Weighted(terms) => terms.iter().map(|(vector, _)| vector).collect(),
        }
    }

    /// Those that rows are to be like.
    pub fn toward(&self) -> Vec<&V> {
        match self {
            Self::Best { positive, .. } | Self::Sum { positive, .. } => positive.iter().collect(),
            Self::Discover { target, context } => {
                [target].into_iter().chain(context.iter().map(|(p, _)| p)).collect()
            }
            Self::Context { context } => context.iter().map(|(p, _)| p).collect(),
            Self::Weighted(terms) => {
                terms.iter().filter(|(_, weight)| *weight > 0.0).map(|(v, _)| v).collect()
            }
        }
    }

    /// The score of a row whose similarities to [`vectors`](Self::vectors) are `similarity` of
    /// their places; NaN where one of them is.
    pub fn score(&self, similarity: impl Fn(usize) -> f32) -> f32 {
        let pair = |at: usize| (similarity(at), similarity(at + 1));
        match self {
            Self::Best { positive, negative } => {
                let count = positive.len();
                let near = most((0..count).map(&similarity));
                let far = most((count..count + negative.len()).map(&similarity));
                match near.partial_cmp(&far) {
                    None => f32::NAN,
                    Some(std::cmp::Ordering::Greater) => squashed(near),
                    Some(_) => 0.0 - squashed(far),
                }
            }
            Self::Sum { positive, negative } => {
                let count = positive.len();
                let near: f32 = (0..count).map(&similarity).sum();
                near - (count..count + negative.len()).map(&similarity).sum::<f32>()
            }
            Self::Discover { context, .. } => {
                let side = |at: usize| {
                    let (near, far) = pair(1 + 2 * at);
                    near.partial_cmp(&far).map_or(f32::NAN, |order| f32::from(order as i8))
                };
                (0..context.len()).map(side).sum::<f32>() + squashed(similarity(0))
            }
            Self::Context { context } => {
                let loss = |at: usize| {
                    let (near, far) = pair(2 * at);
                    let apart = near - far - f32::EPSILON;
                    let loss = if apart > 0.0 { 0.0 } else { apart };
                    if loss == f32::NEG_INFINITY { -1.0 } else { loss / (1.0 - loss) }
                };
                (0..context.len()).map(loss).sum()
            }
            Self::Weighted(terms) => {
                terms.iter().enumerate().map(|(at, (_, weight))| weight * similarity(at)).sum()
            }
        }
    }
}

/// The largest; NaN if one is.
fn most(similarities: impl Iterator<Item = f32>) -> f32 {
    similarities.fold(f32::NEG_INFINITY, |most, s| {
        if most.is_nan() || s.is_nan() { f32::NAN } else { most.max(s) }
    })
}

/// `σ`.
fn squashed(x: f32) -> f32 {
    if x.is_infinite() {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    0.5 * (x / (1.0 + x.abs()) + 1.0)
}

/// Rows measured by [`Examples`] instead of one query: their distance is the score with a minus.
///
/// `V` is what owns a query of `R`: `Vec<f32>` for dense rows, [`Sparse`](crate::Sparse) or
/// `Vec<Vec<f32>>`. A distance costs one of `R` for each example.
pub struct ExampleRows<'r, R: Rows, V> {
    /// What finds, and what chooses.
    rows: (&'r R, &'r R),
    alike: fn(&R::Query) -> f32,
    vectors: PhantomData<fn(V)>,
}

impl<R: Rows, V> fmt::Debug for ExampleRows<'_, R, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExampleRows").field("len", &self.rows.0.len()).finish_non_exhaustive()
    }
}

impl<'r, R: Rows, V: Borrow<R::Query>> ExampleRows<'r, R, V> {
    /// `rows`, whose similarity to a query is `alike` of it minus their distance: 1 for cosines,
    /// the number of its vectors for sums of cosines, else 0.
    pub fn new(rows: &'r R, alike: fn(&R::Query) -> f32) -> Self {
        Self::refined(rows, rows, alike)
    }

    /// The same in two codes: `rows` to find, `best` to measure what was found again.
    fn refined(rows: &'r R, best: &'r R, alike: fn(&R::Query) -> f32) -> Self {
        Self { rows: (rows, best), alike, vectors: PhantomData }
    }

    fn scorer_over<'q>(
        &'q self,
        rows: &'q R,
        examples: &'q Examples<V>,
    ) -> ExampleScorer<'q, R, V> {
        let vectors = examples.vectors();
        let each = |vector: &'q V| {
            let query: &'q R::Query = vector.borrow();
            (rows.scorer(query), (self.alike)(query))
        };
        let scorers = vectors.into_iter().map(each).collect();
        ExampleScorer { scorers, examples: Some(examples), distances: Vec::new() }
    }
}

impl<R: Rows, V: Borrow<R::Query>> Rows for ExampleRows<'_, R, V> {
    type Query = Examples<V>;
    type Scorer<'q>
        = ExampleScorer<'q, R, V>
    where
        Self: 'q;

    fn len(&self) -> usize {
        self.rows.0.len()
    }

    fn scorer<'q>(&'q self, query: &'q Examples<V>) -> Self::Scorer<'q> {
        self.scorer_over(self.rows.0, query)
    }

    fn scorer_of(&self, row: Row) -> Self::Scorer<'_> {
        let scorers = vec![(self.rows.0.scorer_of(row), 0.0)];
        ExampleScorer { scorers, examples: None, distances: Vec::new() }
    }

    fn candidates(&self, k: usize) -> usize {
        self.rows.0.candidates(k)
    }

    fn refine(&self, query: &Examples<V>, hits: &mut Vec<Hit>) {
        let (rows, best) = self.rows;
        if std::ptr::eq(rows, best) {
            return;
        }
        let found: Vec<Row> = hits.iter().map(|hit| hit.row).collect();
        let mut distances = vec![0.0; found.len()];
        self.scorer_over(best, query).score(&found, &mut distances);
        for (hit, distance) in hits.iter_mut().zip(distances) {
            hit.distance = distance;
        }
        hits.sort_unstable_by_key(|hit| key(hit.distance, hit.row));
    }

    fn is_exact(&self) -> bool {
        self.rows.0.is_exact()
    }
}

/// Distances of [`ExampleRows`].
pub struct ExampleScorer<'q, R: Rows + 'q, V> {
    /// Of each example, with its similarity at no distance.
    scorers: Vec<(R::Scorer<'q>, f32)>,
    /// `None` where the query is a row.
    examples: Option<&'q Examples<V>>,
    /// Of the rows to the first example, then to the next.
    distances: Vec<f32>,
}

impl<R: Rows, V> fmt::Debug for ExampleScorer<'_, R, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExampleScorer")
            .field("examples", &self.scorers.len())
            .finish_non_exhaustive()
    }
}

impl<R: Rows, V> Scorer for ExampleScorer<'_, R, V> {
    fn score(&mut self, rows: &[Row], out: &mut [f32]) {
        let count = rows.len();
        let Some(examples) = self.examples else {
            return self.scorers.iter_mut().for_each(|(scorer, _)| scorer.score(rows, out));
        };
        assert_eq!(count, out.len(), "a distance for each row");
        self.distances.resize(self.scorers.len() * count, 0.0);
        if count == 0 {
            return;
        }
        for ((scorer, _), distances) in
            self.scorers.iter_mut().zip(self.distances.chunks_exact_mut(count))
        {
            scorer.score(rows, distances);
        }
        for (row, out) in out.iter_mut().enumerate() {
            let similarity = |at: usize| self.scorers[at].1 - self.distances[at * count + row];
            *out = 0.0 - examples.score(similarity);
        }
    }
}

impl<B: AsRef<[u8]> + Sync> Index<'_, B> {
    /// The `k` allowed rows of the best score by `examples`, best first; their distances are their
    /// scores with a minus, by the best code there is.
    ///
    /// A graph is walked from the rows near what is wanted and some others, wider than for one
    /// query where the effort leaves it open; under every other shape each allowed row is measured.
    /// Either takes as many distances a row as there are examples.
    ///
    /// # Errors
    /// If there are no examples, one of them or the options do not fit the index, or what was read
    /// of its file is damaged.
    pub fn search_examples(
        &self,
        examples: &Examples,
        options: &SearchOptions<'_>,
    ) -> Result<SearchResult, SearchError> {
        let vectors = examples.vectors();
        if vectors.is_empty() {
            return Err(SearchError::Dimension { expected: self.dim(), got: 0 });
        }
        vectors.iter().try_for_each(|vector| self.check(vector, options))?;
        let (account, met) = (Account::new(&options.budget), self.watch().met());
        let hits = self.walk_examples(examples, options, &account);
        self.watch().since(met)?;
        Ok(SearchResult { hits, certainty: self.certainty(options, account.is_cut()) })
    }

    fn walk_examples(
        &self,
        examples: &Examples,
        options: &SearchOptions<'_>,
        account: &Account<'_>,
    ) -> Vec<Hit> {
        let best = self.rows().best();
        let exact = options.effort == Effort::Exact;
        let alike =
            if self.metric() == Metric::Cosine { |_: &[f32]| 1.0 } else { |_: &[f32]| 0.0 };
        let found = if exact { best } else { self.rows() };
        let rows = ExampleRows::refined(found, best, alike);
        let graph = match self.shape() {
            AnyShape::Hnsw(hnsw) => Some(hnsw),
            AnyShape::Qg(qg) => Some(qg.graph()),
            AnyShape::Flat(_) | AnyShape::Ivf(_) | AnyShape::Forest(_) | AnyShape::Lsh(_) => None,
        };
        let Some(hnsw) = graph.filter(|_| !exact) else {
            return flat::scan(&rows, examples, options, account);
        };
        let ef = match options.effort {
            Effort::Ef(ef) => ef,
            Effort::Default | Effort::Probes(_) | Effort::Exact => {
                options.k.saturating_mul(EF_PER_K).max(EF_LEAST)
            }
        };
        let near = SearchOptions { k: NEAR, effort: Effort::Ef(NEAR_EF), ..*options };
        let mut seeds: Vec<Row> = Vec::new();
        for vector in examples.toward() {
            let hits = hnsw.search_within(found, vector, &near, account);
            seeds.extend(hits.iter().map(|hit| hit.row));
        }
        let len = self.len();
        let step = (len / SPREAD).max(1);
        seeds.extend((0..len).step_by(step).map(|row| Row(row as u32)));
        let options = SearchOptions { effort: Effort::Ef(ef), ..*options };
        hnsw.search_from(&rows, examples, (&options, &seeds), account)
    }
}

#[cfg(test)]
mod tests;
