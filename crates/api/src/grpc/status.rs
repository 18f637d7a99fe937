//! What goes wrong, and who asks, in gRPC's words.

use aviary_hub::{Hub, Scope, Token, find_token};
use aviary_store::StoreError;
use tonic::Status;
use tonic::metadata::{MetadataMap, MetadataValue};

/// Milliseconds after which a busy or full hub may be asked again.
pub(super) const AGAIN: u32 = 2000;

/// The token that comes with a call, if it allows this.
pub(super) async fn token(hub: &Hub, metadata: &MetadataMap, scope: Scope) -> Result<Token, Status> {
    let Some(text) = text(metadata) else {
        return Err(Status::unauthenticated("a token is missing: the metadata `authorization: Bearer avt_…`"));
    };
    let found = find_token(hub.store().as_ref(), text).await.map_err(|error| of_store(&error))?;
    let Some(token) = found else {
        return Err(Status::unauthenticated("the token is not known; it may have been revoked"));
    };
    if !token.scopes.contains(&scope) {
        return Err(Status::permission_denied(format!("the token `{}` does not allow this", token.name)));
    }
    Ok(token)
}

/// The token's text.
pub(super) fn text(metadata: &MetadataMap) -> Option<&str> {
    let (scheme, token) = metadata.get("authorization")?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// What the store said.
pub(super) fn of_store(error: &StoreError) -> Status {
    match error {
        StoreError::Full { .. } | StoreError::Busy | StoreError::Closed => {
            let mut status = Status::unavailable(error.to_string());
            status.metadata_mut().insert("grpc-retry-pushback-ms", MetadataValue::from(AGAIN));
            status
        }
        StoreError::TooSlow { .. } => Status::deadline_exceeded(error.to_string()),
        StoreError::Missing { .. } => Status::not_found(error.to_string()),
        StoreError::Failed { .. } => {
            tracing::error!(%error, "a call failed");
            Status::internal("the store failed; the hub's log says more")
        }
    }
}
