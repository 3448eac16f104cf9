//! Fuzzes the target `catalog`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("catalog").unwrap()(data));
