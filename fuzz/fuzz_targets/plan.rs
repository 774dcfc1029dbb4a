//! Fuzzes `plan` of the library beside it.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| builder_fuzz::plan(bytes));
