//! Fuzzes the target `fvecs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("fvecs").unwrap()(data));
