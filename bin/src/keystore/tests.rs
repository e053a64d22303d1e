use super::*;

const PASSPHRASE: &str = "correct horse";

struct Store {
    _dir: tempfile::TempDir,
    path: PathBuf,
    keys: Keys,
}

fn store(network: Network, protection: &Protection<'_>) -> Store {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.json");
    let keys = Keys::generate(network).unwrap();
    create_at_cost(&path, &keys, protection, Cost::TEST).unwrap();
    Store { _dir: dir, path, keys }
}

impl Store {
    fn sealed() -> Self {
        store(Network::Testnet, &Protection::Passphrase(PASSPHRASE))
    }

    fn open(&self, passphrase: &str) -> Result<Keys, KeystoreError> {
        open(&self.path, &PassphraseSource::known(passphrase))
    }

    fn edit(&self, edit: impl FnOnce(&mut serde_json::Value)) {
        let mut value = serde_json::from_slice(&std::fs::read(&self.path).unwrap()).unwrap();
        edit(&mut value);
        // Written in place, which keeps the permissions.
        std::fs::write(&self.path, serde_json::to_string(&value).unwrap()).unwrap();
    }
}

fn assert_same(a: &Keys, b: &Keys) {
    assert_eq!(a.public().unwrap(), b.public().unwrap());
    assert_eq!(a.mnemonic().phrase(), b.mnemonic().phrase());
    assert_eq!(a.identity_seed(), b.identity_seed());
    assert_eq!(a.operator().seed(), b.operator().seed());
}

#[test]
fn keys_come_back_as_they_were() {
    let sealed = Store::sealed();
    assert_same(&sealed.open(PASSPHRASE).unwrap(), &sealed.keys);
    let open_store = store(Network::Devnet, &Protection::None);
    assert_same(&open(&open_store.path, &PassphraseSource::default()).unwrap(), &open_store.keys);
}

#[test]
fn the_public_part_needs_no_passphrase_and_the_secrets_are_not_in_the_file() {
    let store = Store::sealed();
    assert_eq!(public(&store.path).unwrap(), store.keys.public().unwrap());
    let text = std::fs::read_to_string(&store.path).unwrap();
    assert!(!text.contains(&hex::encode(store.keys.identity_seed())));
    assert!(!text.contains(&hex::encode(store.keys.operator().seed())));
    assert!(!text.contains(&hex::encode(store.keys.mnemonic().phrase())));
}

#[test]
fn an_unprotected_file_says_so() {
    let store = store(Network::Devnet, &Protection::None);
    assert!(std::fs::read_to_string(&store.path).unwrap().contains("whoever reads this file owns these keys"));
    assert!(is_unprotected(&store.path).unwrap());
    assert!(!is_unprotected(&Store::sealed().path).unwrap());
}

#[test]
fn keys_that_may_hold_real_money_need_a_passphrase() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.json");
    for network in [Network::Testnet, Network::Mainnet] {
        let keys = Keys::generate(network).unwrap();
        assert!(matches!(create(&path, &keys, &Protection::None), Err(KeystoreError::Unprotected { .. })));
        assert!(!path.exists());
    }
    // Nor can a devnet's file be turned into one.
    let store = store(Network::Devnet, &Protection::None);
    store.edit(|file| file["network"] = "mainnet".into());
    assert!(matches!(store.open(PASSPHRASE), Err(KeystoreError::Tampered { .. })));
}

#[test]
fn an_existing_keystore_is_never_overwritten() {
    let store = Store::sealed();
    let before = std::fs::read(&store.path).unwrap();
    let error = create_at_cost(&store.path, &Keys::generate(Network::Devnet).unwrap(), &Protection::None, Cost::TEST).unwrap_err();
    assert!(matches!(error, KeystoreError::Exists { .. }));
    assert_eq!(std::fs::read(&store.path).unwrap(), before);
}

#[test]
fn a_wrong_passphrase_is_told_from_tampering() {
    let store = Store::sealed();
    assert!(matches!(store.open("correct house"), Err(KeystoreError::WrongPassphrase { .. })));
    store.edit(|file| file["network"] = "mainnet".into());
    assert!(matches!(store.open(PASSPHRASE), Err(KeystoreError::Tampered { .. })));
}

#[test]
fn no_field_of_the_file_can_be_changed() {
    type Edit = fn(&mut serde_json::Value);
    let edits: [Edit; 7] = [
        |file| file["format"] = "cocoon-swarm keystore 2".into(),
        |file| file["owner"] = Address::basechain([1; 32]).to_string().into(),
        |file| file["operator"] = NodeId([1; 32]).to_string().into(),
        |file| file["extra"] = 1.into(),
        |file| file["protection"]["passphrase"]["argon2id"]["passes"] = 2.into(),
        |file| file["protection"]["passphrase"]["sealed"] = "00".into(),
        |file| file["protection"]["passphrase"]["nonce"] = "000000000000000000000000".into(),
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let store = Store::sealed();
        store.edit(edit);
        assert!(store.open(PASSPHRASE).is_err(), "edit {number}");
    }
}

#[test]
fn a_damaged_file_is_an_error() {
    let store = Store::sealed();
    for content in ["", "{}", "not json", &" ".repeat(70_000)] {
        std::fs::write(&store.path, content).unwrap();
        assert!(matches!(store.open(PASSPHRASE), Err(KeystoreError::Damaged { .. })));
    }
    std::fs::remove_file(&store.path).unwrap();
    assert!(matches!(store.open(PASSPHRASE), Err(KeystoreError::Missing { .. })));
}

#[cfg(unix)]
#[test]
fn a_keystore_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let store = Store::sealed();
    let mode = |mode| std::fs::set_permissions(&store.path, std::fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(std::fs::metadata(&store.path).unwrap().permissions().mode() & 0o777, 0o600);
    mode(0o640);
    assert!(matches!(store.open(PASSPHRASE), Err(KeystoreError::Permissions { mode: 0o640, .. })));
    mode(0o400);
    assert!(store.open(PASSPHRASE).is_ok());
}

#[test]
fn the_strong_cost_opens_what_it_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.json");
    let keys = Keys::generate(Network::Mainnet).unwrap();
    create(&path, &keys, &Protection::Passphrase(PASSPHRASE)).unwrap();
    assert_same(&open(&path, &PassphraseSource::known(PASSPHRASE)).unwrap(), &keys);
}

#[test]
fn secrets_are_not_shown() {
    let keys = Keys::generate(Network::Devnet).unwrap();
    let shown = format!("{keys:?}");
    let first_word = keys.mnemonic().phrase().split(' ').next().unwrap();
    assert!(!shown.contains(&hex::encode(keys.identity_seed())) && !shown.contains(&format!("{first_word} ")), "{shown}");
}
