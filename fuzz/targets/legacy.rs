//! Fuzzes the target `legacy`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("legacy").unwrap()(data));
