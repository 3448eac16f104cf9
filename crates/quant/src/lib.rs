//! Room of `kvant-quant`.
