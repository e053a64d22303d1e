//! Errors in the shape of OpenAI's API, so that its clients raise what their users expect.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// What the API calls the kind of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is wrong; sending it again does not help.
    InvalidRequest,
    /// The token is missing or wrong.
    Authentication,
    /// The money does not reach.
    InsufficientQuota,
    /// Too many requests at once.
    RateLimit,
    /// The swarm or this node failed; sending it again may help.
    Server,
}

impl ErrorKind {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request_error",
            Self::Authentication => "authentication_error",
            Self::InsufficientQuota => "insufficient_quota",
            Self::RateLimit => "rate_limit_error",
            Self::Server => "server_error",
        }
    }
}

/// An error as a client of the API receives it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status, for errors that come before the answer begins.
    pub status: StatusCode,
    /// For people.
    pub message: String,
    /// Of which kind.
    pub kind: ErrorKind,
    /// Which parameter is wrong.
    pub param: Option<String>,
    /// For programs.
    pub code: Option<&'static str>,
}

impl ApiError {
    /// An error with no parameter to blame.
    pub fn new(status: StatusCode, kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), kind, param: None, code: Some(code) }
    }

    /// A parameter with a value that is not taken.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
            kind: ErrorKind::InvalidRequest,
            param: Some(param.into()),
            code: Some("invalid_value"),
        }
    }

    /// A parameter, or a value of one, that the swarm has nothing for.
    pub fn unsupported(param: &str, what: &str) -> Self {
        Self { code: Some("unsupported_parameter"), ..Self::invalid(param, format!("`{param}` is not supported by this gateway: {what}")) }
    }

    /// A body that is no JSON object.
    pub fn not_json(message: impl Into<String>) -> Self {
        Self { param: None, code: Some("invalid_json"), ..Self::invalid("", message) }
    }

    /// The wire form.
    pub fn body(&self) -> Value {
        json!({ "error": { "message": self.message, "type": self.kind.as_str(), "param": self.param, "code": self.code } })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self.body())).into_response()
    }
}
