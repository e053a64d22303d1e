//! Attestations of this node: keys in its home, and the proving of certificates beside other work.
//!
//! What an attestation says, and what not, is [`cocoon_settlement::attest`]'s. Here is what it takes to make some on a provider's machine:
//!
//! - [`keys`]: proving and verifying keys in the home, made from a seed where money is worth nothing.
//! - [`prove`]: certificates into batches, a proof for each, one file a proof. What is proven already is not proven again.
//! - [`verify`]: files of others.
//! - [`budget`], [`priority`]: whatever else the machine does goes first.
//! - [`gate`]: an interruption never falls into a write.
//! - [`progress`]: how all that is shown.
//!
//! Everything here blocks; async callers run it on a thread that may block.

pub mod budget;
pub mod gate;
pub mod keys;
pub mod priority;
pub mod progress;
pub mod prove;
pub mod verify;

mod error;

pub use error::AttestError;
pub use gate::Gate;
pub use keys::KeyFolder;
pub use progress::{Progress, Step};

use std::num::NonZeroUsize;

use cocoon_settlement::attest::groth16::{Circuit, Size};

/// All cores of this machine that this process may use.
pub fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Half of the cores, which leaves the other half to paid work.
pub fn half_of_the_cores() -> NonZeroUsize {
    NonZeroUsize::new(cores().get() / 2).unwrap_or(NonZeroUsize::MIN)
}

/// A circuit as it is named on command lines and in files' names: its slots, or what it is about.
pub const fn circuit_name(circuit: Circuit) -> &'static str {
    match circuit {
        Circuit::Attestation(Size::Four) => "4",
        Circuit::Attestation(Size::Sixteen) => "16",
        Circuit::Attestation(Size::SixtyFour) => "64",
        Circuit::KeySet => "key-set",
    }
}
