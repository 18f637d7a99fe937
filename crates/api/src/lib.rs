//! The hub's HTTP: events in, and what became of them out. A file for each resource, with its own types on the wire.
//!
//! The OpenAPI document is made from the routes; a test compares it with `schema/openapi.json`.

mod access;
mod audit;
mod changes;
mod channels;
mod configs;
mod console;
mod cookie;
mod credentials;
mod deliveries;
mod document;
mod events;
mod export;
mod gate;
mod grpc;
mod incidents;
mod intake;
mod live;
mod opencanary;
mod overview;
mod people;
mod policies;
mod problem;
mod proxy;
mod searches;
mod senders;
mod sensor;
mod sensors;
mod serve;
mod session;
mod sources;
mod suppressions;
mod tally;
mod tokens;
mod unfold;
mod wire;

use std::sync::Arc;

use aviary_hub::Hub;
use axum::Router;
use axum::response::Json;
use axum::routing::{get, post};
use document::Ways;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use problem::Problem;
pub use proxy::behind;
pub use serve::{Peer, Shown, serve};

/// What is said of the whole.
#[derive(OpenApi)]
#[openapi(
    info(title = "Aviary hub", description = "Events of canaries, and the incidents that they come to."),
    modifiers(&Ways)
)]
struct Whole;

/// The document that describes the routes, as `schema/openapi.json` has it.
#[must_use]
pub fn document() -> Document {
    described().1
}

fn described() -> (Router<Arc<Hub>>, Document) {
    let (router, mut document) = OpenApiRouter::with_openapi(Whole::openapi())
        .routes(routes!(intake::post, events::list))
        .routes(routes!(events::one))
        .routes(routes!(incidents::list))
        .routes(routes!(incidents::one))
        .routes(routes!(incidents::decide))
        .routes(routes!(live::stream))
        .routes(routes!(session::needed, session::set_up))
        .routes(routes!(session::sign_in, session::show, session::sign_out))
        .routes(routes!(session::change_password))
        .routes(routes!(session::propose_factor, session::confirm_factor, session::drop_factor))
        .routes(routes!(people::list, people::invite))
        .routes(routes!(people::give_role, people::remove))
        .routes(routes!(people::reset))
        .routes(routes!(tokens::list, tokens::make))
        .routes(routes!(tokens::revoke))
        .routes(routes!(audit::list))
        .routes(routes!(opencanary::post))
        .routes(routes!(senders::list))
        .routes(routes!(senders::put, senders::remove))
        .routes(routes!(tally::show))
        .routes(routes!(overview::show))
        .routes(routes!(sources::list))
        .routes(routes!(sources::one))
        .routes(routes!(credentials::list))
        .routes(routes!(export::export))
        .routes(routes!(searches::list))
        .routes(routes!(searches::one, searches::put, searches::remove))
        .routes(routes!(channels::list, channels::post))
        .routes(routes!(channels::classes))
        .routes(routes!(channels::put, channels::delete))
        .routes(routes!(channels::test))
        .routes(routes!(policies::list, policies::post))
        .routes(routes!(policies::one, policies::put, policies::delete))
        .routes(routes!(deliveries::list))
        .routes(routes!(suppressions::list, suppressions::post))
        .routes(routes!(suppressions::look))
        .routes(routes!(suppressions::put, suppressions::delete))
        .routes(routes!(sensors::list))
        .routes(routes!(sensors::invite))
        .routes(routes!(sensors::one, sensors::change))
        .routes(routes!(sensors::revoke))
        .routes(routes!(sensors::drill))
        .routes(routes!(sensors::renew))
        .routes(routes!(configs::of_sensor))
        .routes(routes!(configs::list))
        .routes(routes!(configs::one, configs::write))
        .routes(routes!(configs::difference))
        .routes(routes!(configs::push))
        .routes(routes!(sensor::enrol))
        .routes(routes!(sensor::renew))
        .routes(routes!(sensor::turn))
        .split_for_parts();
    document::complete(&mut document);
    (router, document)
}

/// The routes, and the document that describes them.
pub fn routes(hub: Arc<Hub>) -> (Router, Document) {
    let (router, document) = described();
    let shown = document.clone();
    let calls = grpc::services(&hub);
    let router = router
        .route("/api/v1/openapi.json", get(move || async move { Json(shown) }))
        .route("/log", post(opencanary::log))
        .route("/log/", post(opencanary::log))
        .merge(console::routes())
        .route("/health", get(|| async { "ok" }))
        .fallback(|| async { Problem::not_found("there is nothing at this address") })
        .method_not_allowed_fallback(|| async { Problem::method() })
        .with_state(Arc::clone(&hub));
    (gate::around(router, hub, &document).merge(calls), document)
}
