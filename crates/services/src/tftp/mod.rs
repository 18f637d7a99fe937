//! TFTP ([RFC 1350], [RFC 2347] to [RFC 2349]): tftpd-hpa with decoy files, and a place to upload to.
//!
//! Requests are read and refused as tftpd-hpa 5.2 does, byte for byte as measured, each answer from a port of
//! its own. Names of `tftp.files` are served, any other is not found. What is written goes to the quarantine
//! with its digest, up to a size; `tftp.uploads` off plays the server that takes no new files.
//!
//! Nobody gets more than it sent before it has answered from where it claims to be. A request with options
//! is answered by them alone, which is small. The first block of one without is not, unless its source has
//! proven itself lately: such a client is sent an empty block 0 instead, and proves itself by repeating its
//! request, or its acknowledgement, to the new port. An error longer than
//! the request goes without its text.
//!
//! Events: 10001 for each request, 31800 for its options, 31801 and 31802 for what came of a download and
//! an upload, 31803 for what is no request.
//!
//! LIMIT: nothing is sent again by our own clock; who lost a packet asks again.
//!
//! Tried with tftp-hpa's client, curl, nmap and Python sockets.
//!
//! [RFC 1350]: https://www.rfc-editor.org/rfc/rfc1350
//! [RFC 2347]: https://www.rfc-editor.org/rfc/rfc2347
//! [RFC 2349]: https://www.rfc-editor.org/rfc/rfc2349

mod codec;
mod content;
mod events;
#[cfg(test)]
mod tests;
mod transfer;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use aviary_config::{Key, Settings, Shape};
use aviary_event::LogData;
use aviary_service::{Endpoint, Entry, Facts, Limits, Materials, Outbox, Protocol, Rejection, Security, Service};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::Value;

use self::codec::{Mode, Words, code};
use self::content::{Content, Files, Forms};
use self::events::{OPTIONS, OTHER_INPUT, REQUEST};
use self::transfer::{Download, Refusal, Upload};

/// The registry's entry.
pub(crate) static ENTRY: Entry = Entry {
    name: "tftp",
    summary: "tftpd-hpa with decoy files; uploads go to the quarantine",
    opencanary: "CanaryTftp in opencanary.modules.tftp",
    keys: KEYS,
    kinds: &[events::REQUEST, events::OPTIONS, events::DOWNLOAD, events::UPLOAD, events::OTHER_INPUT],
    build: &build,
};

static KEYS: &[Key] = &[
    Key { name: "tftp.enabled", shape: Shape::Flag, default: "false", doc: "Whether the TFTP service runs." },
    Key { name: "tftp.port", shape: Shape::Port, default: "69", doc: "Its UDP port." },
    Key {
        name: "tftp.files",
        shape: Shape::List,
        default: r#"["startup-config", "running-config", "router-confg", "pxelinux.cfg/default"]"#,
        doc: "Decoy files: names that end in -config, -confg, .cfg or .conf or begin with pxelinux.cfg/, whose content is made up, or objects with `name` and `path` of a file of yours.",
    },
    Key {
        name: "tftp.uploads",
        shape: Shape::Flag,
        default: "true",
        doc: "Whether files may be uploaded, to the quarantine.",
    },
    Key {
        name: "tftp.max_upload_kb",
        shape: Shape::Int { min: 1, max: 65_536 },
        default: "4096",
        doc: "Longest upload, in KiB.",
    },
];

/// Longest decoy of the operator's, in bytes.
const LONGEST_FILE: u64 = 1024 * 1024;

struct TftpService {
    port: u16,
    files: Files,
    uploads: bool,
    /// Bytes.
    most: u64,
}

impl Service for TftpService {
    fn endpoints(&self) -> Vec<Endpoint> {
        vec![Endpoint {
            port: self.port,
            protocol: Protocol::Udp,
            label: "tftp".to_owned(),
            security: Security::Plain,
            try_line: "curl -m 5 tftp://{host}:{port}/startup-config",
        }]
    }

    fn datagram(&self, _endpoint: usize, facts: &Facts, bytes: &[u8], out: &mut Outbox) {
        let opcode = match codec::u16_at(bytes, 0) {
            Some(1) => "READ",
            Some(2) => "WRITE",
            _ => return other("no request", bytes, out),
        };
        // As OpenCanary takes it apart: five bytes at least, and one NUL.
        let mut fields = bytes.get(2..).unwrap_or_default().split(|byte| *byte == 0);
        match (fields.next(), fields.next()) {
            (Some(name), Some(mode)) if bytes.len() >= 5 => {
                out.report(&REQUEST, LogData::new().with("FILENAME", name).with("MODE", mode).with("OPCODE", opcode));
            }
            _ => other("a request without a mode", bytes, out),
        }
        let mut words = Words::of(bytes);
        let answered = match opcode {
            "READ" => self.read(&mut words, out),
            _ => self.write(&mut words, facts.count, out),
        };
        if let Err((code, text)) = answered {
            out.converse(Box::new(Refusal(code, text)));
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            idle: Duration::from_secs(15),
            total: Duration::from_secs(600),
            received: self.most.saturating_mul(2).saturating_add(1024 * 1024),
            ..Limits::default()
        }
    }
}

fn other(reason: &str, bytes: &[u8], out: &mut Outbox) {
    out.report(&OTHER_INPUT, LogData::new().with("REASON", reason).with("DATA", bytes));
}

/// Why a request is refused: code and text.
type Refused = (u16, &'static str);

impl TftpService {
    /// Name and mode of a request, read and refused in tftpd-hpa's order.
    fn request<'a>(words: &mut Words<'a>) -> Result<(&'a [u8], Mode, &'a [u8]), Refused> {
        let mut word = || match words.next() {
            Some(Ok(word)) => Ok(word),
            Some(Err(())) => Err((code::ILLEGAL, "Request not null-terminated")),
            None => Err((code::ILLEGAL, "Missing mode")),
        };
        let (name, text) = (word()?, word()?);
        let mode = match text.to_ascii_lowercase().as_slice() {
            b"octet" => Mode::Octet,
            b"netascii" => Mode::Netascii,
            _ => return Err((code::ILLEGAL, "Unknown mode")),
        };
        if name.iter().all(|byte| matches!(byte, b'.' | b'/')) && !name.windows(2).any(|two| two == b"..") {
            return Err((code::UNDEFINED, "Is a directory"));
        }
        Ok((name, mode, text))
    }

    fn read(&self, words: &mut Words<'_>, out: &mut Outbox) -> Result<(), Refused> {
        let (name, mode, _) = Self::request(words)?;
        tell_options(name, words, out);
        let content = self.files.find(name, mode).ok_or((code::NOT_FOUND, "File not found"))?;
        let options = codec::options(words.clone(), mode, content.len())?;
        out.converse(Box::new(Download::new(name, options, content)));
        Ok(())
    }

    fn write(&self, words: &mut Words<'_>, count: u64, out: &mut Outbox) -> Result<(), Refused> {
        let (name, mode, text) = Self::request(words)?;
        tell_options(name, words, out);
        if !self.uploads {
            let is_there = self.files.find(name, mode).is_some();
            return Err(if is_there {
                (code::ACCESS, "Access violation")
            } else {
                (code::NOT_FOUND, "File not found")
            });
        }
        let options = codec::options(words.clone(), mode, 0)?;
        out.converse(Box::new(Upload::new(name, text, options, count, self.most)));
        Ok(())
    }
}

fn tell_options(name: &[u8], words: &Words<'_>, out: &mut Outbox) {
    let text = codec::options_as_text(words.clone());
    if !text.is_empty() {
        out.report(&OPTIONS, LogData::new().with("FILENAME", name).with("OPTIONS", text));
    }
}

fn build(materials: &Materials<'_>) -> Result<Box<dyn Service>, Rejection> {
    let settings = materials.settings;
    let kilobytes = u64::try_from(settings.int("tftp.max_upload_kb")).unwrap_or(1);
    let seed = materials.vault.slot("tftp-seed", Box::new(random));
    Ok(Box::new(TftpService {
        port: settings.port("tftp.port"),
        files: Files {
            files: files(settings)?,
            host_name: materials.host_name.to_owned(),
            seed,
            made: OnceLock::new(),
        },
        uploads: settings.flag("tftp.uploads"),
        most: kilobytes.saturating_mul(1024),
    }))
}

/// 32 random bytes, drawn once and kept in the vault.
fn random() -> Vec<u8> {
    let mut bytes = vec![0; 32];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => bytes,
        // Without randomness there is no secret; the vault tries again at the next start.
        Err(_) => Vec::new(),
    }
}

fn files(settings: &Settings) -> Result<BTreeMap<String, Content>, Rejection> {
    let refused = |why: String| Rejection::new("tftp.files", why);
    let mut files = BTreeMap::new();
    for item in settings.list("tftp.files") {
        let (name, content) = match &item {
            Value::String(name) => {
                let content = Content::for_name(name).ok_or_else(|| {
                    refused(format!("nothing can be made up for `{name}`; give an object with `name` and `path`"))
                })?;
                (name, content)
            }
            Value::Object(fields) => {
                let text = |key: &str| fields.get(key).and_then(Value::as_str);
                let (Some(Value::String(name)), Some(path)) = (fields.get("name"), text("path")) else {
                    return Err(refused("each object has `name` and `path`, both texts".to_owned()));
                };
                (name, Content::Given(file(path).map_err(refused)?))
            }
            _ => return Err(refused("each item is a name, or an object with `name` and `path`".to_owned())),
        };
        files.insert(name.trim_start_matches('/').to_owned(), content);
    }
    Ok(files)
}

fn file(path: &str) -> Result<Forms, String> {
    let unreadable = |error: std::io::Error| format!("`{path}` cannot be read: {error}");
    if std::fs::metadata(path).map_err(unreadable)?.len() > LONGEST_FILE {
        return Err(format!("`{path}` is longer than 1 MiB"));
    }
    std::fs::read(path).map(|bytes| Forms::new(&bytes)).map_err(unreadable)
}
