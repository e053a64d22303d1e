//! An auditor for development networks, whose keys everybody knows.
//!
//! Real auditors look at work before they sign. [`DevelopmentAuditor`] signs what it is given: it stands in for them where money is worth
//! nothing, in tests and demonstrations, and is refused on TON's main network. There a vote would never list it either, since anybody
//! could certify anything with its keys.

use cocoon_market::{Certificate, NetworkId, NodeId, OperatorKey, SignedCertificate};
use sha2::{Digest as _, Sha256};

use super::evidence::Audited;
use super::schnorr::{KeyBinding, SecretKey};

const OPERATOR_SEED: &[u8] = b"cocoon development auditor: operator";
const SECOND_SEED: &[u8] = b"cocoon development auditor: jubjub";

/// What a development auditor does not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DevelopmentAuditorError {
    /// Be there where money is real.
    #[error("a development auditor signs with keys that everybody knows; {0} needs auditors that were voted for")]
    Refused(NetworkId),
    /// Certify work of another network.
    #[error("the certificate is for {certificate} and the development auditor for {auditor}; take one of that network")]
    Network {
        /// What the certificate is for.
        certificate: NetworkId,
        /// What the auditor is for.
        auditor: NetworkId,
    },
}

/// A certificate with both signatures of its auditor, as a provider gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certified {
    /// With the ed25519 signature: evidence of who certified.
    pub certificate: SignedCertificate,
    /// With the Jubjub signature, which goes into a proof.
    pub audited: Audited,
}

/// An auditor that certifies whatever it is asked to, for development networks alone.
#[derive(Debug)]
pub struct DevelopmentAuditor {
    network: NetworkId,
    operator: OperatorKey,
    second: SecretKey,
}

impl DevelopmentAuditor {
    /// The development auditor of this number, whose two keys are hashes of it.
    ///
    /// # Errors
    /// [`DevelopmentAuditorError::Refused`] on the main network.
    pub fn new(network: NetworkId, number: u8) -> Result<Self, DevelopmentAuditorError> {
        if network == NetworkId::MAINNET {
            return Err(DevelopmentAuditorError::Refused(network));
        }
        let seed = |domain: &[u8]| <[u8; 32]>::from(Sha256::new().chain_update(domain).chain_update([number]).finalize());
        let (operator, second) = (OperatorKey::from_seed(&seed(OPERATOR_SEED)), SecretKey::from_seed(&seed(SECOND_SEED)));
        Ok(Self { network, operator, second })
    }

    /// Its name among nodes.
    pub fn node_id(&self) -> NodeId {
        self.operator.node_id()
    }

    /// Its place of an [`AuditorList`](super::list::AuditorList).
    pub fn listed(&self) -> KeyBinding {
        KeyBinding::new(self.network, &self.operator, &self.second)
    }

    /// Signs a certificate with both keys, unseen.
    ///
    /// # Errors
    /// [`DevelopmentAuditorError::Network`].
    pub fn certify(&self, certificate: Certificate) -> Result<Certified, DevelopmentAuditorError> {
        if certificate.network != self.network {
            return Err(DevelopmentAuditorError::Network { certificate: certificate.network, auditor: self.network });
        }
        let audited = Audited { certificate, auditor: self.second.public(), signature: self.second.sign(&certificate) };
        Ok(Certified { certificate: certificate.sign(&self.operator), audited })
    }
}
