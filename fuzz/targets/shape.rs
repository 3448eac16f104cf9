//! Fuzzes the target `shape`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("shape").unwrap()(data));
