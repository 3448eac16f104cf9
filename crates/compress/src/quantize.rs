//! Fewer bits per weight.

mod descent;
mod encode;
mod factor;
mod gptq;
mod hqq;
mod refit;
mod solver;
mod stripe;
mod work;

pub(crate) use encode::{Data, encode, loss};
pub use solver::{Solve, SolveError, Solver};
pub use work::{Quantize, Requantize, Task};

#[cfg(test)]
mod tests;
