//! How hard searches of one index should try, found by trying.

use crate::file::Reader;
use crate::{Effort, FileError, IndexSpec, Spec};

/// Bytes of a tuning in a file.
const BYTES: usize = 12;

/// The effort that finds enough of `k` rows in one index. [`Index::tuned`](crate::Index::tuned)
/// takes it for [`Effort::Default`], and files keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Rows that were asked for; not 0.
    pub k: usize,
    /// [`Effort::Ef`] of a graph, [`Effort::Probes`] of lists; not 0.
    pub effort: Effort,
}

impl Tuning {
    /// The effort for `k` rows. For more than it was found for, a graph keeps as many more
    /// candidates in proportion; lists are looked into in proportion to the square root, for the
    /// neighbours of a query share lists.
    pub fn effort_of(&self, k: usize) -> Effort {
        let times = (k as f64 / self.k.max(1) as f64).max(1.0);
        let scaled = |count: usize, times: f64| (count as f64 * times).ceil() as usize;
        match self.effort {
            Effort::Ef(ef) => Effort::Ef(scaled(ef, times)),
            Effort::Probes(lists) => Effort::Probes(scaled(lists, times.sqrt())),
            other @ (Effort::Default | Effort::Exact) => other,
        }
    }

    /// Whether it says anything of an index that is what `spec` says.
    pub(crate) fn fits(&self, spec: &IndexSpec) -> bool {
        match self.effort {
            Effort::Ef(_) => matches!(spec.shape, Spec::Hnsw { .. }),
            Effort::Probes(_) => matches!(spec.shape, Spec::Ivf { .. }),
            Effort::Default | Effort::Exact => false,
        }
    }

    /// `kind u8 (1 candidates, 2 lists) · 0 · 0 · 0 · k u32 · count u32`.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let (kind, count) = match self.effort {
            Effort::Ef(ef) => (1, ef),
            Effort::Probes(lists) => (2, lists),
            Effort::Default | Effort::Exact => (0, 0),
        };
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes();
        [&[kind, 0, 0, 0][..], &number(self.k), &number(count)].concat()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote of an index that is what `spec` says.
    pub(crate) fn read(bytes: &[u8], spec: &IndexSpec) -> Result<Self, FileError> {
        if bytes.len() != BYTES {
            return Err(FileError::Length { expected: BYTES as u64, got: bytes.len() as u64 });
        }
        let mut reader = Reader::whole(bytes);
        let [kind, ..]: [u8; 4] = reader.array()?;
        let (k, count) = (reader.number()? as usize, reader.number()? as usize);
        let effort = match kind {
            1 => Effort::Ef(count),
            2 => Effort::Probes(count),
            _ => Effort::Default,
        };
        let tuning = Self { k, effort };
        if !tuning.fits(spec) || k == 0 || count == 0 {
            return Err(FileError::Header { name: "tuned effort", got: kind.into() });
        }
        Ok(tuning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_rows_take_more_effort() {
        let graph = Tuning { k: 10, effort: Effort::Ef(40) };
        for (k, ef) in [(1, 40), (10, 40), (11, 44), (100, 400)] {
            assert_eq!(graph.effort_of(k), Effort::Ef(ef), "{k}");
        }
        let lists = Tuning { k: 10, effort: Effort::Probes(6) };
        assert_eq!(lists.effort_of(10), Effort::Probes(6));
        assert_eq!(lists.effort_of(40), Effort::Probes(12));
    }

    #[test]
    fn bytes_come_back_for_the_same_shape_only() {
        let (graph, lists) = ("hnsw,int8".parse().unwrap(), "ivf,pq,rerank16".parse().unwrap());
        let tuning = Tuning { k: 10, effort: Effort::Probes(33) };
        let bytes = tuning.to_bytes();
        assert_eq!(Tuning::read(&bytes, &lists), Ok(tuning));
        assert!(Tuning::read(&bytes, &graph).is_err());
        assert!(Tuning::read(&bytes[1..], &lists).is_err());
        for (at, value) in [(0, 0), (0, 1), (0, 3), (4, 0), (8, 0)] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            assert!(Tuning::read(&bytes, &lists).is_err(), "byte {at}");
        }
    }
}
