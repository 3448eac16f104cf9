//! Fuzzes the target `onnx`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("onnx").unwrap()(data));
