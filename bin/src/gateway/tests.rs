use std::sync::Mutex;
use std::time::Duration;

use cocoon_market::job::{FinishReason, StopReason, Vector};
use cocoon_market::{Amount, Usage};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use ureq::http::Response;

use super::*;

/// Says what it was told to say, and notices when nobody listens any more.
struct Parrot {
    says: Vec<Result<ChatEvent, ChatFailure>>,
    endless: bool,
    left: Mutex<Option<oneshot::Sender<()>>>,
}

struct Leaving(Option<oneshot::Sender<()>>);

impl Drop for Leaving {
    fn drop(&mut self) {
        let _ = self.0.take().map(|left| left.send(()));
    }
}

impl Backend for Parrot {
    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelCard>, ChatFailure>> {
        async { Ok(vec![ModelCard::new("tiny".into(), 5)]) }.boxed()
    }

    fn chat(&self, order: ChatOrder) -> BoxFuture<'_, Result<Answer, ChatFailure>> {
        let leaving = Leaving(self.left.lock().unwrap().take());
        let endless = stream::repeat_with(|| Ok(ChatEvent::Text("la ".into()))).then(|word| async {
            tokio::task::yield_now().await;
            word
        });
        let says = stream::iter(self.says.clone());
        let events = if self.endless { says.chain(endless).boxed() } else { says.boxed() };
        let events = events
            .inspect(move |_| {
                let _ = &leaving;
            })
            .boxed();
        async move {
            if order.model == "tiny" { Ok(Answer { job: "7".into(), events }) } else { Err(ChatFailure::UnknownModel(order.model)) }
        }
        .boxed()
    }

    fn embed(&self, order: EmbeddingsOrder) -> BoxFuture<'_, Result<Embeddings, ChatFailure>> {
        async move {
            match order.dimensions {
                Some(asked) if asked != 3 => Err(ChatFailure::Dimensions { asked, width: 3 }),
                _ if order.texts.iter().any(|text| text.len() > 9) => Err(ChatFailure::TextTooLong { index: 0, tokens: 10, context: 9 }),
                _ => {
                    let usage = Usage { input_tokens: 7, output_tokens: 0 };
                    Ok(Embeddings { vectors: order.texts.iter().map(|text| vector(text)).collect(), usage })
                }
            }
        }
        .boxed()
    }
}

/// What the parrot makes of a text.
fn vector(text: &str) -> Vector {
    Vector::new(&[text.len() as f32, -0.5, f32::MIN_POSITIVE])
}

fn finished() -> Result<ChatEvent, ChatFailure> {
    let usage = Usage { input_tokens: 4, output_tokens: 2 };
    Ok(ChatEvent::Finished { reason: FinishReason::Length, usage, paid: Amount::from_nano(9) })
}

fn parrot(says: Vec<Result<ChatEvent, ChatFailure>>) -> Parrot {
    Parrot { says, endless: false, left: Mutex::new(None) }
}

fn hello() -> Parrot {
    parrot(vec![Ok(ChatEvent::Text("Hel".into())), Ok(ChatEvent::Text("lo".into())), finished()])
}

async fn start(parrot: Parrot, token: Option<&str>) -> String {
    let token = token.map(|token| serde_json::from_value(json!(token)).unwrap());
    let gateway = Gateway::bind("127.0.0.1:0".parse().unwrap(), token).await.unwrap();
    let url = format!("http://{}", gateway.address().unwrap());
    tokio::spawn(gateway.serve(Arc::new(parrot), Router::new(), CancellationToken::new()));
    url
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

async fn post(url: &str, body: Value) -> (u16, String) {
    post_to(format!("{url}/v1/chat/completions"), body).await
}

async fn post_to(url: String, body: Value) -> (u16, String) {
    let send = move || agent().post(url).header("content-type", "application/json").send(body.to_string()).unwrap();
    read(tokio::task::spawn_blocking(send).await.unwrap()).await
}

async fn get_url(url: String, header: &'static str, value: String) -> (u16, Value) {
    let response = tokio::task::spawn_blocking(move || agent().get(url).header(header, value).call().unwrap()).await.unwrap();
    let (status, body) = read(response).await;
    (status, serde_json::from_str(&body).unwrap())
}

async fn read(mut response: Response<ureq::Body>) -> (u16, String) {
    let status = response.status().as_u16();
    (status, tokio::task::spawn_blocking(move || response.body_mut().read_to_string().unwrap()).await.unwrap())
}

fn chat(extra: Value) -> Value {
    let mut body = json!({ "model": "tiny", "messages": [{ "role": "user", "content": "hi" }] });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn a_whole_answer_has_the_apis_form() {
    let url = start(hello(), None).await;
    let (status, body) = post(&url, chat(json!({}))).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["id"], &body["object"]), (200, &json!("chatcmpl-7"), &json!("chat.completion")));
    assert_eq!(body["choices"][0]["message"], json!({ "role": "assistant", "content": "Hello", "refusal": null }));
    assert_eq!(body["choices"][0]["finish_reason"], "length");
    assert_eq!(body["usage"], json!({ "prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6 }));
}

#[tokio::test]
async fn a_streamed_answer_is_server_sent_events_ending_in_done() {
    let url = start(hello(), None).await;
    let (status, body) = post(&url, chat(json!({ "stream": true, "stream_options": { "include_usage": true } }))).await;
    let data: Vec<&str> = body.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!((status, data.last()), (200, Some(&"[DONE]")));
    let pieces: Vec<Value> = data[..data.len() - 1].iter().map(|piece| serde_json::from_str(piece).unwrap()).collect();
    let text: String = pieces.iter().filter_map(|piece| piece["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!((text.as_str(), &pieces[0]["choices"][0]["delta"]["role"]), ("Hello", &json!("assistant")));
    assert_eq!(pieces[pieces.len() - 2]["choices"][0]["finish_reason"], "length");
    assert_eq!((&pieces[0]["usage"], &pieces.last().unwrap()["usage"]["total_tokens"]), (&Value::Null, &json!(6)));
    assert!(pieces.iter().all(|piece| piece["object"] == "chat.completion.chunk"));
}

#[tokio::test]
async fn a_failure_inside_a_stream_is_told_and_ends_it() {
    let failure = ChatFailure::Broken("the provider's machine failed".into());
    let url = start(parrot(vec![Ok(ChatEvent::Text("a".into())), Err(failure)]), None).await;
    let (_, body) = post(&url, chat(json!({ "stream": true }))).await;
    let last = body.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["error"]["code"], "provider_failed");
    let (status, body) = post(&url, chat(json!({}))).await;
    assert!(status == 502 && body.contains("provider_failed"), "{status} {body}");
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_refused_with_the_figures() {
    let refusal = |prompt_tokens| {
        let memory =
            StopReason::MemoryExceeded { prompt_tokens, answer_tokens: 90, tokens_max: 97, needed_bytes: 5000, available_bytes: 3000 };
        vec![Err(ChatFailure::stopped(&memory))]
    };
    for (prompt_tokens, param) in [(96, "max_tokens"), (97, "messages")] {
        let url = start(parrot(refusal(prompt_tokens)), None).await;
        let (status, body) = post(&url, chat(json!({}))).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &body["error"]["code"], &body["error"]["param"]), (400, &json!("context_length_exceeded"), &json!(param)));
        assert_eq!(body["error"]["type"], "invalid_request_error");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains("memory for 97 together") && message.contains("5000 bytes"), "{message}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_job() {
    let (left, noticed) = oneshot::channel();
    let url = start(Parrot { says: Vec::new(), endless: true, left: Mutex::new(Some(left)) }, None).await;
    let body = chat(json!({ "stream": true })).to_string();
    let send = move || {
        let url = format!("{url}/v1/chat/completions");
        let response = agent().post(url).header("content-type", "application/json").send(body).unwrap();
        drop(response);
    };
    tokio::task::spawn_blocking(send).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), noticed).await.expect("the job should have ended").unwrap();
}

#[tokio::test]
async fn what_is_not_there_answers_in_the_apis_shape() {
    let url = start(hello(), None).await;
    let (status, body) = get_url(format!("{url}/v1/images"), "accept", "*/*".into()).await;
    assert_eq!((status, &body["error"]["code"], &body["error"]["param"]), (404, &json!("unknown_url"), &Value::Null));
    let (status, body) = get_url(format!("{url}/v1/chat/completions"), "accept", "*/*".into()).await;
    assert_eq!((status, &body["error"]["type"]), (405, &json!("invalid_request_error")));
    let (status, body) = post(&url, chat(json!({ "model": "gpt-9" }))).await;
    assert!(status == 404 && body.contains("model_not_found"), "{body}");
    let (status, body) = post(&url, chat(json!({ "tools": [{}] }))).await;
    assert!(status == 400 && body.contains("unsupported_parameter"), "{body}");
    let (status, body) = post(&url, chat(json!({ "user": "a".repeat(BODY_BYTES_MAX) }))).await;
    assert!(status == 413 && body.contains("unreadable_body"), "{body}");
}

async fn embed(url: &str, extra: Value) -> (u16, Value) {
    let mut body = json!({ "model": "tiny", "input": "hi" });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let (status, body) = post_to(format!("{url}/v1/embeddings"), body).await;
    (status, serde_json::from_str(&body).unwrap())
}

#[tokio::test]
async fn vectors_have_the_apis_form() {
    let url = start(hello(), None).await;
    let (status, body) = embed(&url, json!({ "input": ["hi", "there"], "dimensions": 3 })).await;
    assert_eq!((status, &body["object"], &body["model"]), (200, &json!("list"), &json!("tiny")));
    assert_eq!(body["usage"], json!({ "prompt_tokens": 7, "total_tokens": 7 }));
    assert_eq!((&body["data"][1]["object"], &body["data"][1]["index"]), (&json!("embedding"), &json!(1)));
    let elements: Vec<f32> = serde_json::from_value(body["data"][1]["embedding"].clone()).unwrap();
    assert_eq!(Vector::new(&elements), vector("there"), "to the bit");
    let (_, body) = embed(&url, json!({ "encoding_format": "base64" })).await;
    // 2.0, -0.5 and the smallest normal number, each as four bytes from the lowest.
    assert_eq!(body["data"][0]["embedding"], "AAAAQAAAAL8AAIAA");
}

#[tokio::test]
async fn vectors_that_cannot_be_made_answer_in_the_apis_shape() {
    let url = start(hello(), None).await;
    let check = async |extra: Value, param: &str, code: &str| {
        let (status, body) = embed(&url, extra).await;
        assert_eq!((status, &body["error"]["param"], &body["error"]["code"]), (400, &json!(param), &json!(code)), "{body}");
        assert_eq!(body["error"]["type"], "invalid_request_error");
    };
    check(json!({ "dimensions": 2 }), "dimensions", "invalid_value").await;
    check(json!({ "input": "0123456789" }), "input", "context_length_exceeded").await;
    check(json!({ "input": [1, 2] }), "input", "unsupported_parameter").await;
    let (status, body) = get_url(format!("{url}/v1/embeddings"), "accept", "*/*".into()).await;
    assert_eq!((status, &body["error"]["code"]), (405, &json!("method_not_allowed")));
    let body = json!({ "input": "hi", "model": "tiny" }).to_string();
    let send = move || agent().post(format!("{url}/v1/embeddings")).header("content-type", "text/plain").send(body).unwrap();
    assert_eq!(tokio::task::spawn_blocking(send).await.unwrap().status().as_u16(), 415);
}

#[tokio::test]
async fn models_are_listed_and_found() {
    let url = start(hello(), None).await;
    let (_, list) = get_url(format!("{url}/v1/models"), "accept", "*/*".into()).await;
    assert_eq!(list["data"][0], json!({ "id": "tiny", "object": "model", "created": 5, "owned_by": "swarm" }));
    let (status, _) = get_url(format!("{url}/v1/models/tiny"), "accept", "*/*".into()).await;
    let (missing, _) = get_url(format!("{url}/v1/models/huge"), "accept", "*/*".into()).await;
    assert_eq!((status, missing), (200, 404));
}

#[tokio::test]
async fn loopback_answers_to_its_own_names_only() {
    let url = start(hello(), None).await;
    let check = |host: &str| get_url(format!("{url}/v1/models"), "host", host.to_owned());
    assert_eq!(check("localhost:8080").await.0, 200);
    assert_eq!(check("[::1]:8080").await.0, 200);
    assert_eq!(check("attacker.example").await.0, 403);
}

#[tokio::test]
async fn a_token_is_wanted_where_one_is_set() {
    let url = start(hello(), Some("s3cret")).await;
    let check = |sent: &str| get_url(format!("{url}/v1/models"), "authorization", sent.to_owned());
    assert_eq!(check("Bearer s3cret").await.0, 200);
    assert_eq!(check("Bearer s3cre").await.0, 401);
    assert_eq!(check("Basic s3cret").await.0, 401);
}

#[tokio::test]
async fn without_a_token_it_is_never_exposed() {
    let error = Gateway::bind("0.0.0.0:0".parse().unwrap(), None).await.unwrap_err();
    assert!(matches!(error, GatewayError::Exposed { .. }), "{error}");
    assert!(error.next_step().contains("gateway.token"));
}
