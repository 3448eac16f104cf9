//! Fuzzes the target `index`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("index").unwrap()(data));
