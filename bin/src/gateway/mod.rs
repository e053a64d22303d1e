//! An OpenAI-compatible API on this machine, answered by the swarm.
//!
//! `GET /v1/models`, `POST /v1/chat/completions`, whole and streamed, and `POST /v1/embeddings`. What is not there answers in the API's own error
//! shape. It spends its owner's money for whoever reaches it, so it is served on loopback, or to those who send a token.

mod access;
mod backend;
mod chat;
mod embeddings;
mod error;
mod request;
mod response;

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Method, StatusCode, Uri};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use backend::{Answer, Backend, ChatEvent, ChatFailure, Embeddings};
pub use error::{ApiError, ErrorKind};
pub use request::embeddings::{EmbeddingsOrder, Encoding};
pub use request::{ChatOrder, Delivery};
pub use response::ModelCard;

use crate::config::Secret;
use crate::failure::NextStep;
use access::Access;
use response::List;

/// Bytes of a request. A job's order has at most a megabyte, and JSON escapes may double it.
const BODY_BYTES_MAX: usize = 2 * cocoon_market::job::JOB_FRAME_BYTES_MAX;

/// Chats and orders of vectors answered at once. Each holds a job stream; a node opens no more of them to one provider in practice.
const REQUESTS_MAX: usize = 32;

/// Why the gateway is not served.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Strangers would spend its owner's money.
    #[error("{listen} is not on loopback, and no token is set")]
    Exposed {
        /// Where it was to be served.
        listen: SocketAddr,
    },
    /// The port is taken, or not ours to take.
    #[error("cannot listen on {listen}")]
    Bind {
        /// Where it was to be served.
        listen: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It ended while it was served.
    #[error("the gateway's server failed")]
    Serve(#[source] io::Error),
}

impl NextStep for GatewayError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Exposed { .. } => "set gateway.token in the configuration, or listen on 127.0.0.1".into(),
            Self::Bind { .. } => "choose another port with --listen 127.0.0.1:PORT".into(),
            Self::Serve(_) => "start it again".into(),
        }
    }
}

/// A gateway that listens already, so that its port is known, and answers once it is served.
#[derive(Debug)]
pub struct Gateway {
    listener: TcpListener,
    access: Access,
}

impl Gateway {
    /// Takes the port.
    ///
    /// # Errors
    /// [`GatewayError`].
    pub async fn bind(listen: SocketAddr, token: Option<Secret>) -> Result<Self, GatewayError> {
        let access = Access::new(listen, token).ok_or(GatewayError::Exposed { listen })?;
        let listener = TcpListener::bind(listen).await.map_err(|source| GatewayError::Bind { listen, source })?;
        Ok(Self { listener, access })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// [`GatewayError::Serve`] when the system does not say.
    pub fn address(&self) -> Result<SocketAddr, GatewayError> {
        self.listener.local_addr().map_err(GatewayError::Serve)
    }

    /// Answers until cancelled, then finishes what it is answering. `beside` is served at the same port, such as metrics.
    ///
    /// # Errors
    /// [`GatewayError::Serve`].
    pub async fn serve(self, backend: Arc<dyn Backend>, beside: Router, cancel: CancellationToken) -> Result<(), GatewayError> {
        let app = router(backend, self.access).merge(beside);
        axum::serve(self.listener, app).with_graceful_shutdown(cancel.cancelled_owned()).await.map_err(GatewayError::Serve)
    }
}

/// What every handler sees.
#[derive(Clone)]
struct Shared {
    backend: Arc<dyn Backend>,
    places: Arc<Semaphore>,
}

fn router(backend: Arc<dyn Backend>, access: Access) -> Router {
    let shared = Shared { backend, places: Arc::new(Semaphore::new(REQUESTS_MAX)) };
    Router::new()
        .route("/v1/models", get(models))
        .route("/v1/models/{*model}", get(model))
        .route("/v1/chat/completions", post(chat::completions))
        .route("/v1/embeddings", post(embeddings::embeddings))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(unknown_url)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::new(access), access::check))
        .with_state(shared)
}

async fn models(State(shared): State<Shared>) -> Result<Json<List<ModelCard>>, ApiError> {
    Ok(Json(List { object: "list", data: shared.backend.models().await? }))
}

async fn model(State(shared): State<Shared>, axum::extract::Path(id): axum::extract::Path<String>) -> Result<Json<ModelCard>, ApiError> {
    let card = shared.backend.models().await?.into_iter().find(|card| card.id == id);
    Ok(Json(card.ok_or(ChatFailure::UnknownModel(id))?))
}

async fn unknown_url(method: Method, uri: Uri) -> ApiError {
    let served = "GET /v1/models, POST /v1/chat/completions and POST /v1/embeddings";
    let message = format!("{method} {} is not served by this gateway; it has {served}", uri.path());
    ApiError::new(StatusCode::NOT_FOUND, ErrorKind::InvalidRequest, "unknown_url", message)
}

async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    let message = format!("{} does not take {method}", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, ErrorKind::InvalidRequest, "method_not_allowed", message)
}

#[cfg(test)]
mod tests;
