/// The function in the middle of a feed-forward part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`, of the gate.
    Silu,
    /// `x * Phi(x)` by the error function, not its approximation by the hyperbolic tangent.
    Gelu,
}
