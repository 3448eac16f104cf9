//! Language models: small made-up ones against a double-precision forward pass written out
//! here, their tokenizers, files that are not what they should be, and the real SmolLM2.
#![expect(clippy::unwrap_used, reason = "helpers of a test file")]

mod bad;
mod cache;
mod generate;
mod golden;
mod memory;
mod network;
mod packed;
mod reference;
mod template;
mod text;
mod toy;
