//! Fuzzes the target `manifest`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("manifest").unwrap()(data));
