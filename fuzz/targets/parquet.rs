//! Fuzzes the target `parquet`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("parquet").unwrap()(data));
