//! Rows in any code.

use std::ops::Range;
use std::sync::Arc;

use super::ground::{Ground, Guards, fits, lying};
use super::stage::{BUILDING, RERANK};
use crate::code::bit::{BitScorer, SignRows};
use crate::code::bound::{BoundRows, ProvenRows};
use crate::guard::{Guarded, GuardedScorer};
use crate::{
    Account, Axes, BlockScorer, BuildOptions, CodeError, CodeSpec, FileError, FloatRows,
    FloatScorer, Half, HalfRows, HalfScorer, Hit, IndexSpec, Int8Rows, Int8Scorer, Metric, Order,
    Ordered, OrderedScorer, Packing, PqOptions, PqRows, PqScorer, ReadAhead, RerankSpec, Reranked,
    RotatedBlocks, RotatedRows, RotatedScorer, Row, Rows, Scorer, SearchOptions, Spec, Width,
};

/// Dense rows in any code, or in two of them; `B` holds the bytes of a code.
#[derive(Debug)]
pub enum AnyRows<'a, B = Vec<u8>> {
    /// As they came.
    Float(FloatRows<'a>),
    /// 16-bit floats.
    Half(HalfRows<B>),
    /// Bytes.
    Int8(Int8Rows<B>),
    /// Rotated codes.
    Rotated(RotatedRows<B>),
    /// Rotated codes of one bit in blocks.
    Blocks(RotatedBlocks<B>),
    /// Signs.
    Sign(SignRows<B>),
    /// Parts in 4 bits each.
    Product(PqRows<B>),
    /// As they came, with bounds.
    Proven(ProvenRows<'a, B>),
    /// A code that lies in the order of a shape.
    Ordered(Box<Ordered<Self>>),
    /// A code in a file that is verified as it is read.
    Guarded(Box<Guarded<Self>>),
    /// A code to find with and a better one to choose with.
    Reranked(Box<Reranked<Self, Self>>),
}

/// Distances of [`AnyRows`]: the code is told apart once per list of rows.
#[derive(Debug)]
#[expect(missing_docs, reason = "a variant for each of the codes")]
pub enum AnyScorer<'q, B = Vec<u8>> {
    Float(FloatScorer<'q>),
    Half(HalfScorer<'q, B>),
    Int8(Int8Scorer<'q, B>),
    Rotated(RotatedScorer<'q, B>),
    Blocks(BlockScorer<'q, B>),
    Sign(BitScorer<'q, B>),
    Product(PqScorer<'q, B>),
    Ordered(Box<OrderedScorer<'q, Self>>),
    Guarded(Box<GuardedScorer<'q, Self>>),
}

impl<'a> AnyRows<'a> {
    /// Every code there is; each goes with every shape and with every rerank.
    pub const CODES: [CodeSpec; 17] = [
        CodeSpec::Float,
        CodeSpec::Half(Half::F16),
        CodeSpec::Half(Half::Bf16),
        CodeSpec::Int8,
        CodeSpec::Rotated(Width::One),
        CodeSpec::Rotated(Width::Two),
        CodeSpec::Rotated(Width::Three),
        CodeSpec::Rotated(Width::Four),
        CodeSpec::Rotated(Width::Five),
        CodeSpec::Rotated(Width::Six),
        CodeSpec::Rotated(Width::Seven),
        CodeSpec::Rotated(Width::Eight),
        CodeSpec::Sign,
        CodeSpec::Bound(Packing::Two),
        CodeSpec::Bound(Packing::Four),
        CodeSpec::Product { parts: 0 },
        CodeSpec::Opq { parts: 0 },
    ];

    /// Holds `rows` as `spec` says; its shape says only how codes lie. Of the options the seed, the
    /// threads and the rows to learn from count.
    ///
    /// # Errors
    /// If a code cannot hold them: a value that is not finite, too many dimensions, or a measure
    /// that it does not know. `f32` holds everything.
    pub fn encode(
        spec: &IndexSpec,
        rows: FloatRows<'a>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, CodeError> {
        Self::encode_in(spec, rows, (None, options))
    }

    /// The same with what is scanned in the order of a shape. Codes without blocks take a copy of
    /// the rows for a while.
    pub(crate) fn encode_in(
        spec: &IndexSpec,
        rows: FloatRows<'a>,
        (order, options): (Option<&Arc<Order>>, &BuildOptions<'_>),
    ) -> Result<Self, CodeError> {
        let again = rows.view();
        let fast = match (spec.code, order) {
            (CodeSpec::Float, _) => Self::Float(rows),
            (CodeSpec::Bound(packing), _) => {
                Self::Proven(ProvenRows::new(Self::bounds(&rows, packing, options)?, rows))
            }
            (_, None) => Self::code(spec, &rows, (None, options))?,
            (_, Some(order)) => {
                let coded = if spec.in_blocks() {
                    Self::code(spec, &rows, (Some(order), options))?
                } else {
                    let data = lying(&rows, order);
                    let lying = FloatRows::new(&data, rows.dim(), rows.metric());
                    Self::code(spec, &lying, (None, options))?
                };
                Self::Ordered(Box::new(Ordered::new(coded, Arc::clone(order))))
            }
        };
        let Some((rerank, factor)) = spec.rerank else { return Ok(fast) };
        let exact = match rerank {
            RerankSpec::Float => Self::Float(again),
            RerankSpec::Sixteen => Self::Half(HalfRows::encode(&again, Half::F16)?),
            RerankSpec::Eight => Self::eight_bits(RERANK, &again, options)?,
        };
        Ok(Self::Reranked(Box::new(Reranked::new(fast, exact, factor))))
    }

    /// Rows in a code that holds bytes of its own.
    pub(super) fn encoded(
        spec: &IndexSpec,
        rows: &FloatRows<'_>,
        (order, options): (Option<&Arc<Order>>, &BuildOptions<'_>),
    ) -> Result<Self, CodeError> {
        let &BuildOptions { seed, threads, training, .. } = options;
        let order = order.map(AsRef::as_ref);
        let product = |parts, axes| {
            let options = PqOptions { parts, axes, training, seed, threads };
            PqRows::encode(rows, order, &options).map(Self::Product)
        };
        Ok(match spec.code {
            CodeSpec::Half(half) => Self::Half(HalfRows::encode(rows, half)?),
            CodeSpec::Int8 => Self::Int8(Int8Rows::encode(rows)?),
            CodeSpec::Rotated(_) if spec.in_blocks() => {
                Self::Blocks(RotatedBlocks::encode(rows, order, options)?)
            }
            CodeSpec::Rotated(width) => Self::Rotated(RotatedRows::encode(rows, width, options)?),
            CodeSpec::Sign => Self::Sign(SignRows::encode(rows)?),
            CodeSpec::Product { parts } => product(parts, Axes::Own)?,
            CodeSpec::Opq { parts } => product(parts, Axes::Learnt)?,
            CodeSpec::Float | CodeSpec::Bound(_) => unreachable!("these borrow the rows"),
        })
    }

    /// Rows of 8 bits to build a graph over where `spec` keeps none: links between near rows come
    /// out the same, and a quarter of the bytes is read. `None` where there are some, where no
    /// distance between rows is asked for, or where 8 bits cannot hold them.
    pub(crate) fn for_building(
        spec: &IndexSpec,
        rows: &FloatRows<'a>,
        options: &BuildOptions<'_>,
    ) -> Option<Self> {
        let kept = matches!(spec.code, CodeSpec::Int8 | CodeSpec::Rotated(Width::Eight))
            && spec.rerank.is_none()
            || spec.rerank.is_some_and(|(rerank, _)| rerank == RerankSpec::Eight);
        if kept || spec.shape == Spec::Flat || rows.metric() == Metric::Manhattan {
            return None;
        }
        Self::eight_bits(BUILDING, rows, options).ok()
    }

    /// Bytes where they lose nothing or nothing else is measured so, else rotated codes: their
    /// error on text embeddings is a sixth.
    pub(super) fn of_eight_bits(
        rows: &FloatRows<'_>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, CodeError> {
        if rows.metric() == Metric::Manhattan || Int8Rows::are_bytes(rows) {
            return Int8Rows::encode(rows).map(Self::Int8);
        }
        RotatedRows::encode(rows, Width::Eight, options).map(Self::Rotated)
    }
}

impl<'a, B: AsRef<[u8]> + Sync> AnyRows<'a, B> {
    /// The rows of `spec` whose codes are `code` and `rerank`, as [`sections`](Self::sections)
    /// gave them, over the rows they were made from; f32 needs no bytes.
    ///
    /// # Errors
    /// If bytes are missing, or are not such codes of as many rows of the same dimension and
    /// measure.
    pub fn open(
        spec: &IndexSpec,
        rows: FloatRows<'a>,
        codes: (Option<B>, Option<B>),
    ) -> Result<Self, FileError> {
        Self::open_in(spec, rows, codes, None)
    }

    /// The same with what is scanned in the order of a shape.
    pub(crate) fn open_in(
        spec: &IndexSpec,
        rows: FloatRows<'a>,
        codes: (Option<B>, Option<B>),
        order: Option<&Arc<Order>>,
    ) -> Result<Self, FileError> {
        let (dim, len, metric) = (rows.dim(), rows.len(), rows.metric());
        let ground = Ground { dim, len, metric, rows: Some(rows), guards: Guards::default() };
        Self::open_over(spec, &ground, codes, order)
    }

    /// [`open`](Self::open), without the rows where no part of it is them.
    pub(crate) fn open_over(
        spec: &IndexSpec,
        ground: &Ground<'a>,
        (code, rerank): (Option<B>, Option<B>),
        order: Option<&Arc<Order>>,
    ) -> Result<Self, FileError> {
        let len = ground.len;
        let missing = FileError::Length { expected: 1, got: 0 };
        let fast = match (spec.code, code) {
            (CodeSpec::Float, _) => Self::floats_of(ground, ReadAhead::First)?,
            (_, None) => return Err(missing),
            (CodeSpec::Bound(_), Some(bytes)) => {
                let bounds = BoundRows::open(bytes, len)?;
                let own = CodeSpec::Bound(bounds.packing());
                fits(ground, (bounds.dim(), Some(bounds.metric())))?;
                if own != spec.code {
                    return Err(FileError::Header { name: "code", got: 0 });
                }
                let guards = ground.guards.both(bounds.to_bytes(), bounds.dim());
                let proven = ProvenRows::new(bounds, ground.rows()?);
                let rows = guards.as_ref().map(|(_, rows)| rows.clone());
                Self::Proven(proven.guarded(guards)).guarded(rows)
            }
            (_, Some(bytes)) => {
                let places = order.map_or(len, |order| order.places());
                let fast = Self::read(bytes, places)?.checked(ground, Some(spec.code))?;
                let ahead = order.map_or(ReadAhead::First, |_| ground.guards.ahead);
                let guard = fast.guard(ground.guards.code.as_ref(), ahead);
                let fast = fast.guarded(guard);
                match order {
                    None => fast,
                    Some(order) => Self::Ordered(Box::new(Ordered::new(fast, Arc::clone(order)))),
                }
            }
        };
        let Some((kind, factor)) = spec.rerank else { return Ok(fast) };
        let exact = match (kind, rerank) {
            (RerankSpec::Float, _) => Self::floats_of(ground, ground.guards.ahead)?,
            (RerankSpec::Eight | RerankSpec::Sixteen, None) => return Err(missing),
            (RerankSpec::Eight | RerankSpec::Sixteen, Some(bytes)) => {
                let exact = Self::read(bytes, len)?.checked(ground, None)?;
                let guard = exact.guard(ground.guards.rerank.as_ref(), ground.guards.ahead);
                exact.guarded(guard)
            }
        };
        Ok(Self::Reranked(Box::new(Reranked::new(fast, exact, factor))))
    }

    /// Rows of whatever code the bytes are.
    pub(super) fn read(bytes: B, len: usize) -> Result<Self, FileError> {
        use crate::code::{bit, half, int8, pq, rotated};
        match bytes.as_ref().get(6).copied() {
            Some(half::CODE) => HalfRows::open(bytes, len).map(Self::Half),
            Some(int8::CODE) => Int8Rows::open(bytes, len).map(Self::Int8),
            Some(rotated::CODE) => RotatedRows::open(bytes, len).map(Self::Rotated),
            Some(bit::CODE) => SignRows::open(bytes, len).map(Self::Sign),
            Some(rotated::block::CODE) => RotatedBlocks::open(bytes, len).map(Self::Blocks),
            Some(pq::CODE | pq::TURNED) => PqRows::open(bytes, len).map(Self::Product),
            Some(got) => Err(FileError::Shape { got }),
            None => Err(FileError::Magic),
        }
    }

    /// The bytes of the code and of what measures again, where they have any.
    pub fn sections(&self) -> (Option<&[u8]>, Option<&[u8]>) {
        match self {
            Self::Float(_) => (None, None),
            Self::Half(rows) => (Some(rows.to_bytes()), None),
            Self::Int8(rows) => (Some(rows.to_bytes()), None),
            Self::Rotated(rows) => (Some(rows.to_bytes()), None),
            Self::Blocks(rows) => (Some(rows.to_bytes()), None),
            Self::Sign(rows) => (Some(rows.to_bytes()), None),
            Self::Product(rows) => (Some(rows.to_bytes()), None),
            Self::Proven(rows) => (Some(rows.bounds().to_bytes()), None),
            Self::Ordered(rows) => rows.inner().sections(),
            Self::Guarded(rows) => rows.inner().sections(),
            Self::Reranked(rows) => (rows.fast().sections().0, rows.exact().sections().0),
        }
    }

    /// The rows as they came, where anything is measured by them.
    pub(crate) fn floats(&self) -> Option<&[f32]> {
        match self {
            Self::Float(rows) => Some(rows.data()),
            Self::Proven(rows) => Some(rows.data()),
            Self::Reranked(rows) => rows.fast().floats().or_else(|| rows.exact().floats()),
            Self::Guarded(rows) => rows.inner().floats(),
            Self::Half(_)
            | Self::Int8(_)
            | Self::Rotated(_)
            | Self::Blocks(_)
            | Self::Sign(_)
            | Self::Product(_)
            | Self::Ordered(_) => None,
        }
    }

    /// The best code there is of each row.
    pub(crate) fn best(&self) -> &Self {
        match self {
            Self::Reranked(rows) => rows.exact().best(),
            Self::Float(_)
            | Self::Half(_)
            | Self::Int8(_)
            | Self::Rotated(_)
            | Self::Blocks(_)
            | Self::Sign(_)
            | Self::Product(_)
            | Self::Ordered(_)
            | Self::Guarded(_)
            | Self::Proven(_) => self,
        }
    }
}

/// Calls the same method of whatever code it is.
macro_rules! of_each {
    ($any:expr, $rows:ident => $call:expr) => {
        match $any {
            AnyRows::Float($rows) => $call,
            AnyRows::Half($rows) => $call,
            AnyRows::Int8($rows) => $call,
            AnyRows::Rotated($rows) => $call,
            AnyRows::Blocks($rows) => $call,
            AnyRows::Sign($rows) => $call,
            AnyRows::Product($rows) => $call,
            AnyRows::Ordered($rows) => $call,
            AnyRows::Guarded($rows) => $call,
            AnyRows::Proven($rows) => $call,
            AnyRows::Reranked($rows) => $call,
        }
    };
}

impl<B: AsRef<[u8]> + Sync> Rows for AnyRows<'_, B> {
    type Query = [f32];
    type Scorer<'q>
        = AnyScorer<'q, B>
    where
        Self: 'q;

    fn len(&self) -> usize {
        of_each!(self, rows => rows.len())
    }

    fn scorer<'q>(&'q self, query: &'q [f32]) -> AnyScorer<'q, B> {
        match self {
            Self::Float(rows) => AnyScorer::Float(rows.scorer(query)),
            Self::Half(rows) => AnyScorer::Half(rows.scorer(query)),
            Self::Int8(rows) => AnyScorer::Int8(rows.scorer(query)),
            Self::Rotated(rows) => AnyScorer::Rotated(rows.scorer(query)),
            Self::Blocks(rows) => AnyScorer::Blocks(rows.scorer(query)),
            Self::Sign(rows) => AnyScorer::Sign(rows.scorer(query)),
            Self::Product(rows) => AnyScorer::Product(rows.scorer(query)),
            Self::Ordered(rows) => AnyScorer::Ordered(Box::new(rows.scorer(query))),
            Self::Guarded(rows) => AnyScorer::Guarded(Box::new(rows.scorer(query))),
            Self::Proven(rows) => AnyScorer::Float(rows.scorer(query)),
            Self::Reranked(rows) => rows.fast().scorer(query),
        }
    }

    fn scorer_of(&self, row: Row) -> AnyScorer<'_, B> {
        match self {
            Self::Float(rows) => AnyScorer::Float(rows.scorer_of(row)),
            Self::Half(rows) => AnyScorer::Half(rows.scorer_of(row)),
            Self::Int8(rows) => AnyScorer::Int8(rows.scorer_of(row)),
            Self::Rotated(rows) => AnyScorer::Rotated(rows.scorer_of(row)),
            Self::Blocks(rows) => AnyScorer::Blocks(rows.scorer_of(row)),
            Self::Sign(rows) => AnyScorer::Sign(rows.scorer_of(row)),
            Self::Product(rows) => AnyScorer::Product(rows.scorer_of(row)),
            Self::Ordered(rows) => AnyScorer::Ordered(Box::new(rows.scorer_of(row))),
            Self::Guarded(rows) => AnyScorer::Guarded(Box::new(rows.scorer_of(row))),
            Self::Proven(rows) => AnyScorer::Float(rows.scorer_of(row)),
            Self::Reranked(rows) => rows.exact().scorer_of(row),
        }
    }

    fn order(&self) -> Option<&Order> {
        of_each!(self, rows => rows.order())
    }

    fn is_scanned(&self) -> bool {
        of_each!(self, rows => rows.is_scanned())
    }

    fn vectors(&self) -> Option<FloatRows<'_>> {
        of_each!(self, rows => rows.vectors())
    }

    fn candidates(&self, k: usize) -> usize {
        of_each!(self, rows => rows.candidates(k))
    }

    fn refine(&self, query: &[f32], hits: &mut Vec<Hit>) {
        of_each!(self, rows => rows.refine(query, hits));
    }

    fn settle(&self, query: &[f32], hits: &mut Vec<Hit>, k: usize) -> bool {
        of_each!(self, rows => rows.settle(query, hits, k))
    }

    fn is_on_disk(&self) -> bool {
        of_each!(self, rows => rows.is_on_disk())
    }

    fn is_exact(&self) -> bool {
        of_each!(self, rows => rows.is_exact())
    }

    fn nearest(
        &self,
        query: &[f32],
        options: &SearchOptions<'_>,
        account: &Account<'_>,
    ) -> Option<Vec<Hit>> {
        of_each!(self, rows => rows.nearest(query, options, account))
    }

    fn nearest_all(
        &self,
        queries: &[&[f32]],
        options: &SearchOptions<'_>,
        account: &Account<'_>,
    ) -> Option<Vec<Vec<Hit>>> {
        of_each!(self, rows => rows.nearest_all(queries, options, account))
    }
}

impl<B: AsRef<[u8]>> Scorer for AnyScorer<'_, B> {
    fn score(&mut self, rows: &[Row], out: &mut [f32]) {
        match self {
            Self::Float(scorer) => scorer.score(rows, out),
            Self::Half(scorer) => scorer.score(rows, out),
            Self::Int8(scorer) => scorer.score(rows, out),
            Self::Rotated(scorer) => scorer.score(rows, out),
            Self::Blocks(scorer) => scorer.score(rows, out),
            Self::Sign(scorer) => scorer.score(rows, out),
            Self::Product(scorer) => scorer.score(rows, out),
            Self::Ordered(scorer) => scorer.score(rows, out),
            Self::Guarded(scorer) => scorer.score(rows, out),
        }
    }

    fn scan(&mut self, places: Range<u32>, reach: f32, found: &mut Vec<Hit>) {
        match self {
            Self::Float(scorer) => scorer.scan(places, reach, found),
            Self::Half(scorer) => scorer.scan(places, reach, found),
            Self::Int8(scorer) => scorer.scan(places, reach, found),
            Self::Rotated(scorer) => scorer.scan(places, reach, found),
            Self::Blocks(scorer) => scorer.scan(places, reach, found),
            Self::Sign(scorer) => scorer.scan(places, reach, found),
            Self::Product(scorer) => scorer.scan(places, reach, found),
            Self::Ordered(scorer) => scorer.scan(places, reach, found),
            Self::Guarded(scorer) => scorer.scan(places, reach, found),
        }
    }

    fn ahead(&self, places: Range<u32>) {
        match self {
            Self::Product(scorer) => scorer.ahead(places),
            Self::Blocks(scorer) => scorer.ahead(places),
            Self::Ordered(scorer) => scorer.ahead(places),
            Self::Guarded(scorer) => scorer.ahead(places),
            Self::Float(scorer) => scorer.ahead(places),
            Self::Half(scorer) => scorer.ahead(places),
            Self::Int8(scorer) => scorer.ahead(places),
            Self::Rotated(scorer) => scorer.ahead(places),
            Self::Sign(_) => {}
        }
    }
}
