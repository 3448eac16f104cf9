//! Room of `kvant-compress`.
