//! The conversation: frames, compounds, and which request goes where.

use std::sync::Arc;

use aviary_event::LogData;
use aviary_service::{Dialogue, Facts, Outbox};

use super::codec::{
    ASYNC, Answer, ERROR, Frame, HEADER, Header, Put as _, RELATED, SIGNED, SMB1, SMB2, WRITE_HEAD, command, frame,
    framed, u16_at,
};
use super::events;
use super::sealing::Sealing;
use super::server::Server;
use super::signing::preauth;
use super::state::{Connection, End, violation};
use super::status;
use super::upload::Stream;

/// Requests in a compound.
const COMPOUND: usize = 64;

/// Bytes of all answers to a compound; what comes behind them is refused.
const COMPOUND_ANSWERS: usize = 1024 * 1024;

/// The size that stands at the beginning of each request's body, by command.
const SIZES: [u16; 19] = [36, 25, 4, 9, 4, 57, 24, 24, 49, 49, 48, 57, 4, 4, 33, 32, 41, 33, 24];

/// What later parts of a compound go by.
#[derive(Debug, Default)]
struct Before {
    session: u64,
    tree: u32,
    open: Option<u64>,
    status: u32,
    /// The answers are as long as they may be: the rest is refused.
    full: bool,
}

/// One response in the making.
pub(super) struct Reply {
    pub(super) answer: Answer,
    pub(super) session: Option<u64>,
    pub(super) tree: Option<u32>,
    /// The file that it opened.
    pub(super) open: Option<u64>,
    /// The number under which it will be answered later.
    pub(super) later: Option<u64>,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self { answer, session: None, tree: None, open: None, later: None }
    }
}

/// One connection.
pub(super) struct Smb {
    connection: Connection,
    netbios: bool,
    /// A large WRITE whose data are coming.
    stream: Option<Stream>,
    /// The session whose encrypted message is answered.
    sealed: Option<u64>,
    /// A session that ends with the response that is being made, which its keys still protect.
    leaving: Option<u64>,
    finished: bool,
}

impl Smb {
    pub(super) fn new(server: Arc<Server>, facts: &Facts, netbios: bool) -> Self {
        Self {
            connection: Connection::new(server, facts),
            netbios,
            stream: None,
            sealed: None,
            leaving: None,
            finished: false,
        }
    }

    fn message(&mut self, message: &[u8], out: &mut Outbox) {
        if message.starts_with(SMB1) {
            return self.connection.smb1(message, out);
        }
        let mut before = Before::default();
        let mut responses: Vec<Vec<u8>> = Vec::new();
        let (mut at, mut answered) = (0_usize, 0_usize);
        for _ in 0..COMPOUND {
            let rest = message.get(at..).unwrap_or_default();
            let Some(header) = Header::decode(rest).filter(|header| header.flags & 1 == 0) else {
                violation("no request", rest, out);
                self.connection.end = Some(End::Close);
                break;
            };
            let next = usize::try_from(header.next).unwrap_or(usize::MAX);
            let part = if next == 0 { rest } else { rest.get(..next).unwrap_or(rest) };
            if next != 0 && (next % 8 != 0 || next < HEADER.saturating_add(4) || part.len() != next) {
                violation("a compound whose parts do not fit", rest, out);
                self.connection.end = Some(End::Close);
                break;
            }
            let room = COMPOUND_ANSWERS.saturating_sub(answered);
            if at > 0 && room == 0 {
                before.status = status::INSUFFICIENT_RESOURCES;
                before.full = true;
            }
            self.connection.limit(if at == 0 && next == 0 { usize::MAX } else { room });
            if let Some(response) = self.part(header, part, &mut before, out) {
                answered = answered.saturating_add(response.len());
                responses.push(response);
            }
            if next == 0 || self.connection.end.is_some() {
                break;
            }
            at = at.saturating_add(next);
        }
        self.send(responses, out);
        if let Some(id) = self.leaving.take() {
            self.connection.sessions.retain(|session| session.id != id);
        }
    }

    /// Sends the responses of one message as one: each but the last is padded to 8 bytes and says
    /// where the next begins; then each is signed.
    fn send(&mut self, mut responses: Vec<Vec<u8>>, out: &mut Outbox) {
        let last = responses.len().saturating_sub(1);
        let mut whole = Vec::new();
        for (number, response) in responses.iter_mut().enumerate() {
            if number < last {
                response.align(8);
                let next = u32::try_from(response.len()).unwrap_or(0).to_le_bytes();
                if let Some(field) = response.get_mut(20..24) {
                    field.copy_from_slice(&next);
                }
            }
            self.sign(response);
            whole.extend_from_slice(response);
        }
        if whole.is_empty() {
            return;
        }
        if let Some(id) = self.sealed {
            let session = self.connection.sessions.iter_mut().find(|session| session.id == id);
            let sealed = session.and_then(|session| session.sealing.as_mut()).and_then(|key| key.seal(id, &whole));
            match sealed {
                Some(sealed) => whole = sealed,
                None => return self.connection.end = Some(End::Close),
            }
        }
        self.connection.spend(whole.len());
        out.reply(framed(&whole));
    }

    /// An encrypted message: who cannot have a key is cut off, as Windows does.
    fn encrypted(&mut self, message: &[u8], out: &mut Outbox) {
        let session = Sealing::session(message).and_then(|id| self.connection.session(id));
        let opened = session.and_then(|session| Some((session.id, session.sealing.as_ref()?.open(message)?)));
        match opened {
            Some((id, inner)) if inner.starts_with(SMB2) => {
                self.sealed = Some(id);
                self.message(&inner, out);
                self.sealed = None;
            }
            _ => {
                violation("an encrypted message", message, out);
                self.connection.end = Some(End::Close);
            }
        }
    }

    /// Signs a response, unless it will be encrypted.
    fn sign(&self, response: &mut [u8]) {
        let Some(header) = Header::decode(response) else { return };
        if self.sealed.is_some() {
            let flags = (header.flags & !SIGNED).to_le_bytes();
            if let Some(field) = response.get_mut(16..20) {
                field.copy_from_slice(&flags);
            }
            return;
        }
        let session = self.connection.session(header.session).and_then(|session| session.signing.as_ref());
        if let (Some(signing), true) = (session, header.flags & SIGNED != 0) {
            signing.sign(response);
        }
    }

    /// One request: its response, or none.
    fn part(&mut self, mut header: Header, part: &[u8], before: &mut Before, out: &mut Outbox) -> Option<Vec<u8>> {
        let related = header.flags & RELATED != 0;
        if related {
            header.session = before.session;
            header.tree = before.tree;
        }
        let reply = if before.full || related && before.status & 0xc000_0000 == 0xc000_0000 {
            Reply::from(Answer::fail(before.status))
        } else {
            self.hash(&header, part);
            self.request(&header, part, before.open.filter(|_| related), out)?
        };
        before.session = reply.session.unwrap_or(header.session);
        before.tree = reply.tree.unwrap_or(header.tree);
        before.status = reply.answer.status;
        before.open = reply.open.or(before.open);
        let mut answer = header.answer(reply.answer.status);
        (answer.session, answer.tree) = (before.session, before.tree);
        if let Some(id) = reply.later {
            answer.flags |= ASYNC;
            answer.process = u32::try_from(id).unwrap_or(u32::MAX);
            answer.tree = 0;
        } else {
            answer.process = header.process;
        }
        if self.connection.session(answer.session).is_some_and(|session| session.signing.is_some()) {
            answer.flags |= SIGNED;
        }
        let mut response = Vec::with_capacity(HEADER.saturating_add(reply.answer.body.len()));
        answer.encode(&mut response);
        response.extend_from_slice(&reply.answer.body);
        self.hash_answer(&header, &answer, part, &response);
        Some(response)
    }

    /// 3.1.1 hashes what leads to a session, request by request.
    fn hash(&mut self, header: &Header, request: &[u8]) {
        let connection = &mut self.connection;
        if header.command == command::NEGOTIATE && connection.dialect.is_none() {
            connection.preauth = preauth(&connection.preauth, request);
        } else if header.command == command::SESSION_SETUP {
            let session =
                connection.sessions.iter_mut().find(|session| session.id == header.session && !session.stands);
            if let Some(session) = session {
                session.preauth = preauth(&session.preauth, request);
            }
        }
    }

    fn hash_answer(&mut self, header: &Header, answer: &Header, request: &[u8], response: &[u8]) {
        let connection = &mut self.connection;
        if header.command == command::NEGOTIATE {
            connection.preauth = preauth(&connection.preauth, response);
        } else if header.command == command::SESSION_SETUP
            && answer.status == status::MORE_PROCESSING_REQUIRED
            && let Some(session) = connection.sessions.iter_mut().find(|session| session.id == answer.session)
        {
            if header.session == 0 {
                session.preauth = preauth(&session.preauth, request);
            }
            session.preauth = preauth(&session.preauth, response);
        }
    }

    /// Does what a request asks for.
    fn request(&mut self, header: &Header, message: &[u8], related: Option<u64>, out: &mut Outbox) -> Option<Reply> {
        let connection = &mut self.connection;
        let size = SIZES.get(usize::from(header.command)).copied();
        if connection.dialect.is_none() && header.command != command::NEGOTIATE {
            violation("a request before negotiation", message, out);
            self.connection.end = Some(End::Close);
            return None;
        }
        if size.is_none() || size != u16_at(message, HEADER) {
            violation("a request of the wrong size", message, out);
            return Some(Answer::fail(status::INVALID_PARAMETER).into());
        }
        let answer = match header.command {
            command::NEGOTIATE if connection.dialect.is_some() => {
                violation("a second negotiation", message, out);
                self.connection.end = Some(End::Close);
                return None;
            }
            command::NEGOTIATE => connection.negotiate(message, out),
            command::SESSION_SETUP => {
                let (answer, session) = connection.session_setup(header, message, out);
                return Some(Reply { session: Some(session), ..answer.into() });
            }
            command::CANCEL => {
                let cancelled = connection.cancel(header);
                let responses: Vec<Vec<u8>> = cancelled.into_iter().collect();
                self.send(responses, out);
                return None;
            }
            command::ECHO => Answer::empty(),
            _ if connection.session(header.session).is_none() => Answer::fail(status::USER_SESSION_DELETED),
            command::LOGOFF => {
                connection.log_off(header.session, out);
                self.leaving = Some(header.session);
                Answer::empty()
            }
            command::TREE_CONNECT => return Some(connection.tree_connect(header, message, out)),
            _ => match connection.connected(header) {
                Err(status) => Answer::fail(status),
                Ok(_) => return Some(self.on_tree(header, message, related, out)),
            },
        };
        Some(answer.into())
    }

    /// Requests that work on a share.
    fn on_tree(&mut self, header: &Header, message: &[u8], related: Option<u64>, out: &mut Outbox) -> Reply {
        let connection = &mut self.connection;
        let answer = match header.command {
            command::TREE_DISCONNECT => connection.tree_disconnect(header, out),
            command::CREATE => return connection.create(header, message, out),
            command::CLOSE => {
                let (answer, notified) = connection.close(header, message, related, out);
                for response in notified {
                    self.send(vec![response], out);
                }
                Ok(answer)
            }
            command::FLUSH => connection.position(header, message, 72, related).map(|_| Answer::empty()),
            command::READ => connection.read(header, message, related, out),
            command::WRITE => connection.write(header, message, related, out),
            command::LOCK => connection.lock(header, message, related),
            command::IOCTL => connection.ioctl(header, message, related, out),
            command::QUERY_DIRECTORY => connection.query_directory(header, message, related, out),
            command::CHANGE_NOTIFY => return connection.change_notify(header, message, related),
            command::QUERY_INFO => connection.query_info(header, message, related, out),
            command::SET_INFO => connection.set_info(header, message, related, out),
            _ => Err(status::INVALID_PARAMETER),
        };
        answer.unwrap_or_else(Answer::fail).into()
    }

    /// A NetBIOS session request: called and calling name, each 34 bytes in half-ASCII.
    fn session_request(&mut self, names: &[u8], out: &mut Outbox) {
        let (called, calling) = (netbios_name(names, 1), netbios_name(names, 35));
        let data = LogData::new().with("NETBIOS_CALLED", called.as_slice()).with("NETBIOS_CALLING", calling.as_slice());
        out.report(events::NEGOTIATE, data);
        self.connection.client.name = Some(calling).filter(|name| !name.is_empty());
        out.reply([0x82, 0, 0, 0]);
    }

    /// Ends the connection when a message asked for that: what it leaves is told first.
    fn end(&mut self, out: &mut Outbox) {
        if let Some(end) = self.connection.end {
            self.finish(&[], "", out);
            match end {
                End::Close => out.close(),
                End::Reset => out.reset(),
            }
        }
    }

    /// The end, whoever makes it: what was written is told.
    fn finish(&mut self, rest: &[u8], why: &str, out: &mut Outbox) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.stream = None;
        if !rest.is_empty() {
            violation(why, rest, out);
        }
        self.connection.close_all(out);
    }
}

/// A name of the NetBIOS session service: two letters a byte, 16 bytes, the last of which is its type.
fn netbios_name(names: &[u8], at: usize) -> Vec<u8> {
    let encoded = names.get(at..).unwrap_or_default();
    let letters = encoded.get(..encoded.len().min(30)).unwrap_or_default();
    let mut name: Vec<u8> = letters
        .chunks_exact(2)
        .map(|pair| pair.iter().fold(0_u8, |byte, letter| byte << 4 | (letter.wrapping_sub(b'A') & 15)))
        .collect();
    while name.last().is_some_and(|byte| matches!(byte, b' ' | 0)) {
        name.pop();
    }
    name
}

impl Dialogue for Smb {
    fn open(&mut self, _out: &mut Outbox) {}

    fn feed(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        if let Some(mut stream) = self.stream.take() {
            let used = self.connection.stream(&mut stream, input, out);
            if stream.is_done() {
                let response = self.connection.stream_done(&stream);
                self.send(vec![response], out);
            } else {
                self.stream = Some(stream);
            }
            return used;
        }
        let used = match frame(input, self.netbios) {
            Frame::Incomplete => 0,
            Frame::KeepAlive => 4,
            Frame::SessionRequest(names, used) => {
                self.session_request(names, out);
                used
            }
            Frame::Message(message, used) => {
                self.message(message, out);
                used
            }
            Frame::Encrypted(message, used) => {
                self.encrypted(message, out);
                used
            }
            Frame::Large(head, length) => {
                self.stream = self.connection.stream_begin(head, length);
                if self.stream.is_none() {
                    violation("a message too long", head, out);
                    self.connection.end = Some(End::Close);
                }
                WRITE_HEAD
            }
            Frame::Bad(why) => {
                violation(why, input, out);
                self.connection.end = Some(End::Close);
                input.len()
            }
        };
        self.end(out);
        used
    }

    fn ended(&mut self, rest: &[u8], out: &mut Outbox) {
        self.finish(rest, "the end inside a message", out);
    }

    fn expired(&mut self, rest: &[u8], out: &mut Outbox) {
        self.finish(rest, "silence inside a message", out);
    }

    fn overflowed(&mut self, input: &[u8], out: &mut Outbox) {
        self.finish(input, "more than is read", out);
    }
}

/// The response of NEGOTIATE to a client that asked in SMB1.
pub(super) fn response_to_smb1(connection: &mut Connection, dialect: u16, out: &mut Outbox) {
    let answer = connection.negotiate_from_smb1(dialect, out);
    let header = Header { credits: 1, ..Header::default() }.answer(answer.status);
    let mut response = Vec::new();
    header.encode(&mut response);
    response.extend_from_slice(&answer.body);
    connection.spend(response.len());
    out.reply(framed(&response));
}

/// A response that comes later than its request: the header carries the number that the client was told.
pub(super) fn later(header: &Header, id: u64, status: u32) -> Vec<u8> {
    let mut answer = header.answer(status);
    answer.flags |= ASYNC;
    answer.process = u32::try_from(id).unwrap_or(u32::MAX);
    (answer.tree, answer.credits) = (0, 0);
    let mut response = Vec::new();
    answer.encode(&mut response);
    response.extend_from_slice(&ERROR);
    response
}
