//! Room of `kvant-storage`.
