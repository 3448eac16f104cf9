//! Fuzzes the target `retrieval`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("retrieval").unwrap()(data));
