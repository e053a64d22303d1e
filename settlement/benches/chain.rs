//! Simple transfers per second on the embedded chain.
fn main() {}
