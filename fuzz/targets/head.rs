//! Fuzzes the target `head`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("head").unwrap()(data));
