//! What a receiver's answer means.

use std::time::Duration;

use aviary_output::DeliveryError;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// Bytes of the answer's body that go into an error text.
pub(crate) const QUOTED: usize = 200;

/// Judges an answer that is not a success.
///
/// What is wrong with the receiver or with our access to it (401, 404, 407, 408, 421, 425, 429, 3xx,
/// 5xx) may be mended, and then the event shall arrive. What is wrong with the event stays wrong.
/// Another success than the expected one is a refusal too: the receiver has the event, and
/// sending it again would only double it.
pub(crate) fn judge(status: u16, headers: &HeaderMap, body: &[u8]) -> DeliveryError {
    let said = String::from_utf8_lossy(body.get(..QUOTED).unwrap_or(body));
    let reason = match said.trim() {
        "" => format!("the receiver answered {status}"),
        said => format!("the receiver answered {status}: {said}"),
    };
    match status {
        300..=399 | 401 | 404 | 407 | 408 | 421 | 425 | 429 | 500.. => {
            DeliveryError::Temporary { reason, retry_after: retry_after(headers) }
        }
        _ => DeliveryError::Refused { reason },
    }
}

/// `Retry-After` as a time to wait: seconds, or a date, which is taken against the receiver's own
/// `Date` so that no two clocks are compared.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let asked = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = asked.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|time| time.timestamp());
    let now = date(headers.get(DATE)?.to_str().ok()?)?;
    Duration::try_from(date(asked)?.duration_since(now)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn answered(status: u16, headers: &[(&'static str, &'static str)]) -> (bool, Option<Duration>) {
        let headers = headers
            .iter()
            .map(|(name, value)| (reqwest::header::HeaderName::from_static(name), HeaderValue::from_static(value)));
        match judge(status, &headers.collect(), b"no") {
            DeliveryError::Temporary { retry_after, .. } => (true, retry_after),
            DeliveryError::Refused { .. } => (false, None),
        }
    }

    #[test]
    fn tries_again_what_may_be_mended() {
        for status in [301, 307, 401, 404, 407, 408, 425, 429, 500, 502, 503, 504] {
            assert_eq!(answered(status, &[]), (true, None), "{status}");
        }
        for status in [202, 204, 400, 403, 405, 410, 413, 415, 422] {
            assert_eq!(answered(status, &[]), (false, None), "{status}");
        }
    }

    #[test]
    fn reads_retry_after_as_seconds_and_as_a_date() {
        for (asked, seconds) in [("7", 7.0), ("0.5", 0.5), ("Sun, 22 Nov 2026 22:01:30 GMT", 90.0)] {
            let headers = [("retry-after", asked), ("date", "Sun, 22 Nov 2026 22:00:00 GMT")];
            assert_eq!(answered(429, &headers), (true, Some(Duration::from_secs_f64(seconds))), "{asked}");
        }
        for asked in ["-1", "soon", "NaN", "Sun, 22 Nov 2026 21:00:00 GMT"] {
            let headers = [("retry-after", asked), ("date", "Sun, 22 Nov 2026 22:00:00 GMT")];
            assert_eq!(answered(503, &headers), (true, None), "{asked}");
        }
    }

    #[test]
    fn quotes_the_receiver() {
        let error = judge(400, &HeaderMap::new(), &[b'x'; 1000]);
        assert_eq!(error.to_string(), format!("refused: the receiver answered 400: {}", "x".repeat(200)));
        assert_eq!(judge(500, &HeaderMap::new(), b" \n").to_string(), "the receiver answered 500");
    }
}
