//! Fuzzes the target `database`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("database").unwrap()(data));
