//! Fuzzes the target `vocabulary`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("vocabulary").unwrap()(data));
