//! Fuzzes the target `several`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("several").unwrap()(data));
