//! The `swarm` program.
fn main() {}
