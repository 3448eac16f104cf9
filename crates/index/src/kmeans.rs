//! k-means of vectors: Lloyd's iterations over products of bytes.
//!
//! The nearest of `k` centroids has the least `‖c‖²/2 − ⟨x, c⟩`, so that an assignment is one
//! matrix product. Rows and centroids are rounded to 8 bits for it, as
//! [`Kernels::gemm_i8`](kvant_kernels::Kernels::gemm_i8) says; means and the inertia told are
//! those of the rows as they are. Starts: k-means++ (Arthur & Vassilvitskii, 2007), where that
//! takes too long over candidates oversampled in rounds (Bahmani et al., 2012). Batches: Sculley
//! (2010). For cosine, centroids are of unit length (Dhillon & Modha, 2001).
//!
//! Time O(iterations·n·k·dim), memory n·dim bytes besides the rows (8 bits each). The same seed
//! gives the same clusters on any number of threads and at every SIMD level.

mod assign;
mod balance;
mod mean;
mod silhouette;
mod stage;
mod start;

use std::fmt;
use std::ops::ControlFlow;

use thiserror::Error;

use crate::code::check_rows;
use crate::seed::Draw;
use crate::{BuildOptions, CodeError, FloatRows, Metric, Row, Rows};

pub use silhouette::silhouette;

pub(crate) use assign::packed;
use assign::{Nearest, Points};
use stage::Before;

/// Where the centroids start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// Rows far from one another: fewer iterations, lower inertia.
    #[default]
    PlusPlus,
    /// Rows at random.
    Random,
}

/// What rows are compared with centroids in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// 8 bits: a row whose two nearest centroids are nearly as far may go to the other.
    #[default]
    Bytes,
    /// f32: four times slower.
    Floats,
}

/// What an iteration came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Iteration {
    /// How many are done.
    pub done: usize,
    /// Of how many at most.
    pub of: usize,
    /// The inertia of the clusters about their means, over the rows of the iteration.
    pub inertia: f64,
}

/// What is told after each iteration, and whether to go on.
pub type Watch<'a> = dyn Fn(&Iteration) -> ControlFlow<()> + Sync + 'a;

/// Options of [`kmeans`].
#[derive(Clone, Copy)]
pub struct KmeansOptions<'a> {
    /// Iterations at most.
    pub iterations: usize,
    /// Rows of an iteration; all where `None`.
    pub batch: Option<usize>,
    /// Where the centroids start.
    pub start: Start,
    /// Seed of everything random.
    pub seed: u64,
    /// Threads; 0 counts as 1. Changes only the time taken.
    pub threads: usize,
    /// Iterations end when one lowers the inertia by less than this part of it; 0 for never.
    pub tolerance: f64,
    /// Most rows of a cluster, as a multiple (1 or more) of the mean; any number where `None`.
    pub balance: Option<f64>,
    /// What rows are compared with centroids in.
    pub precision: Precision,
    /// Called after each iteration; `Break` ends with [`KmeansError::Cancelled`].
    pub watch: Option<&'a Watch<'a>>,
}

impl Default for KmeansOptions<'_> {
    fn default() -> Self {
        Self {
            iterations: 25,
            batch: None,
            start: Start::default(),
            seed: 0,
            threads: 1,
            tolerance: 0.0,
            balance: None,
            precision: Precision::default(),
            watch: None,
        }
    }
}

impl fmt::Debug for KmeansOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KmeansOptions")
            .field("iterations", &self.iterations)
            .field("batch", &self.batch)
            .field("start", &self.start)
            .field("seed", &self.seed)
            .field("threads", &self.threads)
            .field("tolerance", &self.tolerance)
            .field("balance", &self.balance)
            .field("precision", &self.precision)
            .field("watch", &self.watch.is_some())
            .finish()
    }
}

/// Clusters of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Clusters {
    /// Values of a centroid.
    pub dim: usize,
    /// The centroids, `k × dim`, row-major; of unit length for cosine.
    pub centroids: Vec<f32>,
    /// The cluster of each row.
    pub assigned: Vec<u32>,
    /// Rows of each cluster.
    pub sizes: Vec<u32>,
    /// The sum of the distances of the rows to the centroids of their clusters: squared for
    /// Euclid, `1 − cos` for cosine.
    pub inertia: f64,
    /// The inertia of each iteration, see [`Iteration::inertia`].
    pub history: Vec<f64>,
}

/// Why rows are not clustered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KmeansError {
    /// No or too many clusters.
    #[error("{k} clusters of {rows} rows: ask for 1 to {rows}")]
    Clusters {
        /// What was asked for.
        k: usize,
        /// Rows there are.
        rows: usize,
    },
    /// A measure without means.
    #[error("no k-means by {0}: use euclid or cosine")]
    Metric(Metric),
    /// An option outside of its range.
    #[error("{name} is {got}: {allowed}")]
    Option {
        /// Which.
        name: &'static str,
        /// What it is.
        got: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// Rows that cannot be clustered.
    #[error(transparent)]
    Rows(#[from] CodeError),
    /// The caller ended it.
    #[error("cancelled after {0} iterations")]
    Cancelled(usize),
}

/// Splits `rows` into `k` clusters. Squared Euclidean distance, or cosine over rows of unit length.
///
/// # Errors
/// If there are fewer rows than clusters, a value is not finite, an option or the measure does not
/// fit, or `watch` said so.
pub fn kmeans(
    rows: &FloatRows<'_>,
    k: usize,
    options: &KmeansOptions<'_>,
) -> Result<Clusters, KmeansError> {
    kmeans_kept(rows, k, options, &BuildOptions::default())
}

/// The same, with iterations over all rows kept as `building` says.
pub(crate) fn kmeans_kept(
    rows: &FloatRows<'_>,
    k: usize,
    options: &KmeansOptions<'_>,
    building: &BuildOptions<'_>,
) -> Result<Clusters, KmeansError> {
    check(rows, k, options)?;
    let mut draw = Draw::new(options.seed);
    let all = Points::new(rows, options);
    let mut run = Run { k, options, centroids: Vec::new(), penalties: vec![0.0; k] };
    let history = match options.batch.filter(|&batch| batch < rows.len()) {
        None => {
            let before = Before::kept(&mut run, &all, building).unwrap_or_else(|| {
                run.centroids = start::centroids(&all, k, &mut draw);
                Before::default()
            });
            run.whole(&all, before, building)?
        }
        Some(batch) => {
            run.centroids = start::centroids(&all, k, &mut draw);
            run.batches(rows, batch, &mut draw)?
        }
    };
    let mut nearest = all.nearest(&run.centroids, &run.penalties);
    if let Some(balance) = options.balance {
        balance::bound(&all, &run.centroids, balance::most(rows.len(), k, balance), &mut nearest);
    }
    let assigned: Vec<u32> = nearest.iter().map(|nearest| nearest.cluster).collect();
    let mut sizes = vec![0; k];
    for &cluster in &assigned {
        sizes[cluster as usize] += 1;
    }
    let inertia = inertia(rows, &run.centroids, &assigned);
    Ok(Clusters { dim: rows.dim(), centroids: run.centroids, assigned, sizes, inertia, history })
}

fn check(rows: &FloatRows<'_>, k: usize, options: &KmeansOptions<'_>) -> Result<(), KmeansError> {
    if k == 0 || k > rows.len() {
        return Err(KmeansError::Clusters { k, rows: rows.len() });
    }
    match rows.metric() {
        Metric::Cosine | Metric::Euclid => {}
        metric @ (Metric::Dot | Metric::Manhattan) => return Err(KmeansError::Metric(metric)),
    }
    if let Some(got) = options.balance.filter(|&most| most.is_nan() || most < 1.0) {
        let allowed = "a multiple of the mean size, 1 or more";
        return Err(KmeansError::Option { name: "balance", got: got.to_string(), allowed });
    }
    if options.batch == Some(0) {
        let allowed = "rows of an iteration, 1 or more";
        return Err(KmeansError::Option { name: "batch", got: "0".to_owned(), allowed });
    }
    Ok(check_rows(rows)?)
}

/// The nearest of `centroids` for each row, finite or not.
pub(crate) fn assign(
    rows: &FloatRows<'_>,
    centroids: &[f32],
    options: &KmeansOptions<'_>,
) -> Vec<u32> {
    let zeros = vec![0.0; centroids.len() / rows.dim()];
    let nearest = Points::new(rows, options).nearest(centroids, &zeros);
    nearest.iter().map(|nearest| nearest.cluster).collect()
}

/// The exact sum of distances, in the order of rows.
fn inertia(rows: &FloatRows<'_>, centroids: &[f32], assigned: &[u32]) -> f64 {
    let (dim, kernels) = (rows.dim(), kvant_kernels::kernels());
    let distance = |(row, &cluster): (u32, &u32)| {
        let (x, c) = (rows.vector(Row(row)), &centroids[cluster as usize * dim..][..dim]);
        f64::from(match rows.metric() {
            Metric::Cosine => 1.0 - kernels.dot_f32(x, c),
            Metric::Euclid | Metric::Dot | Metric::Manhattan => kernels.l2_f32(x, c),
        })
    };
    (0..).zip(assigned).map(distance).sum()
}

/// The state of the iterations.
struct Run<'a> {
    k: usize,
    options: &'a KmeansOptions<'a>,
    centroids: Vec<f32>,
    /// What clusters are farther than they are, because they are large.
    penalties: Vec<f32>,
}

impl Run<'_> {
    /// Lloyd's iterations over all rows, after those `before`.
    fn whole(
        &mut self,
        all: &Points<'_>,
        mut before: Before,
        building: &BuildOptions<'_>,
    ) -> Result<Vec<f64>, KmeansError> {
        for done in before.history.len() + 1..=self.options.iterations {
            let nearest = all.nearest(&self.centroids, &self.penalties);
            let mut assigned: Vec<u32> = nearest.iter().map(|n| n.cluster).collect();
            self.refill(all, &nearest, &mut assigned);
            if self.options.balance.is_some() {
                let mean = all.inertia(&nearest) / nearest.len() as f64;
                balance::punish(&mut self.penalties, &assigned, mean);
            }
            let inertia = mean::replace(all, &assigned, &mut self.centroids);
            let last = before.history.last().copied();
            before.history.push(inertia);
            self.tell(done, inertia)?;
            let least = self.options.tolerance;
            let settled = last.is_some_and(|last| last - inertia < least * last);
            let same = assigned == before.assigned && self.options.balance.is_none();
            if settled && least > 0.0 || same {
                break;
            }
            before.assigned = assigned;
            before.keep(self, all, building);
        }
        Ok(before.history)
    }

    /// Iterations over some rows each, which move a centroid the less the more rows it has seen.
    fn batches(
        &mut self,
        rows: &FloatRows<'_>,
        batch: usize,
        draw: &mut Draw,
    ) -> Result<Vec<f64>, KmeansError> {
        let mut seen = vec![0.0; self.k];
        let mut history = Vec::new();
        for done in 1..=self.options.iterations {
            let chosen = draw.some(batch, rows.len());
            let data: Vec<f32> =
                chosen.iter().flat_map(|&row| rows.vector(Row(row))).copied().collect();
            let part = FloatRows::new(&data, rows.dim(), rows.metric());
            let part = Points::new(&part, self.options);
            let nearest = part.nearest(&self.centroids, &self.penalties);
            let mut assigned: Vec<u32> = nearest.iter().map(|n| n.cluster).collect();
            if done == 1 {
                self.refill(&part, &nearest, &mut assigned);
            }
            mean::move_by(&part, &assigned, (&mut self.centroids, &mut seen));
            let inertia = part.inertia(&nearest);
            history.push(inertia);
            self.tell(done, inertia)?;
        }
        Ok(history)
    }

    /// Gives clusters without rows the rows farthest from their centroids.
    fn refill(&self, all: &Points<'_>, nearest: &[Nearest], assigned: &mut [u32]) {
        let mut sizes = vec![0usize; self.k];
        for &cluster in assigned.iter() {
            sizes[cluster as usize] += 1;
        }
        let empty: Vec<u32> = (0..self.k as u32).filter(|&c| sizes[c as usize] == 0).collect();
        if empty.is_empty() {
            return;
        }
        let distance = |row: usize| all.distance(row, nearest[row]);
        let mut far: Vec<usize> = (0..assigned.len()).collect();
        far.sort_by(|&a, &b| distance(b).total_cmp(&distance(a)).then(a.cmp(&b)));
        let mut far = far.into_iter();
        for cluster in empty {
            // A cluster of one row keeps it.
            let Some(row) = far.find(|&row| sizes[assigned[row] as usize] > 1) else { return };
            sizes[assigned[row] as usize] -= 1;
            sizes[cluster as usize] += 1;
            assigned[row] = cluster;
        }
    }

    fn tell(&self, done: usize, inertia: f64) -> Result<(), KmeansError> {
        let Some(watch) = self.options.watch else { return Ok(()) };
        match watch(&Iteration { done, of: self.options.iterations, inertia }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(KmeansError::Cancelled(done)),
        }
    }
}

#[cfg(test)]
mod tests;
