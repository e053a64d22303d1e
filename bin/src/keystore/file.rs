//! The form of `keys.json`.

use std::path::Path;

use cocoon_market::{NodeId, OperatorKey};
use cocoon_settlement::chain::Address;
use cocoon_settlement::wallet::Mnemonic;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::seal::{Cost, SealError, Sealed, seal};
use super::{Keys, KeystoreError, PassphraseSource, Protection, PublicKeys, Seed};
use crate::config::Network;

const FORMAT: &str = "cocoon-swarm keystore 1";

/// What stands in a file that anyone who reads it can use.
const WARNING: &str = "unprotected: whoever reads this file owns these keys; for a devnet only";

/// The secrets' form before sealing: two seeds, then the words.
const SEEDS_BYTES: usize = 64;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    format: String,
    network: Network,
    owner: Address,
    operator: NodeId,
    protection: ProtectionForm,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum ProtectionForm {
    Passphrase(Sealed),
    None { warning: String, secrets: Zeroizing<String> },
}

/// A keystore that was read and is not open yet.
pub(super) struct KeyFile {
    pub(super) public: PublicKeys,
    protection: ProtectionForm,
}

/// Writes keys down.
pub(super) fn encode(keys: &Keys, protection: &Protection<'_>, cost: Cost) -> Result<Zeroizing<String>, KeystoreError> {
    let public = keys.public()?;
    let secrets = secrets_of(keys);
    let protection = match protection {
        Protection::Passphrase(passphrase) => ProtectionForm::Passphrase(
            // Sealing itself cannot fail at our own cost parameters.
            seal(&secrets, &clear_bytes(&public), passphrase, cost).map_err(|_| KeystoreError::Random)?,
        ),
        Protection::None => ProtectionForm::None { warning: WARNING.to_owned(), secrets: Zeroizing::new(hex::encode(&*secrets)) },
    };
    let PublicKeys { network, owner, operator } = public;
    let form = FileForm { format: FORMAT.to_owned(), network, owner, operator, protection };
    let text = serde_json::to_string_pretty(&form).expect("the form has only text keys, so it has a JSON form");
    Ok(Zeroizing::new(text + "\n"))
}

/// Reads a file's form.
pub(super) fn decode(text: &str) -> Result<KeyFile, ()> {
    let form: FileForm = serde_json::from_str(text).map_err(|_| ())?;
    if form.format != FORMAT {
        return Err(());
    }
    let FileForm { network, owner, operator, protection, .. } = form;
    Ok(KeyFile { public: PublicKeys { network, owner, operator }, protection })
}

impl KeyFile {
    pub(super) const fn is_unprotected(&self) -> bool {
        matches!(self.protection, ProtectionForm::None { .. })
    }

    /// Opens the secrets and checks that the public part is theirs.
    pub(super) fn open(self, path: &Path, passphrase: &PassphraseSource) -> Result<Keys, KeystoreError> {
        let tampered = || KeystoreError::Tampered { path: path.to_owned() };
        let secrets = match &self.protection {
            ProtectionForm::None { secrets, .. } => hex::decode(secrets.as_bytes()).map(Zeroizing::new).map_err(|_| tampered())?,
            ProtectionForm::Passphrase(sealed) => {
                let passphrase = passphrase.get()?;
                sealed.open(&clear_bytes(&self.public), &passphrase).map_err(|error| match error {
                    SealError::Passphrase => KeystoreError::WrongPassphrase { path: path.to_owned() },
                    SealError::Broken => tampered(),
                    SealError::Random => KeystoreError::Random,
                })?
            }
        };
        let keys = keys_of(self.public.network, &secrets).ok_or_else(tampered)?;
        if self.is_unprotected() && self.public.network != Network::Devnet {
            return Err(tampered());
        }
        if keys.public()? == self.public { Ok(keys) } else { Err(tampered()) }
    }
}

fn secrets_of(keys: &Keys) -> Zeroizing<Vec<u8>> {
    let mut secrets = Zeroizing::new(Vec::with_capacity(SEEDS_BYTES + keys.mnemonic.phrase().len()));
    let operator = Zeroizing::new(keys.operator.seed());
    secrets.extend_from_slice(operator.as_ref());
    secrets.extend_from_slice(keys.identity_seed());
    secrets.extend_from_slice(keys.mnemonic.phrase().as_bytes());
    secrets
}

fn keys_of(network: Network, secrets: &[u8]) -> Option<Keys> {
    let (operator, rest) = secrets.split_first_chunk::<32>()?;
    let (identity, words) = rest.split_first_chunk::<32>()?;
    let mnemonic = Mnemonic::parse(std::str::from_utf8(words).ok()?).ok()?;
    let identity_seed = Seed(Zeroizing::new(*identity));
    Some(Keys { network, mnemonic, operator: OperatorKey::from_seed(operator), identity_seed })
}

/// The public part, as it is authenticated.
fn clear_bytes(public: &PublicKeys) -> Vec<u8> {
    format!("{FORMAT}\n{}\n{}\n{}\n", public.network.name(), public.owner.raw(), public.operator).into_bytes()
}
