//! Room of `kvant-eval`.
