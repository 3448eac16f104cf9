//! Fuzzes the target `change`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("change").unwrap()(data));
