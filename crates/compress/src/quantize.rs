//! Passes that encode weights.

mod round;

pub use round::Round;
