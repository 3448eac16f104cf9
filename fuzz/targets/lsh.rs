//! Fuzzes the target `lsh`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("lsh").unwrap()(data));
