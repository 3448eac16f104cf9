//! Codes and shapes that are kept while an index is built.

use std::convert::Infallible;
use std::sync::Arc;

use super::ground::{Ground, Guards};
use crate::code::bound::BoundRows;
use crate::{
    AnyRows, AnyShape, BuildOptions, CodeError, CodeSpec, FloatRows, IndexSpec, Order, Packing,
    Rows, Spec,
};

/// The code that is searched, that which measures again, and that which a graph is built over.
const CODE: &str = "code";
pub(super) const RERANK: &str = "rerank";
pub(super) const BUILDING: &str = "building";
const SHAPE: &str = "shape";

impl AnyRows<'_> {
    /// Rows in the code of `spec` that is searched, which holds bytes of its own.
    pub(super) fn code(
        spec: &IndexSpec,
        rows: &FloatRows<'_>,
        (order, options): (Option<&Arc<Order>>, &BuildOptions<'_>),
    ) -> Result<Self, CodeError> {
        let len = order.map_or(rows.len(), |order| order.places());
        let make = || Self::encoded(spec, rows, (order, options));
        Self::part(CODE, (rows, len, Some(spec.code)), options, make)
    }

    /// Rows in a code of 8 bits.
    pub(super) fn eight_bits(
        name: &str,
        rows: &FloatRows<'_>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, CodeError> {
        let make = || Self::of_eight_bits(rows, options);
        Self::part(name, (rows, rows.len(), None), options, make)
    }

    fn part(
        name: &str,
        (rows, len, code): (&FloatRows<'_>, usize, Option<CodeSpec>),
        options: &BuildOptions<'_>,
        make: impl FnOnce() -> Result<Self, CodeError>,
    ) -> Result<Self, CodeError> {
        let (dim, metric) = (rows.dim(), rows.metric());
        let read = |bytes: kvant_storage::Bytes| {
            let ground = Ground { dim, len, metric, rows: None, guards: Guards::default() };
            Self::read(bytes.to_vec(), len).ok()?.checked(&ground, code).ok()
        };
        options.part(name, read, make, |rows| rows.sections().0.unwrap_or_default().to_vec())
    }

    /// Bounds of the rows.
    pub(super) fn bounds(
        rows: &FloatRows<'_>,
        packing: Packing,
        options: &BuildOptions<'_>,
    ) -> Result<BoundRows, CodeError> {
        let read = |bytes: kvant_storage::Bytes| {
            let bounds = BoundRows::open(bytes.to_vec(), rows.len()).ok()?;
            let own = (bounds.dim(), bounds.metric(), bounds.packing());
            (own == (rows.dim(), rows.metric(), packing)).then_some(bounds)
        };
        let make = || BoundRows::encode(rows, packing);
        options.part(CODE, read, make, |bounds| bounds.to_bytes().to_vec())
    }
}

impl AnyShape {
    /// The shape that `make` makes of the vectors alone, before they are coded.
    pub(crate) fn first(
        spec: &Spec,
        rows: &FloatRows<'_>,
        options: &BuildOptions<'_>,
        make: impl FnOnce() -> Self,
    ) -> Self {
        let read = |bytes: kvant_storage::Bytes| {
            let shape = Self::from_bytes(&bytes, rows.len()).ok()?;
            let fits = shape.spec() == *spec && shape.serves(rows.dim(), rows.metric());
            fits.then_some(shape)
        };
        let shape = options.part(SHAPE, read, || Ok::<_, Infallible>(make()), Self::to_bytes);
        match shape {
            Ok(shape) => shape,
            Err(never) => match never {},
        }
    }
}
