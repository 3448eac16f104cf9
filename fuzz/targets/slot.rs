//! Fuzzes the target `slot`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("slot").unwrap()(data));
