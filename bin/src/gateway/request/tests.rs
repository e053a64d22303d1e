use proptest::prelude::*;
use serde_json::json;

use super::*;

fn minimal() -> Value {
    json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] })
}

fn with(extra: Value) -> Result<ChatOrder, ApiError> {
    let mut body = minimal();
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    parse(body.to_string().as_bytes())
}

#[test]
fn the_smallest_request_has_the_apis_defaults() {
    let order = with(json!({})).unwrap();
    assert_eq!(order.sampling, Sampling { temperature_milli: 1000, top_k: 0, top_p_milli: 1000 });
    assert_eq!((order.output_tokens_max, order.seed, order.delivery), (None, None, Delivery::Whole));
    assert!(order.stop.is_empty());
}

#[test]
fn every_supported_parameter_is_read() {
    let order = with(json!({
        "temperature": 0.25, "top_p": 0.9, "max_tokens": 7, "max_completion_tokens": 9, "stop": ["a", "b"], "seed": -3,
        "stream": true, "stream_options": { "include_usage": true }, "user": "ada", "n": 1, "presence_penalty": 0,
    }))
    .unwrap();
    assert_eq!(order.sampling, Sampling { temperature_milli: 250, top_k: 0, top_p_milli: 900 });
    assert_eq!((order.output_tokens_max, order.seed), (Some(9), Some(-3)));
    assert_eq!(order.delivery, Delivery::Stream { usage: true });
    assert_eq!(order.stop, ["a", "b"]);
    assert_eq!(with(json!({ "stop": "x" })).unwrap().stop, ["x"]);
}

#[test]
fn null_is_absent() {
    let order = with(json!({ "temperature": null, "tools": null, "stop": null, "stream_options": null })).unwrap();
    assert_eq!(order, with(json!({})).unwrap());
}

#[test]
fn parts_of_type_text_are_put_together_and_a_developer_is_a_system() {
    let order = with(json!({ "messages": [
        { "role": "developer", "content": "be brief" },
        { "role": "user", "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }], "name": "ada" },
        { "role": "assistant", "content": "c", "tool_calls": [], "refusal": null },
    ]}))
    .unwrap();
    let said: Vec<_> = order.messages.iter().map(|m| (m.role.as_str(), m.content.as_str())).collect();
    assert_eq!(said, [("system", "be brief"), ("user", "ab"), ("assistant", "c")]);
}

#[test]
fn what_is_wrong_is_named() {
    let check = |extra: Value, param: &str, code: &str| {
        let error = with(extra.clone()).unwrap_err();
        assert_eq!((error.param.as_deref(), error.code), (Some(param), Some(code)), "{extra}");
        assert_eq!(error.status, axum::http::StatusCode::BAD_REQUEST);
    };
    check(json!({ "model": null }), "model", "missing_required_parameter");
    check(json!({ "model": 3 }), "model", "invalid_value");
    check(json!({ "messages": [] }), "messages", "invalid_value");
    check(json!({ "messages": [{ "role": "tool", "content": "x" }] }), "messages[0].role", "unsupported_parameter");
    check(json!({ "messages": [{ "role": "user" }] }), "messages[0].content", "missing_required_parameter");
    let image = json!([{ "type": "image_url", "image_url": { "url": "x" } }]);
    check(json!({ "messages": [{ "role": "user", "content": image }] }), "messages[0].content[0].type", "unsupported_parameter");
    check(json!({ "temperature": 2.1 }), "temperature", "invalid_value");
    check(json!({ "temperature": "hot" }), "temperature", "invalid_value");
    check(json!({ "top_p": -0.1 }), "top_p", "invalid_value");
    check(json!({ "max_tokens": 0 }), "max_tokens", "invalid_value");
    check(json!({ "stop": ["a", 1] }), "stop", "invalid_value");
    check(json!({ "stop": "" }), "stop", "invalid_value");
    check(json!({ "stream": "yes" }), "stream", "invalid_value");
    check(json!({ "stream_options": {} }), "stream_options", "invalid_value");
    check(json!({ "n": 2 }), "n", "unsupported_parameter");
    check(json!({ "tools": [{ "type": "function" }] }), "tools", "unsupported_parameter");
    check(json!({ "response_format": { "type": "json_object" } }), "response_format", "unsupported_parameter");
    check(json!({ "logprobs": true }), "logprobs", "unsupported_parameter");
    check(json!({ "frobnicate": 1 }), "frobnicate", "unknown_parameter");
}

#[test]
fn a_top_p_of_nothing_leaves_the_likeliest_token() {
    assert_eq!(with(json!({ "top_p": 0 })).unwrap().sampling.top_p_milli, 1);
}

proptest! {
    #[test]
    fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&body);
    }

    #[test]
    fn what_is_read_is_within_the_markets_bounds(temperature in 0.0..=2.0f64, top_p in 0.0..=1.0f64) {
        let sampling = with(json!({ "temperature": temperature, "top_p": top_p })).unwrap().sampling;
        prop_assert!(sampling.temperature_milli <= 2000 && (1..=1000).contains(&sampling.top_p_milli));
    }
}
