//! What is proven and what was proven, as files: JSON, of bounded size, that says what it is.
//!
//! A provider's certificates of one epoch, with the auditors that count (`cocoon-certificates/1`):
//!
//! ```json
//! {
//!   "format": "cocoon-certificates/1",
//!   "auditors": ["<second key, 64 hexadecimal digits>", null],
//!   "certificates": [
//!     {
//!       "certificate": {
//!         "network": -777, "provider": "<contract, 64>", "epoch": 7, "claim": 12, "fee_nanoton": 50000000, "segment": "<SHA-256, 64>"
//!       },
//!       "auditor": "<second key, 64>",
//!       "signature": "<signature on Jubjub, 128>"
//!     }
//!   ]
//! }
//! ```
//!
//! The auditors stand in the places of the registry's list; `null` is a place that nobody has. Certificates stand in the order of their
//! claims. An auditor's ed25519 signature is no part of the file, since no proof is made of it.
//!
//! An attestation (`cocoon-attestation/1`): a statement, its proof, and the name of the key that it is verified with:
//!
//! ```json
//! {
//!   "format": "cocoon-attestation/1", "network": -777, "provider": "<contract, 64>", "epoch": 7, "auditors": "<commitment, 64>",
//!   "first": 12, "last": 40, "fees_nanoton": "950000000", "circuit": 16, "verifying_key": "<SHA-256, 64>", "proof": "<384>"
//! }
//! ```
//!
//! Reading checks the form. What the papers claim is checked by [`Evidence`](super::evidence::Evidence) and
//! [`Attestation::verify`].

use cocoon_market::ids::Digest;
use cocoon_market::{Amount, Certificate, ContractAddress, NetworkId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::element::{Element, NotCanonical};
use super::evidence::{Audited, Statement};
use super::groth16::{Circuit, Proof, ProofError, Size, VerifyError, VerifyingKey};
use super::keyset::{KeySet, KeySetError};
use super::schnorr::{PUBLIC_KEY_BYTES, PointError, PublicKey, SIGNATURE_BYTES, Signature};
use crate::contract::{Attested, ProofBytes};

/// Names the layout of a file of certificates.
pub const CERTIFICATES_FORMAT: &str = "cocoon-certificates/1";

/// Names the layout of an attestation.
pub const ATTESTATION_FORMAT: &str = "cocoon-attestation/1";

/// Bytes of a file of certificates that is read. Some 25,000 certificates fit: four hundred proofs of the largest circuit, or hours of
/// work.
pub const CERTIFICATES_BYTES_MAX: usize = 16 << 20;

/// Bytes of an attestation that is read: five times what one has.
pub const ATTESTATION_BYTES_MAX: usize = 5 << 10;

/// Why bytes are no such file.
#[derive(Debug, thiserror::Error)]
pub enum PaperError {
    /// Larger than any.
    #[error("{bytes} bytes where such a file has at most {most}")]
    TooLarge {
        /// What came.
        bytes: usize,
        /// What is read.
        most: usize,
    },
    /// Not the JSON of such a file.
    #[error("not the JSON of such a file")]
    Malformed(#[source] serde_json::Error),
    /// Another layout.
    #[error("the file's format is not {want}")]
    Format {
        /// What is read.
        want: &'static str,
    },
    /// A place of the auditors' list that holds no key.
    #[error("place {place} of the auditors holds no key")]
    Auditor {
        /// The place, counted from zero.
        place: usize,
        /// Why not.
        #[source]
        source: PointError,
    },
    /// The keys are no set.
    #[error("the auditors' keys are no set")]
    Auditors(#[source] KeySetError),
    /// A certificate whose auditor or signature cannot be read.
    #[error("auditor or signature of certificate {at} cannot be read")]
    Certificate {
        /// Which, counted from zero.
        at: usize,
        /// Why not.
        #[source]
        source: PointError,
    },
    /// No such circuit.
    #[error("no circuit has {slots} slots")]
    Circuit {
        /// What the file says.
        slots: u64,
    },
    /// A commitment that is no number of the field.
    #[error("the auditors' commitment is none")]
    Commitment(#[source] NotCanonical),
    /// Fees that no attestation carries.
    #[error("fees of {fees} nano-TON have more than 64 bits")]
    Fees {
        /// What the file says, in nano-TON.
        fees: u128,
    },
}

/// Why an attestation proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttestationError {
    /// It is to be verified with another key.
    #[error("it is for the verifying key {want}, and this is {got}; take the key that it names")]
    Key {
        /// What it names.
        want: Digest,
        /// What it was compared with.
        got: Digest,
    },
    /// Its proof is none.
    #[error("its proof is none")]
    Proof(#[from] ProofError),
    /// Its proof shows something else, or the key does not count.
    #[error(transparent)]
    Refused(#[from] VerifyError),
}

/// A provider's certificates, and the auditors that count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificates {
    /// The auditors.
    pub keys: KeySet,
    /// What they signed.
    pub audited: Vec<Audited>,
}

/// A statement with its proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// What is proven.
    pub statement: Statement,
    /// Slots of the circuit.
    pub size: Size,
    /// Digest of the key that it is verified with.
    pub key: Digest,
    /// The proof, unchecked.
    pub proof: ProofBytes,
}

impl Certificates {
    /// Reads a file.
    ///
    /// # Errors
    /// [`PaperError`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, PaperError> {
        let form: CertificatesForm = read(bytes, CERTIFICATES_FORMAT, CERTIFICATES_BYTES_MAX)?;
        let key = |(place, key): (usize, &Option<Hex<PUBLIC_KEY_BYTES>>)| match key {
            None => Ok(None),
            Some(Hex(bytes)) => PublicKey::from_bytes(bytes).map(Some).map_err(|source| PaperError::Auditor { place, source }),
        };
        let keys = form.auditors.iter().enumerate().map(key).collect::<Result<Vec<_>, _>>()?;
        let keys = KeySet::new(&keys).map_err(PaperError::Auditors)?;
        let rows = form.certificates.iter().enumerate();
        let audited =
            rows.map(|(at, row)| row.read().map_err(|source| PaperError::Certificate { at, source })).collect::<Result<_, _>>()?;
        Ok(Self { keys, audited })
    }

    /// As a file.
    ///
    /// # Errors
    /// [`PaperError::Malformed`] is not expected: all of it has a form in JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, PaperError> {
        let places = self.keys.places();
        let used = places.iter().rposition(Option::is_some).map_or(0, |last| last.saturating_add(1));
        let auditors = places.iter().take(used).map(|key| key.map(|key| Hex(key.to_bytes()))).collect();
        let certificates = self.audited.iter().map(CertificateForm::of).collect();
        write(&CertificatesForm { format: CERTIFICATES_FORMAT.to_owned(), auditors, certificates })
    }
}

impl Attestation {
    /// A statement with the proof that a key's prover made of it.
    pub fn new(statement: Statement, size: Size, key: &VerifyingKey, proof: &Proof) -> Self {
        Self { statement, size, key: key.digest(), proof: ProofBytes(proof.to_bytes()) }
    }

    /// Which circuit its key is for.
    pub const fn circuit(&self) -> Circuit {
        Circuit::Attestation(self.size)
    }

    /// Checks the proof. That the registry has this key and these auditors is for the chain to say.
    ///
    /// # Errors
    /// [`AttestationError`].
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), AttestationError> {
        if (key.digest(), key.circuit()) != (self.key, self.circuit()) {
            return Err(AttestationError::Key { want: self.key, got: key.digest() });
        }
        let proof = Proof::from_bytes(&self.proof.0)?;
        Ok(key.verify_attestation(&self.statement, &proof)?)
    }

    /// What the provider's contract is told of it.
    pub fn claim(&self) -> Attested {
        let Statement { epoch, first, last, total_nanoton, .. } = self.statement;
        Attested { epoch, circuit: self.circuit().number(), lo: first, hi: last, fees: total_nanoton, proof: self.proof }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`PaperError`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, PaperError> {
        let form: AttestationForm = read(bytes, ATTESTATION_FORMAT, ATTESTATION_BYTES_MAX)?;
        let fees = form.fees_nanoton.nano();
        let statement = Statement {
            network: form.network,
            provider: form.provider,
            epoch: form.epoch,
            auditors: Element::from_be_bytes(form.auditors.as_bytes()).map_err(PaperError::Commitment)?,
            first: form.first,
            last: form.last,
            total_nanoton: u64::try_from(fees).map_err(|_| PaperError::Fees { fees })?,
        };
        let size = Size::of_slots(form.circuit).ok_or(PaperError::Circuit { slots: form.circuit })?;
        Ok(Self { statement, size, key: form.verifying_key, proof: form.proof })
    }

    /// As a file.
    ///
    /// # Errors
    /// [`PaperError::Malformed`] is not expected: all of it has a form in JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, PaperError> {
        let Statement { network, provider, epoch, auditors, first, last, total_nanoton } = self.statement;
        write(&AttestationForm {
            format: ATTESTATION_FORMAT.to_owned(),
            network,
            provider,
            epoch,
            auditors: Digest(auditors.to_be_bytes()),
            first,
            last,
            fees_nanoton: Amount::from_nano(total_nanoton.into()),
            circuit: u64::try_from(self.size.slots()).unwrap_or(u64::MAX),
            verifying_key: self.key,
            proof: self.proof,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificatesForm {
    format: String,
    auditors: Vec<Option<Hex<PUBLIC_KEY_BYTES>>>,
    certificates: Vec<CertificateForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateForm {
    certificate: Certificate,
    auditor: Hex<PUBLIC_KEY_BYTES>,
    signature: Hex<SIGNATURE_BYTES>,
}

impl CertificateForm {
    fn of(audited: &Audited) -> Self {
        let Audited { certificate, auditor, signature } = *audited;
        Self { certificate, auditor: Hex(auditor.to_bytes()), signature: Hex(signature.to_bytes()) }
    }

    fn read(&self) -> Result<Audited, PointError> {
        let (auditor, signature) = (PublicKey::from_bytes(&self.auditor.0)?, Signature::from_bytes(&self.signature.0)?);
        Ok(Audited { certificate: self.certificate, auditor, signature })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AttestationForm {
    format: String,
    network: NetworkId,
    provider: ContractAddress,
    epoch: u32,
    auditors: Digest,
    first: u64,
    last: u64,
    fees_nanoton: Amount,
    circuit: u64,
    verifying_key: Digest,
    proof: ProofBytes,
}

/// What a file says its layout is, whatever else is in it.
#[derive(Deserialize)]
struct Named {
    format: String,
}

fn read<T: for<'de> Deserialize<'de>>(bytes: &[u8], want: &'static str, most: usize) -> Result<T, PaperError> {
    if bytes.len() > most {
        return Err(PaperError::TooLarge { bytes: bytes.len(), most });
    }
    let Named { format } = serde_json::from_slice(bytes).map_err(PaperError::Malformed)?;
    if format != want {
        return Err(PaperError::Format { want });
    }
    serde_json::from_slice(bytes).map_err(PaperError::Malformed)
}

fn write(form: &impl Serialize) -> Result<Vec<u8>, PaperError> {
    let mut bytes = serde_json::to_vec_pretty(form).map_err(PaperError::Malformed)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Bytes that text shows as hexadecimal.
struct Hex<const N: usize>([u8; N]);

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut bytes = [0u8; N];
        let text = String::deserialize(deserializer)?;
        let wrong = |_| serde::de::Error::custom(format_args!("expected {} hexadecimal digits", N.saturating_mul(2)));
        hex::decode_to_slice(text, &mut bytes).map_err(wrong)?;
        Ok(Self(bytes))
    }
}
