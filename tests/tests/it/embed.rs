//! Vectors of texts, bought and paid by separate processes.

use anyhow::{Context, Result, ensure};
use cocoon_tests::free_port;
use serde_json::Value;

use crate::world::{Devnet, Provider, nano};

/// A million tokens read cost so many TON: high, so that a few texts are worth a look.
const PRICE: &str = "100";

fn embed<'a>(provider: &'a Provider, texts: &[&'a str]) -> Vec<&'a str> {
    [&["embed", "--model", "tiny-bert", "--no-mdns", "--bootstrap", &provider.address, "--cap", "0.5"], texts].concat()
}

fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

#[test]
fn texts_are_embedded_paid_and_proven_and_the_gateway_gives_the_same_vectors() -> Result<()> {
    let devnet = Devnet::start()?;
    let provider = Provider::of_vectors(&devnet, PRICE)?;
    let requester = devnet.home()?;
    requester.set("cap_ton", "\"0.5\"")?;
    let events = requester.json(&embed(&provider, &["bees dance", "the hive", "bees dance"]))?;
    let vectors = named(&events, "vector");
    assert_eq!(vectors.iter().map(|vector| vector["index"].as_u64()).collect::<Vec<_>>(), [Some(0), Some(1), Some(2)]);
    assert_eq!(vectors[0]["vector"].as_array().map(Vec::len), Some(48));
    assert_eq!(vectors[0]["vector"], vectors[2]["vector"]);
    assert_ne!(vectors[0]["vector"], vectors[1]["vector"]);
    let done = *named(&events, "embedded").first().context("an end")?;
    // Nine letters, seven, nine, and two ends of each text.
    assert_eq!((&done["usage"]["input_tokens"], &done["usage"]["output_tokens"]), (&Value::from(31), &Value::from(0)), "{done}");
    assert_eq!(nano(&done["paid_nanoton"])?, 31 * 100_000);

    let job = done["jobs"][0].as_str().context("a job")?;
    let file = requester.path().join("embed.dossier");
    let file = file.to_str().context("a path in UTF-8")?;
    requester.json(&["dossier", "export", job, "-o", file])?;
    // It exits 1 when anything does not hold.
    let verified = requester.value(&["dossier", "verify", file])?;
    assert_eq!((&verified["usage"], &verified["cost"]), (&done["usage"], &done["paid_nanoton"]), "{verified}");

    let listen = format!("127.0.0.1:{}", free_port()?);
    let mut gateway = requester.start(&["gateway", "--listen", &listen, "--no-mdns", "--bootstrap", &provider.address])?;
    gateway.event("ready")?;
    let mut answer = ureq::post(format!("http://{listen}/v1/embeddings"))
        .header("content-type", "application/json")
        .send(r#"{"model": "tiny-bert", "input": ["the hive"], "dimensions": 48}"#)?;
    let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string()?)?;
    assert_eq!((&answer["data"][0]["embedding"], &answer["usage"]["prompt_tokens"]), (&vectors[1]["vector"], &Value::from(9)), "{answer}");
    Ok(())
}

#[test]
fn a_model_of_vectors_is_not_asked_and_a_long_text_is_not_cut() -> Result<()> {
    let devnet = Devnet::start()?;
    let provider = Provider::of_vectors(&devnet, PRICE)?;
    let requester = devnet.home()?;
    let ask = ["ask", "--model", "tiny-bert", "--no-mdns", "--bootstrap", &provider.address, "--wait", "2", "hello"];
    let failed = requester.fail(&ask)?;
    ensure!(failed.contains("kind of work"), "{failed}");
    let failed = requester.fail(&embed(&provider, &["short", &"word ".repeat(100)]))?;
    ensure!(failed.contains("text 1 (counted from 0) has 402 tokens"), "{failed}");
    Ok(())
}
