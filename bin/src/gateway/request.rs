//! Reading `POST /v1/chat/completions`: which parameters mean something here, which are harmless, and which are refused.
//!
//! A parameter that would change the answer and that the swarm has nothing for is an error, never ignored: whoever sends
//! `tools` must not get an answer that looks as if no tool had been wanted.

pub(super) mod embeddings;

use cocoon_market::job::{CHAT_MESSAGES_MAX, ChatMessage, STOP_SEQUENCE_BYTES_MAX, STOP_SEQUENCES_MAX, Sampling};
use serde_json::{Map, Value};

use super::error::ApiError;

/// The highest temperature of the API.
const TEMPERATURE_MAX: f64 = 2.0;

/// Roles whose messages a chat template knows; `developer` is what newer clients call `system`.
const ROLES: [&str; 4] = ["system", "developer", "user", "assistant"];

/// Parameters that label a request and change no answer.
const IGNORED: [&str; 7] =
    ["user", "metadata", "safety_identifier", "prompt_cache_key", "service_tier", "parallel_tool_calls", "verbosity"];

/// A chat to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatOrder {
    /// Which model, as it was asked for.
    pub model: String,
    /// What was said so far.
    pub messages: Vec<ChatMessage>,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// The most tokens to write, if the client says so.
    pub output_tokens_max: Option<u32>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// Makes the answer repeatable, if the client says so.
    pub seed: Option<i64>,
    /// How the answer is sent.
    pub delivery: Delivery,
}

/// How an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// In one piece.
    Whole,
    /// As it is written.
    Stream {
        /// Whether a last chunk tells the usage.
        usage: bool,
    },
}

/// Reads a request.
///
/// # Errors
/// [`ApiError`] naming the first parameter that is wrong, missing or unsupported.
pub(super) fn parse(body: &[u8]) -> Result<ChatOrder, ApiError> {
    let mut fields = Fields::of_body(body)?;
    let order = ChatOrder {
        model: fields.text("model")?.ok_or_else(|| missing("model"))?,
        messages: messages(fields.take("messages").ok_or_else(|| missing("messages"))?)?,
        sampling: sampling(&mut fields)?,
        output_tokens_max: output_tokens_max(&mut fields)?,
        stop: stop(fields.take("stop"))?,
        seed: fields.integer("seed")?,
        delivery: delivery(&mut fields)?,
    };
    refuse_the_rest(fields)?;
    Ok(order)
}

fn missing(param: &str) -> ApiError {
    ApiError { code: Some("missing_required_parameter"), ..ApiError::invalid(param, format!("missing required parameter: `{param}`")) }
}

/// The parameters not read yet.
struct Fields(Map<String, Value>);

impl Fields {
    fn of_body(body: &[u8]) -> Result<Self, ApiError> {
        let value: Value = serde_json::from_slice(body).map_err(|error| ApiError::not_json(format!("the body is not JSON: {error}")))?;
        let Value::Object(mut fields) = value else {
            return Err(ApiError::not_json("the body must be a JSON object"));
        };
        // In this API null means absent.
        fields.retain(|_, value| !value.is_null());
        Ok(Self(fields))
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ApiError::invalid(name, format!("`{name}` must be a text"))),
        }
    }

    fn flag(&mut self, name: &str) -> Result<bool, ApiError> {
        let value = self.take(name).unwrap_or(Value::Bool(false));
        value.as_bool().ok_or_else(|| ApiError::invalid(name, format!("`{name}` must be true or false")))
    }

    fn integer(&mut self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        value.as_i64().map(Some).ok_or_else(|| ApiError::invalid(name, format!("`{name}` must be a whole number of 64 bits")))
    }

    fn number(&mut self, name: &str, max: f64) -> Result<Option<f64>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let number = value.as_f64().filter(|number| (0.0..=max).contains(number));
        number.map(Some).ok_or_else(|| ApiError::invalid(name, format!("`{name}` must be a number from 0 to {max}")))
    }
}

fn sampling(fields: &mut Fields) -> Result<Sampling, ApiError> {
    let temperature = fields.number("temperature", TEMPERATURE_MAX)?.unwrap_or(1.0);
    let top_p = fields.number("top_p", 1.0)?.unwrap_or(1.0);
    // The market counts in thousandths, and knows no top_p of nothing: the smallest one leaves the likeliest token.
    Ok(Sampling { temperature_milli: milli(temperature), top_k: 0, top_p_milli: milli(top_p).max(1) })
}

/// Thousandths of a number that was checked to be small and not negative.
fn milli(number: f64) -> u32 {
    (number * 1000.0).round() as u32
}

fn output_tokens_max(fields: &mut Fields) -> Result<Option<u32>, ApiError> {
    let newer = positive(fields, "max_completion_tokens")?;
    let older = positive(fields, "max_tokens")?;
    Ok(newer.or(older))
}

fn positive(fields: &mut Fields, name: &str) -> Result<Option<u32>, ApiError> {
    let Some(number) = fields.integer(name)? else { return Ok(None) };
    match u32::try_from(number) {
        Ok(number) if number > 0 => Ok(Some(number)),
        Ok(_) | Err(_) => Err(ApiError::invalid(name, format!("`{name}` must be a positive number"))),
    }
}

fn stop(value: Option<Value>) -> Result<Vec<String>, ApiError> {
    let wrong = || {
        let rule = format!("`stop` must be a text or up to {STOP_SEQUENCES_MAX} texts, each of 1 to {STOP_SEQUENCE_BYTES_MAX} bytes");
        ApiError::invalid("stop", rule)
    };
    let texts = match value {
        None => return Ok(Vec::new()),
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => {
            items.into_iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>().ok_or_else(wrong)?
        }
        Some(_) => return Err(wrong()),
    };
    let fits = |text: &String| (1..=STOP_SEQUENCE_BYTES_MAX).contains(&text.len());
    if texts.len() <= STOP_SEQUENCES_MAX && texts.iter().all(fits) { Ok(texts) } else { Err(wrong()) }
}

fn delivery(fields: &mut Fields) -> Result<Delivery, ApiError> {
    let stream = fields.flag("stream")?;
    let usage = match fields.take("stream_options") {
        None => false,
        Some(_) if !stream => {
            return Err(ApiError::invalid("stream_options", "`stream_options` is only allowed together with `stream`: true"));
        }
        Some(Value::Object(options)) => {
            let mut options = Fields(options);
            let usage = options.flag("include_usage")?;
            // Padding against traffic analysis: there is nothing to hide from oneself on loopback.
            options.take("include_obfuscation");
            if let Some(name) = options.0.keys().next() {
                return Err(unknown(&format!("stream_options.{name}")));
            }
            usage
        }
        Some(_) => return Err(ApiError::invalid("stream_options", "`stream_options` must be an object")),
    };
    Ok(if stream { Delivery::Stream { usage } } else { Delivery::Whole })
}

fn messages(value: Value) -> Result<Vec<ChatMessage>, ApiError> {
    let Value::Array(items) = value else {
        return Err(ApiError::invalid("messages", "`messages` must be a list"));
    };
    if items.is_empty() || items.len() > CHAT_MESSAGES_MAX {
        return Err(ApiError::invalid("messages", format!("`messages` must have 1 to {CHAT_MESSAGES_MAX} entries")));
    }
    items.into_iter().enumerate().map(|(index, item)| message(&format!("messages[{index}]"), item)).collect()
}

fn message(at: &str, value: Value) -> Result<ChatMessage, ApiError> {
    let Value::Object(mut fields) = value else {
        return Err(ApiError::invalid(at, format!("`{at}` must be an object with `role` and `content`")));
    };
    fields.retain(|_, value| !value.is_null());
    let mut fields = Fields(fields);
    let role = fields.text("role")?.ok_or_else(|| missing(&format!("{at}.role")))?;
    if !ROLES.contains(&role.as_str()) {
        return Err(ApiError::unsupported(
            &format!("{at}.role"),
            &format!("role `{role}`; it knows system, developer, user and assistant"),
        ));
    }
    let content = fields.take("content").ok_or_else(|| missing(&format!("{at}.content")))?;
    let content = content_text(&format!("{at}.content"), content)?;
    // A speaker's name is for people; chat templates have no place for it.
    fields.take("name");
    let empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    if let Some((name, _)) = fields.0.iter().find(|(_, value)| !empty(value)) {
        return Err(ApiError::unsupported(&format!("{at}.{name}"), "messages are text"));
    }
    let role = if role == "developer" { "system".to_owned() } else { role };
    Ok(ChatMessage { role, content })
}

/// A text, or parts of type text, which are put together.
fn content_text(at: &str, value: Value) -> Result<String, ApiError> {
    match value {
        Value::String(text) => Ok(text),
        Value::Array(parts) => parts.iter().enumerate().map(|(index, part)| part_text(&format!("{at}[{index}]"), part)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            Err(ApiError::invalid(at, format!("`{at}` must be a text or a list of parts of type text")))
        }
    }
}

fn part_text(at: &str, part: &Value) -> Result<String, ApiError> {
    let kind = part.get("type").and_then(Value::as_str).ok_or_else(|| missing(&format!("{at}.type")))?;
    if kind != "text" {
        return Err(ApiError::unsupported(&format!("{at}.type"), &format!("parts of type `{kind}`; only text is")));
    }
    let text = part.get("text").and_then(Value::as_str).ok_or_else(|| missing(&format!("{at}.text")))?;
    Ok(text.to_owned())
}

fn refuse_the_rest(fields: Fields) -> Result<(), ApiError> {
    for (name, value) in &fields.0 {
        if !IGNORED.contains(&name.as_str()) && !is_neutral(name, value) {
            return Err(refused(name));
        }
    }
    Ok(())
}

/// Whether a parameter of the API has the value that changes nothing.
fn is_neutral(name: &str, value: &Value) -> bool {
    match name {
        "n" => value.as_i64() == Some(1),
        "presence_penalty" | "frequency_penalty" => value.as_f64() == Some(0.0),
        "logprobs" | "store" => value.as_bool() == Some(false),
        "top_logprobs" => value.as_i64() == Some(0),
        "logit_bias" => value.as_object().is_some_and(Map::is_empty),
        "tools" | "functions" => value.as_array().is_some_and(Vec::is_empty),
        "tool_choice" | "function_call" => matches!(value.as_str(), Some("none" | "auto")),
        "response_format" => value.get("type").and_then(Value::as_str) == Some("text"),
        "modalities" => value.as_array().is_some_and(|kinds| kinds.iter().all(|kind| kind == "text")),
        _ => false,
    }
}

fn refused(name: &str) -> ApiError {
    match name {
        "n" => ApiError::unsupported(name, "one choice a request; ask several times for more"),
        "tools" | "functions" | "tool_choice" | "function_call" => ApiError::unsupported(name, "the models served do not call tools"),
        "response_format" => ApiError::unsupported(name, "answers are text"),
        "logprobs" | "top_logprobs" => ApiError::unsupported(name, "probabilities are not part of a job's answer"),
        "presence_penalty" | "frequency_penalty" | "logit_bias" => {
            ApiError::unsupported(name, "a job's sampling has no penalties or biases")
        }
        "store" => ApiError::unsupported(name, "nothing is stored"),
        "modalities" | "audio" | "prediction" | "reasoning_effort" | "web_search_options" => {
            ApiError::unsupported(name, "the models served read and write text")
        }
        name => unknown(name),
    }
}

fn unknown(name: &str) -> ApiError {
    ApiError { code: Some("unknown_parameter"), ..ApiError::invalid(name, format!("unknown parameter: `{name}`")) }
}

#[cfg(test)]
mod tests;
