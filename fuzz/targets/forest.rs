//! Fuzzes the target `forest`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("forest").unwrap()(data));
