//! Product quantization to 4 bits, scanned 32 rows at a time.
//!
//! Jégou et al. (2011): a vector is cut into `M` parts, each kept as the nearest of 16 centroids;
//! a query makes a table of 16 distances for each part, and the distance of a row is the sum of
//! the entries its codes name. André et al. (2019): entries are rounded to 7 bits,
//!
//! ```text
//! distance ≈ Σ least + step·Σ entry,   entry = round((value − least) / step) ≤ 127
//! ```
//!
//! with one `step` for all tables, so that sums are whole numbers of 16 bits
//! ([`kvant_kernels::ScanTables`]). Rows lie in blocks of 32, the last one filled with zeros.

mod table;
mod train;
mod turn;

use std::ops::Range;

use kvant_kernels::{
    BLOCK_ROWS, Kernels, Matrix, PackedF32, Picked, ScanTables, Sum, code_place, kernels,
};

use super::check_rows;
use super::coded::{Coded, Head, metric_code};
use super::lift::{Lift, Lifted};
use crate::metric::norm;
use crate::spread::spread;
use crate::{AXES_MAX, CodeError, FileError, FloatRows, Hit, Metric, Order, Row, Rows, Scorer};

use table::{Lookup, Tables};

/// The code byte of [`PqRows`].
pub(crate) const CODE: u8 = 6;
/// The same along learnt axes.
pub(crate) const TURNED: u8 = 8;
/// Centroids of a part.
const CENTROIDS: usize = kvant_kernels::ENTRIES;
/// Blocks whose sums are kept at a time.
const BLOCKS: usize = 64;
/// Bytes of the next run that are asked for: as much as arrives while memory answers once; the
/// processor sees by itself where a run goes on.
const AHEAD_BYTES: usize = 4096;

/// The axes along which vectors are cut into parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Axes {
    /// Their own.
    #[default]
    Own,
    /// Axes along which less is lost (OPQ: Ge et al., 2013): rows and queries are turned by an
    /// orthogonal matrix learnt from the rows. Up to [`AXES_MAX`](crate::AXES_MAX) dimensions, not
    /// for Manhattan distances; a query costs `dim²` products more.
    Learnt,
}

/// How rows are coded.
#[derive(Clone, Copy, Debug)]
pub struct PqOptions {
    /// Parts of a vector; one for two dimensions where 0.
    pub parts: usize,
    /// What is cut.
    pub axes: Axes,
    /// Rows that centroids are learnt from, at most.
    pub training: usize,
    /// Seed of the sample and of the centroids.
    pub seed: u64,
    /// Threads; 0 counts as 1. Changes only the time taken.
    pub threads: usize,
}

/// Rows of 4 bits for each part of a vector: `⌈M/4⌉·2` bytes a row.
///
/// Any measure. The centroids are learnt from a sample of the rows. Measuring single rows, as walks
/// over graphs do, is slow: a row is spread over its block.
#[derive(Debug)]
pub struct PqRows<B = Vec<u8>> {
    coded: Coded<B>,
    metric: Metric,
    parts: usize,
    lift: Lift,
}

/// The dimensions of part `part` of `parts`.
fn range(part: usize, parts: usize, dim: usize) -> Range<usize> {
    part * dim / parts..(part + 1) * dim / parts
}

impl PqRows {
    /// Codes `rows`, in `order` where there is one. O(n·dim·16), and as much for each of 16
    /// iterations over the sample.
    ///
    /// # Errors
    /// If a value is not finite, there are too many dimensions or more parts than those, or axes
    /// are to be learnt for Manhattan distances.
    pub fn encode(
        rows: &FloatRows<'_>,
        order: Option<&Order>,
        options: &PqOptions,
    ) -> Result<Self, CodeError> {
        check_rows(rows)?;
        let (dim, metric) = (rows.dim(), rows.metric());
        let parts = if options.parts == 0 { dim.div_ceil(2) } else { options.parts };
        if parts > dim {
            return Err(CodeError::Parts { got: parts, most: dim });
        }
        let axes = axes(rows, parts, options)?;
        let packed = (!axes.is_empty()).then(|| PackedF32::new(Matrix::new(&axes, dim, dim)));
        let turned = |rows: &[f32], threads: usize| {
            packed.as_ref().map(|packed| turn::product(rows, packed, threads))
        };
        let mut params = match turned(rows.data(), options.threads) {
            None => train::books(rows, parts, options),
            Some(data) => train::books(&FloatRows::new(&data, dim, metric), parts, options),
        };
        params.extend_from_slice(&axes);
        let len = order.map_or(rows.len(), Order::places);
        let detail = parts as u32;
        let code = if options.axes == Axes::Learnt { TURNED } else { CODE };
        let head = Head { code, metric: metric_code(metric), dim, detail, len, seed: 0 };
        let unit = ScanTables::block_bytes(parts);
        let mut coded = Coded::grouped(head, params, (unit, BLOCK_ROWS));
        let row_at = |place: u32| match order {
            None => Some(Row(place)),
            Some(order) => order.row(place),
        };
        let books = coded.params[..CENTROIDS * dim].to_vec();
        let states = &mut vec![(); options.threads.max(1)];
        let blocks = spread(states, len.div_ceil(BLOCK_ROWS), |(), block| {
            let mut bytes = vec![0; unit];
            let places = block * BLOCK_ROWS..len.min((block + 1) * BLOCK_ROWS);
            for (at, place) in places.enumerate() {
                let Some(row) = row_at(place as u32) else { continue };
                let along = turned(rows.vector(row), 1);
                let row = along.as_deref().unwrap_or_else(|| rows.vector(row));
                for part in 0..parts {
                    let code = train::nearest(row, &books, range(part, parts, dim));
                    let (byte, shift) = code_place(part, at);
                    bytes[byte] |= code << shift;
                }
            }
            bytes
        });
        coded.rows_mut().zip(blocks).for_each(|(to, from)| to.copy_from_slice(&from));
        Ok(Self { coded, metric, parts, lift: Lift::default() })
    }
}

/// The axes to cut along, empty where they are the rows' own.
fn axes(rows: &FloatRows<'_>, parts: usize, options: &PqOptions) -> Result<Vec<f32>, CodeError> {
    let (got, metric) = (rows.dim(), rows.metric());
    if options.axes == Axes::Own {
        return Ok(Vec::new());
    }
    if metric == Metric::Manhattan {
        let code = "opq".into();
        return Err(CodeError::Metric { code, metric, allowed: "cosine, dot or euclid" });
    }
    if got > AXES_MAX {
        return Err(CodeError::Dimension { got, most: AXES_MAX });
    }
    Ok(turn::axes(rows, parts, options))
}

impl<B: AsRef<[u8]>> PqRows<B> {
    /// Reads what [`to_bytes`](Self::to_bytes) gave, borrowing it.
    ///
    /// # Errors
    /// If the bytes are not exactly such rows, `len` of them.
    pub fn open(bytes: B, len: usize) -> Result<Self, FileError> {
        let coded = Coded::open_grouped(bytes, (len, BLOCK_ROWS), |head| {
            let parts = head.detail as usize;
            match head.code {
                CODE | TURNED if parts == 0 || parts > head.dim => {
                    Err(FileError::Header { name: "parts of a code", got: head.detail.into() })
                }
                CODE => Ok((CENTROIDS * head.dim, ScanTables::block_bytes(parts))),
                TURNED if head.dim > AXES_MAX => {
                    Err(FileError::Header { name: "dimension", got: head.dim as u64 })
                }
                TURNED => {
                    let params = (CENTROIDS + head.dim) * head.dim;
                    Ok((params, ScanTables::block_bytes(parts)))
                }
                got => Err(FileError::Shape { got }),
            }
        })?;
        let (metric, parts) = (coded.head.dense_metric()?, coded.head.detail as usize);
        if metric == Metric::Manhattan && coded.head.code == TURNED {
            return Err(FileError::Header { name: "metric", got: coded.head.metric.into() });
        }
        Ok(Self { coded, metric, parts, lift: Lift::default() })
    }

    /// The rows as bytes, the same on every machine.
    pub fn to_bytes(&self) -> &[u8] {
        self.coded.bytes()
    }

    /// Values of a row.
    pub fn dim(&self) -> usize {
        self.coded.head.dim
    }

    /// The measure.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// The axes that rows are cut along.
    pub fn axes(&self) -> Axes {
        if self.coded.head.code == TURNED { Axes::Learnt } else { Axes::Own }
    }

    /// The values of centroids by dimensions, and the learnt axes, if there are any, row by row.
    fn params(&self) -> (&[f32], &[f32]) {
        self.coded.params.split_at(CENTROIDS * self.coded.head.dim)
    }

    /// A query along the axes.
    fn turned(&self, query: &[f32]) -> Option<Vec<f32>> {
        let (_, axes) = self.params();
        let dim = query.len() as u32;
        (!axes.is_empty()).then(|| {
            let (all, mut turned): (Vec<u32>, _) = ((0..dim).collect(), vec![0.0; query.len()]);
            let lines = Picked::new(axes, query.len(), &all);
            kernels().pick_f32(Sum::Product, lines, query, &mut turned);
            turned
        })
    }

    /// Parts of a row.
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> f64 {
        self.coded.stride() as f64 / BLOCK_ROWS as f64
    }

    /// The code of each part of a row.
    fn codes(&self, row: u32) -> impl Iterator<Item = usize> + '_ {
        let block = self.coded.row(row / BLOCK_ROWS as u32);
        let at = row as usize % BLOCK_ROWS;
        (0..self.parts).map(move |part| {
            let (byte, shift) = code_place(part, at);
            usize::from(block[byte] >> shift & 15)
        })
    }

    /// What the codes of a row stand for, along the axes.
    fn decode(&self, row: u32) -> Vec<f32> {
        assert!((row as usize) < self.coded.head.len, "row {row} of {}", self.coded.head.len);
        let (dim, (books, _)) = (self.coded.head.dim, self.params());
        let values = self.codes(row).enumerate().flat_map(|(part, code)| {
            range(part, self.parts, dim).map(move |at| books[at * CENTROIDS + code])
        });
        values.collect()
    }
}

impl<B: AsRef<[u8]> + Sync> Rows for PqRows<B> {
    type Query = [f32];
    type Scorer<'q>
        = PqScorer<'q, B>
    where
        Self: 'q;

    fn len(&self) -> usize {
        self.coded.head.len
    }

    fn scorer<'q>(&'q self, query: &'q [f32]) -> PqScorer<'q, B> {
        assert_eq!(query.len(), self.coded.head.dim, "query of another dimension");
        let turned = self.turned(query);
        let query = turned.as_deref().unwrap_or(query);
        let lookup = Lookup::new(query, self.params().0, (self.metric, self.parts));
        let near = Near::Whole(lookup.round());
        PqScorer { kernels: kernels(), rows: self, near, lifted: None, sums: Vec::new() }
    }

    fn scorer_of(&self, row: Row) -> PqScorer<'_, B> {
        let norms = || (0..self.coded.head.len as u32).map(|row| norm(&self.decode(row))).collect();
        let lifted = (self.metric == Metric::Dot).then(|| Lifted::new(self.lift.of(norms), row));
        let vector = self.decode(row.0);
        // What codes stand for is of unit length but nearly: as products of rows, not of a query.
        let lookup = Lookup::of_row(&vector, self.params().0, (self.metric, self.parts));
        let near = Near::Fine(lookup);
        PqScorer { kernels: kernels(), rows: self, near, lifted, sums: Vec::new() }
    }

    fn is_scanned(&self) -> bool {
        true
    }
}

/// How a query meets the codes.
#[derive(Debug)]
enum Near {
    /// By tables of bytes.
    Whole(Tables),
    /// By tables of f32: between rows, so that distances are the same both ways.
    Fine(Lookup),
}

/// Distances of [`PqRows`] to one query.
#[derive(Debug)]
pub struct PqScorer<'a, B = Vec<u8>> {
    kernels: &'static Kernels,
    rows: &'a PqRows<B>,
    near: Near,
    lifted: Option<Lifted<'a>>,
    sums: Vec<u16>,
}

impl<B: AsRef<[u8]>> Scorer for PqScorer<'_, B> {
    fn score(&mut self, rows: &[Row], out: &mut [f32]) {
        assert_eq!(rows.len(), out.len(), "one distance per row");
        for (&Row(row), out) in rows.iter().zip(out) {
            assert!((row as usize) < self.rows.coded.head.len, "row {row} past the last");
            *out = match &self.near {
                Near::Whole(tables) => tables.distance(tables.sum(self.rows.codes(row))),
                Near::Fine(lookup) => lookup.distance(self.rows.codes(row)),
            };
            if let Some(lifted) = self.lifted {
                *out -= lifted.product(row);
            }
        }
    }

    fn scan(&mut self, places: Range<u32>, reach: f32, found: &mut Vec<Hit>) {
        assert!(places.end as usize <= self.rows.coded.head.len, "places past the last");
        let Near::Whole(tables) = &self.near else {
            for place in places {
                let mut out = [0.0];
                self.score(&[Row(place)], &mut out);
                crate::rows::keep(&[Row(place)], &out, reach, found);
            }
            return;
        };
        let Some(most) = tables.most(reach) else { return };
        let (unit, slab) = (self.rows.coded.stride(), self.rows.coded.slab());
        let blocks = places.start as usize / BLOCK_ROWS..(places.end as usize).div_ceil(BLOCK_ROWS);
        let mut near = Vec::new();
        for from in blocks.clone().step_by(BLOCKS) {
            let to = blocks.end.min(from + BLOCKS);
            self.sums.resize((to - from) * BLOCK_ROWS, 0);
            let bytes = &slab[from * unit..to * unit];
            self.kernels.scan_sums(bytes, tables.scan(), &mut self.sums);
            near.clear();
            self.kernels.scan_below(&self.sums, most, &mut near);
            for &at in &near {
                let place = (from * BLOCK_ROWS) as u32 + at;
                if places.contains(&place) {
                    let distance = tables.distance(self.sums[at as usize]);
                    found.push(Hit { row: Row(place), distance });
                }
            }
        }
    }

    fn ahead(&self, places: Range<u32>) {
        let (unit, slab) = (self.rows.coded.stride(), self.rows.coded.slab());
        let blocks = places.start as usize / BLOCK_ROWS..(places.end as usize).div_ceil(BLOCK_ROWS);
        let run = &slab[blocks.start * unit..blocks.end * unit];
        kvant_kernels::fetch(&run[..run.len().min(AHEAD_BYTES)]);
    }
}

#[cfg(test)]
mod tests;
