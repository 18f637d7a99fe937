//! The hub over gRPC, on the port of HTTP: both are routes of one router.
//!
//! Whoever asks is known by a token in the metadata `authorization`, as over HTTP. What is spoken here anybody may ask
//! (reflection): it stands in the `.proto` files.

mod ingest;
mod questions;
mod status;

use std::sync::Arc;

use aviary_hub::Hub;
use aviary_proto::DESCRIPTORS;
use axum::Router;
use tonic_reflection::server::Builder;

/// The services.
pub(crate) fn services(hub: &Arc<Hub>) -> Router {
    let mut router = Router::new()
        .route_service("/aviary.ingest.v1.Ingest/{method}", ingest::server(Arc::clone(hub)))
        .route_service("/aviary.hub.v1.Hub/{method}", questions::server(Arc::clone(hub)));
    // Clients ask one way or the other.
    let told = || Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS);
    match told().build_v1() {
        Ok(service) => router = router.route_service("/grpc.reflection.v1.ServerReflection/{method}", service),
        Err(error) => tracing::error!(%error, "nobody can ask what is spoken here"),
    }
    if let Ok(service) = told().build_v1alpha() {
        router = router.route_service("/grpc.reflection.v1alpha.ServerReflection/{method}", service);
    }
    router
}
