//! What an operator signs for its provider's contract: one command, once, there alone.
//!
//! The command itself may be long (a batch of claims); the statement names its hash, and has a fixed layout of 80 bytes, signed
//! with plain ed25519 as those bytes, so that the contract checks it with one `CHKSIGNS`:
//!
//! ```text
//! "CCO1" | network i32 | contract 32 | number u32 | valid until u32 | command 32
//! ```

use serde::{Deserialize, Serialize};

use crate::ids::{ContractAddress, Digest, NetworkId, NodeId};
use crate::keys::{BadSignature, OperatorKey, Signature, verify_raw};
use crate::layout::{LayoutError, Reader, fill};

/// Marks an operator's statement among all bytes an operator key signs.
pub const OPERATOR_TAG: [u8; 4] = *b"CCO1";

/// Length of an operator's statement. A TVM cell holds 127 bytes.
pub const OPERATOR_BYTES: usize = 80;

/// "Do this, as your message of this number, until then."
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OperatorStatement {
    /// The chain.
    pub network: NetworkId,
    /// The provider's contract.
    pub contract: ContractAddress,
    /// The contract's next number: each is taken once.
    pub number: u32,
    /// When the contract stops taking it, in seconds since the Unix epoch.
    pub valid_until_s: u32,
    /// Hash of the command's cell.
    pub command: Digest,
}

impl OperatorStatement {
    /// The signed bytes.
    pub fn to_bytes(&self) -> [u8; OPERATOR_BYTES] {
        let parts: [&[u8]; 6] = [
            &OPERATOR_TAG,
            &self.network.0.to_be_bytes(),
            self.contract.as_bytes(),
            &self.number.to_be_bytes(),
            &self.valid_until_s.to_be_bytes(),
            self.command.as_bytes(),
        ];
        fill(parts)
    }

    /// Reads the layout.
    ///
    /// # Errors
    /// [`LayoutError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes, OPERATOR_BYTES)?;
        reader.tag(OPERATOR_TAG)?;
        let contract = reader.channel();
        Ok(Self {
            network: contract.network,
            contract: contract.address,
            number: u32::from_be_bytes(reader.take()),
            valid_until_s: u32::from_be_bytes(reader.take()),
            command: Digest(reader.take()),
        })
    }

    /// The operator's signature.
    pub fn sign(&self, key: &OperatorKey) -> Signature {
        key.sign_raw(&self.to_bytes())
    }

    /// Checks the operator's signature.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, operator: &NodeId, signature: &Signature) -> Result<(), BadSignature> {
        verify_raw(operator, &self.to_bytes(), signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{CHANNEL, key};
    use crate::layout::LAYOUT_BYTES_MAX;

    const STATEMENT: OperatorStatement = OperatorStatement {
        network: CHANNEL.network,
        contract: CHANNEL.address,
        number: 0x0102_0304,
        valid_until_s: 0x0506_0708,
        command: Digest([0x44; 32]),
    };

    #[test]
    fn a_statement_has_its_fields_at_fixed_places() {
        let bytes = STATEMENT.to_bytes();
        assert!(bytes.len() == 80 && bytes.len() <= LAYOUT_BYTES_MAX);
        assert_eq!(&bytes[0..4], b"CCO1");
        assert_eq!(bytes[4..8], (-777_i32).to_be_bytes());
        assert_eq!(bytes[8..40], [3; 32]);
        assert_eq!(bytes[40..48], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(bytes[48..80], [0x44; 32]);
    }

    #[test]
    fn only_the_layout_is_read() {
        let bytes = STATEMENT.to_bytes();
        assert_eq!(OperatorStatement::from_bytes(&bytes), Ok(STATEMENT));
        assert_eq!(OperatorStatement::from_bytes(&bytes[..79]), Err(LayoutError::Length { got: 79, want: 80 }));
        let mut other = bytes;
        other[3] = b'2';
        assert_eq!(OperatorStatement::from_bytes(&other), Err(LayoutError::Tag(OPERATOR_TAG)));
    }

    #[test]
    fn a_signature_holds_for_one_statement_by_one_key() {
        let signature = STATEMENT.sign(&key(1));
        assert_eq!(STATEMENT.verify(&key(1).node_id(), &signature), Ok(()));
        assert_eq!(STATEMENT.verify(&key(2).node_id(), &signature), Err(BadSignature));
        let next = OperatorStatement { number: STATEMENT.number + 1, ..STATEMENT };
        assert_eq!(next.verify(&key(1).node_id(), &signature), Err(BadSignature));
    }
}
