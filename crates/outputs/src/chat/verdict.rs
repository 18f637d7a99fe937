//! What a vendor's answer means, where the status alone does not say it.

use std::time::Duration;

use aviary_output::DeliveryError;
use serde_json::Value;

use crate::http::{Answer, QUOTED, retry_after};

/// What a delivery comes to.
pub(super) type Verdict = Result<(), DeliveryError>;

/// Judges by the status alone.
///
/// Only 400, 413 and 422 are about the event; every other refusal is about our access, the address in
/// the file or the receiver's state, and all of that can be mended while the event waits.
pub(super) fn by_status(answer: &Answer) -> Verdict {
    match answer.status {
        // No such service answers with a page; a network that wants a login does.
        200..=299 if answer.body.trim_ascii_start().starts_with(b"<") => Err(later(answer, None)),
        200..=299 => Ok(()),
        400 | 413 | 422 => Err(refused(answer)),
        _ => Err(later(answer, None)),
    }
}

/// Codes in the JSON of vendors that answer 200 whatever happens.
pub(super) struct Codes {
    /// Members that hold the code, the first that is there counts; 0 is success.
    pub(super) keys: &'static [&'static str],
    /// Too many messages, or busy.
    pub(super) busy: &'static [i64],
    /// How long to wait then.
    pub(super) wait: Duration,
    /// The address, the key, the signature, or the robot's own settings.
    pub(super) access: &'static [i64],
}

impl Codes {
    /// Judges by the code. An answer without one comes from somebody else.
    pub(super) fn judge(&self, answer: &Answer) -> Verdict {
        let body = json(answer);
        let number = |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
        let code = self.keys.iter().find_map(|key| body.get(key).and_then(number));
        match (answer.status, code) {
            (200..=299, Some(0)) => Ok(()),
            (429 | 500.., _) => Err(later(answer, Some(self.wait))),
            (_, Some(code)) if self.busy.contains(&code) => Err(later(answer, Some(self.wait))),
            (_, Some(code)) if self.access.contains(&code) => Err(later(answer, None)),
            (_, Some(code)) if code != 0 => Err(refused(answer)),
            (200..=299, _) => Err(later(answer, None)),
            _ => by_status(answer),
        }
    }
}

/// The answer's JSON, `null` if it is none.
pub(super) fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
}

/// The event is not wanted.
pub(super) fn refused(answer: &Answer) -> DeliveryError {
    DeliveryError::Refused { reason: said(answer) }
}

/// Worth trying again: after what the answer asks for, in its header or its JSON, else after `wait`.
pub(super) fn later(answer: &Answer, wait: Option<Duration>) -> DeliveryError {
    let body = json(answer);
    let member = body.get("retry_after").or_else(|| body.get("parameters")?.get("retry_after"));
    let asked = member.and_then(Value::as_f64).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    // Discord's header is in whole seconds, its JSON exact.
    DeliveryError::Temporary {
        reason: said(answer),
        retry_after: asked.or_else(|| retry_after(&answer.headers)).or(wait),
    }
}

/// The receiver's own words.
fn said(answer: &Answer) -> String {
    let body = answer.body.get(..QUOTED).unwrap_or(&answer.body);
    match String::from_utf8_lossy(body).trim() {
        "" => format!("the receiver answered {}", answer.status),
        said => format!("the receiver answered {}: {said}", answer.status),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An answer with that status and body.
    pub(in crate::chat) fn answer(status: u16, body: &str) -> Answer {
        Answer { status, headers: reqwest::header::HeaderMap::new(), body: body.as_bytes().to_vec() }
    }

    /// `ok`, `later` with the seconds to wait, or `refused`.
    pub(in crate::chat) fn word(verdict: &Verdict) -> String {
        match verdict {
            Ok(()) => "ok".to_owned(),
            Err(DeliveryError::Refused { .. }) => "refused".to_owned(),
            Err(DeliveryError::Temporary { retry_after: None, .. }) => "later".to_owned(),
            Err(DeliveryError::Temporary { retry_after: Some(wait), .. }) => format!("later {}", wait.as_secs_f64()),
        }
    }

    #[test]
    fn only_what_concerns_the_event_is_refused() {
        for (status, expected) in [(200, "ok"), (204, "ok"), (400, "refused"), (413, "refused"), (422, "refused")] {
            assert_eq!(word(&by_status(&answer(status, ""))), expected, "{status}");
        }
        for status in [301, 401, 403, 404, 405, 408, 410, 429, 500, 502, 503] {
            assert_eq!(word(&by_status(&answer(status, "no"))), "later", "{status}");
        }
    }

    #[test]
    fn a_page_is_no_success() {
        assert_eq!(word(&by_status(&answer(200, "\n<!DOCTYPE html><title>Log in</title>"))), "later");
        assert_eq!(word(&by_status(&answer(200, "ok"))), "ok");
    }

    #[test]
    fn waits_as_long_as_json_or_header_ask() {
        let discord = r#"{"message": "You are being rate limited.", "retry_after": 0.65, "global": false}"#;
        assert_eq!(word(&by_status(&answer(429, discord))), "later 0.65");
        let telegram = r#"{"ok":false,"error_code":429,"parameters":{"retry_after":21}}"#;
        assert_eq!(word(&by_status(&answer(429, telegram))), "later 21");
        assert_eq!(word(&by_status(&answer(429, r#"{"retry_after": -1}"#))), "later");
        let mut header = answer(429, "");
        header.headers.insert("retry-after", "30".parse().expect("a value"));
        assert_eq!(word(&by_status(&header)), "later 30");
    }
}
