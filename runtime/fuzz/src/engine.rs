//! What the readers know of engines: the names of functions, and the forms that weights lie in.

#[path = "../../src/engine/activation.rs"]
mod activation;
#[path = "../../src/engine/weights.rs"]
pub(crate) mod weights;

pub use activation::Activation;
