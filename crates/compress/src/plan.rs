//! What to do with a model.

use kvant_quant::Scheme;

use crate::Select;

/// What [`compress`](crate::compress) does with a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How the selected tensors are encoded.
    pub scheme: Scheme,
    /// Which tensors those are.
    pub select: Select,
    /// Threads to work on; 0 counts as 1. The written weights do not depend on it.
    pub threads: usize,
}

impl Plan {
    /// Every weight matrix in `scheme`, on one thread.
    pub fn new(scheme: Scheme) -> Self {
        Self { scheme, select: Select::default(), threads: 1 }
    }
}
