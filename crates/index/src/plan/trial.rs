//! One index on a sample: the effort that recalls take, and the time that takes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::plan::sample::{Sample, Share};
use crate::{AnyRows, AnyShape, Effort, IndexSpec, Reranked, Rows, SearchOptions, Spec};

/// Most candidates of a graph that are tried.
const EF_MOST: usize = 2048;
/// Efforts are found to one in so many.
const FINE: usize = 16;
/// Rounds of timing, each trial once a round; the best counts.
pub(super) const ROUNDS: usize = 3;
/// Queries of a round, unless that takes longer.
const QUERIES: usize = 500;
const TIME: Duration = Duration::from_millis(80);

/// How rows are measured.
enum Measured<'a> {
    Once(&'a AnyRows<'a>),
    Again(Reranked<&'a AnyRows<'a>, &'a AnyRows<'a>>),
}

/// What a recall takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reached {
    pub(super) wanted: f64,
    pub(super) count: usize,
    pub(super) share: Share,
    /// Of one query, at best.
    pub(super) seconds: f64,
}

/// A shape over rows of a sample.
pub(super) struct Trial<'a> {
    pub(super) spec: IndexSpec,
    pub(super) build_s: f64,
    /// The most that its codes can tell.
    pub(super) ceiling: Share,
    /// The recalls it reaches.
    pub(super) reached: Vec<Reached>,
    sample: &'a Sample,
    shape: &'a AnyShape,
    rows: Measured<'a>,
    threads: usize,
    seen: BTreeMap<usize, Share>,
}

/// What a trial is of.
pub(super) struct Parts<'a> {
    pub(super) sample: &'a Sample,
    pub(super) shape: &'a AnyShape,
    pub(super) fast: &'a AnyRows<'a>,
    /// What measures again.
    pub(super) again: Option<&'a AnyRows<'a>>,
}

impl<'a> Trial<'a> {
    pub(super) fn new(
        spec: IndexSpec,
        parts: &Parts<'a>,
        (build_s, threads): (f64, usize),
    ) -> Self {
        let &Parts { sample, shape, fast, again } = parts;
        let rows = match (again, spec.rerank) {
            (Some(exact), Some((_, factor))) => Measured::Again(Reranked::new(fast, exact, factor)),
            _ => Measured::Once(fast),
        };
        let ceiling = match &rows {
            Measured::Once(rows) => sample.ceiling(*rows, threads),
            Measured::Again(rows) => sample.ceiling(rows, threads),
        };
        let (reached, seen) = (Vec::new(), BTreeMap::new());
        Self { spec, build_s, ceiling, reached, sample, shape, rows, threads, seen }
    }

    /// Rows of the sample.
    pub(super) fn len(&self) -> usize {
        self.sample.len()
    }

    /// Bytes a row of shape and code on the sample.
    pub(super) fn bytes(&self) -> f64 {
        let fast = match &self.rows {
            Measured::Once(rows) => rows,
            Measured::Again(rows) => *rows.fast(),
        };
        let code =
            fast.sections().0.map_or_else(|| fast.floats().map_or(0, size_of_val), <[u8]>::len);
        (self.shape.to_bytes().len() + code) as f64 / self.sample.len().max(1) as f64
    }

    /// Looks for the least effort of each recall; those out of reach are left out.
    pub(super) fn sweep(&mut self, recalls: &[f64]) {
        for &wanted in recalls {
            if let Some((count, share)) = self.least(wanted) {
                self.reached.push(Reached { wanted, count, share, seconds: f64::INFINITY });
            }
        }
    }

    /// The least effort, to one in [`FINE`], that finds a standard error more than `wanted`.
    fn least(&mut self, wanted: f64) -> Option<(usize, Share)> {
        let (fewest, most) = match self.shape {
            AnyShape::Flat(_) => (1, 1),
            AnyShape::Hnsw(_) | AnyShape::Qg(_) => (self.sample.k(), EF_MOST.max(self.sample.k())),
            AnyShape::Ivf(ivf) => (1, ivf.lists()),
            AnyShape::Forest(_) | AnyShape::Lsh(_) => (1, self.len()),
        };
        if !self.ceiling.is_above(wanted) {
            return None;
        }
        let (mut below, mut enough) = (fewest.max(1) - 1, fewest.max(1));
        while !self.share(enough).is_above(wanted) {
            if enough >= most {
                return None;
            }
            (below, enough) = (enough, (2 * enough).min(most));
        }
        while enough - below > (enough / FINE).max(1) {
            let middle = below.midpoint(enough);
            if self.share(middle).is_above(wanted) {
                enough = middle;
            } else {
                below = middle;
            }
        }
        Some((enough, self.share(enough)))
    }

    fn share(&mut self, count: usize) -> Share {
        if let Some(&share) = self.seen.get(&count) {
            return share;
        }
        let effort = effort(&self.spec, count);
        let share = match &self.rows {
            Measured::Once(rows) => self.sample.share((self.shape, *rows), effort, self.threads),
            Measured::Again(rows) => self.sample.share((self.shape, rows), effort, self.threads),
        };
        self.seen.insert(count, share);
        share
    }

    /// Times every recall reached once, one query a call on this thread.
    pub(super) fn time(&mut self) {
        for at in 0..self.reached.len() {
            let effort = effort(&self.spec, self.reached[at].count);
            let seconds = match &self.rows {
                Measured::Once(rows) => self.seconds(*rows, effort),
                Measured::Again(rows) => self.seconds(rows, effort),
            };
            let best = &mut self.reached[at].seconds;
            *best = best.min(seconds);
        }
    }

    fn seconds<R: Rows<Query = [f32]>>(&self, rows: &R, effort: Effort) -> f64 {
        let options = SearchOptions { k: self.sample.k(), effort, ..SearchOptions::default() };
        let (mut asked, began) = (0, Instant::now());
        for query in self.sample.queries().take(QUERIES) {
            std::hint::black_box(self.shape.search(rows, query, &options));
            asked += 1;
            if began.elapsed() >= TIME {
                break;
            }
        }
        began.elapsed().as_secs_f64() / f64::from(asked).max(1.0)
    }

    /// What it takes to reach a recall.
    pub(super) fn at(&self, wanted: f64) -> Option<&Reached> {
        self.reached.iter().find(|reached| reached.wanted == wanted)
    }
}

impl Share {
    /// Whether it is a standard error above `wanted`, or all there is.
    pub(super) fn is_above(&self, wanted: f64) -> bool {
        self.recall - self.error >= wanted
    }
}

/// `count` as what the shape of `spec` takes.
pub(super) fn effort(spec: &IndexSpec, count: usize) -> Effort {
    match spec.shape {
        Spec::Flat => Effort::Default,
        Spec::Hnsw { .. } | Spec::Qg { .. } => Effort::Ef(count),
        Spec::Ivf { .. } | Spec::Forest { .. } | Spec::Lsh { .. } => Effort::Probes(count),
    }
}
