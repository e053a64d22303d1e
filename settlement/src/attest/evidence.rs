//! Certificates that belong into one proof, checked before the minutes of processor time that a proof takes.

use ark_bls12_381::Fr;
use cocoon_market::{Certificate, ContractAddress, NetworkId};

use super::circuit::{Assignment, AttestationCircuit, Slot};
use super::domain::{digest, domain};
use super::element::{Element, halves};
use super::groth16::Size;
use super::keyset::KeySet;
use super::schnorr::{PublicKey, Signature};

/// What an attestation says in public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The chain.
    pub network: NetworkId,
    /// The provider's contract.
    pub provider: ContractAddress,
    /// The vault's epoch in which the fees were booked.
    pub epoch: u32,
    /// [`KeySet::commitment`] of the auditors that count.
    pub auditors: Element,
    /// The lowest number of a claim.
    pub first: u64,
    /// The highest number of a claim.
    pub last: u64,
    /// Fees of all the claims, in nano-TON.
    pub total_nanoton: u64,
}

impl Statement {
    /// The public inputs: domain, commitment, and `first * 2^128 + last * 2^64 + total`.
    pub fn inputs(&self) -> [Element; 3] {
        let two_64 = Fr::from(1u128 << 64);
        let packed = (Fr::from(self.first) * two_64 + Fr::from(self.last)) * two_64 + Fr::from(self.total_nanoton);
        [Element(domain(self.network, self.provider, self.epoch)), self.auditors, Element(packed)]
    }
}

/// A certificate with an auditor's Jubjub signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audited {
    /// What was certified.
    pub certificate: Certificate,
    /// The auditor's second key.
    pub auditor: PublicKey,
    /// Of that key, over the certificate.
    pub signature: Signature,
}

/// Why certificates make no attestation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// No certificate, or more than a circuit has slots.
    #[error("{got} certificates where a proof takes 1 to {}; split them by claim", Size::SixtyFour.slots())]
    Count {
        /// Certificates that came.
        got: usize,
    },
    /// Another network, provider or epoch than the certificates' before it.
    #[error("certificate {at} is for another provider, network or epoch than those before it; prove each of these alone")]
    Domain {
        /// Which, counted from zero.
        at: usize,
    },
    /// A claim that is not beyond the one before.
    #[error("certificate {at} is not for a later claim than the one before it; sort by claim and give each claim once")]
    Order {
        /// Which, counted from zero.
        at: usize,
    },
    /// An auditor that is not listed.
    #[error("the auditor of certificate {at} is not in the set; fetch the registry's present list")]
    Auditor {
        /// Which, counted from zero.
        at: usize,
    },
    /// A signature of something or somebody else.
    #[error("the signature of certificate {at} does not verify")]
    Signature {
        /// Which, counted from zero.
        at: usize,
    },
    /// Fees beyond 2^64 nano-TON.
    #[error("the fees sum to more than 64 bits")]
    Total,
}

impl EvidenceError {
    /// The same of certificates that others stand before.
    fn after(self, others: usize) -> Self {
        let place = |at: usize| at.saturating_add(others);
        match self {
            Self::Domain { at } => Self::Domain { at: place(at) },
            Self::Order { at } => Self::Order { at: place(at) },
            Self::Auditor { at } => Self::Auditor { at: place(at) },
            Self::Signature { at } => Self::Signature { at: place(at) },
            Self::Count { .. } | Self::Total => self,
        }
    }
}

/// Certificates that a proof can be made of.
#[derive(Clone, Debug)]
pub struct Evidence {
    statement: Statement,
    keys: KeySet,
    slots: Vec<Slot>,
}

impl Evidence {
    /// Checks certificates, in the order of their claims, against the auditors that count.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub fn new(keys: &KeySet, audited: &[Audited]) -> Result<Self, EvidenceError> {
        let count = EvidenceError::Count { got: audited.len() };
        if audited.len() > Size::SixtyFour.slots() {
            return Err(count);
        }
        let [first, ..] = audited else { return Err(count) };
        follow(audited)?;
        let mut total_nanoton = 0u64;
        let mut slots = Vec::with_capacity(audited.len());
        for (at, one) in audited.iter().enumerate() {
            let certificate = &one.certificate;
            total_nanoton = total_nanoton.checked_add(certificate.fee_nanoton).ok_or(EvidenceError::Total)?;
            let place = keys.place(&one.auditor).ok_or(EvidenceError::Auditor { at })?;
            one.auditor.verify(certificate, &one.signature).map_err(|_| EvidenceError::Signature { at })?;
            slots.push(slot(one, place));
        }
        let Certificate { network, provider, epoch, claim, .. } = first.certificate;
        let last = audited.last().map_or(claim, |last| last.certificate.claim);
        let statement = Statement { network, provider, epoch, auditors: keys.commitment(), first: claim, last, total_nanoton };
        Ok(Self { statement, keys: keys.clone(), slots })
    }

    /// Splits certificates, in the order of their claims, into as few proofs as circuits of at most `largest` allow. An error names a
    /// certificate by its place among all of them.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub fn split(keys: &KeySet, audited: &[Audited], largest: Size) -> Result<Vec<Self>, EvidenceError> {
        if audited.is_empty() {
            return Err(EvidenceError::Count { got: 0 });
        }
        follow(audited)?;
        let batches = audited.chunks(largest.slots()).enumerate();
        batches.map(|(n, batch)| Self::new(keys, batch).map_err(|error| error.after(n.saturating_mul(largest.slots())))).collect()
    }

    /// What its proof will say.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// How many certificates there are. No proof tells.
    pub fn certificates(&self) -> usize {
        self.slots.len()
    }

    /// The smallest circuit that counts on its network and has a slot for each certificate.
    pub fn size(&self) -> Size {
        let fits = |size: &Size| size.slots() >= self.slots.len() && size.counts_on(self.statement.network);
        Size::ALL.into_iter().find(fits).unwrap_or(Size::SixtyFour)
    }

    /// The circuit of so many slots, unless there are too few.
    pub(super) fn circuit(&self, size: Size) -> Option<AttestationCircuit> {
        self.assignment(size).map(AttestationCircuit)
    }

    pub(super) fn assignment(&self, size: Size) -> Option<Assignment> {
        let left = size.slots().checked_sub(self.slots.len())?;
        let [domain, commitment, packed] = self.statement.inputs().map(|element| element.0);
        // Unused slots go on counting claims, at a place that holds a key.
        let place = self.slots.first().map_or(0, |slot| slot.place);
        let next = Fr::from(self.statement.last) + Fr::from(1u8);
        let unused = std::iter::successors(Some(next), |claim| Some(*claim + Fr::from(1u8))).map(|claim| Slot::unused(place, claim));
        let slots = self.slots.iter().copied().chain(unused.take(left)).collect();
        Some(Assignment { domain, commitment, packed, list: self.keys.coordinates(), slots })
    }
}

/// Each certificate is for the same provider, network and epoch as the one before it, and for a later claim.
fn follow(audited: &[Audited]) -> Result<(), EvidenceError> {
    let about = |certificate: &Certificate| (certificate.network, certificate.provider, certificate.epoch);
    for ((before, one), at) in audited.iter().zip(audited.iter().skip(1)).zip(1usize..) {
        if about(&one.certificate) != about(&before.certificate) {
            return Err(EvidenceError::Domain { at });
        }
        if one.certificate.claim <= before.certificate.claim {
            return Err(EvidenceError::Order { at });
        }
    }
    Ok(())
}

fn slot(audited: &Audited, place: u8) -> Slot {
    let certificate = &audited.certificate;
    let (challenge, response) = audited.signature.parts(&audited.auditor, digest(certificate));
    Slot {
        used: true,
        place,
        claim: certificate.claim.into(),
        fee: certificate.fee_nanoton.into(),
        segment: halves(certificate.segment.as_bytes()),
        challenge,
        response,
    }
}
