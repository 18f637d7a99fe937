//! The hub's HTTP: events in, and what became of them out. A file for each resource, with its own types on the wire.
//!
//! The OpenAPI document is made from the routes; a test compares it with `schema/openapi.json`.

mod access;
mod console;
mod events;
mod incidents;
mod intake;
mod live;
mod problem;
mod serve;
mod wire;

use std::sync::Arc;

use access::Bearer;
use aviary_hub::Hub;
use axum::Router;
use axum::response::Json;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use problem::Problem;
pub use serve::{Peer, serve};

/// What is said of the whole.
#[derive(OpenApi)]
#[openapi(
    info(title = "Aviary hub", description = "Events of canaries, and the incidents that they come to."),
    modifiers(&Bearer)
)]
struct Whole;

/// The routes, and the document that describes them.
pub fn routes(hub: Arc<Hub>) -> (Router, Document) {
    let (router, document) = OpenApiRouter::with_openapi(Whole::openapi())
        .routes(routes!(intake::post, events::list))
        .routes(routes!(events::one))
        .routes(routes!(incidents::list))
        .routes(routes!(incidents::one))
        .routes(routes!(incidents::decide))
        .routes(routes!(live::stream))
        .split_for_parts();
    let shown = document.clone();
    let router = router
        .route("/api/v1/openapi.json", get(move || async move { Json(shown) }))
        .merge(console::routes())
        .route("/health", get(|| async { "ok" }))
        .fallback(|| async { Problem::not_found("there is nothing at this address") })
        .method_not_allowed_fallback(|| async { Problem::method() })
        .with_state(hub);
    (router, document)
}
