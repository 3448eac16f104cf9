//! Fuzzes the target `frame`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("frame").unwrap()(data));
