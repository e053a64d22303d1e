//! `swarm attest`, with the circuit of four certificates: keys, proofs, and what is refused.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use cocoon_market::ids::Digest;
use cocoon_market::{Certificate, ContractAddress, NetworkId};
use cocoon_settlement::attest::auditor::DevelopmentAuditor;
use cocoon_settlement::attest::evidence::Audited;
use cocoon_settlement::attest::list::AuditorList;
use cocoon_settlement::attest::papers::Certificates;
use serde_json::Value;

use super::*;

/// A home with the development keys of the smallest circuit, made once for all tests.
static MADE: LazyLock<Swarm> = LazyLock::new(|| {
    let swarm = Swarm::new();
    swarm.done(&["attest", "setup", "--circuit", "4"]);
    swarm
});

impl Swarm {
    fn keys_dir(&self) -> PathBuf {
        self.home().join("attest/keys")
    }

    fn proving(&self) -> PathBuf {
        self.keys_dir().join("attestation-4.proving")
    }

    fn verifying(&self) -> PathBuf {
        self.keys_dir().join("attestation-4.verifying")
    }

    fn proofs(&self) -> PathBuf {
        self.home().join("attest/proofs")
    }

    /// A home of its own with the keys.
    fn with_keys() -> Self {
        let swarm = Self::new();
        std::fs::create_dir_all(swarm.keys_dir()).unwrap();
        for file in std::fs::read_dir(MADE.keys_dir()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), swarm.keys_dir().join(file.file_name())).unwrap();
        }
        swarm
    }

    /// Writes certificates into a file and gives its path.
    fn certificates(&self, name: &str, audited: &[Audited]) -> String {
        let papers = Certificates { keys: auditors().keys().clone(), audited: audited.to_vec() };
        let path = self.dir.path().join(name);
        std::fs::write(&path, papers.to_json().unwrap()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The configuration of a network that is reached over https.
    fn configure(&self, network: &str) {
        std::fs::create_dir_all(self.home()).unwrap();
        let text = format!("[chain]\nnetwork = \"{network}\"\nendpoint = \"https://chain.example\"\n");
        std::fs::write(self.home().join("config.toml"), text).unwrap();
    }

    /// The last line of what a command prints.
    fn last(&self, args: &[&str]) -> Value {
        json(self.done(args).lines().last().unwrap())
    }
}

fn auditor(number: u8) -> DevelopmentAuditor {
    DevelopmentAuditor::new(NetworkId::DEVNET, number).unwrap()
}

/// Auditors 1 and 2, with a place between them that nobody has.
fn auditors() -> AuditorList {
    AuditorList::new(NetworkId::DEVNET, &[Some(auditor(1).listed()), None, Some(auditor(2).listed())]).unwrap()
}

fn certificate(claim: u64) -> Certificate {
    let segment = Digest([3; 32]);
    Certificate { network: NetworkId::DEVNET, provider: ContractAddress([0x51; 32]), epoch: 7, claim, fee_nanoton: 1_000, segment }
}

fn certified(certificate: Certificate) -> Audited {
    let number = if certificate.claim.is_multiple_of(2) { 1 } else { 2 };
    auditor(number).certify(certificate).unwrap().audited
}

fn claims(claims: impl IntoIterator<Item = u64>) -> Vec<Audited> {
    claims.into_iter().map(|claim| certified(certificate(claim))).collect()
}

/// The states of the rows of a table.
fn states(rows: &Value) -> Vec<&str> {
    rows.as_array().unwrap().iter().map(|row| row["state"].as_str().unwrap()).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir).map_or_else(|_| Vec::new(), |files| files.map(|file| file.unwrap().path()).collect());
    files.sort();
    files
}

fn change(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = json(&std::fs::read_to_string(path).unwrap());
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

#[test]
fn keys_are_made_once_and_are_the_pinned_ones() {
    let swarm = Swarm::new();
    let planned = json(&swarm.done(&["attest", "setup", "--dry-run", "--json"]));
    assert_eq!(states(&planned), ["would_make"; 4]);
    assert!(files(&swarm.keys_dir()).is_empty(), "a dry run makes nothing");

    let swarm = Swarm::with_keys();
    let before = std::fs::metadata(swarm.proving()).unwrap().modified().unwrap();
    let kept = swarm.last(&["attest", "setup", "--circuit", "4", "--json"]);
    assert_eq!(states(&kept), ["kept"]);
    assert_eq!(kept[0]["digest"], "dcae7bc99935c9f0580323d33cc014b54e31253e75bb7660b9a4361d2da1e307");
    assert_eq!(std::fs::metadata(swarm.proving()).unwrap().modified().unwrap(), before);
    let text = swarm.done(&["attest", "setup", "--circuit", "4"]);
    assert!(text.contains("Development keys") && text.contains("there"), "{text}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(MADE.proving()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
    }
}

#[test]
fn a_damaged_key_is_told_of_and_made_again() {
    let swarm = Swarm::with_keys();
    let whole = std::fs::read(swarm.proving()).unwrap();
    let verifying = std::fs::read(swarm.verifying()).unwrap();
    let mut damaged = whole.clone();
    damaged[1_000_000] ^= 1;
    std::fs::write(swarm.proving(), &damaged).unwrap();
    let file = swarm.certificates("one.json", &claims([1]));
    let (code, error) = swarm.failed(&["attest", "prove", &file, "--circuit", "4"]);
    assert!(code == 1 && error.contains("damaged") && error.contains("swarm attest setup"), "{error}");
    let planned = json(&swarm.done(&["attest", "setup", "--circuit", "4", "--dry-run", "--json"]));
    assert_eq!(states(&planned), ["would_make"]);
    let made = swarm.last(&["attest", "setup", "--circuit", "4", "--json"]);
    assert_eq!(states(&made), ["made"]);
    assert_eq!(std::fs::read(swarm.proving()).unwrap(), whole, "the same seed makes the same keys");

    for damage in [&verifying[..100], b""] {
        std::fs::write(swarm.verifying(), damage).unwrap();
        let (code, error) = swarm.failed(&["attest", "prove", &file, "--circuit", "4"]);
        assert!(code == 1 && error.contains("attestation-4.verifying"), "{error}");
        let repaired = swarm.last(&["attest", "setup", "--circuit", "4", "--json"]);
        assert_eq!(states(&repaired), ["repaired"]);
        assert_eq!(std::fs::read(swarm.verifying()).unwrap(), verifying);
    }
}

#[test]
fn keys_of_two_seeds_do_not_meet_in_one_home() {
    let swarm = Swarm::with_keys();
    let before = std::fs::read(swarm.proving()).unwrap();
    let seed = "11".repeat(32);
    for remembered in [true, false] {
        let (code, error) = swarm.failed(&["attest", "setup", "--circuit", "4", "--seed", &seed]);
        assert!(code == 2 && error.contains("another seed"), "{remembered}: {error}");
        // Keys that were copied here without the seed's name are known by theirs.
        std::fs::remove_file(swarm.keys_dir().join("seed")).unwrap_or_default();
    }
    assert_eq!(std::fs::read(swarm.proving()).unwrap(), before);
    assert_eq!(states(&swarm.last(&["attest", "setup", "--circuit", "4", "--json"])), ["kept"]);

    let other = Swarm::new();
    let made = other.last(&["attest", "setup", "--circuit", "4", "--seed", &seed, "--json"]);
    assert_ne!(made[0]["digest"], "dcae7bc99935c9f0580323d33cc014b54e31253e75bb7660b9a4361d2da1e307");
    assert_eq!(states(&other.last(&["attest", "setup", "--circuit", "4", "--seed", &seed, "--json"])), ["kept"]);
    assert_eq!(other.failed(&["attest", "setup", "--circuit", "4"]).0, 2, "not taken for the development keys");
    assert_eq!(other.failed(&["attest", "setup", "--seed", "11"]).0, 2);
}

#[test]
fn a_run_goes_on_where_an_earlier_one_stopped() {
    let swarm = Swarm::with_keys();
    let file = swarm.certificates("epoch.json", &claims([2, 3, 5, 8, 13]));
    let prove = ["attest", "prove", &file, "--circuit", "4", "--json"];
    let planned = json(&swarm.done(&[&prove[..], &["--dry-run"]].concat()));
    assert_eq!(states(&planned), ["would_prove", "would_prove"]);
    assert!(files(&swarm.proofs()).is_empty(), "a dry run proves nothing");

    let proven = swarm.last(&prove);
    assert_eq!(states(&proven), ["proven", "proven"]);
    let row = |at: usize| {
        let row = &proven[at];
        (row["first"].as_u64(), row["last"].as_u64(), row["certificates"].as_u64(), row["fees_nanoton"].as_str(), row["circuit"].as_str())
    };
    assert_eq!(row(0), (Some(2), Some(8), Some(4), Some("4000"), Some("4")));
    assert_eq!(row(1), (Some(13), Some(13), Some(1), Some("1000"), Some("4")));
    let proofs = files(&swarm.proofs());
    let names: Vec<_> = proofs.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["51515151-7-13-13.attestation.json", "51515151-7-2-8.attestation.json"]);

    let kept = std::fs::read(&proofs[0]).unwrap();
    std::fs::remove_file(&proofs[1]).unwrap();
    // Without the proving key what is there can still be seen, and nothing else can be made.
    let away = swarm.dir.path().join("away");
    std::fs::rename(swarm.proving(), &away).unwrap();
    let planned = json(&swarm.done(&[&prove[..], &["--dry-run"]].concat()));
    assert_eq!(states(&planned), ["would_prove", "there"]);
    let (code, error) = swarm.failed(&prove[..5]);
    assert!(code == 1 && error.contains("no key") && error.contains("swarm attest setup --circuit 4"), "{error}");
    std::fs::rename(&away, swarm.proving()).unwrap();
    assert_eq!(states(&swarm.last(&prove)), ["proven", "there"]);
    assert_eq!(std::fs::read(&proofs[0]).unwrap(), kept);
    std::fs::rename(swarm.proving(), &away).unwrap();
    assert_eq!(states(&swarm.last(&prove)), ["there", "there"], "which takes no proving key");

    let paths: Vec<_> = proofs.iter().map(|path| path.to_str().unwrap()).collect();
    let checked = json(&swarm.done(&[&["attest", "verify", "--json"], &paths[..]].concat()));
    for row in checked.as_array().unwrap() {
        assert_eq!((&row["holds"], &row["development"], &row["epoch"]), (&true.into(), &true.into(), &7.into()), "{row}");
        assert_eq!(row["auditors"], auditors().keys().commitment().to_string());
    }
}

#[test]
fn a_proof_that_was_tampered_with_is_named_and_made_again() {
    let swarm = Swarm::with_keys();
    let file = swarm.certificates("epoch.json", &claims([1, 2, 3, 4, 5]));
    let out = swarm.dir.path().join("out");
    let prove = ["attest", "prove", &file, "--circuit", "4", "--out", out.to_str().unwrap(), "--json"];
    swarm.done(&prove);
    let proofs = files(&out);
    let [good, bad] = [&proofs[0], &proofs[1]].map(|path| path.to_str().unwrap());
    let whole = std::fs::read_to_string(bad).unwrap();
    let fails = |said: &str| {
        let output = swarm.run(&["attest", "verify", good, bad, "--json"]);
        assert_eq!(output.status.code(), Some(1));
        let (rows, error) = (json(&stdout(&output)), json(&stderr(&output)));
        assert_eq!((&rows[0]["holds"], &rows[1]["holds"]), (&true.into(), &false.into()));
        assert!(error["error"].as_str().unwrap().contains(bad), "{error}");
        let why = error["because"].to_string();
        assert!(why.contains(said) && rows[1]["error"].as_str().unwrap().contains(said), "{said} is not in {why}, {rows}");
        // What would be made again is not believed.
        let planned = json(&swarm.done(&[&prove[..], &["--dry-run"]].concat()));
        assert_eq!(states(&planned), ["there", "would_prove"], "{said}");
    };
    let changed = |field: &str, to: &str| {
        std::fs::write(bad, &whole).unwrap();
        change(Path::new(bad), |value| value[field] = to.into());
    };
    let mut proof = json(&whole)["proof"].as_str().unwrap().to_owned();
    proof.replace_range(100..102, if &proof[100..102] == "00" { "01" } else { "00" });
    changed("fees_nanoton", "999");
    fails("does not show this");
    changed("auditors", &"00".repeat(32));
    fails("does not show this");
    changed("proof", &proof);
    fails("its proof is none");
    changed("verifying_key", &"22".repeat(32));
    fails("verifying key");
    std::fs::write(bad, &whole[..whole.len() / 2]).unwrap();
    fails("JSON");
    let again = swarm.done(&prove);
    assert!(again.contains("attest_wrong_file"), "{again}");
    assert_eq!(states(&json(again.lines().last().unwrap())), ["there", "proven"]);
    swarm.done(&["attest", "verify", good, bad]);
    std::fs::remove_file(bad).unwrap();
    let (code, error) = swarm.failed(&["attest", "verify", bad, good]);
    assert!(code == 1 && error.contains(bad), "{error}");
}

#[test]
fn certificates_that_do_not_belong_together_are_refused() {
    let swarm = Swarm::with_keys();
    let refused = |what: &str, audited: &[Audited], said: &str| {
        let file = swarm.certificates("wrong.json", audited);
        let (code, error) = swarm.failed(&["attest", "prove", &file, "--circuit", "4"]);
        assert!(code == 2 && error.contains(said) && error.contains(&file), "{what}: {error}");
        assert_eq!(swarm.failed(&["attest", "prove", &file, "--dry-run"]).0, 2, "{what}");
        assert!(files(&swarm.proofs()).is_empty(), "{what}");
    };
    let with = |at: usize, change: fn(&mut Certificate)| {
        let mut all: Vec<_> = (1..=6).map(certificate).collect();
        change(&mut all[at]);
        all.into_iter().map(certified).collect::<Vec<_>>()
    };
    refused("unsorted", &claims([1, 2, 4, 3]), "certificate 3 is not for a later claim");
    refused("twice", &claims([1, 2, 3, 4, 4]), "certificate 4 is not for a later claim");
    refused("another provider", &with(5, |one| one.provider = ContractAddress([0x52; 32])), "certificate 5 is for another provider");
    refused("another epoch", &with(2, |one| one.epoch += 1), "certificate 2 is for another provider, network or epoch");
    refused("none", &[], "0 certificates");
    let mut changed = claims(1..=6);
    changed[4].certificate.fee_nanoton += 1;
    refused("changed", &changed, "signature of certificate 4");
    let mut unlisted = claims(1..=6);
    unlisted[5] = auditor(3).certify(certificate(6)).unwrap().audited;
    refused("unlisted", &unlisted, "auditor of certificate 5");

    let [one, two] = [("one.json", [1, 2]), ("two.json", [3, 4])].map(|(name, of)| swarm.certificates(name, &claims(of)));
    let (code, error) = swarm.failed(&["attest", "prove", &one, &two, "--circuit", "4"]);
    assert!(code == 2 && error.contains("same provider and epoch 7"), "{error}");
    for text in ["", "{}", "[1]", r#"{"format":"cocoon-certificates/2"}"#] {
        std::fs::write(&one, text).unwrap();
        let (code, error) = swarm.failed(&["attest", "prove", &one]);
        assert!(code == 2 && error.contains("no certificates") && error.contains("swarm attest prove --help"), "{text}: {error}");
    }
    assert_eq!(swarm.failed(&["attest", "prove", "/nowhere/epoch.json"]).0, 2);
}

#[test]
fn where_money_is_real_development_keys_are_refused() {
    let swarm = Swarm::with_keys();
    swarm.configure("mainnet");
    for args in [&["attest", "setup"][..], &["attest", "setup", "--circuit", "4", "--dry-run"]] {
        let (code, error) = swarm.failed(args);
        assert!(code == 2 && error.contains("mainnet") && error.contains("ceremony"), "{error}");
    }
    let file = swarm.certificates("devnet.json", &claims([1]));
    let (code, error) = swarm.failed(&["attest", "prove", &file, "--circuit", "4"]);
    assert!(code == 2 && error.contains("for devnet") && error.contains("for mainnet"), "{error}");

    // The same certificate for mainnet, by an auditor that somebody made with the library. The circuit for tests does not count there,
    // so the smallest of the others is asked for; here its place is taken by a development key of it.
    let second = cocoon_settlement::attest::schnorr::SecretKey::from_seed(&[1; 32]);
    let certificate = Certificate { network: NetworkId::MAINNET, ..certificate(1) };
    let keys = cocoon_settlement::attest::keyset::KeySet::new(&[Some(second.public())]).unwrap();
    let audited = vec![Audited { certificate, auditor: second.public(), signature: second.sign(&certificate) }];
    let file = swarm.dir.path().join("mainnet.json");
    std::fs::write(&file, Certificates { keys, audited }.to_json().unwrap()).unwrap();
    let file = file.to_str().unwrap();
    let (code, error) = swarm.failed(&["attest", "prove", file]);
    assert!(code == 1 && error.contains("no key for circuit 16"), "{error}");
    disguise(&swarm.verifying(), &swarm.keys_dir().join("attestation-16.verifying"));
    let (code, error) = swarm.failed(&["attest", "prove", file]);
    assert!(code == 1 && error.contains("for development") && error.contains("ceremony"), "{error}");
    assert!(files(&swarm.proofs()).is_empty());
}

/// Writes the key of four slots with a header for sixteen: its mark as a development key stays.
fn disguise(from: &Path, to: &Path) {
    let mut key = std::fs::read(from).unwrap();
    assert_eq!(key[8..10], [0, 4]);
    key[9] = 16;
    std::fs::write(to, key).unwrap();
}

#[test]
fn a_proof_is_verified_anywhere_with_its_key() {
    let (swarm, other) = (Swarm::with_keys(), Swarm::new());
    let file = swarm.certificates("epoch.json", &claims([1]));
    swarm.done(&["attest", "prove", &file, "--circuit", "4", "--threads", "1"]);
    let proof = files(&swarm.proofs()).remove(0);
    let proof = proof.to_str().unwrap();
    let text = other.done(&["attest", "verify", proof]);
    assert!(text.contains("holds, for a development key") && text.contains("devnet") && text.contains("1 to 1"), "{text}");
    let key = MADE.verifying();
    other.done(&["attest", "verify", proof, "--key", key.to_str().unwrap()]);
    let (code, error) = other.failed(&["attest", "verify", proof, "--key", proof]);
    assert!(code == 1 && error.contains("not a key file"), "{error}");
    change(Path::new(proof), |value| value["verifying_key"] = "22".repeat(32).into());
    let (code, error) = other.failed(&["attest", "verify", proof]);
    assert!(code == 1 && error.contains("no key") && error.contains("--key FILE"), "{error}");

    let swarm = Swarm::new();
    swarm.configure("testnet");
    let (code, error) = swarm.failed(&["attest", "prove", &file, "--circuit", "4"]);
    assert!(code == 2 && error.contains("for devnet") && error.contains("for testnet"), "{error}");
}

/// Reads events until the first of this name.
#[cfg(unix)]
fn until_event(lines: &mut impl Iterator<Item = std::io::Result<String>>, event: &str) {
    assert!(lines.any(|line| json(&line.unwrap())["event"] == event), "no {event}");
}

#[cfg(unix)]
fn interrupt(mut child: std::process::Child) -> (i32, String) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let mut error = String::new();
    std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut error).unwrap();
    (child.wait().unwrap().code().unwrap(), error)
}

#[cfg(unix)]
#[test]
fn an_interruption_keeps_what_was_proven() {
    let swarm = Swarm::with_keys();
    // Many more batches than are proven before the interruption.
    let file = swarm.certificates("epoch.json", &claims(1..=400));
    let prove = ["attest", "prove", &file, "--circuit", "4", "--threads", "1", "--json"];
    let mut child = swarm.command(&prove).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    until_event(&mut lines, "attest_proof");
    let (code, error) = interrupt(child);
    assert!(code == 1 && error.contains("interrupted"), "{error}");
    let proofs = files(&swarm.proofs());
    assert!(!proofs.is_empty() && proofs.len() < 100, "{} proofs", proofs.len());
    let paths: Vec<_> = proofs.iter().map(|path| path.to_str().unwrap()).collect();
    swarm.done(&[&["attest", "verify"], &paths[..]].concat());
    let planned = json(&swarm.done(&[&prove[..], &["--dry-run"]].concat()));
    assert_eq!(states(&planned).iter().filter(|state| **state == "there").count(), proofs.len());
}

#[cfg(unix)]
#[test]
fn a_share_of_the_processors_is_waited_for_between_batches() {
    let swarm = Swarm::with_keys();
    let file = swarm.certificates("epoch.json", &claims(1..=5));
    let prove = ["attest", "prove", &file, "--circuit", "4", "--cpu", "1", "--json"];
    let mut child = swarm.command(&prove).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    until_event(&mut lines, "attest_pausing");
    let (code, error) = interrupt(child);
    assert!(code == 1 && error.contains("interrupted"), "{error}");
    assert_eq!(files(&swarm.proofs()).len(), 1);
}
