//! Fewer bits per weight.

mod encode;
mod work;

pub(crate) use encode::loss;
pub use encode::{Data, encode};
pub use work::{Quantize, Requantize, Task};
