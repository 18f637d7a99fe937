//! Ways in for canaries that are not ours: OpenCanary's `WebhookHandler`, and the `/log/` of opencanary_web.

use std::sync::Arc;

use aviary_hub::{Hub, Scope, Source, event_in, find_token};
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Json;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::Problem;
use crate::access::Caller;
use crate::intake::{Answer, read};

/// Longest body, bytes: it is read into values, which take several times as much.
const LONGEST: usize = 2 << 20;
/// Events of one body, at most.
const EVENTS: usize = 1000;

/// Takes what OpenCanary's `WebhookHandler` sends
///
/// The body is a form or JSON, as the handler's `headers` have it, and one of its texts is or holds the event; the handler's
/// `data` may put anything around it. Put the token into its `headers`: `{"Authorization": "Bearer avt_…"}`. A JSON event
/// alone, or a list of them, is taken, too.
#[utoipa::path(
    post, path = "/api/v1/opencanary", tag = "opencanary", security(("token" = ["ingest"])),
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "`message` is the event; JSON with any member that holds it"),
    responses(
        (status = 200, body = Answer),
        (status = 400, body = Answer, description = "There is no event in it, or none that is taken"),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 408, body = Problem),
        (status = 413, body = Problem, description = "More than 2 MiB or 1000 events"),
        (status = 415, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem),
    ),
)]
pub(crate) async fn post(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    request: Request,
) -> Result<(StatusCode, Json<Answer>), Problem> {
    let Some(source) = caller.may(Scope::Ingest)?.source() else {
        return Err(Problem::new(StatusCode::FORBIDDEN, "the token stands for no sensor"));
    };
    take(&hub, &source, request).await
}

/// Takes what is sent to opencanary_web: `POST /log/`. Since its senders may have no place for a header but one for an
/// address, the token may be the password of `https://any:avt_…@hub/log/`.
pub(crate) async fn log(State(hub): State<Arc<Hub>>, request: Request) -> Result<(StatusCode, Json<Answer>), Problem> {
    let unknown = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, detail);
    let Some(text) = credential(request.headers()) else {
        return Err(unknown("a token is missing: `Authorization: Bearer avt_…`, or the password of `Basic`"));
    };
    let Some(token) = find_token(hub.store().as_ref(), &text).await? else {
        return Err(unknown("the token is not known; it may have been revoked"));
    };
    let Some(source) = token.source() else {
        return Err(Problem::new(StatusCode::FORBIDDEN, "the token stands for no sensor, or may not send events"));
    };
    take(&hub, &source, request).await
}

/// The token in a header.
fn credential(headers: &HeaderMap) -> Option<String> {
    let (scheme, rest) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    let text = STANDARD.decode(rest.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    Some(String::from_utf8(text).ok()?.split_once(':')?.1.to_owned())
}

async fn take(hub: &Hub, source: &Source, request: Request) -> Result<(StatusCode, Json<Answer>), Problem> {
    let form = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let form = form.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded"));
    let (body, _place) = read(hub, source, request, LONGEST).await?;
    let events = if form { of_form(&body) } else { of_json(&body) }?;
    if events.is_empty() {
        return Err(Problem::bad("there is no event in the body: no JSON object with `logtype`, alone or in a text"));
    }
    if events.len() > EVENTS {
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a body takes up to {EVENTS} events")));
    }
    let words = hub.take(source, &events).await?;
    Ok(Answer::new(words.into_iter().enumerate()))
}

/// Events in the values of a form.
fn of_form(body: &[u8]) -> Result<Vec<String>, Problem> {
    let mut events = Vec::new();
    for (_, value) in form_urlencoded::parse(body) {
        // What a decoder put in for what is no UTF-8 would be no sender's word.
        if value.contains('\u{fffd}') && std::str::from_utf8(body).is_err() {
            return Err(Problem::bad("the body is not UTF-8"));
        }
        events.extend(in_text(&value));
    }
    Ok(events)
}

/// Events in JSON: the whole, members of a list, or somewhere in a text.
fn of_json(body: &Bytes) -> Result<Vec<String>, Problem> {
    let text = std::str::from_utf8(body).map_err(|_| Problem::bad("the body is not UTF-8"))?.trim();
    match serde_json::from_str(text) {
        // As it came, since that is what its id is made of.
        Ok(value) if is_event(&value) && !text.contains(['\n', '\r']) => Ok(vec![text.to_owned()]),
        Ok(value) => {
            let mut events = Vec::new();
            find(&value, &mut events);
            Ok(events)
        }
        Err(_) => Ok(in_text(text).into_iter().collect()),
    }
}

fn find(value: &Value, events: &mut Vec<String>) {
    match value {
        Value::Object(_) if is_event(value) => events.push(value.to_string()),
        Value::Object(members) => members.values().for_each(|value| find(value, events)),
        Value::Array(items) => items.iter().for_each(|item| find(item, events)),
        Value::String(text) => events.extend(in_text(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The event in a text.
fn in_text(text: &str) -> Option<String> {
    let event = event_in(text);
    let value: Value = serde_json::from_str(event).ok()?;
    is_event(&value).then(|| if event.contains(['\n', '\r']) { value.to_string() } else { event.to_owned() })
}

fn is_event(value: &Value) -> bool {
    value.as_object().is_some_and(|members| members.contains_key("logtype"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"logdata": {"A": "ü\\"}, "logtype": 2000, "n": 1.50}"#;

    fn json(body: &str) -> Vec<String> {
        of_json(&Bytes::copy_from_slice(body.as_bytes())).expect("events")
    }

    #[test]
    fn an_event_is_found_in_whatever_is_put_around_it() {
        let text = serde_json::to_string(EVENT).expect("JSON");
        let bodies = [
            EVENT.to_owned(),
            format!("{{\"message\": {text}}}"),
            format!("{{\"a\": [{{\"b\": {text}}}]}}"),
            format!("Alert: {EVENT}!"),
        ];
        for body in bodies {
            assert_eq!(json(&body), [EVENT], "{body}");
        }
        let form: String = form_urlencoded::Serializer::new(String::new()).append_pair("message", EVENT).finish();
        assert_eq!(of_form(form.as_bytes()).expect("events"), [EVENT]);
    }

    #[test]
    fn lists_give_each_and_an_event_becomes_one_line() {
        let compact = r#"{"logdata":{"A":"ü\\"},"logtype":2000,"n":1.50}"#;
        assert_eq!(json(&format!("[{EVENT}, {EVENT}]")), [compact, compact]);
        assert_eq!(json(&EVENT.replace(", ", ",\n")), [compact]);
        for nothing in ["", "{}", "[]", "x", "{\"message\": \"hello\"}", "message=hello"] {
            assert_eq!(json(nothing), Vec::<String>::new(), "{nothing}");
        }
    }

    #[test]
    fn a_token_is_bearer_or_the_password_of_basic() {
        let of = |value: &str| {
            let value = value.parse().expect("a value");
            credential(&HeaderMap::from_iter([(header::AUTHORIZATION, value)]))
        };
        assert_eq!(of("Bearer avt_1").as_deref(), Some("avt_1"));
        assert_eq!(of(&format!("basic {}", STANDARD.encode("any:avt_1"))).as_deref(), Some("avt_1"));
        assert_eq!(of("Basic ???"), None);
        assert_eq!(of("avt_1"), None);
    }
}
