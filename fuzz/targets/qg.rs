//! Fuzzes the target `qg`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("qg").unwrap()(data));
