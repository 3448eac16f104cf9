//! Many queries at once over rows of f32: a product of bytes says which rows may be near, and only
//! those are measured.
//!
//! Rows are rounded to 8 bits a few at a time, `x̂ = s·c` with `‖x − x̂‖ ≤ ρ = √dim·s/2`; queries
//! once, with `σ = ‖q − q̂‖`. As [`crate::code::bound`] explains, a row closer than the farthest of
//! the best so far (at distance `T`) has
//!
//! ```text
//! ⟨q̂, x̂⟩ ≥ (‖x̂‖² + ‖q̂‖² − (√T + ρ + σ)²) / 2        squared distances
//! ⟨q̂, x̂⟩ ≥ −T − ‖q‖·ρ − σ·‖x̂‖                         products
//! ```
//!
//! and the products of all rows with all queries are one matrix product in whole numbers. What
//! depends on the query goes into its bias, so that one comparison tells. The answers are those of
//! one query after the other, bit for bit: survivors are measured in the same way.

use kvant_kernels::{Matrix, MatrixMut, PackedI8, RowsI8, kernels};

use crate::best::Best;
use crate::metric::{norm, scale_of};
use crate::{Account, Bitmap, FloatRows, Hit, Metric, Row, Rows, SearchOptions};

/// Fewer queries are searched for one by one.
pub(crate) const LEAST: usize = 8;
/// Rows of a step.
const TILE: usize = 48;
/// Bytes of queries that stay in L2 beside the products of a tile.
const QUERY_BYTES: usize = 400 << 10;
const QUERIES_MOST: usize = 1024;
/// Queries with magnitudes outside of this range (0 apart) are left to one after the other, rows
/// with such are measured.
const MAGNITUDES: std::ops::RangeInclusive<f32> = 1e-12..=1e12;
/// Half the distance of 1 to the next f32.
const U: f64 = 1.0 / (1u64 << 24) as f64;

/// Measures a row against a query by its place among the queries, and what such a distance is.
pub(crate) type Measure<'a> = (Metric, &'a dyn Fn(usize, u32) -> f64);

/// Whether products of bytes are worth it, and in the range of f32.
pub(crate) fn fits(rows: &FloatRows<'_>, queries: &[&[f32]], options: &SearchOptions<'_>) -> bool {
    let many = queries.len() >= LEAST && rows.metric() != Metric::Manhattan;
    let share = options.allowed.map_or(rows.len(), Bitmap::count);
    // Every row is rounded, allowed or not; rows that are all wanted need no bounds.
    let worth = share >= rows.len() / 4 && options.k <= share / 8;
    let extreme = |query: &[f32]| {
        let most = query.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        !ordinary(most) || query.iter().any(|x| !x.is_finite())
    };
    // Rows are met for all queries at once, allowed or not: distances are counted one by one.
    let counted = options.budget.distances.is_some();
    many && worth && !counted && !queries.iter().any(|query| extreme(query))
}

/// Whether sums of squares of such magnitudes are far from the ends of f32; not so of NaN.
fn ordinary(magnitude: f32) -> bool {
    magnitude == 0.0 || MAGNITUDES.contains(&magnitude)
}

/// A query and its rounding.
struct Near {
    /// `‖q̂‖²`, `‖q‖` and `σ`.
    square: f64,
    length: f64,
    rest: f64,
    /// One over its length where the measure is the cosine, else 1.
    scale: f64,
    best: Best,
}

/// What holds for all rows of a tile.
#[derive(Clone, Copy)]
struct Widest {
    rho: f64,
    /// The largest `‖x̂‖`.
    size: f64,
}

/// How to search, and the account of all queries together.
pub(crate) type How<'a> = (&'a SearchOptions<'a>, &'a Account<'a>);

/// The `options.k` nearest allowed rows of each query, where [`fits`] says so.
pub(crate) fn search(
    rows: &FloatRows<'_>,
    queries: &[&[f32]],
    how: How<'_>,
    (metric, measure): Measure<'_>,
) -> Vec<Best> {
    let group = (QUERY_BYTES / rows.dim()).clamp(64, QUERIES_MOST);
    let mut found = Vec::with_capacity(queries.len());
    for (at, part) in queries.chunks(group).enumerate() {
        let from = at * group;
        found.extend(search_group(
            rows,
            part,
            how,
            (metric, &|query, row| measure(from + query, row)),
        ));
    }
    found
}

fn search_group(
    rows: &FloatRows<'_>,
    queries: &[&[f32]],
    (options, account): How<'_>,
    (metric, measure): Measure<'_>,
) -> Vec<Best> {
    let (dim, table) = (rows.dim(), kernels());
    let (packed, mut nears) = round_queries(queries, metric, options.k);
    let mut codes = RowsI8::default();
    let mut products = vec![0.0; TILE * queries.len()];
    let (mut bias, mut places) = (vec![0.0; queries.len()], Vec::new());
    for (at, part) in rows.data().chunks(TILE * dim).enumerate() {
        let count = part.len() / dim;
        if account.is_late() {
            break;
        }
        table.quantize_rows(Matrix::new(part, count, dim), &mut codes);
        let sizes: Vec<f64> = (0..count).map(|row| size_of_codes(&codes, row)).collect();
        let widest = widest(&codes, &sizes, dim);
        let plain = (0..count).all(|row| ordinary(codes.scale(row) * 127.0));
        for (bias, near) in bias.iter_mut().zip(&nears) {
            *bias = if plain { near.need(metric, &widest, dim) } else { f32::INFINITY };
        }
        let out = &mut products[..count * queries.len()];
        table.gemm_i8(&codes, &packed, Some(&bias), MatrixMut::new(out, count, queries.len()));
        for (row, values) in out.chunks_exact(queries.len()).enumerate() {
            let number = (at * TILE + row) as u32;
            if options.allowed.is_some_and(|allowed| !allowed.contains(Row(number))) {
                continue;
            }
            let least = if metric == Metric::Euclid { sizes[row] * sizes[row] / 2.0 } else { 0.0 };
            // Rounded to f32 and down.
            let least = (least * (1.0 - 4.0 * U)) as f32;
            places.clear();
            table.reaching(values, least, &mut places);
            for &place in &places {
                let distance = measure(place as usize, number);
                nears[place as usize].best.offer(number, distance);
            }
        }
    }
    nears.into_iter().map(|near| near.best).collect()
}

fn round_queries(queries: &[&[f32]], metric: Metric, k: usize) -> (PackedI8, Vec<Near>) {
    let dim = queries.first().map_or(0, |query| query.len());
    let mut codes = Vec::with_capacity(queries.len() * dim);
    let mut scales = Vec::with_capacity(queries.len());
    let mut nears = Vec::with_capacity(queries.len());
    for query in queries {
        let largest = query.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        let wide = f64::from(scale);
        let (mut square, mut rest) = (0.0, 0.0);
        for &q in *query {
            let code = (f64::from(q) / wide).round().clamp(-127.0, 127.0);
            square += (wide * code).powi(2);
            rest += (f64::from(q) - wide * code).powi(2);
            codes.push(code as i8);
        }
        let (rest, length) = (f64::sqrt(rest) * (1.0 + U), norm(query) * (1.0 + U));
        let unit = f64::from(scale_of(metric, query));
        scales.push(scale);
        nears.push(Near { square, length, rest, scale: unit, best: Best::new(k) });
    }
    (PackedI8::new(Matrix::new(&codes, queries.len(), dim), &scales), nears)
}

/// `‖x̂‖` of a row.
fn size_of_codes(codes: &RowsI8, row: usize) -> f64 {
    let square: i32 = codes.codes(row).map(|code| i32::from(code) * i32::from(code)).sum();
    f64::from(codes.scale(row)) * f64::from(square).sqrt()
}

/// Codes are off by half a scale at most; rows of magnitudes below 1e-30 count as zeros.
fn widest(codes: &RowsI8, sizes: &[f64], dim: usize) -> Widest {
    let scale = (0..codes.rows()).map(|row| codes.scale(row)).fold(0.0f32, f32::max);
    let rho = (f64::from(scale) / 2.0 * (1.0 + 1e-5) + 1e-30) * (dim as f64).sqrt();
    Widest { rho, size: sizes.iter().copied().fold(0.0, f64::max) }
}

impl Near {
    /// What is added to `⟨q̂, x̂⟩` so that rows which may be among the best reach `‖x̂‖²/2`, or 0.
    fn need(&self, metric: Metric, widest: &Widest, dim: usize) -> f32 {
        let (reach, Widest { rho, size }) = (self.best.reach(), *widest);
        if reach == f64::INFINITY {
            return f32::INFINITY;
        }
        // Distances were summed in f32: off by n + 3 units, and by those of the last steps.
        let off = (dim as f64 + 16.0) * U;
        let need = if metric == Metric::Euclid {
            let root = (reach.max(0.0) * (1.0 + 2.0 * off)).sqrt();
            ((root + rho + self.rest).powi(2) - self.square) / 2.0
        } else {
            let own = if metric == Metric::Cosine { (reach - 1.0) / self.scale } else { reach };
            let rounding = off * self.length * (size + rho + 2.0);
            own + rounding + self.length * rho + self.rest * size
        };
        // The product is rounded, and this sum of it; and so is this to f32.
        let slack = 16.0 * U * (self.square.sqrt() * size + need.abs()) + 1e-30;
        ((need + slack) as f32).next_up()
    }
}

/// One after the other, in the order of the queries.
pub(crate) fn finish(best: Vec<Best>, finish: impl Fn(usize, f64) -> f32) -> Vec<Vec<Hit>> {
    let each = |(at, best): (usize, Best)| best.into_hits(|distance| finish(at, distance));
    best.into_iter().enumerate().map(each).collect()
}
