//! Fuzzes the target `packed`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("packed").unwrap()(data));
