//! The built program, from the outside: what a person types, and what it answers.

#[path = "cli/attest.rs"]
mod attest;

use std::io::BufRead;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The program in a home of its own, cut off from the person's environment.
struct Swarm {
    dir: tempfile::TempDir,
}

impl Swarm {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn home(&self) -> std::path::PathBuf {
        self.dir.path().join("home")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_swarm"));
        command.args(args).env_clear().env("COCOON_HOME", self.home()).env("XDG_CACHE_HOME", self.dir.path().join("cache"));
        // Python and the drivers' loaders are found through these.
        for name in ["PATH", "LD_LIBRARY_PATH", "HOME"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn done(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "swarm {args:?} failed:\n{}", stderr(&output));
        stdout(&output)
    }

    /// The exit code and the error text.
    fn failed(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        (output.status.code().unwrap(), stderr(&output))
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

/// Every command, as it is typed.
const COMMANDS: &[&str] = &[
    "init",
    "up",
    "ask",
    "offers",
    "models",
    "models pull",
    "models ls",
    "models rm",
    "wallet",
    "wallet address",
    "wallet balance",
    "wallet deposit",
    "wallet send",
    "wallet withdraw",
    "channels",
    "channels ls",
    "channels show",
    "channels close",
    "channels finish",
    "stake",
    "unstake",
    "withdraw",
    "token",
    "token balance",
    "token send",
    "token burn",
    "econ",
    "econ reward",
    "econ price",
    "econ clouds",
    "auction",
    "auction bid",
    "auction close",
    "auction credit",
    "rewards",
    "rewards collect",
    "rewards take",
    "lock",
    "lock lengthen",
    "unlock",
    "gov",
    "gov ls",
    "gov show",
    "gov propose",
    "gov propose parameter",
    "gov propose spend-cocoon",
    "gov propose spend-ton",
    "gov propose standards",
    "gov propose auditors",
    "gov propose key",
    "gov vote",
    "gov queue",
    "gov execute",
    "chain",
    "chain deploy",
    "audit",
    "jobs",
    "jobs ls",
    "jobs show",
    "dossier",
    "dossier export",
    "dossier verify",
    "attest",
    "attest setup",
    "attest prove",
    "attest verify",
    "devnet",
    "doctor",
    "gateway",
    "demo",
];

#[test]
fn every_command_has_help_and_leaves_have_examples() {
    let swarm = Swarm::new();
    let all = swarm.done(&["--help"]);
    for command in COMMANDS {
        let words: Vec<&str> = command.split(' ').collect();
        let help = swarm.done(&[&words[..], &["--help"]].concat());
        assert!(help.contains("Usage: swarm"), "{command}: {help}");
        assert!(all.contains(words[0]), "{command} is not in swarm --help");
        let has_subcommands = help.contains("\nCommands:\n");
        assert!(has_subcommands || help.contains("Examples:"), "{command} shows no examples");
    }
    assert!(swarm.done(&["--version"]).starts_with("swarm "));
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let swarm = Swarm::new();
    for args in [&["frobnicate"][..], &["up", "--frobnicate"], &["wallet", "send", "UQ", "much"], &["devnet", "--block-time", "2"], &[]] {
        assert_eq!(swarm.failed(args).0, 2, "{args:?}");
    }
}

#[test]
fn init_makes_keys_for_their_owner_alone_and_a_configuration_that_loads() {
    let swarm = Swarm::new();
    let made = json(&swarm.done(&["init", "--no-passphrase", "--json"]));
    assert_eq!(made["mnemonic"].as_str().unwrap().split(' ').count(), 24);
    assert_eq!(made["network"], "devnet");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&swarm.home()), 0o700);
        assert_eq!(mode(&swarm.home().join("keys.json")), 0o600);
    }
    let address = json(&swarm.done(&["wallet", "address", "--json"]));
    assert!(address["friendly"].as_str().unwrap().starts_with("UQ"), "{address}");
    assert!(address["raw"].as_str().unwrap().starts_with("0:"), "{address}");
}

#[test]
fn init_twice_is_refused_and_changes_nothing() {
    let swarm = Swarm::new();
    swarm.done(&["init", "--no-passphrase"]);
    let keys = std::fs::read(swarm.home().join("keys.json")).unwrap();
    let (code, error) = swarm.failed(&["init", "--no-passphrase"]);
    assert_eq!(code, 1);
    assert!(error.contains("already") && error.contains("try:"), "{error}");
    assert_eq!(std::fs::read(swarm.home().join("keys.json")).unwrap(), keys);
}

#[test]
fn real_money_needs_a_passphrase() {
    let swarm = Swarm::new();
    let (code, error) = swarm.failed(&["init", "--network", "mainnet", "--no-passphrase"]);
    assert_eq!(code, 2, "{error}");
    let (code, error) = swarm.failed(&["init", "--network", "mainnet"]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("COCOON_PASSPHRASE"), "{error}");
    assert!(!swarm.home().join("keys.json").exists());
}

#[test]
fn words_bring_a_wallet_back() {
    let (first, second) = (Swarm::new(), Swarm::new());
    let made = json(&first.done(&["init", "--no-passphrase", "--json"]));
    let words = second.dir.path().join("words.txt");
    std::fs::write(&words, made["mnemonic"].as_str().unwrap().replace(' ', "\n")).unwrap();
    let restored = json(&second.done(&["init", "--no-passphrase", "--json", "--restore", words.to_str().unwrap()]));
    assert_eq!(restored["owner"], made["owner"]);
    assert_ne!(restored["operator"], made["operator"]);
    assert!(restored.get("mnemonic").is_none());

    std::fs::write(&words, "not a wallet").unwrap();
    let (code, error) = Swarm::new().failed(&["init", "--no-passphrase", "--restore", words.to_str().unwrap()]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("24 words"), "{error}");
}

#[cfg(unix)]
#[test]
fn keys_that_others_can_read_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let swarm = Swarm::new();
    swarm.done(&["init", "--no-passphrase"]);
    std::fs::set_permissions(swarm.home().join("keys.json"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, error) = swarm.failed(&["wallet", "address"]);
    assert_eq!(code, 1);
    assert!(error.contains("644") && error.contains("chmod 600"), "{error}");
}

#[test]
fn an_unknown_key_in_the_configuration_is_named() {
    let swarm = Swarm::new();
    swarm.done(&["init", "--no-passphrase"]);
    let config = swarm.home().join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap().replace("mdns = true", "mdsn = true");
    std::fs::write(&config, text).unwrap();
    let (code, error) = swarm.failed(&["wallet", "address"]);
    assert_eq!(code, 2);
    assert!(error.contains("mdsn") && error.contains("line") && error.contains("try:"), "{error}");
}

#[test]
fn errors_are_json_for_programs() {
    let swarm = Swarm::new();
    let (code, error) = swarm.failed(&["wallet", "address", "--json"]);
    assert_eq!(code, 1);
    let error = json(&error);
    assert!(error["error"].as_str().unwrap().contains("no keys"), "{error}");
    assert!(error["try"].as_str().unwrap().contains("swarm init"), "{error}");
}

#[test]
fn a_chain_that_is_not_there_is_told_with_what_to_try() {
    let swarm = Swarm::new();
    swarm.done(&["init", "--no-passphrase"]);
    let (code, error) = swarm.failed(&["wallet", "balance", "--chain", "http://127.0.0.1:1"]);
    assert_eq!(code, 1);
    assert!(error.contains("cannot be reached") && error.contains("swarm devnet"), "{error}");
    let (code, error) = swarm.failed(&["wallet", "balance", "--chain", "nonsense"]);
    assert_eq!(code, 2, "{error}");
}

#[test]
fn an_embedded_chain_keeps_its_money_between_commands() {
    let swarm = Swarm::new();
    let chain = format!("embedded:{}", swarm.dir.path().join("chain").display());
    swarm.done(&["init", "--no-passphrase"]);
    swarm.done(&["wallet", "deposit", "--faucet", "12.5", "--chain", &chain]);
    let balance = json(&swarm.done(&["wallet", "balance", "--json", "--chain", &chain]));
    assert_eq!(balance["nanoton"], "12500000000");

    let to = json(&swarm.done(&["wallet", "address", "--json"]))["friendly"].as_str().unwrap().to_owned();
    let (code, error) = swarm.failed(&["wallet", "send", &to, "12.5", "--chain", &chain]);
    assert_eq!(code, 1);
    assert!(error.contains("too little"), "{error}");
    let shown = json(&swarm.done(&["wallet", "send", &to, "1", "--dry-run", "--json", "--chain", &chain]));
    assert_eq!(shown["nanoton"], "1000000000");
    let balance = json(&swarm.done(&["wallet", "balance", "--json", "--chain", &chain]));
    assert_eq!(balance["nanoton"], "12500000000", "a dry run sends nothing");
}

/// A process that is ended when the test is over.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Swarm {
    /// Starts a devnet and gives it with what it said when it was ready.
    fn devnet(&self) -> (Running, serde_json::Value) {
        let mut command = self.command(&["devnet", "--json", "--quiet", "--listen", "127.0.0.1:0", "--block-time", "50ms"]);
        let mut child = Running(command.stdout(Stdio::piped()).spawn().unwrap());
        let mut line = String::new();
        std::io::BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (child, json(&line))
    }
}

#[test]
fn a_devnet_serves_wallets_and_loses_nothing_when_it_is_killed() {
    let (swarm, other) = (Swarm::new(), Swarm::new());
    swarm.done(&["init", "--no-passphrase"]);
    let to = json(&other.done(&["init", "--no-passphrase", "--json"]))["owner"].as_str().unwrap().to_owned();
    let (chain, ready) = swarm.devnet();
    let url = ready["url"].as_str().unwrap();
    assert_eq!((&ready["event"], &ready["network"]), (&"ready".into(), &(-777).into()), "{ready}");

    swarm.done(&["wallet", "deposit", "--faucet", "5", "--chain", url]);
    let sent = json(&swarm.done(&["wallet", "send", &to, "2", "--comment", "memo 7", "--json", "--chain", url]));
    let balance = |swarm: &Swarm, url: &str| {
        let said = json(&swarm.done(&["wallet", "balance", "--json", "--chain", url]));
        said["nanoton"].as_str().unwrap().parse::<u64>().unwrap()
    };
    let fee: u64 = sent["transaction"]["fee_nanoton"].as_str().unwrap().parse().unwrap();
    let left = balance(&swarm, url);
    assert!(fee > 0 && left < 3_000_000_000 && left > 2_990_000_000, "{sent}, {left} left");

    drop(chain);
    let (_chain, ready) = swarm.devnet();
    let url = ready["url"].as_str().unwrap();
    assert!(ready["head"].as_u64().unwrap() > 0, "{ready}");
    // Rent is taken when an account is touched, so reading twice gives the same.
    assert_eq!(balance(&swarm, url), left);
}

#[test]
fn models_of_ones_own_are_taken_listed_and_removed() {
    let swarm = Swarm::new();
    let file = swarm.dir.path().join("toy.gguf");
    std::fs::write(&file, b"GGUF, as far as the cache is concerned").unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(swarm.failed(&["models", "pull", file]).0, 2, "a file needs a name");
    swarm.done(&["models", "pull", file, "--name", "toy"]);
    let listed = json(&swarm.done(&["models", "ls", "--verify", "--json"]));
    let toy = listed.as_array().unwrap().iter().find(|model| model["name"] == "toy").unwrap().clone();
    assert_eq!((&toy["state"], &toy["intact"]), (&"cached".into(), &true.into()), "{toy}");
    assert!(swarm.done(&["models", "ls"]).contains("smollm2-135m-instruct"));
    swarm.done(&["models", "rm", "toy"]);
    assert_eq!(swarm.failed(&["models", "rm", "toy"]).0, 2);
}

#[test]
fn an_audit_of_nothing_owes_nothing_and_prints_one_form() {
    let swarm = Swarm::new();
    swarm.done(&["init", "--no-passphrase"]);
    assert!(swarm.done(&["audit"]).contains("nobody owes anybody"));
    let audit = json(&swarm.done(&["audit", "--json"]));
    assert_eq!((audit["channels"].as_array().unwrap().len(), &audit["as_provider"]["receipted_nanoton"]), (0, &"0".into()));
    let header = swarm.done(&["audit", "--csv", "-"]);
    assert!(header.starts_with("side,peer,network,channel,status,") && header.ends_with(",frozen,fault\r\n"), "{header}");
    let file = swarm.dir.path().join("books.csv");
    swarm.done(&["audit", "--csv", file.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(file).unwrap(), header);
    assert_eq!(swarm.failed(&["audit", "--json", "--csv", "-"]).0, 2);
    let (code, error) = swarm.failed(&["audit", "--csv", "/nowhere/books.csv"]);
    assert!(code == 1 && error.contains("--csv FILE"), "{error}");
}

#[test]
fn the_doctor_finds_what_is_missing_and_says_what_to_do() {
    let swarm = Swarm::new();
    let output = swarm.run(&["doctor", "--json", "--chain", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    let checks: Vec<_> = stdout(&output).lines().map(json).collect();
    let light = |check: &str| checks.iter().find(|finding| finding["check"] == check).map(|finding| finding["light"].clone()).unwrap();
    assert_eq!((light("keys"), light("chain"), light("config")), ("red".into(), "red".into(), "yellow".into()));
    for finding in &checks {
        assert!(finding["light"] == "green" || finding["try"].is_string(), "{finding}");
    }

    let chain = format!("embedded:{}", swarm.dir.path().join("chain").display());
    swarm.done(&["init", "--no-passphrase"]);
    let text = swarm.done(&["doctor", "--chain", &chain]);
    assert!(text.contains("green") && !text.contains("red   "), "{text}");
}

#[test]
fn an_unknown_model_is_answered_with_those_there_are() {
    let (code, error) = Swarm::new().failed(&["models", "pull", "gpt-99"]);
    assert_eq!(code, 2);
    assert!(error.contains("unknown model") && error.contains("smollm2"), "{error}");
}

/// A devnet with a network of its own, whose founder is this home and has the COCOON of stakers and the opening auction.
fn founded(swarm: &Swarm, epoch_s: &str) -> (Running, String) {
    swarm.done(&["init", "--no-passphrase"]);
    let (chain, ready) = swarm.devnet();
    let url = ready["url"].as_str().unwrap().to_owned();
    swarm.done(&["wallet", "deposit", "--faucet", "50", "--chain", &url]);
    swarm.done(&["chain", "deploy", "--network", "devnet", "--epoch-s", epoch_s, "--chain", &url]);
    (chain, url)
}

impl Swarm {
    /// What a command says in JSON.
    fn told(&self, chain: &str, args: &[&str]) -> serde_json::Value {
        json(&self.done(&[args, &["--json", "--chain", chain]].concat()))
    }

    /// COCOON of the wallet, in whole ones.
    fn cocoon(&self, chain: &str) -> u64 {
        let nano = self.told(chain, &["token", "balance"])["nanococoon"].as_str().unwrap().parse::<u64>().unwrap();
        nano / 1_000_000_000
    }
}

#[test]
fn cocoon_is_shown_sent_and_burned() {
    let (swarm, other) = (Swarm::new(), Swarm::new());
    let (_chain, url) = founded(&swarm, "60");
    let to = json(&other.done(&["init", "--no-passphrase", "--json"]))["owner"].as_str().unwrap().to_owned();
    let before = swarm.cocoon(&url);
    assert!(before >= 60_000_000, "{before}");
    let shown = swarm.done(&["token", "--chain", &url]);
    assert!(shown.starts_with("WHERE") && shown.contains("wallet"), "{shown}");

    let rehearsed = swarm.told(&url, &["token", "send", "25", &to, "--dry-run"]);
    assert_eq!((&rehearsed["event"], &rehearsed["fails"]), (&"dry_run".into(), &serde_json::Value::Null), "{rehearsed}");
    assert!(rehearsed["transactions"].as_u64().unwrap() >= 4, "wallet, both jetton wallets, and what comes back: {rehearsed}");
    assert_eq!(swarm.cocoon(&url), before, "a dry run sends nothing");

    let sent = swarm.told(&url, &["token", "send", "25", &to]);
    assert_eq!(sent["event"], "sent", "{sent}");
    assert_eq!(swarm.told(&url, &["token", "balance", &to])["nanococoon"], "25000000000");
    swarm.told(&url, &["token", "burn", "5"]);
    assert_eq!(swarm.cocoon(&url), before - 30);

    let (code, error) = swarm.failed(&["token", "send", "999999999", &to, "--chain", &url]);
    assert!(code == 1 && error.contains("is asked for, and the wallet has") && error.contains("try: less"), "{error}");
    assert_eq!(swarm.failed(&["token", "send", "0", &to, "--chain", &url]).0, 2);
}

/// Pays a fee to the vault, as a provider's contract does.
fn pay_fee(chain: &str, vault: &str) {
    use cocoon_settlement::chain::{Address, Bounce};
    use cocoon_settlement::contract::VaultMessage;
    use cocoon_settlement::wallet::{Outgoing, OwnerWallet};
    let (wallet, fee) = (OwnerWallet::from_seed(&[9; 32]).unwrap(), "10".parse().unwrap());
    let config = cocoon_swarm::config::ChainConfig { endpoint: chain.parse().unwrap(), ..Default::default() };
    let open = cocoon_swarm::chain::open(&config).unwrap();
    open.faucet.unwrap().fund(&wallet.address(), "20".parse().unwrap()).unwrap();
    let limit = std::time::Duration::from_secs(30);
    let look = std::time::Duration::from_millis(50);
    let arrives = |at: Address, least: u128| {
        let there = || Ok((open.chain.account(&at)?.balance.nano() >= least).then_some(()));
        cocoon_swarm::chain::poll(limit, look, there).unwrap().unwrap();
    };
    arrives(wallet.address(), 20_000_000_000);
    let to: Address = vault.parse().unwrap();
    let body = VaultMessage::Fee { amount: fee, credit: "0".parse().unwrap() }.to_cell(1).unwrap();
    let outgoing = Outgoing { to, value: "10.1".parse().unwrap(), bounce: Bounce::Yes, body: Some(body), state_init: None };
    open.chain.send_boc(&wallet.sign(0, u32::MAX, &[outgoing]).unwrap().boc).unwrap();
    arrives(to, 10_000_000_000);
}

#[test]
fn a_fee_is_auctioned_and_bought() {
    let swarm = Swarm::new();
    let (_chain, url) = founded(&swarm, "8");
    let state = swarm.told(&url, &["auction"]);
    assert_eq!((&state["epoch"], &state["rate_nanococoon"]), (&0.into(), &serde_json::Value::Null), "{state}");
    let (code, error) = swarm.failed(&["auction", "bid", "10", "--chain", &url]);
    assert!(code == 1 && error.contains("it would buy nothing") && error.contains("swarm auction"), "{error}");

    let closed = swarm.told(&url, &["auction", "close"]);
    assert_eq!((&closed["event"], &closed["epoch"]), (&"closed".into(), &1.into()), "{closed}");
    pay_fee(&url, state["vault"].as_str().unwrap());
    let (code, error) = swarm.failed(&["auction", "close", "--chain", &url]);
    assert!(code == 1 && error.contains("cannot be closed before") && error.contains("again after that"), "{error}");
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !swarm.run(&["auction", "close", "--chain", &url]).status.success() {
        assert!(std::time::Instant::now() < limit, "the epoch ends");
    }
    let before = swarm.cocoon(&url);
    let rehearsed = swarm.told(&url, &["auction", "bid", "10", "--dry-run"]);
    assert_eq!(rehearsed["fails"], serde_json::Value::Null, "{rehearsed}");
    let bought = swarm.told(&url, &["auction", "bid", "10"]);
    assert!(bought["bought_nanoton"].as_str().unwrap().parse::<u64>().unwrap() > 40_000_000, "{bought}");
    assert_eq!((&bought["paid_nanococoon"], swarm.cocoon(&url)), (&"10000000000".into(), before - 10), "{bought}");
    let text = swarm.done(&["auction", "--chain", &url]);
    assert!(text.contains("paid     10 COCOON, which is burned when the epoch ends"), "{text}");
}

#[test]
fn cocoon_is_locked_lengthened_and_proposes() {
    let swarm = Swarm::new();
    let (_chain, url) = founded(&swarm, "60");
    let (code, error) = swarm.failed(&["lock", "lengthen", "--weeks", "2", "--chain", &url]);
    assert!(code == 1 && error.contains("nothing is locked") && error.contains("swarm lock 100 --weeks 52"), "{error}");
    assert_eq!(swarm.failed(&["lock", "100", "--chain", &url]).0, 2, "it says until when");
    assert_eq!(swarm.failed(&["lock", "--weeks", "5", "--chain", &url]).0, 2, "it says how much");
    assert_eq!(swarm.failed(&["lock", "lengthen", "--chain", &url]).0, 1, "nothing is locked");
    assert!(swarm.done(&["lock", "--chain", &url]).contains("Nothing is locked"));
    assert_eq!(swarm.failed(&["lock", "100", "--until", "2027-02-30", "--chain", &url]).0, 2, "there is no such day");

    let before = swarm.cocoon(&url);
    let rehearsed = swarm.told(&url, &["lock", "1000", "--weeks", "30", "--dry-run"]);
    assert_eq!(rehearsed["fails"], serde_json::Value::Null, "{rehearsed}");
    let locked = swarm.told(&url, &["lock", "1000", "--weeks", "30"]);
    assert_eq!((&locked["event"], &locked["locked_nanococoon"]), (&"locked".into(), &"1000000000000".into()), "{locked}");
    assert!(locked["since_s"].is_u64() && swarm.cocoon(&url) == before - 1000, "{locked}");
    let longer = swarm.told(&url, &["lock", "lengthen", "--weeks", "60"]);
    assert!(longer["ends_s"].as_u64() > locked["ends_s"].as_u64(), "{longer}");
    let (code, error) = swarm.failed(&["lock", "lengthen", "--weeks", "2", "--chain", &url]);
    assert!(code == 1 && error.contains("never shortened"), "{error}");
    let (code, error) = swarm.failed(&["unlock", "--chain", &url]);
    assert!(code == 1 && error.contains("the lock ends at") && error.contains("again after that"), "{error}");
    assert!(swarm.done(&["token", "--chain", &url]).contains("locked"));

    assert!(swarm.done(&["gov", "ls", "--chain", &url]).contains("Nothing is voted on"));
    let (code, error) = swarm.failed(&["gov", "propose", "parameter", "fee-bps", "900", "--chain", &url]);
    assert!(code == 1 && error.contains("fee-bps stays as it is: one vote moves it from 500 by 125 at most"), "{error}");
    let proposed = swarm.told(&url, &["gov", "propose", "parameter", "auction-seconds", "70000"]);
    assert_eq!(proposed["number"], 0, "{proposed}");
    let shown = swarm.told(&url, &["gov", "show", "0"]);
    assert_eq!((&shown["phase"], &shown["asks_for"]), (&"waiting".into(), &"set auction-seconds to 70000".into()), "{shown}");
    assert_eq!(swarm.told(&url, &["gov", "ls"])["proposals"].as_array().unwrap().len(), 1);
    assert!(swarm.done(&["gov", "queue", "0", "--chain", &url]).contains("Nothing has to be sent"));
    let (code, error) = swarm.failed(&["gov", "vote", "0", "yes", "--chain", &url]);
    assert!(code == 1 && error.contains("proposal 0 is voted on from") && error.contains("swarm gov show 0"), "{error}");
    let (code, error) = swarm.failed(&["gov", "execute", "0", "--chain", &url]);
    assert!(code == 1 && error.contains("proposal 0 is voted on from"), "{error}");
    let (code, error) = swarm.failed(&["gov", "show", "7", "--chain", &url]);
    assert!(code == 1 && error.contains("there is no proposal 7"), "{error}");
}

#[test]
fn rewards_are_shown_and_not_taken_before_there_are_any() {
    let swarm = Swarm::new();
    let (_chain, url) = founded(&swarm, "60");
    let shown = swarm.told(&url, &["rewards"]);
    assert_eq!((&shown["epochs_closed"], &shown["own"]), (&0.into(), &serde_json::Value::Null), "{shown}");
    assert!(shown["budget_nanococoon"].as_str().unwrap().parse::<u64>().unwrap() > 200_000_000_000_000, "{shown}");
    let (code, error) = swarm.failed(&["rewards", "take", "--chain", &url]);
    assert!(code == 1 && error.contains("no contract on the chain") && error.contains("swarm stake"), "{error}");

    swarm.done(&["stake", "1", "--bond", "0.5", "--operations", "0.2", "--chain", &url]);
    let text = swarm.done(&["rewards", "--chain", &url]);
    assert!(text.contains("free      0 COCOON") && text.contains("No fees were booked"), "{text}");
    let (code, error) = swarm.failed(&["rewards", "collect", "--chain", &url]);
    assert!(code == 1 && error.contains("nothing can be collected") && error.contains("swarm rewards"), "{error}");
    let (code, error) = swarm.failed(&["rewards", "take", "--chain", &url]);
    assert!(code == 1 && error.contains("nothing is free yet"), "{error}");
    let credited = swarm.told(&url, &["auction", "credit", "45"]);
    assert_eq!(credited["credit_nanoton"], "1000000000", "50 for a TON, less a tenth: {credited}");
}
