//! What is fuzzed: one function per parser of foreign bytes, and a valid seed for each.
//!
//! A target must return: no panic, no endless loop, no allocation the input does not justify. What
//! the bytes mean is not checked here beyond what reading them promises.

mod place;
pub mod seed;
mod store;
mod target;

pub use target::{TARGETS, Target, target};
