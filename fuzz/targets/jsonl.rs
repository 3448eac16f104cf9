//! Fuzzes the target `jsonl`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("jsonl").unwrap()(data));
