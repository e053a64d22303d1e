//! Ledger throughput.
fn main() {}
