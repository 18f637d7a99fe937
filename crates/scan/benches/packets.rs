//! What a packet costs: reading it and judging it.
fn main() {}
