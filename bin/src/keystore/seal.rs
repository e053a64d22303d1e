//! Encryption of the keystore: argon2id turns a passphrase into a key, ChaCha20-Poly1305 seals with it.
//!
//! The cost of argon2id stands in the file, so that it can grow without old files becoming unreadable, and is authenticated
//! with everything else that stands there in the clear. A check value, derived beside the key, tells a wrong passphrase from a
//! file that was tampered with; it helps a guesser no more than the seal itself does.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The most memory a file may make us use. A file is not trusted before it is opened.
const MEMORY_KIB_MAX: u32 = 1 << 20;
/// The most passes a file may make us run.
const PASSES_MAX: u32 = 16;
/// The most lanes a file may make us run.
const LANES_MAX: u32 = 16;

const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;

/// What a guess costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// RFC 9106's second recommendation, for machines that may have little memory.
    pub(super) const STRONG: Self = Self { memory_kib: 64 << 10, passes: 3, lanes: 4 };

    /// Enough to test everything but the cost.
    #[cfg(test)]
    pub(super) const TEST: Self = Self { memory_kib: 8, passes: 1, lanes: 1 };
}

/// Sealed secrets, as they stand in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sealed {
    argon2id: Cost,
    salt: String,
    check: String,
    nonce: String,
    sealed: String,
}

/// Why sealed secrets stay closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SealError {
    #[error("the passphrase is wrong")]
    Passphrase,
    #[error("the seal is broken")]
    Broken,
    #[error("no random bytes are to be had")]
    Random,
}

/// Seals secrets under a passphrase. What is in `clear` is not encrypted, but cannot be changed unnoticed either.
pub(super) fn seal(secrets: &[u8], clear: &[u8], passphrase: &str, cost: Cost) -> Result<Sealed, SealError> {
    let (salt, nonce) = (random::<SALT_BYTES>()?, random::<NONCE_BYTES>()?);
    let derived = derive(passphrase, &salt, cost)?;
    let clear = with_cost(clear, cost);
    let sealed = derived.cipher.encrypt(&nonce.into(), Payload { msg: secrets, aad: &clear }).map_err(|_| SealError::Broken)?;
    Ok(Sealed {
        argon2id: cost,
        salt: hex::encode(salt),
        check: derived.check.to_hex().to_string(),
        nonce: hex::encode(nonce),
        sealed: hex::encode(sealed),
    })
}

impl Sealed {
    /// Opens the secrets, if passphrase and `clear` are those they were sealed with.
    pub(super) fn open(&self, clear: &[u8], passphrase: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let salt: [u8; SALT_BYTES] = fixed(&self.salt)?;
        let nonce: [u8; NONCE_BYTES] = fixed(&self.nonce)?;
        let check = blake3::Hash::from_hex(&self.check).map_err(|_| SealError::Broken)?;
        let sealed = hex::decode(&self.sealed).map_err(|_| SealError::Broken)?;
        let derived = derive(passphrase, &salt, self.argon2id)?;
        if derived.check != check {
            return Err(SealError::Passphrase);
        }
        let clear = with_cost(clear, self.argon2id);
        let payload = Payload { msg: &sealed, aad: &clear };
        derived.cipher.decrypt(Nonce::from_slice(&nonce), payload).map(Zeroizing::new).map_err(|_| SealError::Broken)
    }
}

struct Derived {
    cipher: ChaCha20Poly1305,
    check: blake3::Hash,
}

fn derive(passphrase: &str, salt: &[u8], cost: Cost) -> Result<Derived, SealError> {
    let Cost { memory_kib, passes, lanes } = cost;
    if memory_kib > MEMORY_KIB_MAX || passes > PASSES_MAX || lanes > LANES_MAX {
        return Err(SealError::Broken);
    }
    let params = Params::new(memory_kib, passes, lanes, Some(32)).map_err(|_| SealError::Broken)?;
    let mut root = Zeroizing::new([0; 32]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(passphrase.as_bytes(), salt, root.as_mut()).map_err(|_| SealError::Broken)?;
    let key = Zeroizing::new(blake3::derive_key("cocoon-swarm keystore 1: key", root.as_ref()));
    let check = blake3::Hash::from_bytes(blake3::derive_key("cocoon-swarm keystore 1: check", root.as_ref()));
    Ok(Derived { cipher: ChaCha20Poly1305::new(Key::from_slice(key.as_ref())), check })
}

fn with_cost(clear: &[u8], cost: Cost) -> Vec<u8> {
    let cost = [cost.memory_kib, cost.passes, cost.lanes].map(u32::to_be_bytes);
    [clear, cost.concat().as_slice()].concat()
}

fn fixed<const N: usize>(text: &str) -> Result<[u8; N], SealError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| SealError::Broken)?;
    Ok(bytes)
}

/// Random bytes from the operating system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], SealError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| SealError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> Sealed {
        seal(b"secret", b"clear", "sesame", Cost::TEST).unwrap()
    }

    #[test]
    fn the_right_passphrase_opens() {
        assert_eq!(sealed().open(b"clear", "sesame").unwrap().as_slice(), b"secret");
    }

    #[test]
    fn a_wrong_passphrase_is_told_from_a_broken_seal() {
        assert_eq!(sealed().open(b"clear", "Sesame").unwrap_err(), SealError::Passphrase);
        assert_eq!(sealed().open(b"Clear", "sesame").unwrap_err(), SealError::Broken);
    }

    #[test]
    fn no_field_can_be_changed() {
        let flip = |text: &str| if text.starts_with('0') { text.replacen('0', "1", 1) } else { format!("0{}", &text[1..]) };
        let good = sealed();
        let changed = [
            Sealed { salt: flip(&good.salt), ..good.clone() },
            Sealed { check: flip(&good.check), ..good.clone() },
            Sealed { nonce: flip(&good.nonce), ..good.clone() },
            Sealed { sealed: flip(&good.sealed), ..good.clone() },
            Sealed { sealed: String::new(), ..good.clone() },
            Sealed { nonce: "zz".into(), ..good.clone() },
            Sealed { argon2id: Cost { passes: 2, ..Cost::TEST }, ..good },
        ];
        for sealed in changed {
            assert!(sealed.open(b"clear", "sesame").is_err(), "{sealed:?}");
        }
    }

    #[test]
    fn a_file_cannot_make_us_use_all_memory() {
        let cost = Cost { memory_kib: u32::MAX, ..Cost::TEST };
        assert_eq!(Sealed { argon2id: cost, ..sealed() }.open(b"clear", "sesame").unwrap_err(), SealError::Broken);
    }

    #[test]
    fn one_secret_sealed_twice_looks_different() {
        assert_ne!(sealed().sealed, sealed().sealed);
    }
}
