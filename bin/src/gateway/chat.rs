//! `POST /v1/chat/completions`.

use std::convert::Infallible;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use futures::stream::{self, Stream};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::backend::{Answer, ChatEvent, ChatFailure};
use super::error::{ApiError, ErrorKind};
use super::request::{self, Delivery};
use super::response::{AssistantMessage, Choice, Completion, Delta, Head, Piece, PieceChoice, finish_word};
use super::{REQUESTS_MAX, Shared};

/// Answers a chat.
pub(super) async fn completions(
    State(shared): State<Shared>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    check_content_type(&headers)?;
    let order = request::parse(&body.map_err(|rejection| unreadable(&rejection))?)?;
    let place = shared.places.clone().try_acquire_owned().map_err(|_| busy())?;
    let (model, delivery) = (order.model.clone(), order.delivery);
    let answer = shared.backend.chat(order).await?;
    match delivery {
        Delivery::Whole => whole(answer, model).await,
        Delivery::Stream { usage } => Ok(streamed(answer, model, usage, place)),
    }
}

/// A web page may send a stranger's gateway anything but JSON without asking its browser's leave.
pub(super) fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_json = kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    if is_json {
        return Ok(());
    }
    let message = "the body must be JSON, with the header Content-Type: application/json";
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorKind::InvalidRequest, "unsupported_content_type", message))
}

pub(super) fn unreadable(rejection: &BytesRejection) -> ApiError {
    ApiError::new(rejection.status(), ErrorKind::InvalidRequest, "unreadable_body", rejection.body_text())
}

pub(super) fn busy() -> ApiError {
    let message = format!("{REQUESTS_MAX} requests are being answered; try again when one has ended");
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, ErrorKind::RateLimit, "rate_limit_exceeded", message)
}

fn head(answer: &Answer, object: &'static str, model: String) -> Head {
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Head { id: format!("chatcmpl-{}", answer.job), object, created, model, system_fingerprint: None }
}

/// The answer in one piece. When the client leaves, this future is dropped, and the job with it.
async fn whole(mut answer: Answer, model: String) -> Result<Response, ApiError> {
    let head = head(&answer, "chat.completion", model);
    let mut content = String::new();
    while let Some(event) = answer.events.next().await {
        match event? {
            ChatEvent::Text(text) => content += &text,
            ChatEvent::Finished { reason, usage, paid: _ } => {
                let message = AssistantMessage { role: "assistant", content, refusal: None };
                let choice = Choice { index: 0, message, logprobs: None, finish_reason: finish_word(reason) };
                return Ok(Json(Completion { head, choices: [choice], usage: usage.into() }).into_response());
            }
        }
    }
    Err(broken_off().into())
}

fn broken_off() -> ChatFailure {
    ChatFailure::Broken("the answer ended before its end".to_owned())
}

/// The answer as it is written. When the client leaves, the stream is dropped, and the job with it.
fn streamed(answer: Answer, model: String, usage: bool, place: OwnedSemaphorePermit) -> Response {
    let head = head(&answer, "chat.completion.chunk", model);
    let first = Delta { role: Some("assistant"), content: Some(String::new()) };
    let first = piece(&head, usage, vec![choice(first, None)]);
    let rest = rest(Writer { answer, head, usage, place, over: false });
    Sse::new(stream::once(async move { event(&first) }).chain(rest).map(Ok::<_, Infallible>))
        .keep_alive(KeepAlive::default())
        .into_response()
}

/// Writes an answer as events.
struct Writer {
    answer: Answer,
    head: Head,
    usage: bool,
    /// Given back when the stream is dropped.
    #[expect(dead_code, reason = "held, not read")]
    place: OwnedSemaphorePermit,
    over: bool,
}

fn rest(writer: Writer) -> impl Stream<Item = Event> {
    stream::unfold(writer, |mut writer| async move {
        if writer.over {
            return None;
        }
        let next = writer.answer.events.next().await.unwrap_or_else(|| Err(broken_off()));
        Some((stream::iter(writer.write(next)), writer))
    })
    .flatten()
}

impl Writer {
    fn write(&mut self, next: Result<ChatEvent, ChatFailure>) -> Vec<Event> {
        match next {
            Ok(ChatEvent::Text(text)) => {
                let delta = Delta { content: Some(text), ..Delta::default() };
                vec![event(&piece(&self.head, self.usage, vec![choice(delta, None)]))]
            }
            Ok(ChatEvent::Finished { reason, usage, paid: _ }) => {
                self.over = true;
                let last = choice(Delta::default(), Some(finish_word(reason)));
                let mut events = vec![event(&piece(&self.head, self.usage, vec![last]))];
                if self.usage {
                    let told = Piece { usage: Some(Some(usage.into())), ..piece(&self.head, true, Vec::new()) };
                    events.push(event(&told));
                }
                events.push(Event::default().data("[DONE]"));
                events
            }
            Err(failure) => {
                self.over = true;
                // The status was sent long ago; clients of this API raise what stands under `error`.
                vec![event(&ApiError::from(failure).body())]
            }
        }
    }
}

fn choice(delta: Delta, finish_reason: Option<&'static str>) -> PieceChoice {
    PieceChoice { index: 0, delta, logprobs: None, finish_reason }
}

fn piece(head: &Head, usage: bool, choices: Vec<PieceChoice>) -> Piece {
    Piece { head: head.clone(), choices, usage: usage.then_some(None) }
}

fn event<T: Serialize>(value: &T) -> Event {
    Event::default().json_data(value).expect("these types are maps with text keys, which have a JSON form on one line")
}
