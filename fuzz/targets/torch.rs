//! Fuzzes the target `torch`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("torch").unwrap()(data));
