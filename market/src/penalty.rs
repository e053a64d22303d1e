//! What a peer's mistake costs it.

/// The local consequence of something a peer did. Errors that a peer can cause say which with `penalty()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Penalty {
    /// Honest peers do this too: slow gossip, a lost answer, a full machine.
    None,
    /// Honest peers do this rarely: a wrong clock, a missed deadline. Many of them add up.
    Low,
    /// Honest software never does this. The peer is left alone from now on.
    Ban,
    /// The peer signed what proves its fault to anybody: keep the bytes.
    Slashable,
}
