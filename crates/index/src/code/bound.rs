//! Rows of 2 or 4 bits that bound distances from below, for exact search without reading most rows.
//!
//! A row `x` is held as `x̂ = t·L`, `L` of 4 or 16 whole levels, with `ρ ≥ ‖x − x̂‖`; a query `q`
//! as `q̂ = s·k`, `k` of 8 bits, with `σ ≥ ‖q − q̂‖`. `⟨q̂, x̂⟩ = s·t·Σ L·k` is a whole number
//! times two factors, so that by the triangle inequality and by that of Cauchy and Schwarz
//!
//! ```text
//! ‖q − x‖ ≥ ‖q̂ − x̂‖ − ρ − σ
//! ⟨q, x⟩ ≤ ⟨q̂, x̂⟩ + ‖q‖·ρ + σ·‖x̂‖
//! ```
//!
//! hold for every row and every query. Rounding in f64 is given [`SLACK`] of the size of what is
//! added, that of the norms kept in f32 [`NORM_SLACK`].

use kvant_kernels::{Kernels, PackedQuery, Packing, kernels};
use kvant_quant::kmeans::Points;

use super::coded::{Coded, Head, float_at, metric_code, put_float};
use super::{NUMBERS, check_rows};
use crate::best::Best;
use crate::guard::Guard;
use crate::metric::{norm, scale_of};
use crate::{
    Account, CodeError, FileError, FloatRows, FloatScorer, Hit, Metric, Row, Rows, SearchOptions,
    batch,
};

/// The code byte of [`BoundRows`].
pub(crate) const CODE: u8 = 5;
/// Bytes behind the codes of a row: `t`, `‖x̂‖` and `ρ`, the latter two rounded up.
const FACTORS: usize = 12;
/// Rows of which the levels are learnt, and bins of their histogram.
const SAMPLE: usize = 500;
const BINS: usize = 4096;
/// A few hundred roundings of f64 (`2⁻⁵³` each) and sums of up to 65,535 terms.
const SLACK: f64 = 1e-10;
/// `‖x̂‖²` from a norm rounded up to f32 is at most this much of itself too large.
const NORM_SLACK: f64 = 3e-7;

/// Codes of 2 or 4 bits a dimension and 12 bytes a row, from which distances are bounded.
///
/// The levels are those that lose least (k-means in one dimension, on a sample of the rows over
/// their largest magnitudes); any levels would give true bounds.
#[derive(Debug)]
pub struct BoundRows<B = Vec<u8>> {
    coded: Coded<B>,
    metric: Metric,
    packing: Packing,
    levels: [u8; 16],
}

/// The next f32 that is not less than `value`.
fn up(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) < value { near.next_up() } else { near }
}

fn largest(row: &[f32]) -> f64 {
    f64::from(row.iter().fold(0.0f32, |largest, x| largest.max(x.abs())))
}

/// Levels in −127..=127, rising.
fn learn(rows: &FloatRows<'_>, packing: Packing) -> Vec<i8> {
    let step = (rows.len() / SAMPLE).max(1);
    let sample = rows.data().chunks_exact(rows.dim()).step_by(step);
    let relative = sample.flat_map(|row| {
        let largest = largest(row);
        row.iter().map(move |&x| if largest > 0.0 { (f64::from(x) / largest) as f32 } else { 0.0 })
    });
    let points = Points::binned(&relative.collect::<Vec<_>>(), &[], BINS);
    let centres = points.exact(1 << packing.bits());
    centres.iter().map(|centre| (centre * 127.0).round().clamp(-127.0, 127.0) as i8).collect()
}

impl BoundRows {
    /// Codes `rows`. O(n·dim).
    ///
    /// # Errors
    /// If a value is not finite, there are too many dimensions, or the measure is Manhattan.
    pub fn encode(rows: &FloatRows<'_>, packing: Packing) -> Result<Self, CodeError> {
        check_rows(rows)?;
        let (dim, len, metric) = (rows.dim(), rows.len(), rows.metric());
        if metric == Metric::Manhattan {
            let code = format!("bound{}", packing.bits());
            return Err(CodeError::Metric { code, metric, allowed: "cosine, dot or euclid" });
        }
        let levels = learn(rows, packing);
        let params = (0..16).map(|code| f32::from(levels[code % levels.len()]));
        let detail = packing.bits() as u32;
        let head = Head { code: CODE, metric: metric_code(metric), dim, detail, len, seed: 0 };
        let mut coded = Coded::new(head, params.collect(), packing.bytes(dim) + FACTORS);
        let edges: Vec<f64> =
            levels.windows(2).map(|w| f64::midpoint(w[0].into(), w[1].into())).collect();
        let mut codes = vec![0; dim];
        for (bytes, row) in coded.rows_mut().zip(rows.data().chunks_exact(dim)) {
            let largest = largest(row);
            let per_level = if largest > 0.0 { 127.0 / largest } else { 0.0 };
            for (code, &x) in codes.iter_mut().zip(row) {
                let x = f64::from(x) * per_level;
                *code = edges.iter().map(|&edge| u8::from(x > edge)).sum();
            }
            let (bits, count) = (packing.bits(), packing.per_byte());
            for (at, code) in codes.iter().enumerate() {
                bytes[at / count] |= code << (at % count * bits);
            }
            put_factors(&mut bytes[packing.bytes(dim)..], row, |at| levels[codes[at] as usize]);
        }
        Ok(Self::over(coded, metric, packing))
    }
}

fn put_factors(bytes: &mut [u8], row: &[f32], level: impl Fn(usize) -> i8) {
    let pairs = || row.iter().enumerate().map(|(at, &x)| (f64::from(x), f64::from(level(at))));
    let size: f64 = pairs().map(|(_, l)| l * l).sum();
    let along: f64 = pairs().map(|(x, l)| x * l).sum();
    let factor = if size > 0.0 { (along / size) as f32 } else { 0.0 };
    let t = f64::from(factor);
    let rest: f64 = pairs().map(|(x, l)| (x - t * l).powi(2)).sum();
    put_float(bytes, 0, factor);
    put_float(bytes, 4, up(t.abs() * size.sqrt() * (1.0 + SLACK)));
    put_float(bytes, 8, up(rest.sqrt() * (1.0 + SLACK)));
}

impl<B: AsRef<[u8]>> BoundRows<B> {
    fn over(coded: Coded<B>, metric: Metric, packing: Packing) -> Self {
        let level = |code: usize| (coded.params[code].clamp(-127.0, 127.0) + 128.0) as u8;
        let levels = std::array::from_fn(level);
        Self { coded, metric, packing, levels }
    }

    /// Reads what [`to_bytes`](Self::to_bytes) gave, borrowing it.
    ///
    /// # Errors
    /// If the bytes are not exactly such rows, `len` of them.
    pub fn open(bytes: B, len: usize) -> Result<Self, FileError> {
        let packing = |head: &Head| match head.detail {
            2 => Ok(Packing::Two),
            4 => Ok(Packing::Four),
            got => Err(FileError::Header { name: "bits of a code", got: got.into() }),
        };
        let coded = Coded::open(bytes, len, |head| match head.code {
            CODE => Ok((16, packing(head)?.bytes(head.dim) + FACTORS)),
            got => Err(FileError::Shape { got }),
        })?;
        let (metric, packing) = (coded.head.dense_metric()?, packing(&coded.head)?);
        if metric == Metric::Manhattan {
            return Err(FileError::Header { name: "metric", got: coded.head.metric.into() });
        }
        Ok(Self::over(coded, metric, packing))
    }

    /// Values of a row.
    pub fn dim(&self) -> usize {
        self.coded.head.dim
    }

    /// The measure.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Bits of a dimension.
    pub fn packing(&self) -> Packing {
        self.packing
    }

    /// The rows as bytes, the same on every machine.
    pub fn to_bytes(&self) -> &[u8] {
        self.coded.bytes()
    }
}

/// A query and its rounding.
struct Near {
    packed: PackedQuery,
    /// 128 times the sum of its whole numbers.
    shift: i64,
    scale: f64,
    /// `‖q̂‖²`.
    square: f64,
    /// `‖q‖`, rounded up.
    length: f64,
    /// `σ`.
    rest: f64,
    euclid: bool,
}

impl Near {
    fn new(query: &[f32], rows: &BoundRows<impl AsRef<[u8]>>) -> Self {
        let largest = largest(query);
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        let codes: Vec<i8> = query.iter().map(|&q| (f64::from(q) / scale).round() as i8).collect();
        let wide = || codes.iter().map(|&code| f64::from(code));
        let rest: f64 =
            query.iter().zip(wide()).map(|(&q, k)| (f64::from(q) - scale * k).powi(2)).sum();
        Self {
            packed: PackedQuery::new(&codes, rows.packing, &rows.levels),
            shift: 128 * codes.iter().map(|&code| i64::from(code)).sum::<i64>(),
            scale,
            square: scale * scale * wide().map(|k| k * k).sum::<f64>(),
            length: norm(query) * (1.0 + SLACK),
            rest: rest.sqrt() * (1.0 + SLACK),
            euclid: rows.metric == Metric::Euclid,
        }
    }

    /// `‖q̂ − x̂‖²` or `−⟨q̂, x̂⟩` less all rounding, and what the true distance may differ by: the
    /// lower and the upper bound follow from these two.
    #[inline]
    fn estimate(&self, sum: i32, factors: &[u8]) -> (f64, f64) {
        let (t, size) = (f64::from(float_at(factors, 0)), f64::from(float_at(factors, 4)));
        let rho = f64::from(float_at(factors, 8));
        let product = self.scale * t * (i64::from(sum) - self.shift) as f64;
        if self.euclid {
            let square = size * size;
            let slack = NORM_SLACK * square + SLACK * (square + self.square);
            (self.square + square - 2.0 * product - slack, rho + self.rest)
        } else {
            let apart = self.length * rho + self.rest * size;
            (-product, apart * (1.0 + SLACK) + SLACK * self.length * size)
        }
    }

    /// The lower bound of the distance.
    fn low(&self, (near, apart): (f64, f64)) -> f64 {
        let low = if self.euclid {
            (near.max(0.0).sqrt() - apart).max(0.0).powi(2) * (1.0 - SLACK)
        } else {
            near - apart
        };
        // Norms past f32: nothing is known.
        if low.is_nan() { f64::NEG_INFINITY } else { low }
    }

    /// An upper bound of the distance.
    fn high(&self, (near, apart): (f64, f64), factors: &[u8]) -> f64 {
        if self.euclid {
            let square = f64::from(float_at(factors, 4)).powi(2);
            let slack = 2.0 * (NORM_SLACK * square + SLACK * (square + self.square));
            ((near + slack).max(0.0).sqrt() + apart).powi(2) * (1.0 + SLACK)
        } else {
            near + apart
        }
    }
}

/// The distance in f64: squared, or the negative product.
pub(crate) fn measure(euclid: bool, query: &[f32], row: &[f32]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0f64; LANES];
    let term = |q: f32, x: f32| {
        let (q, x) = (f64::from(q), f64::from(x));
        if euclid { (q - x) * (q - x) } else { -q * x }
    };
    let (q_body, q_tail) = query.as_chunks::<LANES>();
    let (x_body, x_tail) = row.as_chunks::<LANES>();
    for (q, x) in q_body.iter().zip(x_body) {
        for lane in 0..LANES {
            sums[lane] += term(q[lane], x[lane]);
        }
    }
    let tail: f64 = q_tail.iter().zip(x_tail).map(|(&q, &x)| term(q, x)).sum();
    sums.iter().sum::<f64>() + tail
}

/// Rows of f32 with codes that bound their distances: searches of every row are exact in f64 and
/// read few of them.
///
/// Distances one by one (for graphs) are those of the f32 rows.
#[derive(Debug)]
pub struct ProvenRows<'a, B = Vec<u8>> {
    bounds: BoundRows<B>,
    rows: FloatRows<'a>,
    /// What verifies both, where they lie in a file.
    guards: Option<(Guard, Guard)>,
}

impl<'a, B: AsRef<[u8]> + Sync> ProvenRows<'a, B> {
    /// `bounds` are the codes of `rows`: of others, answers would be wrong.
    ///
    /// # Panics
    /// If they differ in number, dimension or measure.
    pub fn new(bounds: BoundRows<B>, rows: FloatRows<'a>) -> Self {
        assert_eq!(bounds.coded.head.len, rows.len(), "codes of other rows");
        assert_eq!((bounds.dim(), bounds.metric), (rows.dim(), rows.metric()), "other rows");
        Self { bounds, rows, guards: None }
    }

    /// The same, verified by `guards` of the codes and of the rows before they are read.
    pub(crate) fn guarded(self, guards: Option<(Guard, Guard)>) -> Self {
        Self { guards, ..self }
    }

    /// The codes.
    pub fn bounds(&self) -> &BoundRows<B> {
        &self.bounds
    }

    /// The values of a row, verified.
    pub(crate) fn vector(&self, row: Row) -> &[f32] {
        if let Some((_, rows)) = &self.guards {
            rows.touch(std::iter::once(row.0));
        }
        self.rows.vector(row)
    }

    /// All values of the rows.
    pub(crate) fn data(&self) -> &[f32] {
        self.rows.data()
    }

    /// Rows whose lower bound reaches the best upper bounds met so far, with that lower bound.
    fn survivors(
        &self,
        near: &Near,
        options: &SearchOptions<'_>,
        account: &Account<'_>,
    ) -> Vec<(f64, u32)> {
        let mut uppers = Best::new(options.k);
        let mut reach = f64::INFINITY;
        let mut found = Vec::new();
        let codes = self.bounds.packing.bytes(self.bounds.dim());
        let mut sums = [0; NUMBERS];
        let table: &Kernels = kernels();
        self.each_part(options, account, |numbers| {
            if let Some((codes, _)) = &self.guards {
                codes.touch(numbers.iter().copied());
            }
            let picked = self.bounds.coded.picked(numbers);
            table.pick_packed(picked, &near.packed, &mut sums[..numbers.len()]);
            let root = if near.euclid { reach.max(0.0).sqrt() } else { reach };
            for (&row, &sum) in numbers.iter().zip(&sums) {
                let factors = &self.bounds.coded.row(row)[codes..];
                let (estimate, apart) = near.estimate(sum, factors);
                let limit =
                    if near.euclid { (root + apart) * (root + apart) } else { root + apart };
                // What is not a number must be measured.
                let limit = limit + SLACK * limit.abs();
                if estimate > limit {
                    continue;
                }
                uppers.offer(row, near.high((estimate, apart), factors));
                found.push((near.low((estimate, apart)), row));
            }
            reach = uppers.reach();
        });
        found
    }

    /// Hands out the allowed rows, at most [`NUMBERS`] at a time, as long as it may.
    fn each_part(
        &self,
        options: &SearchOptions<'_>,
        account: &Account<'_>,
        mut give: impl FnMut(&[u32]),
    ) {
        let mut numbers = [0; NUMBERS];
        let mut every = 0..self.rows.len() as u32;
        let mut chosen = options.allowed.map(crate::Bitmap::iter);
        loop {
            let mut count = 0;
            while count < NUMBERS {
                let next = match &mut chosen {
                    None => every.next(),
                    Some(chosen) => chosen.next().map(|row| row.0),
                };
                let Some(row) = next else { break };
                numbers[count] = row;
                count += 1;
            }
            if count == 0 {
                return;
            }
            let granted = account.grant(count);
            give(&numbers[..granted]);
            if granted < count {
                return;
            }
        }
    }
}

impl<B: AsRef<[u8]> + Sync> Rows for ProvenRows<'_, B> {
    type Query = [f32];
    type Scorer<'q>
        = FloatScorer<'q>
    where
        Self: 'q;

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn scorer<'q>(&'q self, query: &'q [f32]) -> FloatScorer<'q> {
        self.rows.scorer(query)
    }

    fn scorer_of(&self, row: Row) -> FloatScorer<'_> {
        self.rows.scorer_of(row)
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn vectors(&self) -> Option<FloatRows<'_>> {
        Some(self.rows.view())
    }

    fn nearest(
        &self,
        query: &[f32],
        options: &SearchOptions<'_>,
        account: &Account<'_>,
    ) -> Option<Vec<Hit>> {
        assert_eq!(query.len(), self.bounds.dim(), "query of another dimension");
        let near = Near::new(query, &self.bounds);
        let mut found = self.survivors(&near, options, account);
        found.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut best = Best::new(options.k);
        for (at, (low, row)) in found.into_iter().enumerate() {
            // The rest is no closer, and none of it ties.
            if low > best.reach() || (at % NUMBERS == 0 && at > 0 && account.is_late()) {
                break;
            }
            if let Some((_, rows)) = &self.guards {
                rows.touch(std::iter::once(row));
            }
            best.offer(row, measure(near.euclid, query, self.rows.vector(Row(row))));
        }
        Some(best.into_hits(|distance| self.finish(query, distance)))
    }

    fn nearest_all(
        &self,
        queries: &[&[f32]],
        options: &SearchOptions<'_>,
        account: &Account<'_>,
    ) -> Option<Vec<Vec<Hit>>> {
        if !batch::fits(&self.rows, queries, options) {
            return None;
        }
        // In f64 the cosine is put in order by the product it is made of.
        let euclid = self.rows.metric() == Metric::Euclid;
        let metric = if euclid { Metric::Euclid } else { Metric::Dot };
        let exact =
            |query: usize, row: u32| measure(euclid, queries[query], self.rows.vector(Row(row)));
        let best = batch::search(&self.rows, queries, (options, account), (metric, &exact));
        Some(batch::finish(best, |at, distance| self.finish(queries[at], distance)))
    }
}

impl<B> ProvenRows<'_, B> {
    fn finish(&self, query: &[f32], distance: f64) -> f32 {
        match self.rows.metric() {
            Metric::Cosine => (1.0 + distance * f64::from(scale_of(Metric::Cosine, query))) as f32,
            Metric::Dot | Metric::Euclid | Metric::Manhattan => distance as f32,
        }
    }
}
