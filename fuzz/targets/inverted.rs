//! Fuzzes the target `inverted`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("inverted").unwrap()(data));
