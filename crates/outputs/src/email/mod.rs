//! `logging.handlers.SMTPHandler`: a mail for each event.
//!
//! | key | meaning |
//! |---|---|
//! | `mailhost` | `"host"`, `"host:port"` or `["host", port]`; port 25, with `tls` port 465, if missing |
//! | `fromaddr` | sender, `canary@example.org` or `Canary <canary@example.org>` |
//! | `toaddrs` | recipients: a list, or text with commas |
//! | `subject` | may hold fields: `Canary: %(service)s from %(src_host)s`; `%(summary)s` if missing |
//! | `credentials` | `["user", "password"]` |
//! | `secure` | `[]`: STARTTLS, as Python has it |
//! | `tls` | `none`, `starttls` or `tls` (from the first byte); `starttls` with `secure`, `tls` on port 465, otherwise `none` |
//! | `verify` | `false` trusts any certificate, a path names the only trusted ones (PEM); `true` |
//! | `auth` | `plain`, `login`, `xoauth2`; if missing, `xoauth2` with `oauth` and otherwise what the server takes |
//! | `oauth` | `{"access_token": …}`, or `{"token_url": …, "client_id": …, "client_secret": …}` with `refresh_token` or `scope`; the user stands in `credentials` |
//! | `html` | whether the mail has a table in HTML beside the text; `false` |
//! | `timeout` | seconds for each step of the conversation; 30 |
//! | `lifecycle` | whether events about the canary itself are mailed too; `false` |
//!
//! The text is the formatted line, as in Python. Fields of `subject` are those that chat messages have
//! in their `template`. Mails of one event have the same `Message-ID`, made of the event's id.
//!
//! Python mails nobody when one of the recipients is refused for a while. Here each recipient gets the
//! mail when the server takes it; one that is refused for good is logged and passed over, unless all
//! are: then the events wait until somebody mends it. What the server has against the mail itself
//! (5xx after its text) is a refusal of the event. Unlike Python, `secure` verifies the certificate.
//!
//! LIMIT: addresses are ASCII and have a domain; no client certificates. Tried with aiosmtpd in clear,
//! with STARTTLS and with TLS. References: RFC 5321, RFC 3207, RFC 8314, RFC 4954,
//! <https://developers.google.com/workspace/gmail/imap/xoauth2-protocol>,
//! <https://docs.python.org/3/library/logging.handlers.html#smtphandler>.

mod letter;
mod oauth;
mod secure;
mod session;

use std::sync::Arc;
use std::time::Duration;

use aviary_event::Event;
use aviary_output::{Blueprint, Delivery, DeliveryError, Entry, Failure, LineFormat, Output, Rejection};
use lettre::Address;
use lettre::message::Mailbox;
use serde_json::Value;

use crate::chat::headline::Headline;
use crate::options::{Options, whole_of, wrong};
use crate::tls::Trust;
use letter::Letter;
use oauth::Tokens;
use session::{Login, Post, Security};

/// Mails.
pub(crate) static ENTRY: Entry = Entry {
    name: "email",
    classes: &["logging.handlers.SMTPHandler"],
    summary: "a mail for each event",
    options: &[
        "mailhost",
        "fromaddr",
        "toaddrs",
        "subject",
        "template",
        "credentials",
        "secure",
        "tls",
        "verify",
        "auth",
        "oauth",
        "html",
        "timeout",
        "lifecycle",
    ],
    build,
};

/// Longest time for a step, unless `timeout` says otherwise. Servers that look into mails take long.
const STEP: Duration = Duration::from_secs(30);

/// The ports of plain SMTP and of SMTP in TLS.
const PORT: u16 = 25;
const TLS_PORT: u16 = 465;

fn build(blueprint: &Blueprint<'_>) -> Result<Box<dyn Output>, Rejection> {
    let options = Options(blueprint.options);
    let (host, port) = mailhost(options)?;
    let security = security(options, port)?;
    let to = recipients(options)?;
    let from = mailbox("fromaddr", options.needed_text("fromaddr", "canary@example.org")?)?;
    let addresses: Vec<Address> = to.iter().map(|mailbox| mailbox.email.clone()).collect();
    let step = options.seconds("timeout")?.unwrap_or(STEP);
    let post = Post::new(
        host,
        port.unwrap_or(if security == Security::Tls { TLS_PORT } else { PORT }),
        security,
        Trust::read(options)?,
        login(options)?,
        step,
    );
    Ok(Box::new(Email {
        letter: Letter {
            from,
            to,
            subject: Headline::new("subject", options.text("subject")?.unwrap_or("%(summary)s"))?,
            html: options.flag("html", false)?,
            lines: LineFormat::with_text(blueprint)?,
        },
        lifecycle: options.flag("lifecycle", false)?,
        taken: None,
        addresses,
        post,
    }))
}

fn mailhost(options: Options<'_>) -> Result<(String, Option<u16>), Rejection> {
    let accepted = "`\"host\"`, `\"host:port\"` or `[\"host\", port]`";
    let Some(value) = options.get("mailhost") else {
        return Err(Rejection::new("mailhost", format!("is missing; it takes {accepted}")));
    };
    let bad = || wrong("mailhost", value, accepted);
    let port = |port: &Value| whole_of(port).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    let (host, port) = match value {
        Value::String(text) => match text.split_once(':') {
            // More than one colon: an IPv6 address.
            Some((host, digits)) if !digits.contains(':') => (host, Some(port(&Value::from(digits)).ok_or_else(bad)?)),
            _ => (text.as_str(), None),
        },
        Value::Array(items) => match items.as_slice() {
            [Value::String(host)] => (host.as_str(), None),
            [Value::String(host), given] => (host.as_str(), Some(port(given).ok_or_else(bad)?)),
            _ => return Err(bad()),
        },
        _ => return Err(bad()),
    };
    let host = host.trim_matches(['[', ']']);
    let good = !host.is_empty() && !host.contains(|c: char| c.is_control() || c.is_whitespace());
    if good { Ok((host.to_owned(), port)) } else { Err(bad()) }
}

fn security(options: Options<'_>, port: Option<u16>) -> Result<Security, Rejection> {
    let secure = match options.get("secure") {
        None | Some(Value::Bool(false)) => false,
        Some(Value::Bool(true)) => true,
        Some(Value::Array(items)) if items.is_empty() => true,
        Some(Value::Object(items)) if items.is_empty() => true,
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            return Err(Rejection::new(
                "secure",
                "names a client certificate, which is not supported; `[]` is STARTTLS",
            ));
        }
        Some(other) => return Err(wrong("secure", other, "`[]`")),
    };
    match options.text("tls")? {
        None if secure => Ok(Security::StartTls),
        None if port == Some(TLS_PORT) => Ok(Security::Tls),
        None | Some("none") => Ok(Security::None),
        Some("starttls") => Ok(Security::StartTls),
        Some("tls") => Ok(Security::Tls),
        Some(other) => Err(wrong("tls", &Value::from(other), "`none`, `starttls` or `tls`")),
    }
}

fn mailbox(key: &str, text: &str) -> Result<Mailbox, Rejection> {
    let accepted = "an address with a domain, such as `canary@example.org` or `Canary <canary@example.org>`";
    let parsed: Option<Mailbox> = text.trim().parse().ok();
    let good = |mailbox: &Mailbox| {
        mailbox.email.to_string().is_ascii() && !mailbox.name.as_deref().unwrap_or_default().contains(char::is_control)
    };
    parsed.filter(good).ok_or_else(|| wrong(key, &Value::from(text), accepted))
}

fn recipients(options: Options<'_>) -> Result<Vec<Mailbox>, Rejection> {
    let accepted = "a list of addresses such as `[\"admin@example.org\"]`";
    let found: Result<Vec<Mailbox>, Rejection> = match options.get("toaddrs") {
        None => return Err(Rejection::new("toaddrs", format!("is missing; it takes {accepted}"))),
        Some(Value::String(text)) => text.split(',').map(|one| mailbox("toaddrs", one)).collect(),
        Some(value @ Value::Array(items)) => items
            .iter()
            .map(|item| mailbox("toaddrs", item.as_str().ok_or_else(|| wrong("toaddrs", value, accepted))?))
            .collect(),
        Some(other) => return Err(wrong("toaddrs", other, accepted)),
    };
    let found = found?;
    if found.is_empty() { Err(Rejection::new("toaddrs", format!("is empty; it takes {accepted}"))) } else { Ok(found) }
}

fn login(options: Options<'_>) -> Result<Login, Rejection> {
    // Values are not repeated, since they are secrets.
    let wanted = || Rejection::new("credentials", "takes `[\"user\", \"password\"]`");
    let given: Option<Vec<&str>> = match options.get("credentials") {
        None => None,
        Some(Value::Array(items)) => Some(items.iter().map(Value::as_str).collect::<Option<_>>().ok_or_else(wanted)?),
        Some(_) => return Err(wanted()),
    };
    let clean = |text: &str| !text.contains(['\0', '\r', '\n', '\u{1}']);
    if !given.iter().flatten().all(|text| clean(text)) {
        return Err(wanted());
    }
    let tokens = options.get("oauth").map(|oauth| Tokens::new(options, oauth)).transpose()?;
    let auth = options.text("auth")?;
    if !matches!(auth, None | Some("plain" | "login" | "xoauth2")) {
        return Err(wrong("auth", &Value::from(auth), "`plain`, `login` or `xoauth2`"));
    }
    match (given.as_deref(), tokens, auth) {
        (Some([user, ..]), Some(tokens), None | Some("xoauth2")) => {
            Ok(Login::Token { user: (*user).to_owned(), tokens })
        }
        (_, Some(_), None | Some("xoauth2")) => {
            Err(Rejection::new("credentials", "is missing; with `oauth` it takes `[\"user\"]`"))
        }
        (_, Some(_), Some(_)) => Err(Rejection::new("auth", "takes `xoauth2` where there is `oauth`")),
        (_, None, Some("xoauth2")) => {
            Err(Rejection::new("oauth", "is missing; with `xoauth2` it takes an object with a token or how to get one"))
        }
        (None, None, None) => Ok(Login::Nobody),
        (None, None, Some(_)) => Err(Rejection::new("credentials", "is missing; it takes `[\"user\", \"password\"]`")),
        (Some([user, password]), None, auth) => Ok(Login::password(user, password, auth)),
        _ => Err(wanted()),
    }
}

struct Email {
    letter: Letter,
    addresses: Vec<Address>,
    lifecycle: bool,
    post: Post,
    /// An event that some have got already, and who.
    taken: Option<(Arc<Event>, Vec<bool>)>,
}

impl Output for Email {
    fn deliver<'a>(&'a mut self, batch: &'a [Arc<Event>]) -> Delivery<'a> {
        Box::pin(async move {
            for (delivered, event) in batch.iter().enumerate() {
                self.mail(event).await.map_err(|error| Failure { delivered, error })?;
            }
            Ok(())
        })
    }

    fn takes_lifecycle(&self) -> bool {
        self.lifecycle
    }

    /// One, so that an end of the program never cuts between mails that are sent and mails that are not.
    fn batch_limit(&self) -> usize {
        1
    }

    /// More than all steps may take, so that the step's own limit says what was slow.
    fn time_limit(&self) -> Duration {
        let steps = u32::try_from(self.addresses.len()).unwrap_or(u32::MAX).saturating_add(10);
        self.post.step().saturating_mul(steps)
    }
}

impl Email {
    async fn mail(&mut self, event: &Arc<Event>) -> Result<(), DeliveryError> {
        let text = self.letter.encode(event);
        let text = text.map_err(|error| DeliveryError::Refused { reason: format!("it makes no mail: {error}") })?;
        let mut taken = match self.taken.take() {
            Some((known, taken)) if Arc::ptr_eq(&known, event) => taken,
            _ => vec![false; self.addresses.len()],
        };
        let result = self.post.send(&self.letter.from.email, &self.addresses, &mut taken, &text).await;
        if result.is_err() && taken.contains(&true) {
            self.taken = Some((Arc::clone(event), taken));
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rejection(change: Value) -> String {
        let mut options = json!({
            "mailhost": "mail.example", "fromaddr": "canary@example.org", "toaddrs": ["admin@example.org"],
        });
        let known = options.as_object_mut().expect("an object");
        known.extend(change.as_object().expect("an object").clone());
        let format = "%(message)s";
        let blueprint = Blueprint { name: "m", options: known, format, extended: true, node_id: "n" };
        build(&blueprint).map(|_| ()).expect_err("wrong").to_string()
    }

    #[test]
    fn names_the_key_that_is_wrong_and_repeats_no_secret() {
        for (change, start) in [
            (json!({"mailhost": "h:"}), "`mailhost`: is \"h:\"; it takes"),
            (json!({"mailhost": ["h", 70000]}), "`mailhost`: is [\"h\",70000]"),
            (json!({"fromaddr": "root"}), "`fromaddr`: is \"root\"; it takes an address with a domain"),
            (json!({"fromaddr": "a@b\r\nBcc: c@d"}), "`fromaddr`: is"),
            (json!({"toaddrs": []}), "`toaddrs`: is empty"),
            (json!({"toaddrs": "a@b, x"}), "`toaddrs`: is \" x\""),
            (json!({"subject": "%(nonsense)s"}), "`subject`: names \"nonsense\"; there are"),
            (json!({"secure": ["key.pem", "cert.pem"]}), "`secure`: names a client certificate"),
            (json!({"tls": "ssl"}), "`tls`: is \"ssl\""),
            (json!({"credentials": ["u"]}), "`credentials`: takes"),
            (json!({"credentials": ["u", "hidden\r\n"]}), "`credentials`: takes"),
            (json!({"auth": "plain"}), "`credentials`: is missing"),
            (json!({"auth": "cram-md5"}), "`auth`: is \"cram-md5\""),
            (json!({"auth": "xoauth2", "credentials": ["u"]}), "`oauth`: is missing"),
            (json!({"oauth": {"access_token": "hidden"}}), "`credentials`: is missing"),
            (json!({"oauth": {"access_tokn": "hidden"}, "credentials": ["u"]}), "`oauth.access_tokn`: is not known"),
            (json!({"oauth": {"token_url": "http://hidden"}, "credentials": ["u"]}), "`oauth.client_id`: is missing"),
        ] {
            let message = rejection(change);
            assert!(message.starts_with(start) && !message.contains("hidden"), "{message}");
        }
    }

    #[test]
    fn takes_pythons_spellings_of_host_and_security() {
        let read = |value: Value| {
            let map = value.as_object().expect("an object").clone();
            let (host, port) = mailhost(Options(&map)).expect("good");
            (host, port, security(Options(&map), port).expect("good"))
        };
        let is = |host: &str, port, security| (host.to_owned(), port, security);
        assert_eq!(read(json!({"mailhost": "h"})), is("h", None, Security::None));
        assert_eq!(read(json!({"mailhost": "h:587", "secure": []})), is("h", Some(587), Security::StartTls));
        assert_eq!(read(json!({"mailhost": ["h", 465]})), is("h", Some(465), Security::Tls));
        assert_eq!(read(json!({"mailhost": "2001:db8::1", "tls": "tls"})), is("2001:db8::1", None, Security::Tls));
    }
}
