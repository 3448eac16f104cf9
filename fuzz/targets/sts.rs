//! Fuzzes the target `sts`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("sts").unwrap()(data));
