//! Who may use the gateway.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::{ApiError, ErrorKind};
use crate::config::Secret;

/// Who may use it.
#[derive(Debug)]
pub(super) enum Access {
    /// Programs on this machine. Not web pages: a page could have its name resolve to loopback, which its `Host` betrays.
    Loopback,
    /// Whoever sends this token.
    Token(Secret),
}

impl Access {
    /// Who may use a gateway at this address; nobody when strangers could and no token is set.
    pub(super) fn new(listen: SocketAddr, token: Option<Secret>) -> Option<Self> {
        match token {
            Some(token) => Some(Self::Token(token)),
            None => listen.ip().is_loopback().then_some(Self::Loopback),
        }
    }

    fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        match self {
            Self::Loopback if names_loopback(uri, headers) => Ok(()),
            Self::Loopback => Err(ApiError::new(
                StatusCode::FORBIDDEN,
                ErrorKind::Authentication,
                "foreign_host",
                "this gateway answers to localhost, 127.0.0.1 and [::1] only",
            )),
            Self::Token(token) if bearer(headers).is_some_and(|sent| is_same(sent.as_bytes(), token.reveal().as_bytes())) => Ok(()),
            Self::Token(_) => {
                let message = "this gateway wants its token as API key (Authorization: Bearer ...)";
                Err(ApiError::new(StatusCode::UNAUTHORIZED, ErrorKind::Authentication, "invalid_api_key", message))
            }
        }
    }
}

/// Lets a request through if its sender may use the gateway.
pub(super) async fn check(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    match access.check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn names_loopback(uri: &Uri, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = host.and_then(|host| host.parse().ok()).or_else(|| uri.authority().cloned());
    authority.is_some_and(|authority: axum::http::uri::Authority| {
        let name = authority.host().trim_matches(['[', ']']);
        name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// Compares in a time that does not depend on where the two differ.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}
