//! Fuzzes the target `npy`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("npy").unwrap()(data));
