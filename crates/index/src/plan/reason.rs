//! Why an index was chosen, in words.

use std::fmt;

use crate::{Effort, IndexSpec};

/// One sentence of the account of a choice; [`Display`](fmt::Display) words it.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// There are so few rows that all are measured.
    Few {
        /// How many.
        rows: usize,
    },
    /// Every true neighbour was asked for.
    Exact,
    /// What was done.
    Tried {
        /// Indexes built.
        indexes: usize,
        /// Over so many rows.
        rows: usize,
        /// Of so many.
        of: usize,
        /// Rows held out and searched for.
        queries: usize,
    },
    /// What a budget left out.
    Budget {
        /// Bytes a row.
        bytes: f64,
    },
    /// Exact search is at least half as fast as anything else.
    Close {
        /// Its queries a second.
        qps: f64,
        /// Those of the fastest.
        fastest: f64,
    },
    /// Nothing else finds enough.
    Alone {
        /// The recall wanted.
        recall: f64,
    },
    /// It is fastest, over the recall asked for and two beyond it.
    Fastest {
        /// It.
        spec: IndexSpec,
        /// Recalls and its queries a second there.
        speeds: Vec<(f64, f64)>,
        /// The next, and how many times as fast this is; less than once where it was preferred
        /// for its size.
        next: Option<(IndexSpec, f64)>,
    },
    /// It takes fewer bytes than what is faster by less than a tenth.
    Leaner {
        /// What is.
        than: IndexSpec,
        /// Bytes a row of this and of that.
        bytes: (f64, f64),
    },
    /// How hard searches try.
    Tuned {
        /// So hard.
        effort: Effort,
        /// What that found.
        found: f64,
        /// The standard error of it.
        error: f64,
        /// What was wanted.
        recall: f64,
    },
    /// The effort for all rows is a guess from that for some.
    Extrapolated {
        /// Rows and effort, twice, and then for all.
        steps: [(usize, usize); 3],
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Few { rows } => write!(
                f,
                "{rows} rows are few: measuring all of them is fast enough, exact where the code \
                 is, and takes no build"
            ),
            Self::Exact => f.write_str(
                "recall 1 is every true neighbour: only a scan of all rows can promise that, and \
                 bounds spare it most of them",
            ),
            Self::Tried { indexes, rows, of, queries } => write!(
                f,
                "{indexes} indexes were built over {rows} of {of} rows and searched for {queries} \
                 others, held out of them"
            ),
            Self::Budget { bytes } => write!(
                f,
                "searches may hold {bytes:.1} bytes a row: only what fits was tried, and what \
                 measures again stays in the file"
            ),
            Self::Close { qps, fastest } => write!(
                f,
                "measuring every row answers {qps:.0} queries a second, the fastest other \
                 {fastest:.0}: less than twice as many are not worth giving up exact answers"
            ),
            Self::Alone { recall } => {
                write!(f, "nothing else that was tried finds {recall} of the neighbours")
            }
            Self::Fastest { spec, speeds, next } => fastest(f, spec, speeds, next.as_ref()),
            Self::Leaner { than, bytes: (own, other) } => write!(
                f,
                "{than} is faster by less than a tenth and takes {other:.0} bytes a row instead of \
                 {own:.0}"
            ),
            Self::Tuned { effort, found, error, recall } => {
                let (count, what) = counted(*effort);
                write!(
                    f,
                    "{count} {what} found {found:.4} of the neighbours: the least that lie a \
                     standard error ({error:.4}) above {recall}"
                )
            }
            Self::Extrapolated { steps: [(few, a), (more, b), (all, c)] } => write!(
                f,
                "{few} rows took an effort of {a}, {more} took {b}: {all} rows are expected to \
                 take {c}"
            ),
        }
    }
}

fn fastest(
    f: &mut fmt::Formatter<'_>,
    spec: &IndexSpec,
    speeds: &[(f64, f64)],
    next: Option<&(IndexSpec, f64)>,
) -> fmt::Result {
    write!(f, "{spec} answers ")?;
    for (at, (recall, qps)) in speeds.iter().enumerate() {
        let join = match at {
            0 => "",
            at if at + 1 == speeds.len() => " and ",
            _ => ", ",
        };
        write!(f, "{join}{qps:.0}")?;
        write!(f, "{} at recall {recall:.4}", if at == 0 { " queries a second" } else { "" })?;
    }
    match next {
        Some((next, times)) => write!(
            f,
            "; over these recalls, the first counting half, it is {times:.2} times as fast as \
             {next}"
        ),
        None => Ok(()),
    }
}

/// The number of an effort, and of what.
fn counted(effort: Effort) -> (usize, &'static str) {
    match effort {
        Effort::Ef(ef) => (ef, "candidates"),
        Effort::Probes(lists) => (lists, "lists"),
        Effort::Default | Effort::Exact => (1, "scan"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_sentences_with_numbers() {
        let spec: IndexSpec = "hnsw,int8".parse().unwrap();
        let speeds = vec![(0.95, 43_000.2), (0.99, 29_000.0), (0.999, 14_000.0)];
        let next = Some(("ivf,pq,rerank16".parse().unwrap(), 1.316));
        let text = Reason::Fastest { spec, speeds, next }.to_string();
        assert_eq!(
            text,
            "hnsw,int8 answers 43000 queries a second at recall 0.9500, 29000 at recall 0.9900 and \
             14000 at recall 0.9990; over these recalls, the first counting half, it is 1.32 times \
             as fast as ivf,pq,rerank16"
        );
        let effort = Effort::Ef(24);
        let tuned = Reason::Tuned { effort, found: 0.954, error: 0.003, recall: 0.95 };
        assert!(tuned.to_string().starts_with("24 candidates found 0.9540 of"), "{tuned}");
        let steps = [(32_768, 20), (131_072, 24), (1_000_000, 32)];
        let text = Reason::Extrapolated { steps }.to_string();
        assert!(text.ends_with("1000000 rows are expected to take 32"), "{text}");
    }
}
