//! The conversation of a planted login that was let in: each request is reported, then answered.

use aviary_event::LogData;
use aviary_service::Outbox;

use super::codec::kind;
use super::dialogue::{Mssql, Stage};
use super::events::QUERY;
use super::instance::{self, Visitor};
use super::login::Login;
use super::rpc::{self, Transaction};
use super::tokens::{Dialect, Message, Tokens};

/// The number of a transaction, of which a session has one at a time.
const TRANSACTION: [u8; 8] = [1, 0, 0, 0, 0x34, 0, 0, 0];

/// Who is in, and how it reads tokens.
pub(super) struct Inside {
    visitor: Visitor,
    wide: bool,
}

impl Mssql {
    /// Lets a planted login in, or refuses it for its database.
    pub(super) fn let_in(&mut self, login: &Login, out: &mut Outbox) {
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let wanted = if login.database.is_empty() { "master".to_owned() } else { lossy(&login.database) };
        let mut tokens = Tokens::new(Dialect { wide: login.is_wide() }, &self.config.server);
        let Some(database) = instance::database(&wanted) else {
            let text = format!("Cannot open database \"{wanted}\" requested by the login. The login failed.");
            tokens.error(&Message::new(4060, 1, 11, text));
            tokens.error(&Message::new(18456, 1, 14, format!("Login failed for user '{}'.", lossy(&login.user))));
            tokens.done(true, None, false);
            let bytes = tokens.into_bytes();
            self.answer(&bytes, out);
            return self.close(out);
        };
        let visitor = Visitor {
            user: lossy(&login.user),
            host: lossy(&login.host),
            app: lossy(&login.app),
            database: database.to_owned(),
            spid: self.spid,
            variables: Vec::new(),
        };
        instance::welcome(&self.config, &visitor, login.tds, &mut tokens);
        let bytes = tokens.into_bytes();
        self.answer(&bytes, out);
        self.stage = Stage::Inside(Inside { visitor, wide: login.is_wide() });
    }

    /// A message of somebody who is in.
    pub(super) fn on_request(&mut self, kind: u8, message: &[u8], out: &mut Outbox) {
        let Stage::Inside(inside) = &mut self.stage else { return };
        let Inside { visitor, wide } = inside;
        let mut tokens = Tokens::new(Dialect { wide: *wide }, &self.config.server);
        let body = rpc::without_headers(message, *wide);
        let asked = LogData::new().with("DATABASE", visitor.database.as_str()).with("USERNAME", visitor.user.as_str());
        let mut data = match kind {
            kind::BATCH => {
                let query = rpc::text(body);
                instance::run(&self.config, visitor, &query, &mut tokens);
                asked.with("QUERY", query).with("REQUEST", "batch")
            }
            kind::RPC => match rpc::call(body) {
                Some(call) => {
                    // Statements of a call are run like a batch; other procedures are there and do nothing.
                    let query = call.statement().unwrap_or_default().to_owned();
                    let batch = if query.is_empty() { format!("exec {}", call.name) } else { query.clone() };
                    visitor.variables = call.parameters;
                    instance::run(&self.config, visitor, &batch, &mut tokens);
                    visitor.variables = Vec::new();
                    asked.with("QUERY", query).with("REQUEST", call.name)
                }
                None => {
                    tokens.done(true, None, false);
                    asked.with("DATA", message).with("REQUEST", "procedure call")
                }
            },
            kind::TRANSACTION => {
                let (word, change) = match rpc::transaction(body) {
                    Some(Transaction::Begin) => ("begin transaction", Some(8)),
                    Some(Transaction::Commit) => ("commit", Some(9)),
                    Some(Transaction::Rollback) => ("rollback", Some(10)),
                    None => ("transaction manager request", None),
                };
                if let Some(change) = change {
                    tokens.transaction(change, TRANSACTION);
                }
                tokens.done(false, None, false);
                asked.with("REQUEST", word)
            }
            _ => {
                tokens.attention();
                asked.with("REQUEST", "attention")
            }
        };
        // What is no text is in there as it was sent, too.
        let is_lossy =
            |key| data.get(key).and_then(|value| value.as_str()).is_some_and(|text| text.contains('\u{fffd}'));
        if is_lossy("QUERY") || is_lossy("REQUEST") {
            data.insert("DATA", message);
        }
        let bytes = tokens.into_bytes();
        self.report(&QUERY, data, out);
        self.answer(&bytes, out);
    }
}
