use cocoon_settlement::chain::Address;

use super::*;

const EXAMPLE: &str = include_str!("../../config.example.toml");

fn load(text: &str) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(&path)
}

/// The key that a configuration is refused for.
fn broken_rule(text: &str) -> &'static str {
    match load(text) {
        Err(ConfigError::Rule { key, .. }) => key,
        other => panic!("expected a broken rule, got {other:?}"),
    }
}

/// The example with every key that is commented out taken in.
fn example_in_full() -> String {
    let is_key = |line: &str| {
        line.starts_with("# [")
            || line.split_once(" = ").is_some_and(|(key, _)| key[2..].bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    };
    let line = |line: &str| if line.starts_with("# ") && is_key(line) { line[2..].to_owned() } else { line.to_owned() };
    let text: Vec<String> = EXAMPLE.lines().map(line).collect();
    text.join("\n").replace("UQ...", &Address::basechain([7; 32]).to_string())
}

#[test]
fn the_example_shows_the_defaults() {
    assert_eq!(load(EXAMPLE).unwrap(), Config::default());
    assert_eq!(load("").unwrap(), Config::default());
}

#[test]
fn the_example_shows_every_key() {
    let Config { node, chain, models, provide, requester, gateway } = load(&example_in_full()).unwrap();
    assert!(node.metrics.is_some());
    assert!(chain.witness.is_some() && chain.api_key.is_some() && chain.witness_api_key.is_some() && chain.terms.is_some());
    assert!(chain.requests_per_s.is_some() && chain.confirmations.is_some());
    assert!(models.cache.is_some());
    assert_eq!(provide.models.len(), 1);
    assert!(provide.models[0].price.is_some());
    assert!(provide.challenge_window_s.is_some() && provide.threads.is_some() && provide.capacity.is_some());
    assert!(requester.price_max.is_some());
    assert!(gateway.token.is_some());
}

#[test]
fn unknown_keys_are_errors_that_name_the_key_and_the_line() {
    for text in
        ["[node]\nlisten_on = []\n", "[nodes]\n", "[provide.price]\ninput = \"1\"\n", "[[provide.models]]\nname = \"a\"\ncost = 1\n"]
    {
        let Err(ConfigError::Syntax { source, .. }) = load(text) else { panic!("accepted {text:?}") };
        assert!(source.to_string().contains("unknown field"), "{source}");
        assert!(source.to_string().contains("line"), "{source}");
    }
}

#[test]
fn amounts_are_text_in_ton() {
    let config = load("[requester]\ncap_ton = \"0.25\"\n").unwrap();
    assert_eq!(config.requester.cap, Amount::from_nano(250_000_000));
    for wrong in ["0.25", "\"-1\"", "\"1,5\"", "\"0.0000000001\"", "\"\""] {
        let text = format!("[requester]\ncap_ton = {wrong}\n");
        assert!(matches!(load(&text), Err(ConfigError::Syntax { .. })), "{wrong}");
    }
}

#[test]
fn adapters_are_named_by_position_or_name() {
    let config = load("[provide]\nadapters = [\"1\", \"rx 7900\"]\n").unwrap();
    assert_eq!(config.provide.adapters, [AdapterChoice::Position(1), AdapterChoice::Name("rx 7900".to_owned())]);
    assert!(matches!(load("[provide]\nadapters = [\"\"]\n"), Err(ConfigError::Syntax { .. })));
}

#[test]
fn an_embedded_chain_lies_beside_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    std::fs::write(&path, "[chain]\nendpoint = \"embedded:chain\"\n").unwrap();
    assert_eq!(Config::load(&path).unwrap().chain.endpoint, Endpoint::Embedded(dir.path().join("chain")));
}

#[test]
fn real_money_needs_https_and_no_embedded_chain() {
    for network in ["testnet", "mainnet"] {
        let with = |endpoint: &str| format!("[chain]\nnetwork = \"{network}\"\nendpoint = \"{endpoint}\"\n");
        assert_eq!(broken_rule(&with("http://toncenter.example")), "chain.endpoint");
        assert_eq!(broken_rule(&with("embedded:x")), "chain.endpoint");
        assert!(load(&with("https://toncenter.example")).is_ok());
    }
}

#[test]
fn rules_between_fields_are_checked() {
    let check = |text: &str, key| assert_eq!(broken_rule(text), key, "{text}");
    check("[chain]\nwitness = \"http://127.0.0.1:8081\"\n", "chain.witness");
    let terms = |vault: Address, dispute: Address, fee_bps: u16, epoch_s: u32| {
        format!(
            "[chain.terms]\nvault = \"{vault}\"\ndispute = \"{dispute}\"\nrewards = \"{dispute}\"\nfee_bps = {fee_bps}\nunbond_s = 1\nepoch_s = {epoch_s}\nanswer_s = 1\n"
        )
    };
    let (here, elsewhere) = (Address::basechain([7; 32]), Address { workchain: -1, hash: [7; 32] });
    assert!(load(&terms(here, here, 10_000, 1)).is_ok());
    check(&terms(elsewhere, here, 500, 1), "chain.terms.vault");
    check(&terms(here, elsewhere, 500, 1), "chain.terms.dispute");
    check(&terms(here, here, 10_001, 1), "chain.terms.fee_bps");
    check(&terms(here, here, 500, 0), "chain.terms.epoch_s");
    check("[provide]\nclaim_fee_bps_max = 0\n", "provide.claim_fee_bps_max");
    check("[provide]\nclaim_fee_bps_max = 10001\n", "provide.claim_fee_bps_max");
    check("[chain]\nwitness_api_key = \"sesame\"\n", "chain.witness_api_key");
    check("[chain]\nconfirmations = 1001\n", "chain.confirmations");
    check("[requester]\ncap_ton = \"2\"\n", "requester.cap_ton");
    check("[gateway]\nlisten = \"0.0.0.0:8080\"\n", "gateway.listen");
    check("[node]\nlisten = [\"0.0.0.0:4141\"]\n", "node.listen");
    check("[node]\nbootstrap = [\"/ip4/1.2.3.4/tcp/1\"]\n", "node.bootstrap");
    check("[provide]\nfloat_ton = \"0\"\n", "provide.float_ton");
    check("[provide]\ntier = \"exact\"\n", "provide.tier");
    check("[provide]\ndevice = \"cpu\"\nadapters = [\"0\"]\n", "provide.adapters");
    check("[[provide.models]]\nname = \"a\"\n[[provide.models]]\nname = \"A\"\n", "provide.models");
    for (key, value) in [("threads", 1025), ("capacity", 1025), ("jobs_together", 257), ("jobs_waiting", 1025), ("memory_mib", 1_048_577)] {
        let (above, most) = (format!("[provide]\n{key} = {value}\n"), format!("[provide]\n{key} = {}\n", value - 1));
        assert_eq!(broken_rule(&above).strip_prefix("provide."), Some(key));
        assert!(load(&most).is_ok(), "{most}");
        if key != "jobs_waiting" {
            assert!(matches!(load(&format!("[provide]\n{key} = 0\n")), Err(ConfigError::Syntax { .. })), "{key}");
        }
    }
    let short = "[provide]\nchallenge_window_s = 60\n";
    assert!(load(short).is_ok(), "a devnet may be quick");
    check("[provide]\nchallenge_window_s = 11\n", "provide.challenge_window_s");
    check("[provide]\nchallenge_window_s = 2592001\n", "provide.challenge_window_s");
    check(&format!("[chain]\nnetwork = \"mainnet\"\nendpoint = \"https://a.example\"\n{short}"), "provide.challenge_window_s");
}

#[test]
fn a_transaction_counts_when_the_configuration_or_the_network_says() {
    let blocks = |text: &str| load(text).unwrap().chain.confirmations().blocks();
    let on = |network: &str| format!("[chain]\nnetwork = \"{network}\"\nendpoint = \"https://a.example\"\n");
    assert_eq!([blocks(""), blocks(&on("testnet")), blocks(&on("mainnet"))], [0, 2, 2]);
    assert_eq!(blocks(&format!("{}confirmations = 7\n", on("mainnet"))), 7);
    assert_eq!(blocks(&format!("{}confirmations = 0\n", on("mainnet"))), 0);
}

#[test]
fn a_window_that_nobody_chose_is_as_long_as_the_network_asks_for() {
    let window_s = |text: &str, network| load(text).unwrap().provide.challenge_window_s(network);
    assert_eq!([Network::Devnet, Network::Testnet, Network::Mainnet].map(|network| window_s("", network)), [600, 86_400, 86_400]);
    assert_eq!(window_s("[provide]\nchallenge_window_s = 100000\n", Network::Devnet), 100_000);
}

#[test]
fn a_class_is_one_of_those_that_topics_have() {
    let class = |name: &str| load(&format!("[provide]\nclass = \"{name}\"\n")).map(|config| config.provide.class);
    for known in ModelClass::ALL {
        assert_eq!(class(known.topic()).unwrap(), known);
    }
    let Err(ConfigError::Syntax { source, .. }) = class("text_tiny") else { panic!("accepted") };
    assert!(source.to_string().contains("text-tiny, text-small, text-large"), "{source}");
}

#[test]
fn half_of_the_networks_terms_are_an_error() {
    let Err(ConfigError::Syntax { source, .. }) = load("[chain.terms]\nfee_bps = 500\n") else { panic!("accepted") };
    assert!(source.to_string().contains("missing field"), "{source}");
}

#[test]
fn a_model_without_a_price_has_that_of_all() {
    let config =
        load("[provide.price]\noutput_ton_per_mtok = \"1\"\n[[provide.models]]\nname = \"a\"\nprice = { job_ton = \"2\" }\n").unwrap();
    assert_eq!(config.provide.price_of("A").job, Amount::from_nano(2_000_000_000));
    assert_eq!(config.provide.price_of("b").output_per_mtok, Amount::from_nano(1_000_000_000));
}

#[test]
fn what_a_model_may_use_is_configured() {
    let limits = |text: &str| load(text).unwrap().provide.serving_limits();
    let usual = limits("");
    assert_eq!((usual.jobs, usual.waiting, usual.cache_bytes, usual.reuse), (16, 32, 1 << 30, true));
    let own = limits("[provide]\njobs_together = 3\njobs_waiting = 0\nmemory_mib = 8192\nreuse = false\n");
    assert_eq!((own.jobs, own.waiting, own.cache_bytes, own.reuse), (3, 0, 8 << 30, false));
}

#[test]
fn secrets_are_not_shown() {
    let config =
        load("[gateway]\ntoken = \"sesame\"\n[chain]\napi_key = \"sesame\"\nwitness = \"http://b\"\nwitness_api_key = \"sesame\"\n")
            .unwrap();
    assert!(!format!("{config:?}").contains("sesame"));
}

#[test]
fn a_file_that_is_not_there_is_an_error_only_when_it_was_asked_for() {
    let path = Path::new("/nonexistent/config.toml");
    assert!(matches!(Config::load(path), Err(ConfigError::Read { .. })));
    assert_eq!(Config::load_or_default(path).unwrap(), Config::default());
}
