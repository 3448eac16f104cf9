//! The examples live in `examples/`; each is one idea and runs by `cargo run --example NAME`.
