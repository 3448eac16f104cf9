//! What models are asked: pairs to compare, documents to find, texts to sort into classes.
//!
//! A task turns the vectors of its texts into an [`Outcome`]; it never sees which model they are
//! from, and nothing is tuned on what it scores.

mod classify;
mod error;
mod probe;
mod retrieval;
mod sts;
mod text;
mod vector;

pub use classify::Labelled;
pub use error::{DataError, TaskError};
pub use probe::{FitOptions, Probe};
pub use retrieval::{Corpus, Found, nearest};
pub use sts::Pairs;
pub use vector::{Vectors, unit_rows};

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::metric::MetricError;
use crate::report::Score;

/// Answers of a search that count: the cut-off of nDCG, recall, MRR and of neighbours compared.
pub const CUT: usize = 10;

/// The kinds of task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Semantic textual similarity: does the cosine rank pairs as people do?
    Sts,
    /// Does a query find its documents?
    Retrieval,
    /// Can a linear probe tell the classes apart?
    Classify,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Sts, Self::Retrieval, Self::Classify];

    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sts => "sts",
            Self::Retrieval => "retrieval",
            Self::Classify => "classify",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A task name that is not one of those there are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown task '{0}': use sts, retrieval or classify")]
pub struct KindError(String);

impl FromStr for Kind {
    type Err = KindError;

    fn from_str(name: &str) -> Result<Self, KindError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| KindError(name.chars().take(32).collect()))
    }
}

/// The data of one task, read and checked.
#[derive(Clone, Debug)]
pub enum Task {
    /// Pairs with human scores.
    Sts(Pairs),
    /// Documents and queries.
    Retrieval(Corpus),
    /// Texts with classes, split into training and test.
    Classify(Labelled),
}

/// What one model achieved on a task.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The task's figure; higher is better.
    pub score: f64,
    /// Further figures.
    pub scores: Vec<Score>,
    /// One value per unit scored, from which a paired bootstrap recomputes the figure.
    pub units: Vec<f64>,
    /// The nearest texts of a sample of texts, to be compared between models.
    pub neighbours: Vec<Vec<u32>>,
}

impl Task {
    /// Reads `data` (and `test`, where a task has a second file) as a task of `kind`.
    ///
    /// The form follows from the extension:
    /// - sts: `.tsv` with the columns of STS-B, or score and two sentences, without quoting;
    ///   `.jsonl` with `score`, `sentence1`, `sentence2`;
    /// - retrieval: `.jsonl` with lines `{"id", "text"}` and `{"query", "relevant": [ids]}`;
    ///   `.csv` with `text,category`, where a text is to find the others of its category (with a
    ///   test file, each of its texts those of `data`);
    /// - classify: `.csv` with `text,category` (RFC 4180) or `.jsonl` with `text`, `label`.
    ///   Without a test file every fifth text of each class, in file order, is for the test.
    ///
    /// # Errors
    /// [`DataError`], naming file and line.
    pub fn read(kind: Kind, data: &Path, test: Option<&Path>) -> Result<Self, DataError> {
        Ok(match kind {
            Kind::Sts if test.is_some() => {
                return Err(DataError::Second { kind: kind.name() });
            }
            Kind::Sts => Self::Sts(Pairs::read(data)?),
            Kind::Retrieval => Self::Retrieval(Corpus::read(data, test)?),
            Kind::Classify => Self::Classify(Labelled::read(data, test)?),
        })
    }

    /// Which kind of task this is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Sts(_) => Kind::Sts,
            Self::Retrieval(_) => Kind::Retrieval,
            Self::Classify(_) => Kind::Classify,
        }
    }

    /// The name of [`Outcome::score`].
    pub fn metric(&self) -> &'static str {
        match self {
            Self::Sts(_) => "Spearman",
            Self::Retrieval(_) => "nDCG@10",
            Self::Classify(_) => "accuracy",
        }
    }

    /// Pairs, queries or test texts the score is over.
    pub fn units(&self) -> usize {
        match self {
            Self::Sts(pairs) => pairs.len(),
            Self::Retrieval(corpus) => corpus.queries(),
            Self::Classify(labelled) => labelled.tests(),
        }
    }

    /// Every text to embed; row `i` of the vectors is that of text `i`.
    pub fn texts(&self) -> Vec<&str> {
        match self {
            Self::Sts(pairs) => pairs.texts(),
            Self::Retrieval(corpus) => corpus.texts(),
            Self::Classify(labelled) => labelled.texts(),
        }
    }

    /// The outcome for `vectors`, one row of `dim` per text of [`Task::texts`].
    ///
    /// # Errors
    /// [`TaskError`] where the figure is undefined, such as for a model whose vectors are equal.
    pub fn score(&self, vectors: Vectors<'_>) -> Result<Outcome, TaskError> {
        let expected = self.texts().len();
        if vectors.len() != expected {
            return Err(TaskError::Vectors { expected, got: vectors.len() });
        }
        match self {
            Self::Sts(pairs) => pairs.score(vectors),
            Self::Retrieval(corpus) => corpus.score(vectors),
            Self::Classify(labelled) => labelled.score(vectors),
        }
    }

    /// The task's figure over the units of a resample, as a bootstrap needs it.
    ///
    /// # Errors
    /// [`MetricError`] where the resample has no figure.
    pub fn figure(&self, units: &[f64], chosen: &[usize]) -> Result<f64, MetricError> {
        let resampled: Vec<f64> = chosen.iter().map(|&i| units[i]).collect();
        match self {
            Self::Sts(pairs) => {
                let human: Vec<f64> = chosen.iter().map(|&i| pairs.scores()[i]).collect();
                crate::metric::spearman(&human, &resampled)
            }
            Self::Retrieval(_) | Self::Classify(_) => crate::metric::mean(&resampled),
        }
    }
}

/// The [`CUT`] nearest rows of up to `sample` evenly spaced rows, each without itself.
fn sampled_neighbours(vectors: Vectors<'_>, sample: usize) -> Vec<Vec<u32>> {
    let chosen: Vec<usize> = spaced(vectors.len(), sample).collect();
    let queries: Vec<f32> = chosen.iter().flat_map(|&i| vectors.row(i)).copied().collect();
    let queries = Vectors::new(&queries, vectors.dim(), vectors.threads());
    let itself: Vec<Option<u32>> = chosen.iter().map(|&i| Some(i as u32)).collect();
    let found = nearest(queries, vectors, &itself, CUT);
    found.into_iter().map(|list| list.into_iter().map(|hit| hit.row).collect()).collect()
}

/// Up to `most` indices in `0..n`, evenly spaced and rising.
pub(crate) fn spaced(n: usize, most: usize) -> impl Iterator<Item = usize> {
    let count = n.min(most);
    (0..count).map(move |i| (i as u128 * n as u128 / count as u128) as usize)
}

#[cfg(test)]
mod tests;
