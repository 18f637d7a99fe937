//! The request of a webhook: where to, with which method, headers and login, and what counts as success.

use std::time::Duration;

use aviary_output::{DeliveryError, Rejection};
use reqwest::header::{CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde_json::Value;

use super::template::plain;
use crate::http::{Http, address, judge};
use crate::options::{Options, whole_of, wrong};

/// A request but for its body.
pub(crate) struct Request {
    url: Url,
    method: Method,
    headers: HeaderMap,
    expected: Expected,
    auth: Option<(String, String)>,
    http: Http,
}

/// Status codes that count as success.
#[derive(Clone, Debug, PartialEq)]
enum Expected {
    /// Any from 200 to 299.
    Success,
    /// These.
    Exactly(Vec<u16>),
}

impl Expected {
    fn holds(&self, status: u16) -> bool {
        match self {
            Self::Success => (200..300).contains(&status),
            Self::Exactly(codes) => codes.contains(&status),
        }
    }
}

impl Request {
    /// The keys that it reads beside `url`.
    pub(crate) const OPTIONS: &'static [&'static str] =
        &["method", "status_code", "headers", "params", "cookies", "auth", "verify", "timeout"];

    pub(crate) fn read(options: Options<'_>) -> Result<Self, Rejection> {
        Ok(Self {
            url: url(options)?,
            method: method(options)?,
            headers: headers(options)?,
            expected: expected(options)?,
            auth: auth(options)?,
            http: Http::new(options)?,
        })
    }

    pub(crate) const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(crate) fn time_limit(&self) -> Duration {
        self.http.time_limit()
    }

    /// Sends a body. Headers of the configuration go before the media type and the id.
    pub(crate) async fn send(
        &mut self,
        body: Vec<u8>,
        content_type: Option<&'static str>,
        id: Option<&str>,
    ) -> Result<(), DeliveryError> {
        let client = self.http.client().await?;
        let mut request = client.request(self.method.clone(), self.url.clone()).headers(self.headers.clone());
        if let Some(content_type) = content_type.filter(|_| !self.headers.contains_key(CONTENT_TYPE)) {
            request = request.header(CONTENT_TYPE, content_type);
        }
        if let Some(id) = id.filter(|_| !self.headers.contains_key("idempotency-key")) {
            request = request.header("Idempotency-Key", id);
        }
        if let Some((user, password)) = &self.auth {
            request = request.basic_auth(user, Some(password));
        }
        let answer = self.http.send(request.body(body)).await?;
        if self.expected.holds(answer.status) {
            return Ok(());
        }
        Err(judge(answer.status, &answer.headers, &answer.body))
    }
}

fn url(options: Options<'_>) -> Result<Url, Rejection> {
    let text = options.needed_text("url", "https://alerts.example/hook")?;
    let mut url = address("url", text, "https://alerts.example/hook")?;
    if let Some(params) = options.get("params") {
        let Value::Object(params) = params else { return Err(wrong("params", params, "an object")) };
        let mut pairs = url.query_pairs_mut();
        for (name, value) in params {
            let values = match value {
                Value::Array(values) => values.as_slice(),
                one => std::slice::from_ref(one),
            };
            for text in values.iter().filter_map(plain) {
                pairs.append_pair(name, &text);
            }
        }
    }
    Ok(url)
}

fn method(options: Options<'_>) -> Result<Method, Rejection> {
    let text = options.text("method")?.unwrap_or("POST");
    let method = Method::from_bytes(text.to_ascii_uppercase().as_bytes());
    method.map_err(|_| wrong("method", &Value::from(text), "an HTTP method such as `POST` or `PUT`"))
}

fn headers(options: Options<'_>) -> Result<HeaderMap, Rejection> {
    let mut headers = HeaderMap::new();
    if let Some(value) = options.get("headers") {
        let Value::Object(map) = value else { return Err(wrong("headers", value, "an object of names and texts")) };
        for (name, value) in map {
            let known = HeaderName::from_bytes(name.as_bytes());
            let text = plain(value).and_then(|text| HeaderValue::from_str(&text).ok());
            let (Ok(known), Some(mut text)) = (known, text) else {
                return Err(Rejection::new(format!("headers.{name}"), "is not a header's name and text on one line"));
            };
            text.set_sensitive(true);
            headers.insert(known, text);
        }
    }
    if let Some(value) = options.get("cookies") {
        let Value::Object(map) = value else { return Err(wrong("cookies", value, "an object of names and texts")) };
        let pairs: Vec<String> =
            map.iter().filter_map(|(name, value)| Some(format!("{name}={}", plain(value)?))).collect();
        if !pairs.is_empty() {
            let mut text = HeaderValue::from_str(&pairs.join("; "))
                .map_err(|_| Rejection::new("cookies", "hold what cannot stand in a header"))?;
            text.set_sensitive(true);
            headers.insert(COOKIE, text);
        }
    }
    Ok(headers)
}

fn expected(options: Options<'_>) -> Result<Expected, Rejection> {
    let Some(value) = options.get("status_code") else { return Ok(Expected::Success) };
    let codes = match value {
        Value::Array(codes) => codes.as_slice(),
        one => std::slice::from_ref(one),
    };
    let read = |code| whole_of(code).and_then(|code| u16::try_from(code).ok()).filter(|code| (100..600).contains(code));
    let codes: Option<Vec<u16>> = codes.iter().map(read).collect();
    let codes = codes.filter(|codes| !codes.is_empty());
    codes
        .map(Expected::Exactly)
        .ok_or_else(|| wrong("status_code", value, "a status code such as 200, or a list of them"))
}

fn auth(options: Options<'_>) -> Result<Option<(String, String)>, Rejection> {
    let Some(value) = options.get("auth") else { return Ok(None) };
    match value.as_array().map(Vec::as_slice) {
        Some([Value::String(user), Value::String(password)]) => Ok(Some((user.clone(), password.clone()))),
        // The value is not repeated, since it is a secret.
        _ => Err(Rejection::new("auth", "takes `[\"user\", \"password\"]`")),
    }
}
