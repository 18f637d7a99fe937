//! Batches over HTTP: `POST /api/v1/events`.

use aviary_output::DeliveryError;
use aviary_wire::gzip::gzip;
use bytes::Bytes;
use reqwest::Url;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};

use super::Outcome;
use super::settled::verdicts_of_json;
use crate::http::{Answer, Http, below, quoted, try_again};

pub(super) struct Web {
    url: Url,
    headers: HeaderMap,
    packed: bool,
    http: Http,
}

impl Web {
    pub(super) fn new(base: &Url, headers: HeaderMap, packed: bool, http: Http) -> Self {
        Self { url: below(base, &["api", "v1", "events"]), headers, packed, http }
    }

    pub(super) async fn send(&mut self, lines: &[Bytes]) -> Result<Outcome, DeliveryError> {
        let result = self.exchange(lines).await;
        if result.is_err() {
            self.http.renew();
        }
        result
    }

    async fn exchange(&mut self, lines: &[Bytes]) -> Result<Outcome, DeliveryError> {
        let mut body = Vec::with_capacity(lines.iter().map(|line| line.len() + 1).sum());
        for line in lines {
            body.extend_from_slice(line);
            body.push(b'\n');
        }
        let request = self.http.client().await?.post(self.url.clone()).headers(self.headers.clone());
        let request = request.header(CONTENT_TYPE, "application/x-ndjson");
        let request = match self.packed {
            true => request.header(CONTENT_ENCODING, "gzip").body(gzip(&body)),
            false => request.body(body),
        };
        judge(&self.http.send_large(request).await?, lines.len())
    }
}

fn judge(answer: &Answer, count: usize) -> Result<Outcome, DeliveryError> {
    match (answer.status, verdicts_of_json(count, &answer.body)) {
        (200 | 400 | 422, Ok(verdicts)) => Ok(Outcome::Settled(verdicts)),
        (200..=299 | 422, Err(error)) => {
            Err(try_again(answer, format!("not an answer of a hub ({error}): {}", quoted(answer))))
        }
        (400 | 413, _) => Ok(Outcome::Indigestible(quoted(answer))),
        _ => Err(try_again(answer, quoted(answer))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_concerns_the_events_is_not_tried_again() {
        let taken = r#"{"accepted": 1, "duplicate": 0, "rejected": [{"index": 1, "reason": "no"}]}"#;
        let settled = || Ok(Outcome::Settled(vec![None, Some("no".to_owned())]));
        let large = |status| Ok(Outcome::Indigestible(format!("the receiver answered {status}: why")));
        let again = |words: &str| Err(words.to_owned());
        for (status, body, expected) in [
            (200, taken, settled()),
            (422, taken, settled()),
            (400, taken, settled()),
            (413, "why", large(413)),
            (400, "why", large(400)),
            (
                422,
                "why",
                again(
                    "not an answer of a hub (no JSON: expected value at line 1 column 1): the receiver answered 422: why",
                ),
            ),
            (401, "why", again("the receiver answered 401: why")),
            (403, "why", again("the receiver answered 403: why")),
            (404, taken, again(&format!("the receiver answered 404: {taken}"))),
            (301, "", again("the receiver answered 301")),
            (429, "why", again("the receiver answered 429: why")),
            (503, "why", again("the receiver answered 503: why")),
            (200, "{}", again("not an answer of a hub (`accepted` is no number): the receiver answered 200: {}")),
            (
                204,
                "",
                again(
                    "not an answer of a hub (no JSON: EOF while parsing a value at line 1 column 0): the receiver answered 204",
                ),
            ),
            (202, taken, again(&format!("the receiver answered 202: {taken}"))),
        ] {
            let answer = Answer { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() };
            let judged = judge(&answer, 2).map_err(|error| match error {
                DeliveryError::Temporary { reason, .. } => reason,
                refused @ DeliveryError::Refused { .. } => panic!("{status}: {refused}"),
            });
            assert_eq!(judged, expected, "{status} {body}");
        }
    }
}
