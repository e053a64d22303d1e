//! Reading `POST /v1/embeddings`.

use cocoon_market::job::TEXTS_MAX;
use serde_json::Value;

use super::{Fields, missing, unknown};
use crate::gateway::error::ApiError;

/// Texts whose vectors are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddingsOrder {
    /// Which model, as it was asked for.
    pub model: String,
    /// The texts.
    pub texts: Vec<String>,
    /// How many elements the client expects, if it says so.
    pub dimensions: Option<u32>,
    /// How elements are sent.
    pub encoding: Encoding,
}

/// How the elements of a vector are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As a list of numbers.
    Float,
    /// In single precision, little-endian, as base64.
    Base64,
}

/// Reads a request.
///
/// # Errors
/// [`ApiError`] naming the first parameter that is wrong, missing or unsupported.
pub(in crate::gateway) fn parse(body: &[u8]) -> Result<EmbeddingsOrder, ApiError> {
    let mut fields = Fields::of_body(body)?;
    let order = EmbeddingsOrder {
        model: fields.text("model")?.ok_or_else(|| missing("model"))?,
        texts: texts(fields.take("input").ok_or_else(|| missing("input"))?)?,
        dimensions: super::positive(&mut fields, "dimensions")?,
        encoding: encoding(&mut fields)?,
    };
    // It labels the request and changes no vector.
    fields.take("user");
    match fields.0.keys().next() {
        Some(name) => Err(unknown(name)),
        None => Ok(order),
    }
}

fn encoding(fields: &mut Fields) -> Result<Encoding, ApiError> {
    match fields.text("encoding_format")?.as_deref() {
        None | Some("float") => Ok(Encoding::Float),
        Some("base64") => Ok(Encoding::Base64),
        Some(_) => Err(ApiError::invalid("encoding_format", "`encoding_format` must be \"float\" or \"base64\"")),
    }
}

fn texts(input: Value) -> Result<Vec<String>, ApiError> {
    match input {
        Value::String(text) => Ok(vec![checked("input", text)?]),
        Value::Array(items) if items.is_empty() || items.len() > TEXTS_MAX => {
            Err(ApiError::invalid("input", format!("`input` must have 1 to {TEXTS_MAX} texts")))
        }
        Value::Array(items) => items.into_iter().enumerate().map(|(index, item)| text(index, item)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            Err(ApiError::invalid("input", "`input` must be a text or a list of texts"))
        }
    }
}

fn text(index: usize, item: Value) -> Result<String, ApiError> {
    let at = format!("input[{index}]");
    match item {
        Value::String(text) => checked(&at, text),
        Value::Number(_) | Value::Array(_) => Err(ApiError::unsupported(
            "input",
            "lists of tokens; each model has a tokenizer of its own, so send texts (in LangChain: check_embedding_ctx_length=False)",
        )),
        Value::Null | Value::Bool(_) | Value::Object(_) => Err(ApiError::invalid(&at, format!("`{at}` must be a text"))),
    }
}

fn checked(at: &str, text: String) -> Result<String, ApiError> {
    if text.is_empty() { Err(ApiError::invalid(at, format!("`{at}` must not be empty"))) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(extra: Value) -> Result<EmbeddingsOrder, ApiError> {
        let mut body = json!({ "model": "m", "input": "hi" });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        parse(body.to_string().as_bytes())
    }

    #[test]
    fn every_supported_parameter_is_read() {
        let order = with(json!({})).unwrap();
        let plain = EmbeddingsOrder { model: "m".into(), texts: vec!["hi".into()], dimensions: None, encoding: Encoding::Float };
        assert_eq!(order, plain);
        let order = with(json!({ "input": ["a", "b"], "encoding_format": "base64", "dimensions": 384, "user": "ada" })).unwrap();
        let texts = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(order, EmbeddingsOrder { texts, dimensions: Some(384), encoding: Encoding::Base64, ..plain.clone() });
        assert_eq!(with(json!({ "dimensions": null, "encoding_format": null, "user": null })).unwrap(), plain);
        assert_eq!(with(json!({ "input": vec!["a"; 2048] })).unwrap().texts.len(), 2048);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |extra: Value, param: &str, code: &str| {
            let error = with(extra.clone()).unwrap_err();
            assert_eq!((error.param.as_deref(), error.code), (Some(param), Some(code)), "{extra}");
        };
        check(json!({ "model": null }), "model", "missing_required_parameter");
        check(json!({ "input": null }), "input", "missing_required_parameter");
        check(json!({ "input": "" }), "input", "invalid_value");
        check(json!({ "input": [] }), "input", "invalid_value");
        check(json!({ "input": vec!["a"; 2049] }), "input", "invalid_value");
        check(json!({ "input": ["a", ""] }), "input[1]", "invalid_value");
        check(json!({ "input": ["a", {}] }), "input[1]", "invalid_value");
        check(json!({ "input": 7 }), "input", "invalid_value");
        check(json!({ "input": [1, 2, 3] }), "input", "unsupported_parameter");
        check(json!({ "input": [[1, 2], [3]] }), "input", "unsupported_parameter");
        check(json!({ "encoding_format": "int8" }), "encoding_format", "invalid_value");
        check(json!({ "dimensions": 0 }), "dimensions", "invalid_value");
        check(json!({ "messages": [] }), "messages", "unknown_parameter");
        assert_eq!(parse(b"[]").unwrap_err().code, Some("invalid_json"));
        assert_eq!(parse(b"{").unwrap_err().code, Some("invalid_json"));
    }
}
