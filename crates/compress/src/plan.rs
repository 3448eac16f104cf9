//! What to do with a model.

use std::sync::Arc;

use kvant_model::{Activations, Container};

use crate::assign::Fallback;
use crate::quantize::Requantize;
use crate::{Calibration, Quantizer, Recipe, Select};

/// What [`compress`](crate::compress) does with a model.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The passes, and which tensors become what.
    pub recipe: Recipe,
    /// Which tensors are weight matrices at all.
    pub select: Select,
    /// What the layers of this model get to see.
    pub calibration: Option<Arc<Calibration>>,
    /// Texts on which the loss of a budget is measured; none: it is only estimated. A plan that
    /// rotates is calibrated on them once it has.
    pub texts: Vec<String>,
    /// How activations are quantized when the model runs; `None`: not at all.
    pub activations: Option<Activations>,
    /// How the weights of a directory are laid out.
    pub container: Container,
    /// What becomes of matrices that a format cannot hold.
    pub fallback: Fallback,
    /// What becomes of tensors that are coded already.
    pub requantize: Requantize,
    /// Threads to work on; 0 counts as 1. The written weights do not depend on it.
    pub threads: usize,
}

impl Plan {
    /// A recipe without data, on one thread.
    pub fn new(recipe: Recipe) -> Self {
        Self {
            recipe,
            select: Select::default(),
            calibration: None,
            texts: Vec::new(),
            activations: None,
            container: Container::default(),
            fallback: Fallback::default(),
            requantize: Requantize::default(),
            threads: 1,
        }
    }

    /// Every weight matrix by one quantizer.
    pub fn uniform(quantizer: impl Into<Quantizer>) -> Self {
        Self::new(Recipe::uniform(quantizer))
    }
}
