//! The real binary, as a user runs it.

#![expect(clippy::expect_used, reason = "helpers of a test")]

mod bad;
mod cluster;
mod convert;
mod generate;
mod house;
mod hub;
mod index;
mod model;
mod packed;
mod perplexity;
mod pypi;
mod score;
mod vector;
