//! Room of `kvant-index`.
