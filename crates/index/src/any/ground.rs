//! What codes were made from, and the checks that they fit.

use std::sync::Arc;

use kvant_storage::Blocks;

use crate::code::coded::Layout;
use crate::guard::{Guard, Guarded};
use crate::{AnyRows, Axes, CodeSpec, FileError, FloatRows, Metric, Order, ReadAhead, Width};

/// The sections of a file that are verified as they are read; none where rows are in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guards {
    pub(crate) code: Option<Arc<Blocks>>,
    pub(crate) rerank: Option<Arc<Blocks>>,
    pub(crate) rows: Option<Arc<Blocks>>,
    pub(crate) ahead: ReadAhead,
}

impl Guards {
    /// Of codes in `bytes`, which were opened, `group` rows in each unit.
    pub(crate) fn codes(
        blocks: Option<&Arc<Blocks>>,
        (bytes, group): (&[u8], usize),
        ahead: ReadAhead,
    ) -> Option<Guard> {
        let layout = Layout::of(bytes, group);
        let blocks = blocks?;
        blocks.touch(0..layout.slab().min(blocks.data().len()));
        Some(Guard::new(blocks, layout, ahead))
    }

    /// Of codes in `bytes` and the rows of which they are.
    pub(crate) fn both(&self, bytes: &[u8], dim: usize) -> Option<(Guard, Guard)> {
        let code = Self::codes(self.code.as_ref(), (bytes, 1), ReadAhead::First)?;
        Some((code, self.floats(dim, ReadAhead::First)?))
    }

    /// Of rows as they came.
    pub(crate) fn floats(&self, dim: usize, ahead: ReadAhead) -> Option<Guard> {
        Some(Guard::new(self.rows.as_ref()?, Layout::floats(dim), ahead))
    }
}

/// What codes were made from, and that itself where it is at hand.
pub(crate) struct Ground<'a> {
    pub(crate) dim: usize,
    pub(crate) len: usize,
    pub(crate) metric: Metric,
    pub(crate) rows: Option<FloatRows<'a>>,
    pub(crate) guards: Guards,
}

impl<'a> Ground<'a> {
    pub(crate) fn rows(&self) -> Result<FloatRows<'a>, FileError> {
        let expected = (self.len as u64).saturating_mul(self.dim as u64).saturating_mul(4);
        self.rows.as_ref().map(FloatRows::view).ok_or(FileError::Length { expected, got: 0 })
    }
}

impl<'a, B: AsRef<[u8]> + Sync> AnyRows<'a, B> {
    /// Refuses a code of other rows, or another code.
    pub(super) fn checked(
        self,
        rows: &Ground<'_>,
        code: Option<CodeSpec>,
    ) -> Result<Self, FileError> {
        let (dim, metric, own) = match &self {
            Self::Float(_)
            | Self::Proven(_)
            | Self::Reranked(_)
            | Self::Ordered(_)
            | Self::Guarded(_) => return Ok(self),
            Self::Product(pq) => {
                let parts = pq.parts();
                let of = |parts| match pq.axes() {
                    Axes::Own => CodeSpec::Product { parts },
                    Axes::Learnt => CodeSpec::Opq { parts },
                };
                let plain = code == Some(of(0)) && parts == pq.dim().div_ceil(2);
                (pq.dim(), Some(pq.metric()), of(if plain { 0 } else { parts }))
            }
            Self::Half(half) => (half.dim(), Some(half.metric()), CodeSpec::Half(half.half())),
            Self::Int8(int8) => (int8.dim(), Some(int8.metric()), CodeSpec::Int8),
            Self::Rotated(r) => (r.dim(), Some(r.metric()), CodeSpec::Rotated(r.width())),
            Self::Blocks(r) => (r.dim(), Some(r.metric()), CodeSpec::Rotated(Width::One)),
            Self::Sign(sign) => (sign.dim(), None, CodeSpec::Sign),
        };
        fits(rows, (dim, metric))?;
        if code.is_some_and(|code| code != own) {
            return Err(FileError::Header { name: "code", got: 0 });
        }
        Ok(self)
    }

    /// Rows as they came.
    pub(super) fn floats_of(ground: &Ground<'a>, ahead: ReadAhead) -> Result<Self, FileError> {
        let guard = ground.guards.floats(ground.dim, ahead);
        Ok(Self::Float(ground.rows()?).guarded(guard))
    }

    /// The same, verified before it is measured where there is a guard.
    pub(super) fn guarded(self, guard: Option<Guard>) -> Self {
        match guard {
            None => self,
            Some(guard) => Self::Guarded(Box::new(Guarded::new(self, guard))),
        }
    }

    /// What verifies this code, the content of `blocks`.
    pub(super) fn guard(&self, blocks: Option<&Arc<Blocks>>, ahead: ReadAhead) -> Option<Guard> {
        let blocks_of = matches!(self, Self::Product(_) | Self::Blocks(_));
        let group = if blocks_of { kvant_kernels::BLOCK_ROWS } else { 1 };
        Guards::codes(blocks, (self.sections().0?, group), ahead)
    }
}

/// The rows in an order without empty places; those are zeros.
pub(crate) fn lying(rows: &FloatRows<'_>, order: &Order) -> Vec<f32> {
    let mut data = vec![0.0; order.places() * rows.dim()];
    for (place, to) in (0..).zip(data.chunks_exact_mut(rows.dim())) {
        if let Some(row) = order.row(place) {
            to.copy_from_slice(rows.vector(row));
        }
    }
    data
}

/// Refuses codes of another dimension or measure.
pub(crate) fn fits(
    rows: &Ground<'_>,
    (dim, metric): (usize, Option<Metric>),
) -> Result<(), FileError> {
    if dim != rows.dim {
        return Err(FileError::Header { name: "dimension", got: dim as u64 });
    }
    match metric.filter(|&metric| metric != rows.metric) {
        None => Ok(()),
        Some(metric) => {
            let got = crate::code::coded::metric_code(metric).into();
            Err(FileError::Header { name: "metric", got })
        }
    }
}
