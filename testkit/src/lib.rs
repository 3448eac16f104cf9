//! What tests of every crate share: seeded data, brute-force oracles, paths of real models.
//!
//! **Invariant:** named only in `dev-dependencies`; imports nothing of the house.

mod llama;
mod place;
mod random;
mod synthetic;

pub use llama::{LLAMA_CONTEXT, llama};
pub use place::{efficientnet, minilm, shared, skip, smollm2};
pub use random::Random;
pub use synthetic::clustered;
