//! Access tokens for XOAUTH2: one that the file holds, or one that is fetched and kept while it lasts.

use std::time::Duration;

use aviary_output::{DeliveryError, Rejection};
use reqwest::Url;
use serde_json::Value;
use tokio::time::Instant;

use crate::http::{Http, address, judge};
use crate::options::Options;
use crate::worker::temporary;

/// A token is fetched anew so long before it ends.
const EARLY: Duration = Duration::from_secs(60);

/// How long a token lasts whose issuer does not say so.
const LASTS: Duration = Duration::from_secs(600);

/// Keys of `oauth` beside `access_token` and `token_url`.
const KEYS: &[&str] = &["client_id", "client_secret", "refresh_token", "scope"];

/// Where tokens come from.
pub(super) enum Tokens {
    Fixed(String),
    Fetched(Box<Fetched>),
}

pub(super) struct Fetched {
    url: Url,
    form: Vec<(&'static str, String)>,
    http: Http,
    kept: Option<(String, Instant)>,
}

impl Tokens {
    /// Reads `oauth`.
    pub(super) fn new(options: Options<'_>, value: &Value) -> Result<Self, Rejection> {
        let Value::Object(map) = value else {
            // The value is not repeated, since it may be a secret.
            return Err(Rejection::new("oauth", "takes an object with `access_token` or `token_url`"));
        };
        let at = |key: &str| format!("oauth.{key}");
        let all = || KEYS.iter().copied().chain(["access_token", "token_url"]);
        if let Some(key) = map.keys().find(|key| !all().any(|known| known == key.as_str())) {
            let known = all().collect::<Vec<_>>().join(", ");
            return Err(Rejection::new(at(key), format!("is not known; there are {known}")));
        }
        let text = |key: &'static str| match map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if !text.is_empty() && !text.contains(char::is_control) => Ok(Some(text.clone())),
            Some(_) => Err(Rejection::new(at(key), "takes text on one line")),
        };
        if let Some(token) = text("access_token")? {
            return Ok(Self::Fixed(token));
        }
        let Some(url) = text("token_url")? else {
            return Err(Rejection::new("oauth", "takes an object with `access_token` or `token_url`"));
        };
        let mut form = Vec::new();
        for key in KEYS {
            if let Some(value) = text(key)? {
                form.push((*key, value));
            } else if *key == "client_id" {
                return Err(Rejection::new(at(key), "is missing; it takes text"));
            }
        }
        let refreshes = form.iter().any(|(key, _)| *key == "refresh_token");
        form.push(("grant_type", if refreshes { "refresh_token" } else { "client_credentials" }.to_owned()));
        let url = address("oauth.token_url", &url, "https://login.example/oauth2/token")?;
        Ok(Self::Fetched(Box::new(Fetched { url, form, http: Http::new(options)?, kept: None })))
    }

    /// The token, fetched where there is none that lasts.
    pub(super) async fn token(&mut self) -> Result<String, DeliveryError> {
        match self {
            Self::Fixed(token) => Ok(token.clone()),
            Self::Fetched(fetched) => match &fetched.kept {
                Some((token, until)) if Instant::now() < *until => Ok(token.clone()),
                _ => fetched.fetch().await,
            },
        }
    }

    /// The server did not take it.
    pub(super) fn forget(&mut self) {
        if let Self::Fetched(fetched) = self {
            fetched.kept = None;
        }
    }
}

impl Fetched {
    async fn fetch(&mut self) -> Result<String, DeliveryError> {
        let request = self.http.client().await?.post(self.url.clone()).form(&self.form);
        let answer = self.http.send(request).await?;
        if answer.status != 200 {
            // Whatever is wrong with a token, it is not the event.
            let (reason, retry_after) = match judge(answer.status, &answer.headers, &answer.body) {
                DeliveryError::Temporary { reason, retry_after } => (reason, retry_after),
                DeliveryError::Refused { reason } => (reason, None),
            };
            return Err(DeliveryError::Temporary { reason: format!("no access token: {reason}"), retry_after });
        }
        let answer: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let token = answer.get("access_token").and_then(Value::as_str);
        let token = token.filter(|token| !token.is_empty() && !token.contains(char::is_control));
        let Some(token) = token else {
            return Err(temporary("no access token: the answer holds none".to_owned()));
        };
        let lasts = answer.get("expires_in").and_then(crate::options::whole_of).map_or(LASTS, Duration::from_secs);
        let until = Instant::now().checked_add(lasts.min(Duration::from_secs(86_400)).saturating_sub(EARLY));
        self.kept = until.map(|until| (token.to_owned(), until));
        Ok(token.to_owned())
    }
}
