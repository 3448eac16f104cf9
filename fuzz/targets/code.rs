//! Fuzzes the target `code`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("code").unwrap()(data));
