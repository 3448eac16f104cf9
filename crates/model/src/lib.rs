//! Room of `kvant-model`.
