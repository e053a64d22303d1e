//! Signatures of counterparties, at the speed at which they come.
//!
//! A channel's counterparty signs with one key for as long as the channel lives. So keys are parsed once and kept, and for one that
//! signs often a table of multiples of its point is made, by which both products of the verification are sums of tabulated points.
//!
//! Why no batch verification: it tests a random sum of all equations at once, and a signer who adds points of small order to its own nonces
//! makes them cancel in that sum with a probability of up to one half. Such a signature passes in a batch and fails alone, here
//! and under the contract's `CHKSIGNS`: we would take a voucher that the chain does not pay. To rule points of small order out costs more than a
//! batch saves. A table changes nothing of what is accepted: it computes the same points as [`VerifyingKey::verify_strict`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cocoon_market::keys::BadSignature;
use cocoon_market::{NodeId, Signature};
use curve25519_dalek::edwards::{EdwardsBasepointTable, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::BasepointTable as _;
use ed25519_dalek::VerifyingKey;
use sha2::{Digest as _, Sha512};

/// Keys kept. A provider of a small swarm has fewer channels in use at once; with a table each they take 8 MB.
const KEYS_MAX: usize = 256;

/// Signatures of one key after which its table is made. Making one takes as long as sixty verifications by it save.
const TABLE_AFTER: u32 = 64;

/// The keys of those who signed lately.
#[derive(Default)]
pub(super) struct Verifier {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The key, and when it was last asked for.
    keys: BTreeMap<NodeId, (u64, Arc<Counterparty>)>,
    asked: u64,
}

impl Verifier {
    /// Verifies exactly these bytes, refusing weak keys and malleable signatures: what `SignedVoucher::verify` and `SignedReceipt::verify` accept,
    /// and nothing else.
    pub(super) fn verify(&self, signer: &NodeId, bytes: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        self.counterparty(signer)?.verify(bytes, signature)
    }

    fn counterparty(&self, signer: &NodeId) -> Result<Arc<Counterparty>, BadSignature> {
        // Nobody leaves this lock with something half done.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.asked = known.asked.saturating_add(1);
        let now = known.asked;
        if let Some((asked, counterparty)) = known.keys.get_mut(signer) {
            *asked = now;
            return Ok(Arc::clone(counterparty));
        }
        let counterparty = Arc::new(Counterparty::new(signer)?);
        if known.keys.len() >= KEYS_MAX
            && let Some(oldest) = known.keys.iter().min_by_key(|(_, (asked, _))| *asked).map(|(key, _)| *key)
        {
            known.keys.remove(&oldest);
        }
        known.keys.insert(*signer, (now, Arc::clone(&counterparty)));
        Ok(counterparty)
    }
}

/// Somebody who signs.
struct Counterparty {
    key: VerifyingKey,
    /// Signatures so far.
    signatures: AtomicU32,
    /// Multiples of the key's negated point.
    table: OnceLock<Box<EdwardsBasepointTable>>,
}

impl Counterparty {
    fn new(signer: &NodeId) -> Result<Self, BadSignature> {
        let key = VerifyingKey::from_bytes(signer.as_bytes()).map_err(|_| BadSignature)?;
        // Every signature of a weak key is refused, so that those who come by table need not look at the key again.
        if key.is_weak() {
            return Err(BadSignature);
        }
        Ok(Self { key, signatures: AtomicU32::new(0), table: OnceLock::new() })
    }

    fn verify(&self, bytes: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        // Never more than by one too few: the count only says when the table is worth its making.
        if self.signatures.load(Ordering::Relaxed) < TABLE_AFTER {
            self.signatures.fetch_add(1, Ordering::Relaxed);
            let signature = ed25519_dalek::Signature::from_bytes(signature.as_bytes());
            return self.key.verify_strict(bytes, &signature).map_err(|_| BadSignature);
        }
        self.verify_by_table(bytes, signature)
    }

    /// RFC 8032, section 5.1.7, without the cofactor: R = sB - kA, as points and as bytes, R not of small order.
    fn verify_by_table(&self, bytes: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        let table = self.table.get_or_init(|| Box::new(EdwardsBasepointTable::create(&std::ops::Neg::neg(self.key.to_edwards()))));
        let (r, s) = signature.as_bytes().split_first_chunk::<32>().ok_or(BadSignature)?;
        let s: [u8; 32] = s.try_into().map_err(|_| BadSignature)?;
        let s = Option::<Scalar>::from(Scalar::from_canonical_bytes(s)).ok_or(BadSignature)?;
        let hash = Sha512::new().chain_update(r).chain_update(self.key.as_bytes()).chain_update(bytes).finalize();
        let k = Scalar::from_bytes_mod_order_wide(&hash.into());
        let expected: EdwardsPoint = [EdwardsPoint::mul_base(&s), table.mul_base(&k)].into_iter().sum();
        // Compressed bytes are compared, so that of all encodings of a point only the one passes that `CHKSIGNS` takes.
        if expected.compress().as_bytes() == r && !expected.is_small_order() { Ok(()) } else { Err(BadSignature) }
    }
}

#[cfg(test)]
mod tests {
    use cocoon_market::OperatorKey;
    use curve25519_dalek::constants::EIGHT_TORSION;
    use ed25519_dalek::{Signer as _, SigningKey};
    use proptest::prelude::*;

    use super::*;

    fn signing(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn node(key: &SigningKey) -> NodeId {
        NodeId(key.verifying_key().to_bytes())
    }

    /// Both ways, which must agree with each other and with what the library says.
    fn check(key: &NodeId, bytes: &[u8], signature: &Signature) -> bool {
        let strict = VerifyingKey::from_bytes(key.as_bytes())
            .is_ok_and(|key| key.verify_strict(bytes, &ed25519_dalek::Signature::from_bytes(signature.as_bytes())).is_ok());
        let counterparty = Counterparty::new(key);
        let by_table = counterparty.as_ref().is_ok_and(|known| known.verify_by_table(bytes, signature).is_ok());
        let by_key = counterparty.is_ok_and(|known| known.verify(bytes, signature).is_ok());
        assert_eq!((by_table, by_key), (strict, strict), "{key} {signature}");
        strict
    }

    /// A signature by a signer who adds a point of small order to its nonce.
    fn with_torsion(key: &SigningKey, bytes: &[u8], nonce: u8, torsion: EdwardsPoint) -> Signature {
        let r = Scalar::from(u64::from(nonce) + 1);
        let point = (EdwardsPoint::mul_base(&r) + torsion).compress();
        let hash = Sha512::new().chain_update(point.as_bytes()).chain_update(key.verifying_key().as_bytes()).chain_update(bytes).finalize();
        let s = r + Scalar::from_bytes_mod_order_wide(&hash.into()) * key.to_scalar();
        Signature([*point.as_bytes(), s.to_bytes()].concat().try_into().unwrap())
    }

    proptest! {
        #[test]
        fn a_table_accepts_what_the_library_accepts(seed in 0u8..4, bytes in prop::collection::vec(any::<u8>(), 0..130), flip in 0usize..2048) {
            let key = signing(seed);
            let good = Signature(key.sign(&bytes).to_bytes());
            prop_assert!(check(&node(&key), &bytes, &good));
            let mut bad = good;
            bad.0[flip / 8 % 64] ^= 1 << (flip % 8);
            prop_assert!(!check(&node(&key), &bytes, &bad));
            prop_assert!(!check(&node(&signing(seed + 1)), &bytes, &good));
            let other = [bytes.as_slice(), &[0]].concat();
            prop_assert!(!check(&node(&key), &other, &good));
        }
    }

    #[test]
    fn a_nonce_with_a_point_of_small_order_is_refused() {
        let key = signing(1);
        for (nonce, torsion) in (0..).zip(EIGHT_TORSION) {
            let signature = with_torsion(&key, b"a voucher", nonce, torsion);
            assert_eq!(check(&node(&key), b"a voucher", &signature), torsion == EIGHT_TORSION[0]);
        }
    }

    #[test]
    fn weak_keys_weak_nonces_and_a_second_form_of_a_signature_are_refused() {
        let key = signing(1);
        for torsion in EIGHT_TORSION {
            // For these keys and nonces some messages would have signatures that nobody had to sign.
            let weak = NodeId(torsion.compress().to_bytes());
            for message in 0..16u8 {
                for nonce in EIGHT_TORSION {
                    let signature = Signature([nonce.compress().to_bytes(), [0; 32]].concat().try_into().unwrap());
                    assert!(!check(&weak, &[message], &signature));
                    assert!(!check(&node(&key), &[message], &signature));
                }
            }
        }
        let good = key.sign(b"x").to_bytes();
        // The order of the group, added to s: the same scalar, written otherwise.
        let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
        let mut carry = 0;
        let mut second = good;
        for (digit, add) in second[32..].iter_mut().zip(order) {
            let sum = u16::from(*digit) + u16::from(add) + carry;
            (*digit, carry) = (u8::try_from(sum % 256).unwrap(), sum / 256);
        }
        assert!(check(&node(&key), b"x", &Signature(good)));
        assert!(!check(&node(&key), b"x", &Signature(second)));
        let zero_nonce = with_torsion(&key, b"x", 255, EIGHT_TORSION[0]);
        assert!(check(&node(&key), b"x", &zero_nonce));
    }

    #[test]
    fn a_nonce_of_zero_is_refused() {
        let key = signing(1);
        let neutral = EIGHT_TORSION[0].compress();
        let hash =
            Sha512::new().chain_update(neutral.as_bytes()).chain_update(key.verifying_key().as_bytes()).chain_update(b"x").finalize();
        let s = Scalar::from_bytes_mod_order_wide(&hash.into()) * key.to_scalar();
        let signature = Signature([*neutral.as_bytes(), s.to_bytes()].concat().try_into().unwrap());
        assert!(!check(&node(&key), b"x", &signature));
    }

    #[test]
    fn who_signs_often_gets_a_table_and_who_did_not_sign_lately_is_forgotten() {
        let verifier = Verifier::default();
        let frequent = signing(1);
        let signature = Signature(frequent.sign(b"x").to_bytes());
        let table_of = || verifier.counterparty(&node(&frequent)).unwrap().table.get().is_some();
        for _ in 0..TABLE_AFTER {
            verifier.verify(&node(&frequent), b"x", &signature).unwrap();
        }
        assert!(!table_of());
        verifier.verify(&node(&frequent), b"x", &signature).unwrap();
        assert!(table_of());
        verifier.verify(&node(&frequent), b"y", &signature).unwrap_err();
        let key = |n: usize| OperatorKey::from_seed(&[[1; 24].as_slice(), &n.to_be_bytes()].concat().try_into().unwrap()).node_id();
        for n in 0..KEYS_MAX - 1 {
            verifier.counterparty(&key(n)).unwrap();
        }
        assert!(table_of(), "there was a place for all");
        verifier.counterparty(&key(KEYS_MAX)).unwrap();
        assert_eq!(verifier.known.lock().unwrap().keys.len(), KEYS_MAX);
        assert!(table_of(), "asked for lately");
        assert!(!verifier.known.lock().unwrap().keys.contains_key(&key(0)), "the one asked for longest ago made place");
        assert!(verifier.counterparty(&NodeId(EIGHT_TORSION[0].compress().to_bytes())).is_err(), "a weak key is not kept");
        assert_eq!(verifier.known.lock().unwrap().keys.len(), KEYS_MAX);
    }
}
