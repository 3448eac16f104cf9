//! Room of `kvant-server`.
