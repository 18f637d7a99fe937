//! What outputs are asked for: which keys an output needs, which are secret, and what each means.

use aviary_output::Entry;

/// A key of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// Whether nothing is sent without it.
    pub required: bool,
    /// Whether it must not be shown.
    pub secret: bool,
    /// What it means.
    pub about: &'static str,
}

/// The keys of an output, in the order in which it names them.
#[must_use]
pub fn keys(entry: &Entry) -> Vec<Key> {
    let needed = NEEDED.iter().find(|(name, _)| *name == entry.name).map_or(&[][..], |(_, keys)| *keys);
    let key = |name: &&'static str| Key {
        name,
        required: needed.contains(name),
        secret: is_secret(entry.name, name),
        about: about(entry.name, name).unwrap_or_default(),
    };
    entry.options.iter().map(key).collect()
}

/// Whether a key of an output must not be shown: passwords and tokens, and whatever may hold one, such as the address of
/// a webhook.
#[must_use]
pub fn is_secret(output: &str, key: &str) -> bool {
    SECRET.contains(&key) || SECRET_THERE.contains(&(output, key))
}

/// Secret wherever they are.
const SECRET: [&str; 12] = [
    "api_key",
    "auth",
    "auth_key",
    "cookies",
    "credentials",
    "headers",
    "nkey",
    "oauth",
    "password",
    "secret",
    "token",
    "webhook_url",
];

/// Secret in one output, and something else in others.
const SECRET_THERE: [(&str, &str); 9] = [
    ("exec", "command"),
    ("http_form", "url"),
    ("nats", "servers"),
    ("nats", "url"),
    ("ntfy", "topic"),
    ("pushover", "user"),
    ("webhook", "data"),
    ("webhook", "params"),
    ("webhook", "url"),
];

/// Keys that an output needs.
const NEEDED: [(&str, &[&str]); 29] = [
    ("alertmanager", &["url"]),
    ("clickhouse", &["url"]),
    ("datagram", &["host"]),
    ("dingtalk", &["webhook_url"]),
    ("discord", &["webhook_url"]),
    ("dshield", &["userid", "auth_key"]),
    ("elasticsearch", &["url"]),
    ("email", &["mailhost", "fromaddr", "toaddrs"]),
    ("exec", &["command"]),
    ("feishu", &["webhook_url"]),
    ("file", &["filename"]),
    ("hpfeeds", &["host", "port", "ident", "secret", "channels"]),
    ("http_form", &["host", "url"]),
    ("hub", &["url"]),
    ("kafka", &["brokers", "topic"]),
    ("mattermost", &["webhook_url"]),
    ("mqtt", &["host"]),
    ("ntfy", &["topic"]),
    ("pushover", &["token", "user"]),
    ("rotating_file", &["filename"]),
    ("slack", &["webhook_url"]),
    ("socket", &["host"]),
    ("socket_json", &["host"]),
    ("splunk", &["url", "token"]),
    ("teams", &["webhook_url"]),
    ("telegram", &["token", "chat_id"]),
    ("timed_file", &["filename"]),
    ("webhook", &["url"]),
    ("wecom", &["webhook_url"]),
];

/// What a key means.
fn about(output: &str, key: &str) -> Option<&'static str> {
    let there = |(at, name, _): &&(&str, &str, &str)| *at == output && *name == key;
    let (_, _, about) =
        ABOUT.iter().find(there).or_else(|| ABOUT.iter().find(|(at, name, _)| at.is_empty() && *name == key))?;
    Some(about)
}

/// Output (empty for all of them), key, and what it means.
const ABOUT: [(&str, &str, &str); 109] = [
    ("", "ack", "Whether the receiver has to confirm that it stored"),
    ("", "ack_timeout", "Seconds until it has to"),
    ("", "acknowledge", "Whether the program says what it has taken"),
    ("", "address", "Host and port of the receiver, or the path of a Unix socket"),
    ("", "allow_redirects", "Whether redirects are followed; they are not"),
    ("", "api_key", "A key of the receiver's API"),
    ("", "app_name", "The name of the program"),
    ("", "append_nul", "Whether a NUL ends each message"),
    ("", "atTime", "The time of day at which a new file begins"),
    ("", "auth", "User and password, as a list of two"),
    ("", "auth_key", "The account's key"),
    ("", "backupCount", "Files that are kept"),
    ("", "batch", "How much goes out at once"),
    ("", "brokers", "The brokers, a list of host and port"),
    ("", "card", "What is added to the card"),
    ("", "cert", "The path of a certificate to show (PEM)"),
    ("", "channel", "The channel, where it is another than the webhook's own"),
    ("", "channels", "The broker's channels that messages go to"),
    ("", "chat_id", "The chat"),
    ("", "chunk_size", "Bytes of a datagram"),
    ("", "client_id", "The sender's name at the broker"),
    ("", "command", "The program and its arguments"),
    ("", "compression", "How messages are packed"),
    ("", "cookies", "Names and values of cookies"),
    ("", "credentials", "User and password, as a list of two"),
    ("", "data", "The body, with %(message)s or other fields in it"),
    ("", "database", "The database"),
    ("", "delay", "Whether the file is made with the first message"),
    ("", "device", "The device, where it is not all of them"),
    ("", "encoding", "The file's encoding"),
    ("", "errors", "What becomes of what the encoding does not have"),
    ("", "expire", "Seconds after which an emergency is no longer repeated"),
    ("", "facility", "The facility, by name or number"),
    ("", "filename", "The file"),
    ("", "format", "The form of the event"),
    ("", "framing", "How messages are told apart on a stream: octets or newline"),
    ("", "fromaddr", "The sender's address"),
    ("", "headers", "Names and values of headers"),
    ("", "host", "The receiver's name or address"),
    ("", "html", "Whether mails have a table in HTML as well"),
    ("", "ident", "The sender's name at the broker"),
    ("", "ignore", "Texts whose events are not sent"),
    ("", "index", "The index"),
    ("", "interval", "How often, or how much, before something new begins"),
    ("", "jetstream", "Whether a stream has to confirm each message"),
    ("", "key", "The key under which messages are filed"),
    ("", "labels", "Names and texts that every alert gets"),
    ("", "lifecycle", "Whether messages about a canary itself go there; channels need it not"),
    ("", "mailhost", "The mail server, or a list of server and port"),
    ("", "maxBytes", "Bytes after which a new file begins"),
    ("", "maxlen", "Entries that a stream or list keeps"),
    ("", "message", "The form of a message: json, cef or leef"),
    ("", "message_thread_id", "The topic within the chat"),
    ("", "method", "The request's method"),
    ("", "mode", "How it is written: a file's mode, or the kind of key"),
    ("", "nkey", "A seed to sign in with"),
    ("", "oauth", "An access token, or how to get one"),
    ("", "params", "Names and values of the query"),
    ("", "partition", "How partitions are chosen"),
    ("", "password", "The user's password"),
    ("", "per_minute", "Most messages in a minute"),
    ("", "pipeline", "The ingest pipeline"),
    ("", "port", "The receiver's port"),
    ("", "priority", "How loud it is"),
    ("", "protocol", "The protocol's version"),
    ("", "qos", "How surely the broker has it: 0, 1 or 2"),
    ("", "resolve_after", "Seconds until the alert counts as resolved"),
    ("", "retry", "Seconds between repetitions of an emergency"),
    ("", "sasl", "The mechanism to sign in with"),
    ("", "sd_id", "The name of the structured data"),
    ("", "secret", "What messages are signed with"),
    ("", "secure", "Whether, or with what, the connection is made safe"),
    ("", "server", "The server, where it is one's own"),
    ("", "servers", "Several addresses of one cluster"),
    ("", "settings", "Settings of the server for each insertion"),
    ("", "silent", "Whether it makes no sound"),
    ("", "socktype", "Datagrams or a stream"),
    ("", "sound", "The sound"),
    ("", "source", "The source that events are filed under"),
    ("", "sourcetype", "The source type that events are filed under"),
    ("", "status_code", "The answers that mean success"),
    ("", "stream", "stdout or stderr"),
    ("", "subject", "The subject line, with fields as in a template"),
    ("", "table", "The table"),
    ("", "template", "The text of a message, with %(summary)s, %(details)s and other fields"),
    ("", "thread_id", "The thread that messages go to"),
    ("", "timeout", "Seconds that a delivery may take"),
    ("", "tls", "Whether the connection is made over TLS"),
    ("", "toaddrs", "The recipients' addresses"),
    ("", "token", "What the receiver knows the sender by"),
    ("", "topic", "The topic that messages go to"),
    ("", "transport", "How messages travel"),
    ("", "url", "The receiver's address"),
    ("", "user", "The user's name"),
    ("", "userid", "The account's number"),
    ("", "username", "The name under which messages appear"),
    ("", "utc", "Whether times are UTC"),
    ("", "verify", "false trusts any certificate; a path names the only trusted ones"),
    ("", "webhook_url", "The address that the service gave for this channel"),
    ("", "when", "The unit of the interval"),
    ("dshield", "address", "The address that the reports name as the reporter's"),
    ("email", "auth", "How to sign in: plain, login, cram-md5 or xoauth2"),
    ("hub", "key", "The path of the certificate's key (PEM)"),
    ("mqtt", "username", "The user's name at the broker"),
    ("nats", "credentials", "The path of a credentials file"),
    ("nats", "stream", "The stream that must take messages"),
    ("nats", "subject", "The subject that messages go to"),
    ("pushover", "user", "The key of a user or group"),
    ("redis", "database", "The database's number"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ALL;
    use aviary_output::Blueprint;
    use serde_json::Map;

    #[test]
    fn every_key_of_every_output_says_what_it_means() {
        for entry in ALL {
            for key in keys(entry) {
                assert!(!key.about.is_empty(), "{}: {}", entry.name, key.name);
            }
        }
        for (output, key, _) in ABOUT {
            let known =
                ALL.iter().any(|entry| (output.is_empty() || entry.name == output) && entry.options.contains(&key));
            assert!(known, "{output}: {key}");
        }
    }

    #[test]
    fn an_output_asks_for_what_it_is_said_to_need() {
        for entry in ALL {
            let options = Map::new();
            let blueprint =
                Blueprint { name: "t", options: &options, format: "%(message)s", extended: true, node_id: "n" };
            let asked = (entry.build)(&blueprint).err().map(|rejection| rejection.option);
            let keys = keys(entry);
            let needed: Vec<&str> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
            match asked {
                // Of two keys it needs one.
                Some(_) if entry.name == "nats" => assert!(needed.is_empty()),
                Some(asked) => assert!(needed.contains(&asked.as_str()), "{} asks for {asked}", entry.name),
                None => assert!(needed.is_empty(), "{} asks for nothing", entry.name),
            }
        }
        for (output, names) in NEEDED {
            let entry = ALL.iter().find(|entry| entry.name == output).expect("an output");
            assert!(names.iter().all(|name| entry.options.contains(name)), "{output}");
        }
    }

    #[test]
    fn what_lets_somebody_in_is_secret() {
        for entry in ALL {
            for key in keys(entry) {
                let telling = ["pass", "token", "secret", "cred", "webhook", "api_key", "auth", "nkey", "cookie"];
                if telling.iter().any(|part| key.name.contains(part)) {
                    assert!(key.secret, "{}: {}", entry.name, key.name);
                }
            }
        }
        assert!(is_secret("webhook", "url") && !is_secret("elasticsearch", "url"));
    }
}
