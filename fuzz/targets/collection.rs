//! Fuzzes the target `collection`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("collection").unwrap()(data));
