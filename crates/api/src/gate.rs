//! What every request passes: who asks is known, and may, before anything of the request is read; and what every answer
//! tells a browser of what it may do with it.
//!
//! What a route takes stands in the OpenAPI document, so that the document cannot say anything else than what is done.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aviary_hub::{Hub, Scope};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header, request::Parts};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use tokio::time::timeout;
use utoipa::openapi::OpenApi;

use crate::Problem;
use crate::access::Caller;

/// Bytes of a body that is read before anything is answered, and how long it may take to come.
const SHORT: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(10);

/// What a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Nothing.
    Nobody,
    /// Somebody who signed in.
    Session,
    /// A scope.
    Scope(Scope),
}

/// What routes take.
struct Gate {
    hub: Arc<Hub>,
    needs: HashMap<(Method, String), Need>,
}

/// Puts the gate before routes.
pub(crate) fn around(router: Router, hub: Arc<Hub>, document: &OpenApi) -> Router {
    let gate = Gate { hub, needs: needs(&serde_json::to_value(document).unwrap_or_default()) };
    router.layer(from_fn_with_state(Arc::new(gate), pass)).layer(from_fn(read)).layer(from_fn(harden))
}

async fn pass(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    // What answers GET answers HEAD.
    let method = if parts.method == Method::HEAD { Method::GET } else { parts.method.clone() };
    let path = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let need = path.and_then(|path| gate.needs.get(&(method, path)).copied());
    if let Some(need) = need.filter(|need| *need != Need::Nobody) {
        match admit(&gate.hub, need, &parts).await {
            Ok(caller) => drop(parts.extensions.insert(caller)),
            Err(problem) => return problem.into_response(),
        }
    }
    next.run(Request::from_parts(parts, body)).await
}

async fn admit(hub: &Hub, need: Need, parts: &Parts) -> Result<Caller, Problem> {
    let caller = Caller::of(hub, parts).await?;
    match need {
        Need::Nobody => {}
        Need::Session => drop(caller.session()?),
        Need::Scope(scope) => drop(caller.may(scope)?),
    }
    Ok(caller)
}

/// Reads what the document says of each route.
fn needs(document: &Value) -> HashMap<(Method, String), Need> {
    let mut needs = HashMap::new();
    let paths = document.get("paths").and_then(Value::as_object).into_iter().flatten();
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().into_iter().flatten() {
            let Ok(method) = Method::from_bytes(method.to_uppercase().as_bytes()) else { continue };
            let ways = operation.get("security").and_then(Value::as_array);
            needs.insert((method, path.clone()), ways.map_or(Need::Session, |ways| need(ways)));
        }
    }
    needs
}

/// What one of several ways in takes. What is not understood takes the most.
fn need(ways: &[Value]) -> Need {
    let scope = |way: &Value| {
        let words = way.get("token")?.as_array()?;
        Some(words.first().and_then(Value::as_str).and_then(Scope::from_word).unwrap_or(Scope::Administer))
    };
    if let Some(scope) = ways.iter().find_map(scope) {
        return Need::Scope(scope);
    }
    // Its handler asks for the certificate before it reads anything.
    if ways.iter().any(|way| way.get("certificate").is_some()) {
        return Need::Nobody;
    }
    let open = !ways.is_empty() && ways.iter().all(|way| way.as_object().is_some_and(serde_json::Map::is_empty));
    if open { Need::Nobody } else { Need::Session }
}

/// Reads a short body before anything is answered. A connection whose request is answered while its body is still on the
/// way has to be closed, and a client that goes on sending, or sends its next request, sees that before the answer.
async fn read(request: Request, next: Next) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if request.version() > Version::HTTP_11 || length.is_none_or(|length: usize| length > SHORT) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match timeout(PATIENCE, to_bytes(body, SHORT)).await {
        Ok(Ok(body)) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Ok(Err(_)) => Problem::bad("the body ended early").into_response(),
        Err(_) => Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come").into_response(),
    }
}

/// What an answer tells a browser, unless it says otherwise itself.
const TOLD: [(HeaderName, &str); 9] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
         connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    tell(response.headers_mut());
    response
}

fn tell(headers: &mut HeaderMap) {
    for (name, value) in TOLD {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_route_takes_what_the_document_says_and_one_that_says_nothing_takes_somebody() {
        let document = json!({"paths": {"/a": {
            "get": {"security": [{"token": ["read"]}, {"session": ["read"]}]}, "post": {"security": [{}]},
            "put": {"security": [{"session": []}]}, "patch": {}, "delete": {"security": [{"token": []}]},
        }}});
        let needs = needs(&document);
        let of = |method: Method| needs.get(&(method, "/a".to_owned())).copied();
        assert_eq!(of(Method::GET), Some(Need::Scope(Scope::Read)));
        assert_eq!(of(Method::POST), Some(Need::Nobody));
        assert_eq!(of(Method::PUT), Some(Need::Session));
        assert_eq!(of(Method::PATCH), Some(Need::Session));
        assert_eq!(of(Method::DELETE), Some(Need::Scope(Scope::Administer)));
    }

    #[test]
    fn what_an_answer_says_itself_stays() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        tell(&mut headers);
        assert_eq!(headers[header::CACHE_CONTROL], "max-age=60");
        assert_eq!(headers.len(), TOLD.len());
    }
}
