//! The hub over gRPC, on the port of HTTP: both are routes of one router.
//!
//! Whoever asks is known by a token in the metadata `authorization`, as over HTTP.

mod ingest;
mod status;

use std::sync::Arc;

use aviary_hub::Hub;
use axum::Router;

/// The services.
pub(crate) fn services(hub: &Arc<Hub>) -> Router {
    Router::new().route_service("/aviary.ingest.v1.Ingest/{method}", ingest::server(Arc::clone(hub)))
}
