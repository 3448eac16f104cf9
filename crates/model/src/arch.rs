//! Network architectures.

pub(crate) mod bert;
