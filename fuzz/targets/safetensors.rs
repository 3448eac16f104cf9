//! Fuzzes the target `safetensors`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("safetensors").unwrap()(data));
