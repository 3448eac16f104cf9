//! Room of `kvant-db`.
