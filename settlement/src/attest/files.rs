//! Keys as files.
//!
//! ```text
//! "CCZK" | version u16 | kind u8 | circuit u8 | slots u16 | development u8 | zero u8 | length u64 | SHA-256 of the body 32 | body
//! kind     1 verifying key, 2 proving key
//! circuit  1 attestation, 2 key set (slots 0)
//! ```
//!
//! All numbers are big-endian but the lengths inside a proving key's body, which are arkworks' own. The reader takes no more than a
//! circuit's keys may have, whatever the header says, and refuses a body with another hash.
//!
//! The hash keeps out damage, not malice: whoever writes a file writes its hash. A verifying key is read with all checks, and which one
//! to trust is for its [`digest`](VerifyingKey::digest) to say. The points of a proving key are not checked one by one, which would
//! take longer than a proof: a wrong one makes a proof that does not verify, and the prover looks before it hands one out. Take proving
//! keys from where the verifying key's digest comes from; a malicious one could be made to give away which auditors signed.

use std::io::{Read, Write};

use ark_bls12_381::{G1Affine, G2Affine};
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize, Compress, SerializationError, Validate};
use cocoon_market::ids::Digest;
use cocoon_market::layout;
use sha2::{Digest as _, Sha256};

use super::groth16::{Circuit, Origin, ProvingKey, RawProvingKey, Size, VERIFYING_KEY_BYTES, VerifyingKey};

const MAGIC: [u8; 4] = *b"CCZK";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 52;

/// Beyond any proving key: 64 slots take 190 MB.
const PROVING_BODY_BYTES_MAX: u64 = 512 << 20;

/// Uncompressed points, in bytes.
const G1_BYTES: usize = 96;
const G2_BYTES: usize = 192;

/// Why a file is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Reading or writing failed; a short file is among these.
    #[error("the key file could not be read or written to its end")]
    Io(#[from] std::io::Error),
    /// Not a key file.
    #[error("not a key file")]
    Magic,
    /// Of another version of this program.
    #[error("the key file has version {got} and this program reads {VERSION}; make or fetch it again")]
    Version {
        /// What the file says.
        got: u16,
    },
    /// A header that no key has.
    #[error("the key file's header names no key of this kind")]
    Header,
    /// A body beyond any key's length, or shorter than the header says, or followed by more.
    #[error("the key file's body has another length than a key")]
    Length,
    /// A damaged file.
    #[error("the key file is damaged: its body has the hash {got} where the header says {want}; fetch it again")]
    Hash {
        /// Of the body.
        got: Digest,
        /// What the header says.
        want: Digest,
    },
    /// Points that are no key.
    #[error("the key file holds points that are no key")]
    Points(#[from] SerializationError),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Verifying,
    Proving,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Verifying => 1,
            Self::Proving => 2,
        }
    }
}

struct Header {
    kind: Kind,
    circuit: Circuit,
    origin: Origin,
    length: u64,
    hash: Digest,
}

impl Header {
    fn new(kind: Kind, circuit: Circuit, origin: Origin, body: &[u8]) -> Result<Self, KeyFileError> {
        let length = u64::try_from(body.len()).map_err(|_| KeyFileError::Length)?;
        Ok(Self { kind, circuit, origin, length, hash: Digest(Sha256::digest(body).into()) })
    }

    fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let (circuit, slots) = match self.circuit {
            Circuit::Attestation(Size::Four) => (1, 4u16),
            Circuit::Attestation(Size::Sixteen) => (1, 16),
            Circuit::Attestation(Size::SixtyFour) => (1, 64),
            Circuit::KeySet => (2, 0),
        };
        let development = u8::from(self.origin == Origin::Development);
        layout::fill([
            &MAGIC,
            &VERSION.to_be_bytes(),
            &[self.kind.byte(), circuit],
            &slots.to_be_bytes(),
            &[development, 0],
            &self.length.to_be_bytes(),
            self.hash.as_bytes(),
        ])
    }

    /// The header of a key of this kind.
    fn read(kind: Kind, from: &mut impl Read) -> Result<Self, KeyFileError> {
        if take(from)? != MAGIC {
            return Err(KeyFileError::Magic);
        }
        let version = u16::from_be_bytes(take(from)?);
        if version != VERSION {
            return Err(KeyFileError::Version { got: version });
        }
        let [kind_byte, circuit] = take(from)?;
        let slots = u16::from_be_bytes(take(from)?);
        let circuit = match (circuit, slots) {
            (1, 4) => Circuit::Attestation(Size::Four),
            (1, 16) => Circuit::Attestation(Size::Sixteen),
            (1, 64) => Circuit::Attestation(Size::SixtyFour),
            (2, 0) => Circuit::KeySet,
            _ => return Err(KeyFileError::Header),
        };
        let origin = match take(from)? {
            [1, 0] => Origin::Development,
            [0, 0] => Origin::Ceremony,
            _ => return Err(KeyFileError::Header),
        };
        let header = Self { kind, circuit, origin, length: u64::from_be_bytes(take(from)?), hash: Digest(take(from)?) };
        if kind_byte == kind.byte() { Ok(header) } else { Err(KeyFileError::Header) }
    }

    /// The body after a header, if it is whole, alone and what the header says.
    fn body(&self, from: &mut impl Read) -> Result<Vec<u8>, KeyFileError> {
        let most = match self.kind {
            Kind::Verifying => u64::try_from(VERIFYING_KEY_BYTES).unwrap_or(0),
            Kind::Proving => PROVING_BODY_BYTES_MAX,
        };
        if self.length > most {
            return Err(KeyFileError::Length);
        }
        let mut body = Vec::new();
        let read = from.take(self.length.saturating_add(1)).read_to_end(&mut body)?;
        if u64::try_from(read).ok() != Some(self.length) {
            return Err(KeyFileError::Length);
        }
        let got = Digest(Sha256::digest(&body).into());
        if got == self.hash { Ok(body) } else { Err(KeyFileError::Hash { got, want: self.hash }) }
    }
}

impl VerifyingKey {
    /// Writes a key file.
    ///
    /// # Errors
    /// [`KeyFileError::Io`].
    pub fn write(&self, to: &mut impl Write) -> Result<(), KeyFileError> {
        let body = self.to_bytes();
        to.write_all(&Header::new(Kind::Verifying, self.circuit(), self.origin(), &body)?.to_bytes())?;
        Ok(to.write_all(&body)?)
    }

    /// Reads a key file, with all checks.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn read(from: &mut impl Read) -> Result<Self, KeyFileError> {
        let header = Header::read(Kind::Verifying, from)?;
        let body = header.body(from)?;
        let body: &[u8; VERIFYING_KEY_BYTES] = body.as_slice().try_into().map_err(|_| KeyFileError::Length)?;
        Ok(Self::from_points(header.circuit, header.origin, body)?)
    }
}

impl ProvingKey {
    /// Writes a key file.
    ///
    /// # Errors
    /// [`KeyFileError::Io`].
    pub fn write(&self, to: &mut impl Write) -> Result<(), KeyFileError> {
        let verifying = self.verifying_key();
        let mut body = verifying.to_bytes().to_vec();
        let key = &self.key;
        for point in [&key.beta_g1, &key.delta_g1] {
            point.serialize_uncompressed(&mut body)?;
        }
        for points in [&key.a_query, &key.b_g1_query, &key.h_query, &key.l_query] {
            points.serialize_uncompressed(&mut body)?;
        }
        key.b_g2_query.serialize_uncompressed(&mut body)?;
        to.write_all(&Header::new(Kind::Proving, verifying.circuit(), verifying.origin(), &body)?.to_bytes())?;
        Ok(to.write_all(&body)?)
    }

    /// Reads a key file. The points are not checked one by one; see the module's documentation.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn read(from: &mut impl Read) -> Result<Self, KeyFileError> {
        let header = Header::read(Kind::Proving, from)?;
        let body = header.body(from)?;
        let (verifying, mut rest) = body.split_first_chunk::<VERIFYING_KEY_BYTES>().ok_or(KeyFileError::Length)?;
        let verifying = VerifyingKey::from_points(header.circuit, header.origin, verifying)?;
        let from = &mut rest;
        let [beta_g1, delta_g1] = [point(from)?, point(from)?];
        let [a_query, b_g1_query, h_query, l_query] =
            [points::<G1Affine>(from, G1_BYTES)?, points(from, G1_BYTES)?, points(from, G1_BYTES)?, points(from, G1_BYTES)?];
        let b_g2_query = points::<G2Affine>(from, G2_BYTES)?;
        if !rest.is_empty() {
            return Err(KeyFileError::Length);
        }
        let key = RawProvingKey { vk: verifying.raw(), beta_g1, delta_g1, a_query, b_g1_query, b_g2_query, h_query, l_query };
        Ok(Self::new(header.circuit, header.origin, key)?)
    }
}

fn take<const N: usize>(from: &mut impl Read) -> Result<[u8; N], KeyFileError> {
    let mut bytes = [0u8; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn point<T: CanonicalDeserialize>(from: &mut &[u8]) -> Result<T, KeyFileError> {
    Ok(T::deserialize_with_mode(from, Compress::No, Validate::No)?)
}

/// A list of points, whose length is not believed beyond the bytes that are there.
fn points<T: CanonicalDeserialize>(from: &mut &[u8], size: usize) -> Result<Vec<T>, KeyFileError> {
    let count = usize::try_from(point::<u64>(from)?).map_err(|_| KeyFileError::Length)?;
    if count.checked_mul(size).is_none_or(|bytes| bytes > from.len()) {
        return Err(KeyFileError::Length);
    }
    (0..count).map(|_| point(from)).collect()
}
