//! Fuzzes the target `table`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("table").unwrap()(data));
