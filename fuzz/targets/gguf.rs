//! Fuzzes the target `gguf`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("gguf").unwrap()(data));
