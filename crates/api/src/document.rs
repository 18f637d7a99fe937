//! What the OpenAPI document says of all routes alike: the ways in, and the answers that any of them may give.

use axum::http::StatusCode;
use utoipa::Modify;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, PathItem, Ref, RefOr, Response, ResponseBuilder};

use crate::cookie;

/// The ways in.
pub(crate) struct Ways;

impl Modify for Ways {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        let about =
            "Of `POST /api/v1/session`. A request that changes something has the header `X-Aviary: console`, too.";
        let cookie = ApiKey::Cookie(ApiKeyValue::with_description(cookie::NAME, about));
        components.add_security_scheme("session", SecurityScheme::ApiKey(cookie));
        let description = Some("Of `POST /api/v1/sensor/enrol`, for sensors.".to_owned());
        components.add_security_scheme(
            "certificate",
            SecurityScheme::MutualTls { description, deprecated: None, extensions: None },
        );
    }
}

/// Adds to each operation what holds for all.
pub(crate) fn complete(document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        for operation in operations(item) {
            if let Some(ways) = &mut operation.security {
                also_otherwise(ways);
            }
            // Programs that are made of the document name what they call by this.
            let tag = operation.tags.as_ref().and_then(|tags| tags.first());
            if let (Some(tag), Some(name)) = (tag, &operation.operation_id) {
                operation.operation_id = Some(format!("{tag}_{name}"));
            }
            // Lines may be none.
            if let Some(RefOr::T(body)) = &mut operation.request_body
                && body.content.contains_key("application/x-ndjson")
            {
                body.required = None;
            }
            for status in statuses(operation) {
                let said = operation.responses.responses.entry(status.as_str().to_owned());
                said.or_insert_with(|| RefOr::T(problem(status)));
            }
            for (status, response) in &mut operation.responses.responses {
                if let (true, RefOr::T(response)) = (status.starts_with(['4', '5']), response) {
                    also_a_problem(response);
                }
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let all = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
    all.into_iter().flatten()
}

/// What a token may, a session may whose role has the scope; but nobody sends events with a browser, while sensors do by
/// their certificates.
fn also_otherwise(ways: &mut Vec<SecurityRequirement>) {
    let by_token = |scope: &str| SecurityRequirement::new("token", [scope]);
    for scope in ["read", "act", "administer"] {
        if *ways == [by_token(scope)] {
            ways.push(SecurityRequirement::new("session", [scope]));
        }
    }
    if *ways == [by_token("ingest")] {
        ways.push(SecurityRequirement::new::<_, [&str; 0], &str>("certificate", []));
    }
}

/// Statuses that an operation may answer with because of what it takes.
fn statuses(operation: &Operation) -> Vec<StatusCode> {
    let mut all = vec![StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
    if operation.security.as_ref().is_none_or(|ways| *ways != [SecurityRequirement::default()]) {
        all.extend([StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN]);
    }
    if operation.request_body.is_some() {
        all.extend([StatusCode::BAD_REQUEST, StatusCode::REQUEST_TIMEOUT, StatusCode::PAYLOAD_TOO_LARGE]);
        all.extend([StatusCode::UNSUPPORTED_MEDIA_TYPE, StatusCode::UNPROCESSABLE_ENTITY]);
    }
    if operation.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty()) {
        all.push(StatusCode::BAD_REQUEST);
    }
    all
}

fn problem(status: StatusCode) -> Response {
    ResponseBuilder::new().description(status.canonical_reason().unwrap_or("error")).build()
}

/// What went wrong is of a type of its own, whatever else an answer may be.
fn also_a_problem(response: &mut Response) {
    let schema = RefOr::Ref(Ref::from_schema_name("Problem"));
    let content = RefOr::T(ContentBuilder::new().schema(Some(schema)).build());
    response.content.retain(|_, other| *other != content);
    response.content.insert("application/problem+json".to_owned(), content);
}
