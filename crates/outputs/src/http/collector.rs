//! What collectors of logs have in common: the canary's access to them is one thing, its events another.

use aviary_output::{DeliveryError, Rejection};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{RequestBuilder, Url};
use serde_json::Value;

use super::{Answer, QUOTED, retry_after};
use crate::options::{Options, wrong};

/// Reads `headers`: an object of names and texts.
pub(crate) fn headers(options: Options<'_>) -> Result<HeaderMap, Rejection> {
    let mut headers = HeaderMap::new();
    let Some(value) = options.get("headers") else { return Ok(headers) };
    let Value::Object(map) = value else { return Err(wrong("headers", value, "an object of names and texts")) };
    for (name, value) in map {
        let known = HeaderName::from_bytes(name.as_bytes());
        let text = value.as_str().map(HeaderValue::from_str);
        let (Ok(known), Some(Ok(mut text))) = (known, text) else {
            return Err(Rejection::new(format!("headers.{name}"), "is not a header's name and text on one line"));
        };
        text.set_sensitive(true);
        headers.insert(known, text);
    }
    Ok(headers)
}

/// Reads a secret that goes into `Authorization` behind a word.
pub(crate) fn authorization(
    options: Options<'_>,
    key: &str,
    scheme: &str,
    headers: &mut HeaderMap,
) -> Result<(), Rejection> {
    // The value is not repeated, since it is a secret.
    let refused = || Rejection::new(key, "takes text on one line, without spaces");
    let secret = match options.get(key) {
        None => return Ok(()),
        Some(Value::String(secret)) if !secret.is_empty() && !secret.contains(' ') => secret,
        Some(_) => return Err(refused()),
    };
    let mut value = HeaderValue::from_str(&format!("{scheme} {secret}")).map_err(|_| refused())?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    Ok(())
}

/// Reads `auth`, `["user", "password"]`.
pub(crate) fn login(options: Options<'_>) -> Result<Option<(String, String)>, Rejection> {
    let Some(value) = options.get("auth") else { return Ok(None) };
    match value.as_array().map(Vec::as_slice) {
        Some([Value::String(user), Value::String(password)]) => Ok(Some((user.clone(), password.clone()))),
        _ => Err(Rejection::new("auth", "takes `[\"user\", \"password\"]`")),
    }
}

/// An address with steps added to its path.
pub(crate) fn below(base: &Url, steps: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(steps);
    }
    url
}

/// Adds the login, if there is one.
pub(crate) fn with_login(request: RequestBuilder, login: Option<&(String, String)>) -> RequestBuilder {
    match login {
        Some((user, password)) => request.basic_auth(user, Some(password)),
        None => request,
    }
}

/// What an answer says, for people.
pub(crate) fn quoted(answer: &Answer) -> String {
    let said = String::from_utf8_lossy(answer.body.get(..QUOTED).unwrap_or(&answer.body));
    match said.trim() {
        "" => format!("the receiver answered {}", answer.status),
        said => format!("the receiver answered {}: {said}", answer.status),
    }
}

/// Judges an answer that is not a success. Only what concerns the event itself (400, 413, 415, 422) is a
/// refusal: a wrong token, a missing index or a full disk can be mended, and then the event shall arrive.
pub(crate) fn judge_access(answer: &Answer) -> DeliveryError {
    match answer.status {
        400 | 413 | 415 | 422 => DeliveryError::Refused { reason: quoted(answer) },
        _ => try_again(answer, quoted(answer)),
    }
}

/// Worth trying again, when the answer says.
pub(crate) fn try_again(answer: &Answer, reason: String) -> DeliveryError {
    DeliveryError::Temporary { reason, retry_after: retry_after(&answer.headers) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_to_a_path_with_and_without_an_end() {
        for (base, expected) in [
            ("http://h:9200", "http://h:9200/i/_bulk"),
            ("http://h:9200/", "http://h:9200/i/_bulk"),
            ("http://h/es/?a=b", "http://h/es/i/_bulk?a=b"),
        ] {
            assert_eq!(below(&Url::parse(base).expect("an address"), &["i", "_bulk"]).as_str(), expected);
        }
    }

    #[test]
    fn refuses_only_what_concerns_the_event() {
        for (status, refused) in
            [(400, true), (413, true), (401, false), (403, false), (404, false), (301, false), (500, false)]
        {
            let answer = Answer { status, headers: HeaderMap::new(), body: b"why".to_vec() };
            let error = judge_access(&answer);
            assert_eq!(matches!(error, DeliveryError::Refused { .. }), refused, "{error}");
            assert!(error.to_string().ends_with(&format!("the receiver answered {status}: why")), "{error}");
        }
    }
}
