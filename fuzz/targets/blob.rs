//! Fuzzes the target `blob`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("blob").unwrap()(data));
