use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use cocoon_market::ids::Digest;
use cocoon_market::{ContractAddress, NetworkId, NodeId, OperatorKey, Timestamp};
use cocoon_settlement::contract::ChannelTerms;
use cocoon_settlement::ledger::{Ledger, MemoryStore, Role};
use serde_json::{Value, json};

use super::place::Port;
use super::*;
use crate::home::Home;
use crate::query::Question as _;
use crate::query::audit::AuditBooks;
use crate::query::channels::{ListChannels, ShowChannel};

const ALL: ListChannels = ListChannels { limit: 10, closed: true };

fn key() -> OperatorKey {
    OperatorKey::from_seed(&[1; 32])
}

/// A ledger with two channels.
fn ledger() -> Arc<Ledger> {
    let ledger = Ledger::open(MemoryStore::default(), key()).unwrap();
    for salt in [1, 2] {
        let terms = ChannelTerms {
            network: NetworkId::DEVNET,
            requester: key().node_id(),
            provider: NodeId([2; 32]),
            refund_to: ContractAddress([3; 32]),
            contract: ContractAddress([4; 32]),
            challenge_window_s: 60,
            salt: Digest([salt; 32]),
        };
        ledger.record_channel(Role::Requester, terms, Timestamp(salt.into())).unwrap();
    }
    Arc::new(ledger)
}

/// A home, in a directory whose name is so long.
fn home(name_bytes: usize) -> (tempfile::TempDir, Home) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path().join("h".repeat(name_bytes)));
    home.create().unwrap();
    (dir, home)
}

async fn ask<T: Send + 'static>(home: &Home, act: impl FnOnce(Connection) -> T + Send + 'static) -> T {
    let home = home.clone();
    crate::commands::blocking(move || act(connect(&home).expect("a node that runs is found"))).await
}

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_answers_what_the_ledger_would() {
    let ((_dir, home), ledger) = (home(1), ledger());
    let server = serve(&home, Arc::clone(&ledger));
    assert_eq!(mode(&home.control_socket()), 0o600);
    let rows = ask(&home, |node| node.ask(&ALL).unwrap()).await;
    let expected = ALL.answer(&ledger).unwrap();
    assert_eq!(json!(rows), json!(expected));
    assert_eq!(rows.len(), 2);
    let question = ShowChannel { channel: rows[0].channel.to_string() };
    let view = ask(&home, move |node| node.ask(&question).unwrap()).await;
    assert_eq!(view.row.channel, rows[0].channel);
    server.stop().await;
    assert!(!home.control_socket().exists() && connect(&home).is_none());
    assert_eq!(Arc::strong_count(&ledger), 1, "a node that stopped lets go of the ledger");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_gives_the_audit_that_its_ledger_would() {
    let ((_dir, home), ledger) = (home(1), ledger());
    let server = serve(&home, Arc::clone(&ledger));
    let audit = ask(&home, |node| node.ask(&AuditBooks {}).unwrap()).await;
    assert_eq!(audit, ledger.audit().unwrap());
    assert_eq!(audit.channels.len(), 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_reads_the_same_from_a_node() {
    let ((_dir, home), ledger) = (home(1), ledger());
    let server = serve(&home, Arc::clone(&ledger));
    let question = ShowChannel { channel: "zz".into() };
    let here = question.answer(&ledger).unwrap_err();
    let there = ask(&home, move |node| node.ask(&question).unwrap_err()).await;
    assert_eq!(there.to_text(), here.to_text());
    assert_eq!(there.exit(), here.exit());
    server.stop().await;
}

#[test]
fn a_failure_keeps_its_causes() {
    #[derive(Debug, thiserror::Error)]
    #[error("it broke")]
    struct Broke(#[source] std::io::Error);
    impl NextStep for Broke {
        fn next_step(&self) -> Cow<'static, str> {
            "mend it".into()
        }
    }
    let failure = Failure::from(Broke(std::io::Error::other("it was old")));
    let text = failure.to_text();
    let sent = serde_json::to_string(&Reply::Failed(failure.into())).unwrap();
    let Reply::Failed(told) = serde_json::from_str(&sent).unwrap() else { panic!("not a failure") };
    assert_eq!(Failure::from(told).to_text(), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_node_left_behind_is_no_node_and_no_obstacle() {
    let (_dir, home) = home(1);
    // A socket that nobody listens at any more.
    drop(std::os::unix::net::UnixListener::bind(home.control_socket()).unwrap());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    Port { port: free, token: "old".into() }.write(&home.control_file()).unwrap();
    assert!(home.control_socket().exists() && connect(&home).is_none());
    let server = serve(&home, ledger());
    assert!(!home.control_file().exists());
    assert_eq!(ask(&home, |node| node.ask(&ALL).unwrap().len()).await, 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_socket_fits_the_node_wants_the_token_from_the_file() {
    let (_dir, home) = home(120);
    let server = serve(&home, ledger());
    assert!(!home.control_socket().exists());
    assert_eq!(mode(&home.control_file()), 0o600);
    assert_eq!(ask(&home, |node| node.ask(&ALL).unwrap().len()).await, 2);

    let file = home.control_file();
    let mut port: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    port["token"] = "0".repeat(64).into();
    std::fs::write(&file, port.to_string()).unwrap();
    let error = ask(&home, |node| node.ask(&ALL).unwrap_err()).await;
    assert!(error.headline().contains("token"), "{}", error.headline());
    server.stop().await;
    assert!(!file.exists());
}

/// Says something to the node, and gives its answer.
async fn say(home: &Home, text: String) -> String {
    let path = home.control_socket();
    crate::commands::blocking(move || {
        let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
        // A node that has heard enough hangs up.
        let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.shutdown(std::net::Shutdown::Write));
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_answered_with_a_reason_and_other_releases_are_told_apart() {
    let (_dir, home) = home(1);
    let server = serve(&home, ledger());
    let call = |protocol: u32, question: &str| json!({ "protocol": protocol, "question": question, "details": {} }).to_string() + "\n";
    assert!(say(&home, "hello\n".into()).await.contains("cannot read the question"));
    assert!(say(&home, call(PROTOCOL, "spend")).await.contains("does not know"));
    assert!(say(&home, call(PROTOCOL, "channels")).await.contains("cannot read the question"));
    assert_eq!(say(&home, call(PROTOCOL + 1, "channels")).await, format!("{{\"other_protocol\":{PROTOCOL}}}"));
    assert_eq!(say(&home, String::new()).await, "");
    let endless = say(&home, "x".repeat(10 * QUESTION_BYTES_MAX)).await;
    assert!(endless.is_empty() || endless.contains("cannot read the question"), "{endless}");
    assert_eq!(ask(&home, |node| node.ask(&ALL).unwrap().len()).await, 2, "and it still answers");
    server.stop().await;
}
