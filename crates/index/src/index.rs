//! A shape over rows in a code, as one thing with a name.

use crate::any::Before;
use crate::code::paired::Paired;
use crate::guard::Watch;
use crate::spread::spread;
use crate::{
    Account, AnyRows, AnyShape, BuildOptions, Certainty, CodeError, Effort, FileError, FloatRows,
    Hit, IndexSpec, Metric, Row, Rows, SearchError, SearchOptions, SearchResult, Spec, Tuning,
    flat,
};

/// A shape and the rows it was built over, as an [`IndexSpec`] names them. The vectors stay with
/// their owner; `B` holds the bytes of codes.
///
/// ```
/// use kvant_index::{BuildOptions, FloatRows, Index, Metric, SearchOptions};
///
/// let data = [0.0, 0.0, 3.0, 4.0, 1.0, 1.0];
/// let rows = FloatRows::new(&data, 2, Metric::Euclid);
/// let index = Index::build(&"flat,rq4,rerank32".parse()?, rows, &BuildOptions::default())?;
/// let found = index.search(&[0.9, 1.0], &SearchOptions { k: 2, ..Default::default() })?;
/// assert_eq!(found.hits[0].row.0, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Index<'a, B = Vec<u8>> {
    spec: IndexSpec,
    dim: usize,
    metric: Metric,
    shape: AnyShape,
    rows: AnyRows<'a, B>,
    tuning: Option<Tuning>,
    /// What is verified while it is searched.
    watch: Watch,
}

impl<'a> Index<'a> {
    /// Codes `rows` and builds the shape over them.
    ///
    /// # Errors
    /// If the code cannot hold them.
    pub fn build(
        spec: &IndexSpec,
        rows: FloatRows<'a>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, CodeError> {
        Self::made(spec, rows, None, options)
    }

    /// The same, where much may be taken over from what was built `before`.
    pub(crate) fn made(
        spec: &IndexSpec,
        rows: FloatRows<'a>,
        before: Option<Before<'_>>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, CodeError> {
        let (dim, metric) = (rows.dim(), rows.metric());
        // What is kept is of whole builds.
        let stages = options.stages.filter(|_| before.is_none());
        let options = &BuildOptions { stages, ..*options };
        let of_vectors =
            matches!(spec.shape, Spec::Ivf { .. } | Spec::Forest { .. } | Spec::Lsh { .. });
        let (shape, rows) = if of_vectors {
            // The lists say in which order codes lie.
            let shape = AnyShape::first(&spec.shape, &rows, options, || {
                AnyShape::made(&spec.shape, &rows, (spec.block(), before, options))
            });
            let rows = AnyRows::encode_in(spec, rows, (shape.order(), options))?;
            (shape, rows)
        } else {
            let again = rows.view();
            let bytes = AnyRows::for_building(spec, &rows, options);
            let rows = AnyRows::encode(spec, rows, options)?;
            let shape = match &bytes {
                Some(bytes) => {
                    let rows = Paired::new(bytes, again);
                    AnyShape::made(&spec.shape, &rows, (1, before, options))
                }
                None => {
                    AnyShape::made(&spec.shape, &Paired::new(&rows, again), (1, before, options))
                }
            };
            (shape, rows)
        };
        Ok(Self::of_parts(*spec, (dim, metric), shape, rows))
    }
}

impl<'a, B: AsRef<[u8]> + Sync> Index<'a, B> {
    /// An index of parts that fit one another.
    pub(crate) fn of_parts(
        spec: IndexSpec,
        (dim, metric): (usize, Metric),
        shape: AnyShape,
        rows: AnyRows<'a, B>,
    ) -> Self {
        Self { spec, dim, metric, shape, rows, tuning: None, watch: Watch::default() }
    }

    /// The same index, searched as hard as `tuning` says where a search leaves it at
    /// [`Effort::Default`]; a tuning of another shape changes nothing.
    #[must_use]
    pub fn tuned(self, tuning: Tuning) -> Self {
        Self { tuning: Some(tuning).filter(|tuning| tuning.fits(&self.spec)), ..self }
    }

    /// How hard searches try that say nothing of it, where that was found by trying.
    pub fn tuning(&self) -> Option<Tuning> {
        self.tuning
    }

    fn resolved<'o>(&self, options: &SearchOptions<'o>) -> SearchOptions<'o> {
        let tuning = self.tuning.filter(|_| options.effort == Effort::Default);
        let effort = tuning.map_or(options.effort, |tuning| tuning.effort_of(options.k));
        SearchOptions { effort, ..*options }
    }

    /// The same, over a file of which `watch` tells damage.
    pub(crate) fn watched(self, watch: Watch) -> Self {
        Self { watch, ..self }
    }

    /// Brings back what [`shape`](Self::shape) and [`rows`](Self::rows) gave as bytes, over the
    /// vectors it was built from.
    ///
    /// # Errors
    /// If the bytes are not such an index.
    pub fn open(
        spec: &IndexSpec,
        rows: FloatRows<'a>,
        shape: &[u8],
        codes: (Option<B>, Option<B>),
    ) -> Result<Self, FileError> {
        let (dim, metric) = (rows.dim(), rows.metric());
        let shape = AnyShape::from_bytes(shape, rows.len())?;
        if shape.spec() != spec.shape {
            return Err(FileError::Header { name: "shape", got: 0 });
        }
        if !shape.serves(dim, metric) {
            return Err(FileError::Header { name: "shape of other rows", got: dim as u64 });
        }
        let rows = AnyRows::open_in(spec, rows, codes, shape.order())?;
        Ok(Self::of_parts(*spec, (dim, metric), shape, rows))
    }

    /// What is verified while it is searched.
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// What it is.
    pub fn spec(&self) -> IndexSpec {
        self.spec
    }

    /// Which rows are looked at.
    pub fn shape(&self) -> &AnyShape {
        &self.shape
    }

    /// The rows in their code.
    pub fn rows(&self) -> &AnyRows<'a, B> {
        &self.rows
    }

    /// Values of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The measure.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `k` allowed rows closest to `query`, closest first, never fewer than
    /// `min(k, rows allowed)` unless a budget ends it.
    ///
    /// # Errors
    /// If the query or the options do not fit the index, or what was read of its file is damaged.
    pub fn search(
        &self,
        query: &[f32],
        options: &SearchOptions<'_>,
    ) -> Result<SearchResult, SearchError> {
        self.check(query, options)?;
        let options = &self.resolved(options);
        let account = Account::new(&options.budget);
        let met = self.watch.met();
        let hits = self.shape.search_within(&self.rows, query, options, &account);
        self.watch.since(met)?;
        Ok(SearchResult { hits, certainty: self.certainty(options, account.is_cut()) })
    }

    /// The values of a row as they were given, but for the rounding of halves; `None` where no code
    /// holds them.
    ///
    /// # Errors
    /// [`SearchError::Damaged`] if that is not what was written.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn vector(&self, row: Row) -> Result<Option<Vec<f32>>, SearchError> {
        let met = self.watch.met();
        let vector = self.rows.vector(row);
        self.watch.since(met)?;
        Ok(vector)
    }

    /// [`search`](Self::search) for each of `queries`, one after the other in memory, on `threads`
    /// threads (0 counts as 1): the same answers for any number of them.
    ///
    /// # Errors
    /// If the queries are not whole vectors, or as [`search`](Self::search) says of one of them.
    pub fn search_batch(
        &self,
        queries: &[f32],
        options: &SearchOptions<'_>,
        threads: usize,
    ) -> Result<Vec<SearchResult>, SearchError> {
        let whole = queries.chunks_exact(self.dim);
        if !whole.remainder().is_empty() {
            let got = whole.remainder().len();
            return Err(SearchError::Dimension { expected: self.dim, got });
        }
        let queries: Vec<&[f32]> = whole.collect();
        queries.iter().try_for_each(|query| self.check(query, options))?;
        let options = &self.resolved(options);
        let met = self.watch.met();
        let found = self.shape.search_batch(&self.rows, &queries, options, threads);
        self.watch.since(met)?;
        let result = |(hits, cut)| SearchResult { hits, certainty: self.certainty(options, cut) };
        Ok(found.into_iter().map(result).collect())
    }

    /// Every allowed row at most `radius` from `query` by its best code, closest first. The radius
    /// is a distance as hits have it: squared for [`Metric::Euclid`](crate::Metric::Euclid). O(n).
    ///
    /// # Errors
    /// If the query or the allowed set does not fit the index, or as [`search`](Self::search) says
    /// of its file.
    pub fn range(
        &self,
        query: &[f32],
        radius: f32,
        options: &SearchOptions<'_>,
    ) -> Result<SearchResult, SearchError> {
        self.check(query, &SearchOptions { k: 1, ..*options })?;
        let account = Account::new(&options.budget);
        let met = self.watch.met();
        let hits = flat::range(self.rows.best(), query, (radius, options.allowed), &account);
        self.watch.since(met)?;
        let every = SearchOptions { effort: Effort::Exact, ..*options };
        Ok(SearchResult { hits, certainty: self.certainty(&every, account.is_cut()) })
    }

    /// How sure an answer is that was `cut` short or not.
    pub(crate) fn certainty(&self, options: &SearchOptions<'_>, cut: bool) -> Certainty {
        match cut {
            true => Certainty::Truncated,
            false if self.is_exact(options.effort) => Certainty::Exact,
            false => Certainty::Bounded,
        }
    }

    /// Whether a search of such an effort finds the true nearest.
    pub(crate) fn is_exact(&self, effort: Effort) -> bool {
        match (effort, self.spec.shape) {
            (Effort::Exact, _) => self.rows.best().is_exact(),
            (_, shape) => shape == Spec::Flat && self.rows.is_exact(),
        }
    }

    /// Refuses a query or options that do not fit.
    pub(crate) fn check(
        &self,
        query: &[f32],
        options: &SearchOptions<'_>,
    ) -> Result<(), SearchError> {
        let (expected, got) = (self.dim, query.len());
        if expected != got {
            return Err(SearchError::Dimension { expected, got });
        }
        if let Some(at) = query.iter().position(|x| !x.is_finite()) {
            return Err(SearchError::NotFinite { at });
        }
        let (expected, got) = (self.len(), options.allowed.map_or(self.len(), crate::Bitmap::len));
        if expected != got {
            return Err(SearchError::Allowed { expected, got });
        }
        if options.k == 0 { Err(SearchError::Nothing) } else { Ok(()) }
    }
}

impl AnyShape {
    /// [`search`](Self::search) for each query on `threads` threads (0 counts as 1), the same
    /// answers for any number of them unless a deadline or a flag ends them: whether that is so
    /// stands beside each answer.
    ///
    /// # Panics
    /// As [`search`](Self::search).
    pub fn search_batch<R: Rows<Query = [f32]>>(
        &self,
        rows: &R,
        queries: &[&[f32]],
        options: &SearchOptions<'_>,
        threads: usize,
    ) -> Vec<(Vec<Hit>, bool)> {
        let every = matches!(self, Self::Flat(_)) || options.effort == Effort::Exact;
        let states = &mut vec![(); threads.max(1)];
        if every && options.k > 0 {
            flat::assert_fits(options.allowed, rows.len());
            let share = queries.len().div_ceil(threads.max(1)).max(1);
            let parts: Vec<&[&[f32]]> = queries.chunks(share).collect();
            let found = spread_all(&parts, |part| {
                let account = Account::new(&options.budget);
                let found = rows.nearest_all(part, options, &account)?;
                Some(found.into_iter().map(|hits| (hits, account.is_cut())).collect())
            });
            if let Some(found) = found {
                return found;
            }
        }
        if let Self::Ivf(ivf) = self {
            let parts: Vec<&[&[f32]]> =
                queries.chunks(queries.len().div_ceil(threads.max(1)).max(1)).collect();
            let found = spread_all(&parts, |part| Some(ivf.search_batch(rows, part, options)));
            return found.unwrap_or_default();
        }
        spread(states, queries.len(), |(), at| {
            let account = Account::new(&options.budget);
            let hits = self.search_within(rows, queries[at], options, &account);
            (hits, account.is_cut())
        })
    }
}

/// What `work` gives for every part, one part a thread; `None` if it is for any.
fn spread_all<Q: Sync, T: Send>(
    parts: &[Q],
    work: impl Fn(&Q) -> Option<Vec<T>> + Sync,
) -> Option<Vec<T>> {
    let found: Vec<Option<Vec<T>>> = std::thread::scope(|scope| {
        let work = &work;
        let run = |part| scope.spawn(move || work(part));
        let others: Vec<_> = parts.iter().skip(1).map(run).collect();
        let own = parts.first().map(work);
        let others = others
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        own.into_iter().chain(others).collect()
    });
    found.into_iter().collect::<Option<Vec<_>>>().map(|all| all.into_iter().flatten().collect())
}
