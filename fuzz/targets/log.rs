//! Fuzzes the target `log`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("log").unwrap()(data));
