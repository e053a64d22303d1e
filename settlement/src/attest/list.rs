//! The auditors as a registry lists them: one cell after another, each with both keys of an auditor and a signature that ties them.
//!
//! ```text
//! node       auditor 256 bits | x 256 | y 256 | reference to the ed25519 signature 512, if there is an auditor | reference to the next node
//! nobody     zeros, and no signature
//! ```
//!
//! The signature is that of [`AuditorKey`](cocoon_market::AuditorKey), whose tag is
//! [`AUDITOR_KEY_TAG`](cocoon_market::certificate::AUDITOR_KEY_TAG). A vote names the hash of the first node's cell and the commitment of
//! the keys, [`AuditorList::set`]; then anybody brings the list itself and a proof of [`KeySetCircuit`](super::keyset::KeySetCircuit),
//! [`AuditorList::message`].

use cocoon_market::NetworkId;
use cocoon_market::ids::Digest;
use tonlib_core::cell::{ArcCell, CellBuilder};

use super::groth16::Proof;
use super::keyset::{KeySet, KeySetError, PLACES};
use super::schnorr::{BindingError, KeyBinding};
use crate::contract::cells::hash_of;
use crate::contract::{AuditorSet, CellError, ProofBytes, RegistryMessage};

/// Why auditors make no list.
#[derive(Debug, thiserror::Error)]
pub enum AuditorListError {
    /// No place at all.
    #[error("a list has at least one place")]
    Empty,
    /// A binding for another network.
    #[error("the keys in place {place} are tied for {network}; have the auditor sign for the network of the list")]
    Network {
        /// The place, counted from zero.
        place: usize,
        /// What its binding is for.
        network: NetworkId,
    },
    /// Keys that are not tied to one another.
    #[error("the keys in place {place} are not tied to one another")]
    Binding {
        /// The place, counted from zero.
        place: usize,
        /// Why not.
        #[source]
        source: BindingError,
    },
    /// The second keys are no set.
    #[error("the auditors' second keys are no set")]
    Keys(#[from] KeySetError),
    /// No cell could be made.
    #[error("the list has no form as a cell")]
    Cell(#[from] CellError),
}

/// Auditors in their places, each with two keys that signed for one another.
#[derive(Clone, Debug)]
pub struct AuditorList {
    keys: KeySet,
    count: u8,
    cell: ArcCell,
}

impl AuditorList {
    /// The list of these places for a network, the rest behind them unused.
    ///
    /// # Errors
    /// [`AuditorListError`].
    pub fn new(network: NetworkId, places: &[Option<KeyBinding>]) -> Result<Self, AuditorListError> {
        if places.is_empty() {
            return Err(AuditorListError::Empty);
        }
        let wrong = KeySetError::TooMany { got: places.len() };
        let count = u8::try_from(places.len()).ok().filter(|_| places.len() <= PLACES).ok_or(wrong)?;
        let mut keys = Vec::with_capacity(places.len());
        for (place, binding) in places.iter().enumerate() {
            let Some(binding) = binding else {
                keys.push(None);
                continue;
            };
            if binding.statement.network != network {
                return Err(AuditorListError::Network { place, network: binding.statement.network });
            }
            keys.push(Some(binding.verify().map_err(|source| AuditorListError::Binding { place, source })?));
        }
        Ok(Self { keys: KeySet::new(&keys)?, count, cell: chained(places)? })
    }

    /// The second keys, under which certificates are proven.
    pub fn keys(&self) -> &KeySet {
        &self.keys
    }

    /// The cell that a registry takes.
    pub fn cell(&self) -> &ArcCell {
        &self.cell
    }

    /// The hash of the cell: what the challenge of the list's proof hangs on.
    pub fn listed(&self) -> [u8; 32] {
        hash_of(&self.cell)
    }

    /// What a vote names.
    pub fn set(&self) -> AuditorSet {
        AuditorSet { list: Digest(self.listed()), commitment: Digest(self.keys.commitment().to_be_bytes()) }
    }

    /// Brings the list to the registry, with the proof that [`AuditorList::listed`] and the keys' commitment agree.
    pub fn message(&self, proof: &Proof) -> RegistryMessage {
        RegistryMessage::ProveAuditors { count: self.count, list: ArcCell::clone(&self.cell), proof: ProofBytes(proof.to_bytes()) }
    }
}

/// The nodes of a list, built from the last to the first.
fn chained(places: &[Option<KeyBinding>]) -> Result<ArcCell, CellError> {
    let mut next: Option<ArcCell> = None;
    for place in places.iter().rev() {
        let mut node = CellBuilder::new();
        match place {
            None => {
                node.store_slice(&[0; 96])?;
            }
            Some(KeyBinding { statement, owner, .. }) => {
                for part in [statement.auditor.as_bytes(), statement.x.as_bytes(), statement.y.as_bytes()] {
                    node.store_slice(part)?;
                }
                let mut signature = CellBuilder::new();
                signature.store_slice(owner.as_bytes())?;
                node.store_child(signature.build()?)?;
            }
        }
        if let Some(next) = &next {
            node.store_reference(next)?;
        }
        next = Some(node.build()?.to_arc());
    }
    next.ok_or(CellError::Value("places"))
}
