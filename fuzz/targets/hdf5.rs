//! Fuzzes the target `hdf5`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kvant_fuzz::target("hdf5").unwrap()(data));
