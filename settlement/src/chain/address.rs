//! Accounts of a TON chain.

use std::fmt;
use std::str::FromStr;

use cocoon_market::ContractAddress;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tonlib_core::{TonAddress, TonHash};

/// The workchain where contracts and wallets live.
pub const BASECHAIN: i8 = 0;
/// The workchain of validators and configuration.
pub const MASTERCHAIN: i8 = -1;

/// Characters of an address in its user-friendly form: 36 bytes in base64.
const FRIENDLY_CHARS: usize = 48;

/// An account of a TON chain: a workchain and the hash of the account's initial state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// [`BASECHAIN`] or [`MASTERCHAIN`]; other numbers are well formed, but no chain of ours has them.
    pub workchain: i8,
    /// The account's id within the workchain.
    pub hash: [u8; 32],
}

/// Text that names no account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a TON address: expected 48 base64 characters with a correct checksum, or a workchain, a colon and 64 hexadecimal digits")]
pub struct AddressError;

/// What the user-friendly form asks of whoever sends value to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bounce {
    /// Return the value when the account cannot take it: contracts.
    Yes,
    /// Leave the value there: wallets that are not deployed yet.
    No,
}

impl Address {
    /// An account of the basechain.
    pub const fn basechain(hash: [u8; 32]) -> Self {
        Self { workchain: BASECHAIN, hash }
    }

    /// The form people copy: url-safe base64 with flags and a checksum.
    pub fn friendly(&self, bounce: Bounce) -> String {
        TonAddress::from(*self).to_base64_url_flags(bounce == Bounce::No, false)
    }

    /// The form programs write: `0:` and 64 hexadecimal digits.
    pub fn raw(&self) -> String {
        format!("{}:{}", self.workchain, hex::encode(self.hash))
    }

    fn parse_raw(workchain: &str, hash: &str) -> Result<Self, AddressError> {
        let workchain = workchain.parse().map_err(|_| AddressError)?;
        let mut bytes = [0u8; 32];
        hex::decode_to_slice(hash, &mut bytes).map_err(|_| AddressError)?;
        Ok(Self { workchain, hash: bytes })
    }

    fn parse_friendly(text: &str) -> Result<Self, AddressError> {
        if text.len() != FRIENDLY_CHARS || !text.is_ascii() {
            return Err(AddressError);
        }
        let url_safe = text.replace('+', "-").replace('/', "_");
        let (address, ..) = TonAddress::from_base64_url_flags(&url_safe).map_err(|_| AddressError)?;
        Self::try_from(&address)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads either form.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.split_once(':') {
            Some((workchain, hash)) => Self::parse_raw(workchain, hash),
            None => Self::parse_friendly(text),
        }
    }
}

impl fmt::Display for Address {
    /// The user-friendly form, bounceable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.friendly(Bounce::Yes))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.raw())
    }
}

impl From<ContractAddress> for Address {
    fn from(contract: ContractAddress) -> Self {
        Self::basechain(contract.0)
    }
}

impl From<Address> for TonAddress {
    fn from(address: Address) -> Self {
        Self::new(i32::from(address.workchain), TonHash::from(address.hash))
    }
}

impl TryFrom<&TonAddress> for Address {
    type Error = AddressError;

    /// # Errors
    /// [`AddressError`] for a workchain beyond a byte.
    fn try_from(address: &TonAddress) -> Result<Self, AddressError> {
        let workchain = i8::try_from(address.workchain).map_err(|_| AddressError)?;
        let hash = address.hash_part.as_slice().try_into().map_err(|_| AddressError)?;
        Ok(Self { workchain, hash })
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_changed_letter_is_noticed() {
        let good = "EQCDM_QGggZ3qMa_f3lRPk4_qLDnLTqdi6OkMAV2NB9r5TG3";
        let address: Address = good.parse().unwrap();
        assert_eq!(address.to_string(), good);
        assert_eq!(address.friendly(Bounce::No).parse(), Ok(address));
        assert_eq!(good.replace('3', "4").parse::<Address>(), Err(AddressError));
    }

    proptest! {
        #[test]
        fn both_forms_round_trip(workchain in any::<i8>(), hash in any::<[u8; 32]>()) {
            let address = Address { workchain, hash };
            prop_assert_eq!(address.raw().parse(), Ok(address));
            prop_assert_eq!(address.to_string().parse(), Ok(address));
            prop_assert_eq!(address.to_string().replace('-', "+").replace('_', "/").parse(), Ok(address));
            prop_assert_eq!(Address::try_from(&TonAddress::from(address)), Ok(address));
        }

        #[test]
        fn no_text_panics(text in ".{0,100}") {
            let _ = text.parse::<Address>();
        }
    }
}
