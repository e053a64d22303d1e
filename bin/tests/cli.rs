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
    "models inspect",
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
    "rewards claim",
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
    assert_eq!(swarm.failed(&["models", "inspect", "toy"]).0, 1, "it is no model after all");
    swarm.done(&["models", "rm", "toy"]);
    assert_eq!(swarm.failed(&["models", "rm", "toy"]).0, 2);
}

#[test]
fn a_model_file_is_inspected_without_being_taken() {
    let swarm = Swarm::new();
    let file = swarm.dir.path().join("tiny.gguf");
    std::fs::write(&file, cocoon_runtime::tiny::tiny_llama(1)).unwrap();
    let file = file.to_str().unwrap();
    let found = json(&swarm.done(&["models", "inspect", file, "--json"]));
    assert_eq!((&found["family"], &found["context_tokens"]), (&"llama".into(), &2_048.into()), "{found}");
    assert_eq!(found["tensors"].as_array().unwrap().len(), 3);
    let shown = swarm.done(&["models", "inspect", file]);
    assert!(shown.contains("Q4_0") && shown.contains("2048 tokens"), "{shown}");
    assert_eq!(swarm.failed(&["models", "inspect", "smollm2-135m-instruct"]).0, 2, "it is not here");
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

#[path = "cli/economy.rs"]
mod economy;
