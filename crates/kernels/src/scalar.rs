//! The portable level: plain loops that compilers vectorise, and the specification of the others.

pub(crate) mod bf16;
pub(crate) mod blocks;
pub(crate) mod distance;
pub(crate) mod gemm;
pub(crate) mod pick;
pub(crate) mod row;
pub(crate) mod scan;
pub(crate) mod widen;
