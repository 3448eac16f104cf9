//! Network architectures.

pub(crate) mod bert;
pub(crate) mod llama;
