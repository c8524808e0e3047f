//! A driver of a Rust author.
fn main() {}
