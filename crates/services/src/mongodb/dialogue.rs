//! The conversation: messages in, answers and events out.

use std::sync::Arc;

use aviary_event::LogData;
use aviary_service::{Dialogue, Facts, Outbox};

use super::bson::Document;
use super::codec::{self, Fault, Frame, Message, Request, Shape, opcode};
use super::commands;
use super::compress::Compressor;
use super::events;
use super::login::{Step, Waiting};
use super::persona::error;
use super::server::Server;
use super::{login, text};

/// What the server says to a browser.
const HTTP: &[u8] = b"HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 85\r\n\r\n\
    It looks like you are trying to access MongoDB over HTTP on the native driver port.\r\n";

/// What OP_QUERY gets where it is no more.
const REMOVED: &str = "The client driver may require an upgrade. For more details see \
    https://dochub.mongodb.org/core/legacy-opcode-removal";

/// Bytes of a violation that an event keeps.
const SAMPLE: usize = 4096;

/// How an answer to the request at hand goes out.
#[derive(Clone, Debug)]
pub(super) struct Envelope {
    request: i32,
    shape: Shape,
    silent: bool,
    packed_by: Option<Compressor>,
}

/// One connection.
pub(super) struct Mongo {
    pub(super) server: Arc<Server>,
    pub(super) facts: Facts,
    /// The number of the last answer. Those of one process rise over all its connections.
    number: i32,
    /// A login that has begun.
    pub(super) login: Option<login::Login>,
    /// Nonces given.
    pub(super) nonces: u32,
    /// Whether the driver said what it is.
    pub(super) introduced: bool,
    /// A proof that is being looked at, and how to answer then.
    pub(super) waiting: Option<(Waiting, Envelope)>,
}

/// What a command comes to.
pub(super) enum Answer {
    /// This.
    Document(Document),
    /// This, as a legacy query fails.
    Failed(Document),
    /// Nothing yet: a computation runs.
    Later(Waiting),
}

impl Mongo {
    pub(super) fn new(server: Arc<Server>, facts: Facts) -> Self {
        // A connection of a driver draws about three answers.
        let before = i32::try_from(facts.count.saturating_sub(1).saturating_mul(3)).unwrap_or(0);
        Self { server, facts, number: before, login: None, nonces: 0, introduced: false, waiting: None }
    }

    fn send(&mut self, envelope: &Envelope, failed: bool, document: &Document, out: &mut Outbox) {
        if !envelope.silent {
            self.number = self.number.saturating_add(1);
            let Envelope { request, shape, packed_by, .. } = envelope;
            out.reply(codec::answer(self.number, *request, shape, failed, document, *packed_by));
        }
    }

    fn violation(out: &mut Outbox, what: &str) {
        out.report(events::ERROR, LogData::new().with("action", "mongodb.error").with("error", what));
    }

    /// The bytes of a violation, for which OpenCanary's event has no key. It stands last, since how much came
    /// with them is a matter of luck.
    fn keep(out: &mut Outbox, what: &str, raw: &[u8]) {
        let raw = raw.get(..SAMPLE).unwrap_or(raw);
        out.report(events::MALFORMED, LogData::new().with("RAW", raw).with("REASON", what));
    }

    fn farewell(out: &mut Outbox) {
        out.report(events::CONNECTION, LogData::new().with("action", "mongodb.disconnect"));
    }

    /// Ends the connection without a word to the peer.
    fn leave(out: &mut Outbox, why: &str, raw: &[u8]) {
        Self::violation(out, why);
        Self::farewell(out);
        Self::keep(out, why, raw);
        out.close();
    }

    /// The end of a connection with what is there of a message.
    fn abandon(rest: &[u8], what: &str, out: &mut Outbox) {
        if rest.is_empty() {
            return Self::farewell(out);
        }
        Self::violation(out, what);
        Self::farewell(out);
        Self::keep(out, what, rest);
    }

    /// A message; `raw` is all of it.
    fn message(&mut self, message: Message<'_>, raw: &[u8], out: &mut Outbox) {
        let (mut opcode, mut packed_by, mut unpacked) = (message.opcode, None, None);
        if opcode == opcode::COMPRESSED {
            let offered =
                |number| Compressor::of_number(number).filter(|one| self.server.persona.compressors().contains(one));
            let inner = codec::read_compressed(message.body).and_then(|(opcode, length, number, packed)| {
                let compressor = offered(number)?;
                Some((opcode, compressor, compressor.unpack(packed, length)?))
            });
            let Some((inner, compressor, body)) = inner else {
                return Self::leave(out, "Malformed OP_COMPRESSED", raw);
            };
            (opcode, packed_by, unpacked) = (inner, Some(compressor), Some(body));
        }
        let body = unpacked.as_deref().unwrap_or(message.body);
        let read = match opcode {
            opcode::MSG => codec::read_msg(body),
            opcode::QUERY => codec::read_query(body),
            other if opcode::UNANSWERED.contains(&other) => {
                let what = format!("Unsupported opcode: {other}");
                Self::violation(out, &what);
                return Self::keep(out, &what, raw);
            }
            other => return Self::leave(out, &format!("Unsupported opcode: {other}"), raw),
        };
        let shape = if opcode == opcode::MSG { Shape::Msg } else { Shape::Query(Vec::new()) };
        let mut envelope = Envelope { request: message.request, shape, silent: false, packed_by };
        match read {
            Ok(request) => {
                envelope.shape = request.shape.clone();
                envelope.silent = request.silent;
                match self.request(request, out) {
                    Answer::Document(document) => self.send(&envelope, false, &document, out),
                    Answer::Failed(document) => self.send(&envelope, true, &document, out),
                    Answer::Later(waiting) if !waiting.is_guessed(&self.server, out.now()) => {
                        let answer = waiting.conclude(&[], out);
                        self.send(&envelope, false, &answer, out);
                    }
                    Answer::Later(waiting) => {
                        self.waiting = Some((waiting.clone(), envelope));
                        let server = Arc::clone(&self.server);
                        out.compute(move || waiting.guess(&server));
                    }
                }
            }
            Err(Fault::Fatal(why)) => Self::leave(out, why, raw),
            Err(Fault::Bson) => {
                Self::violation(out, "Invalid BSON");
                Self::keep(out, "Invalid BSON", raw);
                let answer = self.server.persona.bad_bson();
                self.send(&envelope, false, &answer, out);
            }
            Err(Fault::Located(code, text)) => {
                Self::violation(out, text);
                Self::keep(out, text, raw);
                self.send(&envelope, false, &error(text, code, &format!("Location{code}")), out);
            }
        }
    }

    fn request(&mut self, request: Request, out: &mut Outbox) -> Answer {
        let Request { shape, document: mut command, .. } = request;
        let name = command.0.first().map(|(name, _)| name.clone()).unwrap_or_default();
        let database = match &shape {
            Shape::Msg => command.text("$db").map(<[u8]>::to_vec),
            Shape::Query(collection) => {
                self.log_command(&[b"query:", collection.as_slice()].concat(), &command, out);
                let Some(database) = collection.strip_suffix(b".$cmd") else {
                    return Answer::Failed(self.legacy_find(collection));
                };
                if self.server.persona.limits_op_query() && !commands::goes_by_query(&name) {
                    let text = [b"Unsupported OP_QUERY command: ", name.as_slice(), b". ", REMOVED.as_bytes()].concat();
                    return Answer::Document(error(text, 352, "UnsupportedOpQueryCommand"));
                }
                // The server makes it a command of today, which is what its errors show.
                command = command.with("$db", super::bson::Bson::Text(database.to_vec()));
                Some(database.to_vec())
            }
        };
        let is_hello = matches!(name.as_slice(), b"hello" | b"isMaster" | b"ismaster");
        let begins_login = matches!(name.as_slice(), b"saslStart" | b"authenticate");
        if shape == Shape::Msg && !is_hello && !begins_login {
            let shown: &[u8] = if name.is_empty() { b"unknown" } else { &name };
            self.log_command(shown, &command, out);
        }
        let Some(database) = database else {
            let text = "OP_MSG requests require a $db argument";
            return Answer::Document(error(text, 40571, "Location40571"));
        };
        self.run(&name, &database, &command, out)
    }

    /// 20001 as OpenCanary writes it. The field that says the database of OP_QUERY is ours.
    fn log_command(&self, name: &[u8], command: &Document, out: &mut Outbox) {
        let data =
            LogData::new().with("action", "mongodb.command").with("command", name).with("query", text::python(command));
        out.report(events::COMMAND, data);
    }

    fn legacy_find(&self, collection: &[u8]) -> Document {
        use super::bson::Bson;
        let (text, code) = if self.server.persona.limits_op_query() {
            (format!("OP_QUERY is no longer supported. {REMOVED}").into_bytes(), 5_739_101)
        } else {
            ([b"not authorized for query on ", collection].concat(), 13)
        };
        Document::default().with("$err", Bson::Text(text)).with("code", code).with("ok", 0.0)
    }

    fn run(&mut self, name: &[u8], database: &[u8], command: &Document, out: &mut Outbox) -> Answer {
        let server = Arc::clone(&self.server);
        let persona = &server.persona;
        let fine = || Document::default().with("ok", 1.0);
        let shown = || text::shell(command);
        let done = match name {
            b"hello" if persona.has_hello() => self.hello(command, false, out),
            b"isMaster" | b"ismaster" => self.hello(command, true, out),
            b"ping" | b"logout" | b"endSessions" => fine(),
            b"buildInfo" | b"buildinfo" => persona.build_info(),
            b"whatsmyuri" => Document::default().with("you", self.facts.peer.to_string().as_str()).with("ok", 1.0),
            b"connectionStatus" => {
                let nobody = || std::iter::empty::<Document>().collect::<super::bson::Bson>();
                let info =
                    Document::default().with("authenticatedUsers", nobody()).with("authenticatedUserRoles", nobody());
                Document::default().with("authInfo", info).with("ok", 1.0)
            }
            b"getnonce" if persona.has_getnonce() => self.legacy_nonce(),
            b"saslStart" => return self.step(Step::Start, database, command, out),
            b"saslContinue" => return self.step(Step::Continue, database, command, out),
            b"authenticate" => return self.step(Step::Authenticate, database, command, out),
            name if !commands::exists(name) || name == b"hello" => persona.unknown_command(name, &shown()),
            name if commands::is_admin_only(name) && database != b"admin" => {
                error([name, b" may only be run against the admin database."].concat(), 13, "Unauthorized")
            }
            name => persona.unauthorized(name, database, &shown()),
        };
        Answer::Document(done)
    }
}

impl Dialogue for Mongo {
    fn open(&mut self, out: &mut Outbox) {
        out.report(events::CONNECTION, LogData::new().with("action", "mongodb.connection"));
    }

    fn feed(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        match codec::frame(input) {
            Frame::Incomplete => 0,
            Frame::Http => {
                // OpenCanary's words for what the letters say as a length.
                let what = "Invalid message length: 542393671";
                Self::violation(out, what);
                out.reply(HTTP);
                Self::farewell(out);
                Self::keep(out, what, input);
                out.close();
                input.len()
            }
            Frame::BadLength(length) => {
                Self::leave(out, &format!("Invalid message length: {length}"), input);
                input.len()
            }
            Frame::Message(message) => {
                let length = codec::HEADER.saturating_add(message.body.len());
                self.message(message, input.get(..length).unwrap_or(input), out);
                if out.is_closing() { input.len() } else { length }
            }
        }
    }

    fn computed(&mut self, result: Vec<u8>, out: &mut Outbox) {
        if let Some((waiting, envelope)) = self.waiting.take() {
            let answer = waiting.conclude(&result, out);
            self.send(&envelope, false, &answer, out);
        }
    }

    fn ended(&mut self, rest: &[u8], out: &mut Outbox) {
        Self::abandon(rest, "The message ends early", out);
    }

    fn expired(&mut self, rest: &[u8], out: &mut Outbox) {
        Self::abandon(rest, "The message does not go on", out);
    }

    fn overflowed(&mut self, input: &[u8], out: &mut Outbox) {
        // OpenCanary's words.
        Self::leave(out, "Buffer overflow attempt", input);
    }
}
