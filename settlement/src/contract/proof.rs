//! A Groth16 proof as contracts take it. What it proves and how it is made is [`crate::attest`]'s.

use serde::{Deserialize, Serialize};
use tonlib_core::cell::{ArcCell, Cell, CellBuilder};

use super::cells::{CellError, bytes_cell};

const G1_BYTES: usize = 48;
const G2_BYTES: usize = 96;

/// Bytes of a proof: `A 48 | B 96 | C 48`, all points compressed.
pub const PROOF_BYTES: usize = 192;

/// The points of a proof, unchecked: the contract says what they are worth. In text it is hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProofBytes(pub [u8; PROOF_BYTES]);

impl ProofBytes {
    /// For a contract: A and C, and a reference to B.
    ///
    /// # Errors
    /// [`CellError`] never, for the layout is fixed.
    pub fn to_cell(&self) -> Result<ArcCell, CellError> {
        let (a, rest) = self.0.split_at(G1_BYTES);
        let (b, c) = rest.split_at(G2_BYTES);
        let mut to = CellBuilder::new();
        to.store_slice(a)?.store_slice(c)?.store_reference(&bytes_cell(b)?)?;
        Ok(to.build()?.to_arc())
    }

    /// Reads what [`Self::to_cell`] wrote.
    ///
    /// # Errors
    /// [`CellError`] for another layout.
    pub fn from_cell(cell: &Cell) -> Result<Self, CellError> {
        let mut from = cell.parser();
        let mut bytes = [0u8; PROOF_BYTES];
        let (a, rest) = bytes.split_at_mut(G1_BYTES);
        let (b, c) = rest.split_at_mut(G2_BYTES);
        from.load_slice(a)?;
        from.load_slice(c)?;
        let point = from.next_reference()?;
        from.ensure_empty()?;
        let mut point = point.parser();
        point.load_slice(b)?;
        point.ensure_empty()?;
        Ok(Self(bytes))
    }
}

impl std::fmt::Debug for ProofBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ProofBytes({})", hex::encode(self.0))
    }
}

impl From<ProofBytes> for String {
    fn from(proof: ProofBytes) -> Self {
        hex::encode(proof.0)
    }
}

impl TryFrom<String> for ProofBytes {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut bytes = [0u8; PROOF_BYTES];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}
