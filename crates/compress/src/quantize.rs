//! Fewer bits per weight.

mod encode;
mod work;

pub use encode::{Data, encode};
pub use work::{Quantize, Requantize, Task};
