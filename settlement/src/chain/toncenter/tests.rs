use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cocoon_market::{Amount, NetworkId};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::chain::embedded::{Blocks, Embedded};
use crate::chain::testing::{ManualTimer, TestWallet, balance, chain, empty_external, ton};
use crate::chain::{
    AccountStatus, Address, AnswerFault, Bounce, Chain, ChainError, Confirmations, Faucet, Page, Rejection, Sought, StackItem, Standing,
    TxId, confirmation,
};

/// Joins client and server without a socket between them.
struct InMemory(Server);

impl HttpTransport for InMemory {
    fn post(&self, post: Post<'_>) -> Result<Response, TransportError> {
        let target = post.url.strip_prefix("http://devnet").unwrap();
        let reply = self.0.serve(Request { verb: Verb::Post, target, body: post.body });
        Ok(Response { status: reply.status, retry_after: None, body: reply.json.to_string().into_bytes() })
    }
}

/// Answers with what it was given, in this order and the last for ever, and keeps what it was asked.
struct Canned {
    answers: Mutex<Vec<Result<Response, ()>>>,
    asked: Mutex<Vec<Vec<u8>>>,
}

impl Canned {
    fn always(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::first(Vec::new(), status, body)
    }

    fn first(mut answers: Vec<Result<Response, ()>>, status: u16, body: impl Into<Vec<u8>>) -> Self {
        answers.push(says(status, None, body));
        Self { answers: Mutex::new(answers), asked: Mutex::default() }
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn says(status: u16, retry_after_s: Option<u64>, body: impl Into<Vec<u8>>) -> Result<Response, ()> {
    Ok(Response { status, retry_after: retry_after_s.map(Duration::from_secs), body: body.into() })
}

impl HttpTransport for Arc<Canned> {
    fn post(&self, post: Post<'_>) -> Result<Response, TransportError> {
        self.asked.lock().unwrap().push(post.body.to_vec());
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        answer.map_err(|()| TransportError::Connection("no line".into()))
    }
}

fn canned(transport: &Arc<Canned>) -> Toncenter<Arc<Canned>> {
    timed(transport, &ManualTimer::new(), NetworkId::DEVNET)
}

fn timed(transport: &Arc<Canned>, timer: &Arc<ManualTimer>, network: NetworkId) -> Toncenter<Arc<Canned>> {
    Toncenter::with_transport(Arc::clone(transport), Arc::clone(timer) as _, "http://devnet/api/v2", network, None)
}

fn over(server: Server, network: NetworkId) -> Toncenter<InMemory> {
    Toncenter::with_transport(InMemory(server), ManualTimer::new(), "http://devnet/api/v2/", network, None)
}

fn joined() -> (Arc<Embedded>, Toncenter<InMemory>) {
    let (chain, _) = chain(Blocks::Instant);
    let chain = Arc::new(chain);
    let server = Server::new(Arc::clone(&chain) as Arc<dyn Chain>).with_faucet(Arc::clone(&chain) as Arc<dyn Faucet>);
    (chain, over(server, NetworkId::DEVNET))
}

#[test]
fn the_client_sees_what_the_chain_is() {
    let (chain, client) = joined();
    let wallet = TestWallet::new(1);
    client.fund(&wallet.address, ton(10)).unwrap();
    let to = Address::basechain([7; 32]);
    let hash = client.send_boc(&wallet.transfer(0, &to, ton(3), Bounce::No)).unwrap();

    assert_eq!(client.head().unwrap(), chain.head().unwrap());
    for address in [wallet.address, to, Address::basechain([8; 32])] {
        assert_eq!(client.account(&address).unwrap(), chain.account(&address).unwrap());
        let page = Page::newest(100);
        assert_eq!(client.transactions(&address, page).unwrap(), chain.transactions(&address, page).unwrap());
    }
    assert_eq!(client.account(&wallet.address).unwrap().status, AccountStatus::Active);
    assert_eq!(balance(&client, &to), ton(3));
    let newest = &client.transactions(&wallet.address, Page::newest(1)).unwrap()[0];
    assert_eq!(newest.in_message.as_ref().unwrap().hash, hash);
    let seqno = client.run_get_method(&wallet.address, "seqno", &[]).unwrap();
    assert_eq!(seqno.stack, [StackItem::int(1)]);
    assert_eq!(client.config_param(21).unwrap(), chain.config_param(21).unwrap());
}

#[test]
fn pages_go_on_where_the_last_one_ended() {
    let (chain, client) = joined();
    let to = Address::basechain([7; 32]);
    for _ in 0..5 {
        chain.fund(&to, ton(1)).unwrap();
    }
    let all = client.transactions(&to, Page::newest(10)).unwrap();
    assert_eq!(all.len(), 5);
    let page = Page { from: all[1].previous, after_lt: all[4].id.lt, limit: 10 };
    assert_eq!(client.transactions(&to, page).unwrap(), all[2..4]);
    let forged = Page { from: Some(TxId { hash: [1; 32], ..all[0].id }), ..page };
    assert!(matches!(client.transactions(&to, forged), Err(ChainError::NotFound(Sought::Transaction))));
}

#[test]
fn a_refusal_keeps_its_meaning_over_the_wire() {
    let (_, client) = joined();
    let wallet = TestWallet::new(1);
    client.fund(&wallet.address, ton(10)).unwrap();
    let boc = wallet.transfer(0, &Address::basechain([7; 32]), ton(1), Bounce::No);
    client.send_boc(&boc).unwrap();
    let rejected = |result: Result<_, ChainError>| match result {
        Err(ChainError::Rejected(rejection)) => rejection,
        other => panic!("{other:?}"),
    };
    assert_eq!(rejected(client.send_boc(&boc)), Rejection::NotAccepted { exit_code: Some(33) });
    let nobody = empty_external(&Address::basechain([9; 32]));
    assert_eq!(rejected(client.send_boc(&nobody)), Rejection::NotAccepted { exit_code: None });
    assert_eq!(rejected(client.send_boc(b"garbage")), Rejection::Malformed);
    assert_eq!(rejected(client.send_boc(&[0; 70_000])), Rejection::TooLarge { bytes: 70_000, bytes_max: 65_535 });
    let elsewhere = empty_external(&Address { workchain: 3, hash: [9; 32] });
    assert!(matches!(rejected(client.send_boc(&elsewhere)), Rejection::Unexplained { .. }));
    let missing = client.run_get_method(&Address::basechain([9; 32]), "seqno", &[]);
    assert!(matches!(missing, Err(ChainError::NotFound(Sought::Contract))));
    assert!(matches!(client.config_param(9_999), Err(ChainError::NotFound(Sought::ConfigParam))));
    assert!(matches!(client.block(9_999), Err(ChainError::NotFound(Sought::Block))));
    let unknown = client.run_get_method(&wallet.address, "no_such_method", &[]).unwrap();
    assert_eq!(unknown.exit_code, 11);
}

#[test]
fn another_network_is_noticed() {
    let (chain, _) = chain(Blocks::Instant);
    let client = over(Server::new(Arc::new(chain)), NetworkId::TESTNET);
    let error = client.check_network().unwrap_err();
    assert!(matches!(error, ChainError::WrongNetwork { expected: NetworkId::TESTNET, found: NetworkId::DEVNET } if !error.is_retryable()));
}

#[test]
fn a_question_is_repeated_and_then_given_up() {
    let transport = Arc::new(Canned::always(503, "{\"ok\":false,\"error\":\"busy\",\"code\":503}"));
    let timer = ManualTimer::new();
    let error = timed(&transport, &timer, NetworkId::DEVNET).head().unwrap_err();
    assert!(matches!(error, ChainError::Unavailable { status: 503, .. }) && error.is_retryable());
    assert_eq!((transport.asked(), timer.slept()), (4, Duration::from_millis(6_800)));
}

#[test]
fn what_will_not_change_is_not_asked_again() {
    type IsRight = fn(&ChainError) -> bool;
    let cases: [(Result<Response, ()>, IsRight); 4] = [
        (says(422, None, "{\"ok\":false,\"error\":\"what?\",\"code\":422}"), |error| !error.is_retryable()),
        (says(403, None, "no"), |error| matches!(error, ChainError::KeyRefused { status: 403, .. }) && !error.is_retryable()),
        (says(401, None, "{\"ok\":false,\"error\":\"API key does not exist\",\"code\":401}"), |error| {
            matches!(error, ChainError::KeyRefused { status: 401, .. })
        }),
        (says(404, None, "{\"ok\":false,\"error\":\"no\",\"code\":404}"), |error| matches!(error, ChainError::Unavailable { .. })),
    ];
    for (answer, is_right) in cases {
        let transport = Arc::new(Canned::first(vec![answer], 200, "never asked for"));
        let error = canned(&transport).account(&Address::basechain([1; 32])).unwrap_err();
        assert!(is_right(&error), "{error:?}");
        assert_eq!(transport.asked(), 1, "{error:?}");
    }
}

#[test]
fn a_message_is_sent_again_as_the_same_bytes() {
    let answers = vec![Err(()), says(502, None, "bad gateway"), says(429, Some(2), "slow down")];
    let transport = Arc::new(Canned::first(answers, 200, "{\"ok\":true,\"result\":{\"@type\":\"ok\"}}"));
    let boc = empty_external(&Address::basechain([1; 32]));
    canned(&transport).send_boc(&boc).unwrap();
    let asked = transport.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 4);
    let sent: Value = serde_json::from_slice(&asked[0]).unwrap();
    assert_eq!((&sent["method"], &sent["params"]["boc"]), (&json!("sendBoc"), &json!(json::base64(&boc))));
    assert!(asked.iter().all(|request| *request == asked[0]), "not a byte differs");
}

#[test]
fn a_message_that_nobody_answers_for_is_given_up_and_may_be_sent_again_later() {
    let transport = Arc::new(Canned::first(vec![], 504, "time-out"));
    let error = canned(&transport).send_boc(&empty_external(&Address::basechain([1; 32]))).unwrap_err();
    assert!(matches!(error, ChainError::Unavailable { status: 504, .. }) && error.is_retryable() && error.may_have_arrived());
    assert_eq!(transport.asked(), 4);
}

const REFUSED: &str = "{\"ok\":false,\"code\":500,\"error\":\"LITE_SERVER_UNKNOWN: cannot apply external message to current state : \
                       External message was not accepted\\nexitcode=33, steps=23\"}";

#[test]
fn a_refusal_is_believed_only_of_a_message_that_cannot_have_arrived_before() {
    let boc = empty_external(&Address::basechain([1; 32]));
    let send = |answers| canned(&Arc::new(Canned::first(answers, 500, REFUSED))).send_boc(&boc).unwrap_err();
    for harmless in [vec![], vec![says(429, None, "slow down")]] {
        let error = send(harmless);
        assert!(matches!(error, ChainError::Rejected(Rejection::NotAccepted { exit_code: Some(33) })), "{error:?}");
    }
    for lost in [Err(()), says(502, None, "bad gateway"), says(200, None, "<html>")] {
        let error = send(vec![lost]);
        assert!(matches!(error, ChainError::Unclear) && error.is_retryable(), "{error:?}");
    }
}

/// A line that breaks each time after the endpoint has done what it was asked.
struct Broken {
    server: Server,
    breaks: AtomicUsize,
}

impl HttpTransport for Broken {
    fn post(&self, post: Post<'_>) -> Result<Response, TransportError> {
        let reply = self.server.serve(Request { verb: Verb::Post, target: "/jsonRPC", body: post.body });
        if self.breaks.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(TransportError::Connection("the line broke".into()));
        }
        Ok(Response { status: reply.status, retry_after: None, body: reply.json.to_string().into_bytes() })
    }
}

#[test]
fn a_message_whose_answer_got_lost_takes_effect_once() {
    let (chain, _) = chain(Blocks::Instant);
    let chain = Arc::new(chain);
    let wallet = TestWallet::funded(&chain, 1, ton(10));
    let to = Address::basechain([7; 32]);
    let transport = Broken { server: Server::new(Arc::clone(&chain) as Arc<dyn Chain>), breaks: AtomicUsize::new(1) };
    let client = Toncenter::with_transport(transport, ManualTimer::new(), "http://devnet", NetworkId::DEVNET, None);
    let boc = wallet.transfer(0, &to, ton(3), Bounce::No);
    assert!(matches!(client.send_boc(&boc), Err(ChainError::Unclear)), "the wallet refused its number the second time");
    assert_eq!((balance(&client, &to), chain.transactions(&to, Page::newest(9)).unwrap().len()), (ton(3), 1));
    let shown = client.transactions(&wallet.address, Page::newest(1)).unwrap().remove(0);
    assert_eq!(json::base64(&shown.in_message.unwrap().hash), json::base64(&crate::chain::codec::decode(&boc).unwrap().repr_hash().0));
}

const MISSING: &str = "{\"ok\":true,\"result\":{\"state\":\"uninitialized\",\"balance\":\"-1\",\"code\":\"\",\"data\":\"\",\"sync_utime\":7,\
                       \"last_transaction_id\":{\"lt\":\"0\",\"hash\":\"\"},\
                       \"block_id\":{\"seqno\":1,\"root_hash\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"}}}";

#[test]
fn an_endpoint_is_asked_no_faster_than_it_allows() {
    let slept = |key: Option<&str>, rate: Option<Rate>, network| {
        let (transport, timer) = (Arc::new(Canned::always(503, "unused")), ManualTimer::at(7));
        *transport.answers.lock().unwrap() = vec![says(200, None, MISSING)];
        let key = key.map(|key| ApiKey::new(key).unwrap());
        let mut client = Toncenter::with_transport(Arc::clone(&transport), Arc::clone(&timer) as _, "http://e", network, key);
        if let Some(rate) = rate {
            client = client.with_rate(rate);
        }
        for _ in 0..11 {
            client.account(&Address::basechain([1; 32])).unwrap();
        }
        assert_eq!(transport.asked(), 11);
        timer.slept()
    };
    assert_eq!(slept(None, None, NetworkId::TESTNET), Duration::from_secs(10));
    assert_eq!(slept(Some("sesame"), None, NetworkId::TESTNET), Duration::from_secs(1));
    assert_eq!(slept(None, Some(Rate::PerSecond(2.try_into().unwrap())), NetworkId::MAINNET), Duration::from_secs(5));
    assert_eq!(slept(None, Some(Rate::Unlimited), NetworkId::MAINNET), Duration::ZERO);
    assert_eq!(slept(None, None, NetworkId::DEVNET), Duration::ZERO, "a devnet is one's own");
}

#[test]
fn who_asks_too_much_at_once_is_told_before_threads_pile_up() {
    let transport = Arc::new(Canned::always(200, MISSING));
    /// A timer that never lets time pass, as if many asked in the same moment.
    struct Still;
    impl Timer for Still {
        fn now(&self) -> Duration {
            Duration::ZERO
        }
        fn unix_s(&self) -> u64 {
            7
        }
        fn sleep(&self, _: Duration) {}
    }
    let client = Toncenter::with_transport(Arc::clone(&transport), Arc::new(Still), "http://e", NetworkId::TESTNET, None);
    let errors: Vec<_> = (0..40).filter_map(|_| client.account(&Address::basechain([1; 32])).err()).collect();
    assert_eq!((transport.asked(), errors.len()), (31, 9));
    assert!(errors.iter().all(|error| matches!(error, ChainError::RateLimited { wait_s: Some(31), .. }) && error.is_retryable()));
}

#[test]
fn an_endpoint_that_asks_for_a_pause_gets_it() {
    let transport = Arc::new(Canned::first(vec![says(429, Some(7), "slow down")], 200, MISSING));
    let timer = ManualTimer::at(7);
    timed(&transport, &timer, NetworkId::DEVNET).account(&Address::basechain([1; 32])).unwrap();
    assert_eq!((transport.asked(), timer.slept()), (2, Duration::from_secs(7)));

    let envelope = json!({ "ok": false, "error": "Ratelimit exceed", "code": 429 }).to_string();
    let transport = Arc::new(Canned::first(vec![says(429, None, envelope)], 200, MISSING));
    let timer = ManualTimer::at(7);
    timed(&transport, &timer, NetworkId::DEVNET).account(&Address::basechain([1; 32])).unwrap();
    assert_eq!((transport.asked(), timer.slept()), (2, Duration::from_secs(1)), "one that does not say how long gets a second");
}

#[test]
fn an_endpoint_that_asks_for_a_long_pause_is_not_waited_for_and_not_asked_meanwhile() {
    let transport = Arc::new(Canned::first(vec![says(429, Some(120), "slow down")], 200, MISSING));
    let timer = ManualTimer::at(7);
    let client = timed(&transport, &timer, NetworkId::DEVNET);
    let ask = || client.account(&Address::basechain([1; 32]));
    for _ in 0..3 {
        let error = ask().unwrap_err();
        assert!(matches!(error, ChainError::RateLimited { wait_s: Some(120), .. }), "{error:?}");
        assert!(error.to_string().contains("for 120 s"), "{error}");
    }
    assert_eq!((transport.asked(), timer.slept()), (1, Duration::ZERO));
    timer.sleep(Duration::from_secs(120));
    ask().unwrap();
}

#[test]
fn an_endpoint_from_the_future_is_not_believed() {
    let late = MISSING.replace("\"sync_utime\":7", "\"sync_utime\":1061");
    let ask = |ours| {
        timed(&Arc::new(Canned::always(200, late.clone())), &ManualTimer::at(ours), NetworkId::DEVNET).account(&Address::basechain([1; 32]))
    };
    assert!(ask(1_001).is_ok(), "clocks are a minute apart at the most");
    let error = ask(1_000).unwrap_err();
    assert!(matches!(error, ChainError::Ahead { ahead_s: 61, .. }) && error.is_retryable(), "{error}");
}

#[test]
fn an_endpoint_that_stands_still_is_noticed_where_blocks_never_stop() {
    let ask = |ours, network| {
        timed(&Arc::new(Canned::always(200, MISSING)), &ManualTimer::at(ours), network).account(&Address::basechain([1; 32]))
    };
    assert!(ask(607, NetworkId::MAINNET).is_ok());
    let error = ask(608, NetworkId::MAINNET).unwrap_err();
    assert!(matches!(error, ChainError::Stale { age_s: 601, .. }) && error.is_retryable(), "{error}");
    assert!(ask(1_000_000, NetworkId::DEVNET).is_ok(), "a devnet may stand still");
}

#[test]
fn the_clients_chain_tells_how_deep_a_transaction_lies() {
    let (chain, clock) = chain(Blocks::Manual);
    let chain = Arc::new(chain);
    let client = over(Server::new(Arc::clone(&chain) as Arc<dyn Chain>), NetworkId::DEVNET);
    let to = Address::basechain([7; 32]);
    chain.fund(&to, ton(1)).unwrap();
    for expected in [Standing::Young, Standing::Young, Standing::Settled, Standing::Settled] {
        clock.advance_ms(1_000);
        chain.make_block().unwrap();
        let transaction = client.transactions(&to, Page::newest(1)).unwrap().remove(0);
        assert_eq!(confirmation::standing(&client, &transaction, Confirmations::of_network(NetworkId::MAINNET)).unwrap(), expected);
        for seqno in 0..=chain.head().unwrap().seqno {
            assert_eq!(client.covered_lt(&to, seqno).unwrap(), chain.covered_lt(&to, seqno).unwrap());
            let masterchain = Address { workchain: -1, hash: [1; 32] };
            assert_eq!(client.covered_lt(&masterchain, seqno).unwrap(), chain.covered_lt(&to, seqno).unwrap());
        }
    }
    assert!(matches!(client.covered_lt(&to, 99), Err(ChainError::NotFound(_) | ChainError::Unavailable { status: 404, .. })));
}

#[test]
fn a_shards_block_must_be_the_one_that_was_listed() {
    let hash = |byte: u8| json::base64(&[byte; 32]);
    let shards = |shard: &str, byte: u8| {
        json!({ "ok": true, "result": { "shards": [
            { "workchain": 0, "shard": shard, "seqno": 5, "root_hash": hash(byte) },
        ] } })
        .to_string()
    };
    let header =
        json!({ "ok": true, "result": { "global_id": NetworkId::DEVNET.0, "end_lt": "77", "id": { "seqno": 5, "root_hash": hash(1) } } });
    let ask = |listed: String| {
        canned(&Arc::new(Canned::first(vec![says(200, None, listed)], 200, header.to_string()))).covered_lt(&Address::basechain([7; 32]), 9)
    };
    assert_eq!(ask(shards("-9223372036854775808", 1)).unwrap(), 77);
    let fault = |listed| match ask(listed) {
        Err(ChainError::Malformed { fault, .. }) => fault,
        other => panic!("{other:?}"),
    };
    assert_eq!(fault(shards("-9223372036854775808", 2)), AnswerFault::Field("root_hash"));
    assert_eq!(fault(shards("-4611686018427387904", 1)), AnswerFault::Field("shards"), "somebody else's shard");
    assert_eq!(fault(shards("no number", 1)), AnswerFault::Field("shard"));
    let block = json!({ "workchain": 0, "shard": "-9223372036854775808", "seqno": 5, "root_hash": hash(1) });
    let many = json!({ "ok": true, "result": { "shards": vec![block; 257] } }).to_string();
    assert_eq!(fault(many), AnswerFault::TooMany);
}

#[test]
fn a_bad_moment_is_survived() {
    let transport = Arc::new(Canned::always(
        200,
        json!({ "ok": true, "result": {
        "state": "uninitialized", "balance": -1, "code": "", "data": "", "sync_utime": 7,
        "last_transaction_id": { "lt": "0", "hash": "" }, "block_id": { "seqno": 1, "root_hash": "00".repeat(32) },
    } })
        .to_string(),
    ));
    transport.answers.lock().unwrap().insert(0, Err(()));
    transport.answers.lock().unwrap().insert(1, says(429, None, "slow down"));
    let state = canned(&transport).account(&Address::basechain([1; 32])).unwrap();
    assert_eq!((state.balance, state.status, state.seen_at.unix_s), (Amount::ZERO, AccountStatus::Uninitialized, 7));
    assert_eq!(transport.asked(), 3);
}

#[test]
fn a_forged_transaction_is_noticed() {
    let (chain, _) = chain(Blocks::Instant);
    let chain = Arc::new(chain);
    let to = Address::basechain([7; 32]);
    for _ in 0..3 {
        chain.fund(&to, ton(1)).unwrap();
    }
    let server = Server::new(chain);
    let honest = server.handle("getTransactions", &json!({ "address": to.raw() })).json;
    let ask = |answer: &Value| {
        let client = canned(&Arc::new(Canned::always(200, answer.to_string())));
        client.transactions(&to, Page::newest(3))
    };
    assert_eq!(ask(&honest).unwrap().len(), 3);
    let fault = |answer: &Value| match ask(answer) {
        Err(ChainError::Malformed { fault, .. }) => fault,
        other => panic!("{other:?}"),
    };
    let mut renamed = honest.clone();
    renamed["result"][0]["transaction_id"]["hash"] = json!("00".repeat(32));
    assert_eq!(fault(&renamed), AnswerFault::Transaction);
    let mut gap = honest.clone();
    gap["result"].as_array_mut().unwrap().remove(1);
    assert_eq!(fault(&gap), AnswerFault::Order);
    let mut more = honest.clone();
    let first = honest["result"][0].clone();
    more["result"].as_array_mut().unwrap().push(first);
    assert_eq!(fault(&more), AnswerFault::TooMany);
    let mut data = honest;
    data["result"][0]["data"] = json!("te6c");
    assert_eq!(fault(&data), AnswerFault::Transaction);
}

#[test]
fn a_key_is_not_shown() {
    let key = ApiKey::new("secret").unwrap();
    let client = Toncenter::new("https://toncenter.com/api/v2", NetworkId::MAINNET, Some(key));
    assert!(!format!("{client:?}").contains("secret"));
}

#[test]
fn answers_have_toncenters_shape() {
    let (chain, _) = joined();
    let server = Server::new(Arc::clone(&chain) as Arc<dyn Chain>);
    let get = |target: &str| server.serve(Request { verb: Verb::Get, target, body: b"" });

    let reply = get("/api/v2/getMasterchainInfo");
    assert_eq!(reply.status, 200);
    let result = &reply.json["result"];
    assert_eq!(result["@type"], "blocks.masterchainInfo");
    assert_eq!(result["last"]["@type"], "ton.blockIdExt");
    assert_eq!(result["last"]["shard"], "-9223372036854775808");
    assert!(result["init"]["seqno"].is_number());

    let reply = get(&format!("/getAddressInformation?address={}", chain.faucet().friendly(Bounce::No)));
    assert_eq!(reply.json["result"]["state"], "active");
    assert!(reply.json["result"]["balance"].is_string());
    assert_eq!(reply.json["result"]["last_transaction_id"]["lt"], "0");

    let envelope = json!({ "id": "7", "jsonrpc": "2.0", "method": "getAddressBalance", "params": { "address": chain.faucet().raw() } });
    let reply = server.serve(Request { verb: Verb::Post, target: "/api/v2/jsonRPC", body: envelope.to_string().as_bytes() });
    assert_eq!((&reply.json["id"], &reply.json["jsonrpc"]), (&json!("7"), &json!("2.0")));
    assert_eq!(reply.json["result"], "5000000000000000000");
}

#[test]
fn requests_that_make_no_sense_are_answered() {
    let (chain, _) = joined();
    let server = Server::new(Arc::clone(&chain) as Arc<dyn Chain>);
    let post = |target: &str, body: &[u8]| server.serve(Request { verb: Verb::Post, target, body }).status;
    let get = |target: &str| server.serve(Request { verb: Verb::Get, target, body: b"" }).status;
    assert_eq!(get("/api/v2/noSuchMethod"), 404);
    assert_eq!(get("/api/v2/estimateFee"), 422);
    assert_eq!(get("/api/v2/getAddressInformation"), 422);
    assert_eq!(get("/api/v2/getAddressInformation?address=%zz"), 422);
    assert_eq!(get(&format!("/getTransactions?address={}&lt=1", chain.faucet())), 422);
    assert_eq!(get("/faucet?address=x&amount=1"), 404, "no faucet unless it is given one");
    assert_eq!(post("/jsonRPC", b"{"), 422);
    assert_eq!(post("/jsonRPC", b"[]"), 422);
    assert_eq!(post("/sendBoc", br#"{"boc":"!"}"#), 422);
    assert_eq!(post("/sendBoc", &vec![b' '; 200_000]), 413);
}

#[test]
fn base64_hashes_survive_a_query() {
    let (chain, _) = joined();
    let to = Address::basechain([0xfb; 32]);
    chain.fund(&to, ton(1)).unwrap();
    let id = chain.transactions(&to, Page::newest(1)).unwrap()[0].id;
    let server = Server::new(Arc::clone(&chain) as Arc<dyn Chain>);
    let plain = json::base64(&id.hash);
    for hash in [plain.clone(), plain.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"), hex::encode(id.hash)] {
        let target = format!("/getTransactions?address={to}&lt={}&hash={hash}&limit=1", id.lt);
        assert_eq!(server.serve(Request { verb: Verb::Get, target: &target, body: b"" }).status, 200, "{hash}");
    }
}

/// A server, and what a wallet of it was called for: its address, the transaction that sent a message, the one that received it.
fn served_transfer() -> (Server, TestWallet, crate::chain::Transaction, crate::chain::Transaction) {
    let (chain, _) = chain(Blocks::Instant);
    let wallet = TestWallet::funded(&chain, 1, ton(10));
    let to = Address::basechain([7; 32]);
    chain.send_boc(&wallet.transfer(0, &to, ton(1), Bounce::No)).unwrap();
    let sent = chain.transactions(&wallet.address, Page::newest(1)).unwrap().remove(0);
    let received = chain.transactions(&to, Page::newest(1)).unwrap().remove(0);
    (Server::new(Arc::new(chain)), wallet, sent, received)
}

#[test]
fn a_block_lists_what_happened_in_it() {
    let (server, wallet, sent, received) = served_transfer();
    let ask = |call: &str, params: &Value| server.handle(call, params).json["result"].clone();
    let shards = ask("shards", &json!({ "seqno": 2 }));
    assert_eq!((&shards["shards"][0]["workchain"], &shards["shards"][0]["seqno"]), (&json!(0), &json!(2)));
    let listed = ask("getBlockTransactions", &json!({ "workchain": 0, "seqno": 2, "shard": "-9223372036854775808" }));
    assert_eq!(listed["incomplete"], false);
    let named: Vec<(&str, String)> = listed["transactions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|short| (short["account"].as_str().unwrap(), short["lt"].as_str().unwrap().to_owned()))
        .collect();
    let (from, to) = (wallet.address.raw(), received.account.raw());
    assert_eq!(named, [(from.as_str(), sent.id.lt.to_string()), (to.as_str(), received.id.lt.to_string())]);
    let first = ask("getBlockTransactions", &json!({ "seqno": 2, "count": 1 }));
    assert_eq!((&first["incomplete"], first["transactions"].as_array().unwrap().len()), (&json!(true), 1));
    assert_eq!(ask("getBlockTransactions", &json!({ "seqno": 2, "workchain": -1 }))["transactions"], json!([]));
    assert_eq!(server.handle("getBlockTransactions", &json!({ "seqno": 9 })).status, 404);
    assert_eq!(ask("lookupBlock", &json!({ "seqno": 2, "workchain": -1 }))["seqno"], 2);
}

#[test]
fn a_message_is_found_on_both_of_its_ends() {
    let (server, wallet, sent, received) = served_transfer();
    let message = &sent.out_messages[0];
    let params = |created_lt: u64| json!({ "source": wallet.address.raw(), "destination": received.account.raw(), "created_lt": created_lt.to_string() });
    for (call, expected) in [("tryLocateTx", &received), ("tryLocateResultTx", &received), ("tryLocateSourceTx", &sent)] {
        let found = server.handle(call, &params(message.created_lt)).json;
        assert_eq!(found["result"]["transaction_id"]["lt"], expected.id.lt.to_string(), "{call}");
        assert_eq!(server.handle(call, &params(message.created_lt + 7)).status, 404, "{call}");
        assert_eq!(server.handle(call, &json!({ "source": wallet.address.raw() })).status, 422, "{call}");
    }
}

#[test]
fn fees_are_told_before_they_are_paid() {
    let (server, wallet, sent, _) = served_transfer();
    let boc = wallet.transfer(1, &Address::basechain([7; 32]), ton(1), Bounce::No);
    let body = server_body(&boc);
    let ask =
        |check: bool| server.handle("estimateFee", &json!({ "address": wallet.address.raw(), "body": body, "ignore_chksig": !check }));
    let told = ask(true).json["result"]["source_fees"].clone();
    let sum: u64 = ["in_fwd_fee", "gas_fee", "storage_fee", "fwd_fee"].iter().map(|name| told[name].as_u64().unwrap()).sum();
    let paid = sent.total_fees.nano() + sent.out_messages[0].forward_fee.nano();
    assert!(
        u128::from(sum) <= paid && told["gas_fee"].as_u64().unwrap() > 0,
        "{sum} told, {paid} paid with the code that was brought along"
    );
    let head = server.handle("getMasterchainInfo", &json!({})).json;
    assert_eq!(ask(false).json["result"]["source_fees"], told);
    assert_eq!(server.handle("getMasterchainInfo", &json!({})).json, head, "nothing happened");
    let nobody = server.handle("estimateFee", &json!({ "address": Address::basechain([9; 32]).raw(), "body": body }));
    assert_eq!(nobody.status, 500);
}

/// The body of an external message, in base64.
fn server_body(boc: &[u8]) -> String {
    use tycho_types::models::OwnedMessage;
    let message = crate::chain::codec::decode(boc).unwrap().parse::<OwnedMessage>().unwrap();
    let (range, cell) = &message.body;
    json::base64(&tycho_types::boc::Boc::encode(tycho_types::cell::CellBuilder::build_from(range.apply_allow_exotic(cell)).unwrap()))
}

#[test]
fn a_wallet_is_known_by_its_code() {
    let (server, wallet, ..) = served_transfer();
    let ask = |address: &Address| server.handle("getWalletInformation", &json!({ "address": address.raw() })).json["result"].clone();
    let known = ask(&wallet.address);
    assert_eq!((&known["wallet"], &known["wallet_type"], &known["seqno"]), (&json!(true), &json!("wallet v4 r2"), &json!(1)));
    assert_eq!(ask(&Address::basechain([9; 32]))["wallet"], false);
    let forms = server.handle("detectAddress", &json!({ "address": wallet.address.raw() })).json["result"].clone();
    assert_eq!(forms["non_bounceable"]["b64url"], wallet.address.friendly(Bounce::No));
    let packed = server.handle("packAddress", &json!({ "address": wallet.address.raw() })).json;
    let unpacked = server.handle("unpackAddress", &json!({ "address": packed["result"] })).json;
    assert_eq!(unpacked["result"], wallet.address.raw());
}

/// Serves one request on a socket, as little of HTTP as a client needs.
fn serve_once(listener: TcpListener, server: Server) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut head, mut line) = (String::new(), String::new());
        while reader.read_line(&mut line).unwrap() > 2 {
            head.push_str(&std::mem::take(&mut line).to_ascii_lowercase());
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let reply = server.serve(Request { verb: Verb::Post, target: "/jsonRPC", body: &body });
        let json = reply.json.to_string();
        write!(stream, "HTTP/1.1 {} -\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{json}", reply.status, json.len()).unwrap();
        head
    })
}

#[test]
fn a_request_travels_over_a_socket() {
    let (chain, _) = joined();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api/v2", listener.local_addr().unwrap());
    let served = serve_once(listener, Server::new(Arc::clone(&chain) as Arc<dyn Chain>));
    let client = Toncenter::new(&url, NetworkId::DEVNET, Some(ApiKey::new("secret").unwrap()));
    assert_eq!(client.account(&chain.faucet()).unwrap(), chain.account(&chain.faucet()).unwrap());
    let head = served.join().unwrap();
    assert!(head.starts_with("post /api/v2/jsonrpc "), "{head}");
    assert!(head.contains("x-api-key: secret"), "{head}");
}

#[test]
fn nobody_at_home_is_retryable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = Toncenter::new(&url, NetworkId::DEVNET, None);
    let error = client.send_boc(&empty_external(&Address::basechain([1; 32]))).unwrap_err();
    assert!(matches!(error, ChainError::Unreachable { .. }) && error.is_retryable());
}

#[test]
fn an_endpoint_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let post = |timeouts| {
        let url = format!("http://{}/jsonRPC", listener.local_addr().unwrap());
        http::Ureq::new(timeouts).post(Post { url: &url, api_key: None, body: b"{}" })
    };
    // The system accepts for a listener that nobody asks; the answer never comes.
    let silent = post(http::Timeouts { request: Duration::from_millis(50), ..http::Timeouts::default() });
    assert!(matches!(silent, Err(TransportError::Connection(_))), "{silent:?}");
}

/// Answers one request on a socket with these bytes, and keeps the line open until the other side hangs up.
fn answer_once(answer: Vec<u8>) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/jsonRPC", listener.local_addr().unwrap());
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Who was told too much may hang up in the middle of it.
        let _ = stream.write_all(&answer);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    (url, served)
}

#[test]
fn an_endpoint_that_stops_in_the_middle_is_given_up() {
    let (url, served) = answer_once(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"ok\":".to_vec());
    let transport = http::Ureq::new(http::Timeouts { request: Duration::from_millis(50), ..http::Timeouts::default() });
    let answer = transport.post(Post { url: &url, api_key: None, body: b"{}" });
    assert!(matches!(answer, Err(TransportError::Connection(_))), "{answer:?}");
    drop(transport);
    served.join().unwrap();
}

#[test]
fn a_huge_answer_is_not_read_to_its_end() {
    let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 10 * transport::ANSWER_BYTES_MAX).into_bytes();
    answer.resize(transport::ANSWER_BYTES_MAX + 1_000_000, b' ');
    let (url, served) = answer_once(answer);
    let transport = http::Ureq::default();
    let answer = transport.post(Post { url: &url, api_key: None, body: b"{}" });
    assert!(matches!(answer, Err(TransportError::TooLarge)), "{answer:?}");
    drop(transport);
    served.join().unwrap();
}

#[test]
fn the_wish_to_be_left_alone_travels_over_a_socket_and_a_redirect_is_not_followed() {
    let (url, served) = answer_once(b"HTTP/1.1 429 -\r\nretry-after: 9\r\ncontent-length: 4\r\n\r\nslow".to_vec());
    let transport = http::Ureq::default();
    let answer = transport.post(Post { url: &url, api_key: None, body: b"{}" }).unwrap();
    assert_eq!((answer.status, answer.retry_after, &answer.body[..]), (429, Some(Duration::from_secs(9)), &b"slow"[..]));
    drop(transport);
    served.join().unwrap();

    let (url, served) = answer_once(b"HTTP/1.1 307 -\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec());
    let transport = http::Ureq::default();
    let key = ApiKey::new("secret").unwrap();
    assert_eq!(transport.post(Post { url: &url, api_key: Some(&key), body: b"{}" }).unwrap().status, 307, "a key goes to nobody else");
    drop(transport);
    served.join().unwrap();
}

fn noise() -> impl Strategy<Value = Value> {
    const WORDS: &[&str] =
        &["ok", "result", "state", "active", "balance", "stack", "lt", "hash", "last", "id", "seqno", "exit_code", "0", "", "-1"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        proptest::sample::select(WORDS).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::vec((proptest::sample::select(WORDS), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
        ]
    })
}

/// Every question there is; none may panic, whatever comes back.
fn ask_everything(client: &dyn Chain) {
    let address = Address::basechain([1; 32]);
    let _ = client.head();
    let _ = client.block(1);
    let _ = client.account(&address);
    let _ = client.transactions(&address, Page::newest(2));
    let _ = client.run_get_method(&address, "seqno", &[]);
    let _ = client.config_param(21);
    let _ = client.send_boc(&empty_external(&address));
}

proptest! {
    #[test]
    fn no_answer_panics_the_client(result in noise(), whole in any::<bool>(), status in 100_u16..600) {
        let body = if whole { result } else { json!({ "ok": true, "result": result }) };
        ask_everything(&canned(&Arc::new(Canned::always(status, body.to_string()))));
    }

    #[test]
    fn no_bytes_panic_the_client(body in proptest::collection::vec(any::<u8>(), 0..100), status in 100_u16..600) {
        ask_everything(&canned(&Arc::new(Canned::always(status, body))));
    }

    #[test]
    fn no_request_panics_the_server(target in "/(api/v2/)?(sendBoc|runGetMethod|getTransactions|jsonRPC|estimateFee|shards|getBlockTransactions|tryLocateTx|.{0,9})(\\?.{0,30})?", body in noise()) {
        let (chain, _) = chain(Blocks::Manual);
        let server = Server::new(Arc::new(chain));
        for verb in [Verb::Get, Verb::Post] {
            let _ = server.serve(Request { verb, target: &target, body: body.to_string().as_bytes() });
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Honest answers with one field replaced: an error or an answer, never a panic.
    #[test]
    fn a_damaged_answer_never_panics(call in 0..4_usize, pick in any::<prop::sample::Index>(), with in noise()) {
        let (chain, _) = chain(Blocks::Instant);
        let chain = Arc::new(chain);
        let address = chain.faucet();
        chain.fund(&Address::basechain([7; 32]), ton(1)).unwrap();
        let server = Server::new(Arc::clone(&chain) as Arc<dyn Chain>);
        let params = json!({ "address": address.raw(), "seqno": 1, "method": "get_public_key" });
        let calls = ["getAddressInformation", "getTransactions", "runGetMethod", "getBlockHeader"];
        let mut answer = server.handle(calls[call], &params).json;
        let mut paths = Vec::new();
        collect_paths(&answer, String::new(), &mut paths);
        *answer.pointer_mut(&paths[pick.index(paths.len())]).unwrap() = with;
        let client = canned(&Arc::new(Canned::always(200, answer.to_string())));
        let _ = client.account(&address);
        let _ = client.transactions(&address, Page::newest(2));
        let _ = client.run_get_method(&address, "get_public_key", &[]);
        let _ = client.block(1);
    }
}

fn collect_paths(value: &Value, at: String, paths: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| collect_paths(value, format!("{at}/{key}"), paths)),
        Value::Array(items) => items.iter().enumerate().for_each(|(n, value)| collect_paths(value, format!("{at}/{n}"), paths)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    paths.push(at);
}
