//! Fuzzes the target `classify`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("classify").unwrap()(data));
