//! `logging.handlers.HTTPHandler`: a log record for each event, as a form.
//!
//! | key | meaning |
//! |---|---|
//! | `host` | `log.example` or `log.example:8080` |
//! | `url` | path, with or without a query: `/log?source=canary` |
//! | `method` | `GET` (as Python has it) or `POST` |
//! | `secure` | whether over TLS; `false` |
//! | `credentials` | `["user", "password"]` for basic authentication |
//! | `verify` | `false` trusts any certificate, a path names the only trusted ones (PEM); `true` |
//! | `timeout` | seconds, or `[connecting, answering]`; 10 |
//!
//! The fields are those of Python's `LogRecord` in their order: in the query of a GET, in the body of a
//! POST. `msg` holds the line; the formatter has no part in it, as in Python. After them comes `message`
//! with the same line, which Python sends when another handler has formatted the record before. Where
//! Python says where in its source a record was made, the values are those of OpenCanary's `logger.py`.
//!
//! Python looks at no answer and loses what was not taken; here an answer decides as it does for
//! `opencanary.logger.WebhookHandler`, and `Idempotency-Key` carries the event's id.
//!
//! LIMIT: with `GET` an event has to fit into a request line, of which servers take some 8 KiB; one that
//! does not is refused (414). `context` cannot be given in a file and is not known. Tried with Python's
//! http.server. Reference: <https://docs.python.org/3/library/logging.handlers.html#httphandler>.

use std::sync::Arc;
use std::time::Duration;

use aviary_event::{Event, Timestamp};
use aviary_output::{Blueprint, Delivery, DeliveryError, Entry, Failure, LineFormat, Output, Rejection, moment};
use reqwest::Url;
use serde_json::Value;

use crate::http::{Http, judge};
use crate::options::{Options, wrong};

/// Log records as forms.
pub(crate) static ENTRY: Entry = Entry {
    name: "http_form",
    classes: &["logging.handlers.HTTPHandler"],
    summary: "an HTTP form for each event, as Python's logging fills it in",
    options: &["host", "url", "method", "secure", "credentials", "verify", "timeout"],
    build,
};

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    let options = Options(blueprint.options);
    let post = match options.text("method")?.unwrap_or("GET").to_ascii_uppercase().as_str() {
        "GET" => false,
        "POST" => true,
        other => return Err(wrong("method", &Value::from(other), "`GET` or `POST`")),
    };
    let credentials = match options.get("credentials").map(Value::as_array) {
        None => None,
        Some(Some(items)) => match items.as_slice() {
            [Value::String(user), Value::String(password)] => Some((user.clone(), password.clone())),
            _ => return Err(credentials()),
        },
        Some(None) => return Err(credentials()),
    };
    Ok(Box::new(HttpForm {
        record: Record {
            name: blueprint.node_id.to_owned(),
            // Not used otherwise, but a mistake in the format is one all the same.
            extended: LineFormat::new(blueprint)?.extended(),
        },
        url: url(options)?,
        http: Http::new(options)?,
        post,
        credentials,
    }))
}

/// The value is not repeated, since it is a secret.
fn credentials() -> Rejection {
    Rejection::new("credentials", "takes `[\"user\", \"password\"]`")
}

fn url(options: Options<'_>) -> Result<Url, Rejection> {
    let host = options.needed_text("host", "log.example:8080")?;
    let path = options.needed_text("url", "/log")?;
    if !path.starts_with('/') || path.contains(char::is_control) {
        return Err(wrong("url", &Value::from(path), "a path such as `/log`"));
    }
    let scheme = if options.flag("secure", false)? { "https" } else { "http" };
    let bad = || wrong("host", &Value::from(host), "a name or an address, with or without `:port`");
    if host.contains(['/', '?', '#', '@', '\\']) || host.contains(char::is_control) {
        return Err(bad());
    }
    Url::parse(&format!("{scheme}://{host}{path}")).ok().filter(Url::has_host).ok_or_else(bad)
}

struct HttpForm {
    record: Record,
    url: Url,
    post: bool,
    credentials: Option<(String, String)>,
    http: Http,
}

impl Output for HttpForm {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(async move {
            for (delivered, event) in batch.iter().enumerate() {
                self.send(event).await.map_err(|error| Failure { delivered, error })?;
            }
            Ok(())
        })
    }

    /// One, so that a time limit never cuts between events that arrived and events that did not.
    fn batch_limit(&self) -> usize {
        1
    }

    fn time_limit(&self) -> Duration {
        self.http.time_limit()
    }
}

impl HttpForm {
    async fn send(&mut self, event: &Event) -> Result<(), DeliveryError> {
        let client = self.http.client().await?;
        let fields = self.record.fields(event);
        let mut request = if self.post {
            client.post(self.url.clone()).form(&fields)
        } else {
            let mut url = self.url.clone();
            url.query_pairs_mut().extend_pairs(&fields);
            client.get(url)
        };
        if let Some((user, password)) = &self.credentials {
            request = request.basic_auth(user, Some(password));
        }
        if let Some(ours) = &event.aviary {
            request = request.header("Idempotency-Key", ours.id.hyphenated().to_string());
        }
        let answer = self.http.send(request).await?;
        match answer.status {
            200..=299 => Ok(()),
            status => Err(judge(status, &answer.headers, &answer.body)),
        }
    }
}

/// What Python's `LogRecord` holds beside the event.
struct Record {
    name: String,
    extended: bool,
}

impl Record {
    /// The record of an event, in Python's order.
    fn fields(&self, event: &Event) -> Vec<(&'static str, String)> {
        let micros = moment(event).map_or(0, Timestamp::as_micros);
        let (created, milliseconds) = (micros as f64 / 1e6, micros.rem_euclid(1_000_000) / 1000);
        let process = std::process::id().to_string();
        let line = event.to_line(self.extended);
        let text = |text: &str| text.to_owned();
        vec![
            ("name", self.name.clone()),
            ("msg", line.clone()),
            ("args", text("()")),
            ("levelname", text("WARNING")),
            ("levelno", text("30")),
            ("pathname", text("logger.py")),
            ("filename", text("logger.py")),
            ("module", text("logger")),
            ("exc_info", text("None")),
            ("exc_text", text("None")),
            ("stack_info", text("None")),
            ("lineno", text("0")),
            ("funcName", text("log")),
            // With a decimal point, as Python prints floats.
            ("created", format!("{created:?}")),
            ("msecs", format!("{milliseconds}.0")),
            ("relativeCreated", text("0.0")),
            ("thread", process.clone()),
            ("threadName", text("MainThread")),
            ("processName", text("MainProcess")),
            ("process", process),
            ("message", line),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn url_of(options: &Value) -> Result<String, String> {
        let map = options.as_object().expect("an object");
        url(Options(map)).map(String::from).map_err(|rejection| rejection.to_string())
    }

    #[test]
    fn joins_host_and_path() {
        let is = |text: &str| Ok(text.to_owned());
        assert_eq!(url_of(&json!({"host": "h:8080", "url": "/log?k=v"})), is("http://h:8080/log?k=v"));
        assert_eq!(url_of(&json!({"host": "[::1]", "url": "/", "secure": true})), is("https://[::1]/"));
        for (host, path, start) in [
            ("h/x", "/log", "`host`: is \"h/x\"; it takes"),
            ("u:p@h", "/log", "`host`: is"),
            ("", "/log", "`host`: is missing"),
            ("h", "log", "`url`: is \"log\"; it takes a path"),
        ] {
            let message = url_of(&json!({"host": host, "url": path})).expect_err("wrong");
            assert!(message.starts_with(start), "{message}");
        }
    }

    #[test]
    fn fills_in_what_python_fills_in() {
        let event = Event::parse(r#"{"logtype": 2000, "utc_time": "2026-11-22 22:00:01.388532"}"#).expect("an event");
        let record = Record { name: "n1".to_owned(), extended: true };
        let fields = record.fields(&event);
        let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
        let python = "name msg args levelname levelno pathname filename module exc_info exc_text stack_info lineno \
             funcName created msecs relativeCreated thread threadName processName process message";
        assert_eq!(names.join(" "), python);
        let of = |name: &str| fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        assert_eq!((of("created"), of("msecs"), of("args")), (Some("1795384801.388532"), Some("388.0"), Some("()")));
        assert_eq!((of("msg"), of("name")), (Some(event.to_line(true).as_str()), Some("n1")));
    }
}
