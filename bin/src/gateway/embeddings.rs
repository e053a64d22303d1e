//! `POST /v1/embeddings`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cocoon_market::job::Vector;

use super::Shared;
use super::chat::{busy, check_content_type, unreadable};
use super::error::ApiError;
use super::request::embeddings::{self, Encoding};
use super::response::{Elements, EmbeddingCard, EmbeddingsCard, ReadCard};

/// Makes vectors. When the client leaves, this future is dropped, and the job with it.
pub(super) async fn embeddings(
    State(shared): State<Shared>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<EmbeddingsCard>, ApiError> {
    check_content_type(&headers)?;
    let order = embeddings::parse(&body.map_err(|rejection| unreadable(&rejection))?)?;
    let _place = shared.places.clone().try_acquire_owned().map_err(|_| busy())?;
    let (model, encoding) = (order.model.clone(), order.encoding);
    let made = shared.backend.embed(order).await?;
    let card = |(index, vector): (usize, &Vector)| EmbeddingCard { object: "embedding", index, embedding: encoded(vector, encoding) };
    let data = made.vectors.iter().enumerate().map(card).collect();
    Ok(Json(EmbeddingsCard { object: "list", data, model, usage: ReadCard::from(made.usage) }))
}

fn encoded(vector: &Vector, encoding: Encoding) -> Elements {
    match encoding {
        Encoding::Float => Elements::Float(vector.elements().collect()),
        Encoding::Base64 => Elements::Base64(STANDARD.encode(vector.elements().flat_map(f32::to_le_bytes).collect::<Vec<u8>>())),
    }
}
