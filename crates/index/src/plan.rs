//! Which index to build: shapes and codes tried on a sample of the rows, and how hard to search.
//!
//! [`Plan::auto`] holds some rows out, builds what could serve over others, looks for the least
//! effort that finds enough, times it, and says why it chose as it did.

mod candidate;
mod choice;
mod contest;
mod lent;
mod memory;
mod reason;
mod sample;
mod trial;

use thiserror::Error;

pub use memory::Memory;
pub use reason::Reason;

use crate::{
    BuildOptions, CodeError, CodeSpec, Effort, FloatRows, Index, IndexSpec, Metric, Packing, Rows,
    Spec, Tuning,
};
use candidate::Ground;

/// Fewer rows are measured one and all.
const FEW: usize = 1000;
/// Rows of a sample unless something else is said.
const SAMPLE: usize = 1 << 17;

/// What an index is to do.
#[derive(Clone, Copy, Debug)]
pub struct PlanOptions<'a> {
    /// The share of true neighbours to find, above 0; of 1, all of them, for sure.
    pub recall: f64,
    /// Rows that searches will ask for.
    pub k: usize,
    /// What searches may hold in memory; as much as they like where `None`.
    pub memory: Option<Memory>,
    /// Rows that indexes are tried on, at most (and at most 2^26 values).
    pub sample: usize,
    /// How indexes are built, on trial too.
    pub build: BuildOptions<'a>,
}

impl Default for PlanOptions<'_> {
    /// 0.95 of the ten nearest, found by trying at most 131,072 rows.
    fn default() -> Self {
        let build = BuildOptions::default();
        Self { recall: 0.95, k: 10, memory: None, sample: SAMPLE, build }
    }
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PlanError {
    /// A recall that cannot be.
    #[error("recall {got} is not above 0 and at most 1")]
    Recall {
        /// It.
        got: f64,
    },
    /// No rows were asked for.
    #[error("k is 0: plan for at least one row")]
    Nothing,
    /// A text that names no budget.
    #[error("memory '{given}': use bytes a row, as 200B, or bytes in all, as 64MB, 2GB or 512MiB")]
    Budget {
        /// It.
        given: String,
    },
    /// No index is so small.
    #[error(
        "{given:.1} bytes a row are too few: {what} takes at least {least:.1}, {all} bytes in all"
    )]
    Memory {
        /// Bytes a row that are allowed.
        given: f64,
        /// What was wanted.
        what: &'static str,
        /// The fewest.
        least: f64,
        /// The same for all rows.
        all: u64,
    },
    /// Nothing that fits finds enough.
    #[error(
        "no index of at most {given:.1} bytes a row finds {recall} of the neighbours: {spec} \
         finds {best:.4}; allow more memory, or ask for less"
    )]
    Unreached {
        /// Bytes a row that are allowed.
        given: f64,
        /// The recall wanted.
        recall: f64,
        /// What came nearest.
        spec: IndexSpec,
        /// What it finds at best.
        best: f64,
    },
    /// The rows cannot be coded.
    #[error(transparent)]
    Code(#[from] CodeError),
}

/// A recall that an index on trial reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// What was wanted.
    pub recall: f64,
    /// The least effort for it.
    pub effort: Effort,
    /// What that found.
    pub found: f64,
    /// Queries a second then, one a call on one thread. Timed.
    pub qps: f64,
}

/// An index that was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried {
    /// What it is.
    pub spec: IndexSpec,
    /// Bytes a row that searches go through, on the sample.
    pub bytes: f64,
    /// Seconds it took to build over the sample.
    pub build_s: f64,
    /// The most that its codes can tell: what a scan of them finds.
    pub ceiling: f64,
    /// The recall asked for, and two beyond it, as far as they were reached.
    pub steps: Vec<Step>,
}

/// An index to build, how hard to search it, and why.
///
/// ```
/// use kvant_index::{FloatRows, Metric, Plan, PlanOptions};
///
/// let data: Vec<f32> = (0..4000).map(|i| (i * i % 97) as f32).collect();
/// let rows = FloatRows::new(&data, 8, Metric::Euclid);
/// let plan = Plan::auto(&rows, &PlanOptions::default())?;
/// assert_eq!(plan.spec.to_string(), "flat");
/// println!("{}", plan.reasons[0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What to build.
    pub spec: IndexSpec,
    /// How hard to search it; `None` where every row is measured.
    pub tuning: Option<Tuning>,
    /// All that was tried.
    pub tried: Vec<Tried>,
    /// The account of the choice, in order.
    pub reasons: Vec<Reason>,
}

impl Plan {
    /// Chooses an index for `rows`, prepared for their metric.
    ///
    /// A twentieth of the rows, at most 1,000, are held out and searched for among at most
    /// [`sample`](PlanOptions::sample) others. Tried are a graph over 8 and over 4 bits a
    /// dimension, lists of product codes, and a scan with bounds, each measured again by as much
    /// as it takes to tell neighbours apart; within a budget the largest of each kind that fit. Of
    /// each the least effort is found at which recall lies a standard error above the one asked
    /// for, and above those with a fifth and a fiftieth of its misses (0.95: 0.99 and 0.999), so
    /// that a choice is good when somebody wants more. The fastest wins, the mean logarithm of its
    /// three speeds counting the first half; the leaner where another is less than a tenth faster;
    /// a scan where nothing is twice as fast.
    ///
    /// Samples, efforts and recalls are the same every time for the same rows, seed and options;
    /// speeds are timed, so that two indexes about as fast and as large as each other may change
    /// places. Over more rows than the sample the effort of the chosen one is drawn on from a
    /// quarter of the sample and all of it, along a power of the number of rows.
    ///
    /// Costs about as much as building the graph and the lists over the sample, once.
    ///
    /// # Errors
    /// If the options say nothing that can be, nothing fits the budget, or the rows hold values
    /// that are not finite.
    pub fn auto(rows: &FloatRows<'_>, options: &PlanOptions<'_>) -> Result<Self, PlanError> {
        let got = options.recall;
        if !(got > 0.0 && got <= 1.0) {
            return Err(PlanError::Recall { got });
        }
        if options.k == 0 {
            return Err(PlanError::Nothing);
        }
        let budget = options.memory.map(|memory| memory.per_row(rows.len()));
        let ground = Ground { rows: rows.len(), dim: rows.dim(), metric: rows.metric(), budget };
        if got >= 1.0 {
            return exact(&ground);
        }
        if rows.len() < FEW {
            let spec =
                ground.flat().ok_or_else(|| ground.too_little("any code", ground.least_flat()))?;
            return Ok(Self::plain(spec, vec![Reason::Few { rows: rows.len() }]));
        }
        // What is tried is small, and nothing that is kept is of it.
        let build = BuildOptions { stages: None, ..options.build };
        contest::run(rows, &ground, &PlanOptions { build, ..*options })
    }

    /// Builds the index over the rows that the plan was made for, tuned.
    ///
    /// # Errors
    /// If the code cannot hold them.
    pub fn build<'a>(
        &self,
        rows: FloatRows<'a>,
        options: &BuildOptions<'_>,
    ) -> Result<Index<'a>, CodeError> {
        let index = Index::build(&self.spec, rows, options)?;
        Ok(match self.tuning {
            Some(tuning) => index.tuned(tuning),
            None => index,
        })
    }

    fn plain(spec: IndexSpec, reasons: Vec<Reason>) -> Self {
        Self { spec, tuning: None, tried: Vec::new(), reasons }
    }
}

/// A scan of every row, by bounds where there are some and room for them.
fn exact(ground: &Ground) -> Result<Plan, PlanError> {
    let code = if ground.metric == Metric::Manhattan || ground.rows < FEW {
        CodeSpec::Float
    } else {
        CodeSpec::Bound(Packing::Four)
    };
    let flat = |code| IndexSpec { shape: Spec::Flat, code, rerank: None };
    let spec = [code, CodeSpec::Float].map(flat).into_iter().find(|spec| ground.fits(spec));
    let least = candidate::bytes(&flat(CodeSpec::Float), ground);
    let spec = spec.ok_or_else(|| ground.too_little("exact search", least))?;
    let few = Reason::Few { rows: ground.rows };
    Ok(Plan::plain(spec, vec![if ground.rows < FEW { few } else { Reason::Exact }]))
}

impl Ground {
    fn too_little(&self, what: &'static str, least: f64) -> PlanError {
        let (given, all) = (self.budget.unwrap_or(0.0), (least * self.rows as f64).ceil() as u64);
        PlanError::Memory { given, what, least, all }
    }
}

#[cfg(test)]
mod tests;
