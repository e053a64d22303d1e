//! What a proof is about: one provider's contract, on one network, in one epoch.

use ark_bls12_381::Fr;
use cocoon_market::certificate::CERTIFICATE_TAG;
use cocoon_market::{Certificate, ContractAddress, NetworkId};
use sha2::{Digest as _, Sha256};

use super::element::{halves, truncated};
use super::poseidon::{Purpose, hash};

/// The first 31 bytes of SHA-256 over `"CCA1" | network i32 | provider's contract 32 | epoch u32`: one `SHA256U` and a shift.
///
/// These are the first 44 bytes of every certificate of that provider and epoch.
pub(super) fn domain(network: NetworkId, provider: ContractAddress, epoch: u32) -> Fr {
    let hash = Sha256::new()
        .chain_update(CERTIFICATE_TAG)
        .chain_update(network.0.to_be_bytes())
        .chain_update(provider.as_bytes())
        .chain_update(epoch.to_be_bytes());
    truncated(hash.finalize().into())
}

/// What an auditor's second key signs: Poseidon over the domain, the claim, its fee and the two halves of its segment's digest.
pub(super) fn digest(certificate: &Certificate) -> Fr {
    let domain = domain(certificate.network, certificate.provider, certificate.epoch);
    message(domain, certificate.claim.into(), certificate.fee_nanoton.into(), halves(certificate.segment.as_bytes()))
}

/// The same of its parts.
pub(super) fn message(domain: Fr, claim: Fr, fee: Fr, [high, low]: [Fr; 2]) -> Fr {
    hash(Purpose::Certificate, &[domain, claim, fee, high, low])
}

#[cfg(test)]
mod tests {
    use super::*;
    use cocoon_market::ids::Digest;

    const CERTIFICATE: Certificate = Certificate {
        network: NetworkId::DEVNET,
        provider: ContractAddress([3; 32]),
        epoch: 7,
        claim: 8,
        fee_nanoton: 9,
        segment: Digest([4; 32]),
    };

    #[test]
    fn a_domain_is_the_hash_of_a_certificates_first_bytes() {
        let bytes = CERTIFICATE.to_bytes();
        assert_eq!(domain(NetworkId::DEVNET, ContractAddress([3; 32]), 7), truncated(Sha256::digest(&bytes[..44]).into()));
    }

    #[test]
    fn every_field_of_a_certificate_counts() {
        let others = [
            Certificate { network: NetworkId::TESTNET, ..CERTIFICATE },
            Certificate { provider: ContractAddress([5; 32]), ..CERTIFICATE },
            Certificate { epoch: 8, ..CERTIFICATE },
            Certificate { claim: 9, ..CERTIFICATE },
            Certificate { fee_nanoton: 8, ..CERTIFICATE },
            Certificate { segment: Digest([5; 32]), ..CERTIFICATE },
        ];
        assert!(others.iter().all(|other| digest(other) != digest(&CERTIFICATE)));
    }
}
