//! Logins: how each mechanism begins, what is reported of it, and how it fails.

use aviary_event::{LogData, Timestamp};
use aviary_service::Outbox;
use sha2::{Digest as _, Sha256};

use super::bson::{Bson, Document};
use super::dialogue::{Answer, Mongo};
use super::events;
use super::persona::{error, failed_login};
use super::scram::{self, Conversation, Hash, Proof};
use super::server::Server;
use super::text;

/// Longest name of a user whose password is guessed.
const LONGEST_USER: usize = 256;

/// Which command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// `saslStart`
    Start,
    /// `saslContinue`
    Continue,
    /// `authenticate`
    Authenticate,
}

/// A login that waits for its next message.
#[derive(Clone, Debug)]
pub(super) enum Login {
    /// SCRAM.
    Scram {
        /// The server's side.
        conversation: Box<Conversation>,
        /// The database of the user.
        database: Vec<u8>,
    },
    /// MONGODB-CR: a nonce was given.
    Nonce(String),
}

/// A proof that came.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    conversation: Box<Conversation>,
    database: Vec<u8>,
    proof: Proof,
}

impl Waiting {
    /// Whether the password is guessed at all: who floods with new users gets the same answer without.
    pub(super) fn is_guessed(&self, server: &Server, now: Timestamp) -> bool {
        let is_short = self.conversation.user.len() <= LONGEST_USER && self.database.len() <= LONGEST_USER;
        is_short && server.may_guess(&self.database, &self.conversation, now)
    }

    /// The password when it is a planted or a common one; runs off the event loop. Empty when it is none.
    pub(super) fn guess(&self, server: &Server) -> Vec<u8> {
        let candidates = server.candidates(&self.database, &self.conversation);
        scram::guess(self.conversation.hash, &candidates, &self.proof).unwrap_or_default()
    }

    /// Reports the credential and gives the answer.
    pub(super) fn conclude(&self, password: &[u8], out: &mut Outbox) -> Document {
        use base64::Engine as _;
        let Self { conversation, database, proof } = self;
        let (_, iterations) = conversation.hash.costs();
        let mut data = credential(mechanism_of(conversation.hash), database, &conversation.user)
            .with("AUTH_MESSAGE", proof.message.as_slice())
            .with("ITERATIONS", iterations)
            .with("PROOF", proof.sent.as_slice())
            .with("SALT", base64::engine::general_purpose::STANDARD.encode(&conversation.salt));
        if !password.is_empty() {
            data.insert("PASSWORD", password);
        }
        out.report(events::CREDENTIAL, data);
        failed_login()
    }
}

const fn mechanism_of(hash: Hash) -> &'static str {
    match hash {
        Hash::Sha1 => "SCRAM-SHA-1",
        Hash::Sha256 => "SCRAM-SHA-256",
    }
}

fn credential(mechanism: &str, database: &[u8], user: &[u8]) -> LogData {
    LogData::new().with("MECHANISM", mechanism).with("DATABASE", database).with("USERNAME", user)
}

/// The event of a login that begins, as OpenCanary writes it.
fn attempt(user: &[u8], mechanism: &[u8], command: &Document, out: &mut Outbox) {
    let data = LogData::new()
        .with("action", "mongodb.auth_attempt")
        .with("auth_data", text::python_login(command))
        .with("mechanism", mechanism)
        .with("username", user);
    out.report(events::ATTEMPT, data);
}

impl Mongo {
    /// A command of a login.
    pub(super) fn step(&mut self, step: Step, database: &[u8], command: &Document, out: &mut Outbox) -> Answer {
        match step {
            Step::Start => Answer::Document(self.start(database, command, out)),
            Step::Authenticate => Answer::Document(self.authenticate(database, command, out)),
            Step::Continue => self.advance(command),
        }
    }

    /// A login that begins inside `hello`: its first answer, or none where it fails.
    pub(super) fn speculate(&mut self, command: &Document, out: &mut Outbox) -> Option<Document> {
        let database = command.text("db").unwrap_or(b"admin").to_vec();
        if command.get("authenticate").is_some() {
            self.authenticate(&database, command, out);
            return None;
        }
        let mut answer = self.start(&database, command, out);
        answer.0.retain(|(name, _)| name != b"ok");
        answer.get("conversationId").is_some().then_some(answer)
    }

    fn start(&mut self, database: &[u8], command: &Document, out: &mut Outbox) -> Document {
        let mechanism = command.text("mechanism").unwrap_or(b"SCRAM-SHA-1");
        let payload = command.payload("payload").unwrap_or_default();
        let plain = (mechanism == b"PLAIN").then(|| read_plain(&payload)).flatten();
        let user = match &plain {
            Some((user, _)) => user.clone(),
            None => scram::user_of(&payload).map_or_else(|| b"unknown".to_vec(), |(user, _)| user),
        };
        attempt(&user, mechanism, command, out);
        self.login = None;
        let server = std::sync::Arc::clone(&self.server);
        let hash = match mechanism {
            b"SCRAM-SHA-1" => Hash::Sha1,
            b"SCRAM-SHA-256" if server.persona.has_sha256() => Hash::Sha256,
            _ => {
                if let Some((user, password)) = plain {
                    out.report(events::CREDENTIAL, credential("PLAIN", database, &user).with("PASSWORD", password));
                }
                return server.persona.unknown_mechanism(mechanism, database);
            }
        };
        self.nonces = self.nonces.saturating_add(1);
        let random = Sha256::new().chain_update(self.facts.entropy).chain_update(self.nonces.to_le_bytes()).finalize();
        let random = random.first_chunk().copied().unwrap_or_default();
        let begun = Conversation::begin(hash, &payload, |user| server.salt(hash, database, user), random);
        let Some((conversation, first)) = begun else { return failed_login() };
        self.login = Some(Login::Scram { conversation: Box::new(conversation), database: database.to_vec() });
        Document::default()
            .with("conversationId", 1)
            .with("done", false)
            .with("payload", Bson::Binary(0, first))
            .with("ok", 1.0)
    }

    fn advance(&mut self, command: &Document) -> Answer {
        let Some(Login::Scram { conversation, database }) = self.login.take() else {
            return Answer::Document(error("No SASL session state found", 17, "ProtocolError"));
        };
        if command.number("conversationId") != Some(1) {
            return Answer::Document(error("sasl: Mismatched conversation id", 17, "ProtocolError"));
        }
        match conversation.finish(&command.payload("payload").unwrap_or_default()) {
            Some(proof) => Answer::Later(Waiting { conversation, database, proof }),
            None => Answer::Document(failed_login()),
        }
    }

    /// `getnonce` of MONGODB-CR.
    pub(super) fn legacy_nonce(&mut self) -> Document {
        self.nonces = self.nonces.saturating_add(1);
        let random = Sha256::new().chain_update(self.facts.entropy).chain_update(self.nonces.to_be_bytes()).finalize();
        let nonce: String = random.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let answer = Document::default().with("nonce", nonce.as_str()).with("ok", 1.0);
        self.login = Some(Login::Nonce(nonce));
        answer
    }

    /// MONGODB-X509 and MONGODB-CR.
    fn authenticate(&mut self, database: &[u8], command: &Document, out: &mut Outbox) -> Document {
        let user = command.text("user").or_else(|| command.text("username")).unwrap_or(b"unknown");
        let mechanism = command.text("mechanism").unwrap_or(b"MONGODB-CR");
        // OpenCanary's default is another.
        attempt(user, command.text("mechanism").unwrap_or(b"SCRAM-SHA-1"), command, out);
        let given = self.login.take();
        match mechanism {
            b"MONGODB-X509" => {
                out.report(events::CREDENTIAL, credential("MONGODB-X509", database, user));
                self.server.persona.refused_certificate()
            }
            b"MONGODB-CR" if self.server.persona.has_getnonce() => {
                let mut data = credential("MONGODB-CR", database, user);
                if let (Some(Login::Nonce(nonce)), Some(key)) = (given, command.text("key")) {
                    data.insert("NONCE", nonce);
                    data.insert("PROOF", key);
                }
                out.report(events::CREDENTIAL, data);
                error("auth failed", 18, "AuthenticationFailed")
            }
            other => self.server.persona.unknown_mechanism(other, database),
        }
    }
}

/// PLAIN (RFC 4616): an identity to act as, the user and the password between zero bytes.
fn read_plain(payload: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut parts = payload.splitn(3, |byte| *byte == 0).skip(1).map(<[u8]>::to_vec);
    Some((parts.next()?, parts.next()?))
}
