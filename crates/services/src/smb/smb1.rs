//! SMB1 ([MS-CIFS], [MS-SMB]): the negotiation that leads to SMB2, and for old clients a login.
//!
//! With `smb.smb1` off a client that speaks nothing newer is turned away as Windows without SMB1 and
//! Samba do. With it on, the login goes as far as connecting to a share; files are for SMB2.

use aviary_event::{LogData, PeerBytes};
use aviary_service::Outbox;
use aviary_wire::ntlm::{Authenticate, from_utf16};
use aviary_wire::spnego;

use super::codec::{Put as _, SMB1, filetime, framed, short, slice, u16_at, wide};
use super::dialogue::response_to_smb1;
use super::events;
use super::login::{Native, Outcome};
use super::negotiate::WILDCARD;
use super::state::{Connection, Session, violation};
use super::status;

/// The dialect by which a connection is known to speak SMB1.
pub(super) const DIALECT: u16 = 0x0100;

const ECHO: u8 = 0x2b;
const TRANSACTION: u8 = 0x25;
const TRANSACTION2: u8 = 0x32;
const TREE_DISCONNECT: u8 = 0x71;
const NEGOTIATE: u8 = 0x72;
const SESSION_SETUP: u8 = 0x73;
const LOGOFF: u8 = 0x74;
const TREE_CONNECT: u8 = 0x75;

/// Flags2: text is UTF-16, statuses are NTSTATUS, logins are extended.
const UNICODE: u16 = 0x8000;
const NT_STATUS: u16 = 0x4000;
const EXTENDED: u16 = 0x0800;

/// STATUS_INVALID_HANDLE: what a patched server says to the probe for MS17-010.
const INVALID_HANDLE: u32 = 0xc000_0008;

/// Bytes of the header.
const HEADER: usize = 32;

/// A message: header of identifier (4), command, status (4), flags, flags2 (2), process (2), signature
/// (8), reserved (2), tree, process, user and multiplex id (2 each); then count of words, words, count
/// of bytes (2), bytes.
struct Message<'a> {
    whole: &'a [u8],
    command: u8,
    flags: u8,
    flags2: u16,
    user: u16,
    words: &'a [u8],
    /// Where the bytes begin.
    at: usize,
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    fn read(whole: &'a [u8]) -> Option<Self> {
        let count = usize::from(*whole.get(HEADER)?).saturating_mul(2);
        let words = slice(whole, 33_usize, count)?;
        let at = 35_usize.saturating_add(count);
        let length = u16_at(whole, at.saturating_sub(2))?;
        Some(Self {
            whole,
            command: *whole.get(4)?,
            flags: *whole.get(9)?,
            flags2: u16_at(whole, 10)?,
            user: u16_at(whole, 28)?,
            words,
            at,
            bytes: slice(whole, at, length)?,
        })
    }

    const fn is_unicode(&self) -> bool {
        self.flags2 & UNICODE != 0
    }

    /// A text among the bytes from an offset, and the offset behind it. UTF-16 stands at even places of
    /// the message.
    fn text(&self, from: usize) -> (Vec<u8>, usize) {
        if !self.is_unicode() {
            let rest = self.bytes.get(from..).unwrap_or_default();
            let length = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
            let text = rest.get(..length).unwrap_or_default().to_vec();
            return (text, from.saturating_add(length).saturating_add(1));
        }
        let from = if self.at.saturating_add(from).is_multiple_of(2) { from } else { from.saturating_add(1) };
        let rest = self.bytes.get(from..).unwrap_or_default();
        let units = rest.chunks_exact(2).position(|unit| unit == [0, 0]);
        let length = units.map_or(rest.len(), |units| units.saturating_mul(2));
        let text = from_utf16(rest.get(..length).unwrap_or_default());
        (text, from.saturating_add(length).saturating_add(2))
    }

    /// The response: the header goes back with status, tree and user.
    fn answer(&self, status: u32, tree: Option<u16>, user: u16, words: &[u8], bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(SMB1);
        out.push(self.command);
        out.put32(status);
        out.push(self.flags & 0x18 | 0x80);
        out.put16(self.flags2 & (UNICODE | NT_STATUS | EXTENDED | 0x0001));
        out.extend_from_slice(&[0; 12]);
        match tree {
            Some(tree) => out.put16(tree),
            None => out.extend_from_slice(self.whole.get(24..26).unwrap_or(&[0; 2])),
        }
        out.extend_from_slice(self.whole.get(26..28).unwrap_or(&[0; 2]));
        out.put16(user);
        out.extend_from_slice(self.whole.get(30..32).unwrap_or(&[0; 2]));
        out.push(u8::try_from(words.len() / 2).unwrap_or(0));
        out.extend_from_slice(words);
        out.put16(short(bytes.len()));
        out.extend_from_slice(bytes);
        framed(&out)
    }

    fn fail(&self, status: u32, out: &mut Outbox) {
        out.reply(self.answer(status, None, self.user, &[], &[]));
    }
}

impl Connection {
    /// Answers a message of SMB1.
    pub(super) fn smb1(&mut self, whole: &[u8], out: &mut Outbox) {
        let Some(message) = Message::read(whole) else {
            violation("an SMB1 message that cannot be read", whole, out);
            return out.close();
        };
        match (message.command, self.dialect) {
            (NEGOTIATE, None) => self.smb1_negotiate(&message, out),
            (_, Some(DIALECT)) => self.smb1_request(&message, out),
            _ => {
                violation("SMB1 where it does not belong", whole, out);
                out.close();
            }
        }
    }

    fn smb1_negotiate(&mut self, message: &Message<'_>, out: &mut Outbox) {
        // Each dialect is 2, text, 0.
        let dialects: Vec<&[u8]> =
            message.bytes.split(|byte| *byte == 0).filter_map(|name| name.strip_prefix(&[2])).take(32).collect();
        let place = |wanted: &[u8]| dialects.iter().position(|name| *name == wanted);
        let windows = self.server.is_windows();
        let old = place(b"NT LANMAN 1.0").filter(|_| !windows).or_else(|| place(b"NT LM 0.12"));
        let newer = if place(b"SMB 2.???").is_some() { Some(WILDCARD) } else { place(b"SMB 2.002").map(|_| 0x0202) };
        let chosen = match (newer, old.filter(|_| self.server.smb1)) {
            (Some(WILDCARD), _) => "SMB 2.???",
            (Some(_), _) => "SMB 2.002",
            (None, Some(_)) => "NT LM 0.12",
            (None, None) => "",
        };
        let names: Vec<PeerBytes> = dialects.iter().map(|name| PeerBytes::from(*name)).collect();
        out.report(events::NEGOTIATE, LogData::new().with("DIALECTS", names).with("CHOSEN", chosen));
        if dialects.contains(&b"Samba".as_slice()) {
            self.client.arch = "Samba";
        }
        match (newer, old.filter(|_| self.server.smb1)) {
            (Some(dialect), _) => response_to_smb1(self, dialect, out),
            (None, Some(place)) => self.smb1_negotiated(message, place, out),
            // Windows without SMB1 has nothing to say; Samba says that it knows none of these.
            (None, None) if windows => out.reset(),
            (None, None) => {
                out.reply(message.answer(status::SUCCESS, None, message.user, &[0xff, 0xff], &[]));
                out.close();
            }
        }
    }

    /// The response: dialect (2), security mode, most requests and circuits (2 each), largest buffer and
    /// raw buffer, session key, capabilities (4 each), time (8), zone (2), length of the challenge.
    fn smb1_negotiated(&mut self, message: &Message<'_>, dialect: usize, out: &mut Outbox) {
        self.dialect = Some(DIALECT);
        let extended = message.flags2 & EXTENDED != 0;
        let mut words = Vec::new();
        words.put16(short(dialect));
        words.push(3); // users, challenge and response
        words.put16(50);
        words.put16(1);
        words.put32(0x4104);
        words.put32(0x0001_0000);
        words.put32(0);
        let capabilities = if self.server.is_windows() { 0x0001_f3fc } else { 0x0080_f3fd };
        words.put32(capabilities | if extended { 0x8000_0000 } else { 0 });
        words.put64(filetime(out.now().as_micros()));
        words.put16(0);
        words.push(if extended { 0 } else { 8 });
        let mut bytes = Vec::new();
        if extended {
            bytes.extend_from_slice(&self.server.guid());
            bytes.extend_from_slice(&spnego::offer(self.server.offer()));
        } else {
            bytes.extend_from_slice(&self.smb1_challenge());
            for name in [&self.server.group, &self.server.target.netbios_computer] {
                bytes.extend_from_slice(&wide(name));
                bytes.extend_from_slice(&[0, 0]);
            }
        }
        out.reply(message.answer(status::SUCCESS, None, message.user, &words, &bytes));
    }

    /// The challenge of logins that are not extended: one for the connection.
    fn smb1_challenge(&self) -> [u8; 8] {
        self.random("smb1", 0).first_chunk().copied().unwrap_or_default()
    }

    fn smb1_request(&mut self, message: &Message<'_>, out: &mut Outbox) {
        let setup = u16_at(message.words, 28);
        match message.command {
            SESSION_SETUP => self.smb1_session_setup(message, out),
            TREE_CONNECT => self.smb1_tree_connect(message, out),
            TREE_DISCONNECT => out.reply(message.answer(status::SUCCESS, None, message.user, &[], &[])),
            LOGOFF => out.reply(message.answer(status::SUCCESS, None, message.user, &[0xff, 0, 0, 0], &[])),
            ECHO => out.reply(message.answer(status::SUCCESS, None, message.user, &[1, 0], message.bytes)),
            // TRANS_PEEK_NMPIPE on no pipe is how scanners look for the hole of MS17-010.
            TRANSACTION if setup == Some(0x23) => {
                violation("a probe for MS17-010", message.whole, out);
                message.fail(INVALID_HANDLE, out);
            }
            // TRANS2_SESSION_SETUP has no use but to ask for DoublePulsar.
            TRANSACTION2 if setup == Some(0x0e) => {
                violation("a probe for DoublePulsar", message.whole, out);
                message.fail(status::NOT_IMPLEMENTED, out);
            }
            _ => {
                violation("an SMB1 request behind the login", message.whole, out);
                message.fail(status::ACCESS_DENIED, out);
            }
        }
    }

    /// Words: next command (4), largest buffer (2), requests (2), circuit (2), key (4); then with 12
    /// words length of the token (2), with 13 lengths of both responses (2 each), with 10 of one.
    fn smb1_session_setup(&mut self, message: &Message<'_>, out: &mut Outbox) {
        match message.words.len() {
            24 => self.smb1_extended(message, out),
            20 | 26 => self.smb1_plain(message, out),
            _ => {
                violation("a login of the wrong size", message.whole, out);
                message.fail(status::INVALID_PARAMETER, out);
            }
        }
    }

    fn smb1_extended(&mut self, message: &Message<'_>, out: &mut Outbox) {
        let length = usize::from(u16_at(message.words, 14).unwrap_or(0));
        let Some(token) = message.bytes.get(..length) else {
            violation("a token longer than its message", message.whole, out);
            return message.fail(status::INVALID_PARAMETER, out);
        };
        let (os, behind) = message.text(length);
        let (manager, _) = message.text(behind);
        let native = Native { os, manager };
        let (status, flags, token, session) = self.authenticate(u64::from(message.user), token, Some(&native), out);
        let user = u16::try_from(session & 0xffff).unwrap_or(0);
        // Users have 16 bits here.
        if let Some(known) = self.sessions.iter_mut().find(|known| known.id == session) {
            known.id = u64::from(user);
        }
        if status != status::SUCCESS && status != status::MORE_PROCESSING_REQUIRED {
            return message.fail(status, out);
        }
        let mut words = vec![0xff, 0, 0, 0];
        words.put16(flags & 1);
        words.put16(short(token.len()));
        let bytes = self.smb1_names(message, 43, token, false);
        out.reply(message.answer(status, None, user, &words, &bytes));
    }

    fn smb1_plain(&mut self, message: &Message<'_>, out: &mut Outbox) {
        let first = usize::from(u16_at(message.words, 14).unwrap_or(0));
        let second = if message.words.len() == 26 { usize::from(u16_at(message.words, 16).unwrap_or(0)) } else { 0 };
        let behind = first.saturating_add(second);
        let (Some(lm), Some(nt)) = (message.bytes.get(..first), message.bytes.get(first..behind)) else {
            violation("responses longer than their message", message.whole, out);
            return message.fail(status::INVALID_PARAMETER, out);
        };
        let (user, next) = message.text(behind);
        let (domain, next) = message.text(next);
        let (os, next) = message.text(next);
        let (manager, _) = message.text(next);
        let nobody = user.is_empty();
        let response = Authenticate {
            lm: lm.to_vec(),
            nt: if nobody { Vec::new() } else { nt.to_vec() },
            user,
            domain,
            ..Authenticate::default()
        };
        let native = Native { os, manager };
        let challenge = self.smb1_challenge();
        let outcome = self.judge(&response, &challenge, Some(&native), None, out);
        if outcome == Outcome::Refused {
            return message.fail(status::LOGON_FAILURE, out);
        }
        let id = self.count() & 0x7fff;
        if self.sessions.len() < super::state::SESSIONS {
            let anonymous = outcome == Outcome::Anonymous;
            let (user, domain) = (response.user, response.domain);
            self.sessions.push(Session { id, stands: true, anonymous, user, domain, ..Session::default() });
        }
        let mut words = vec![0xff, 0, 0, 0];
        words.put16(u16::from(outcome == Outcome::Guest));
        let bytes = self.smb1_names(message, 41, Vec::new(), true);
        out.reply(message.answer(status::SUCCESS, None, u16::try_from(id).unwrap_or(1), &words, &bytes));
    }

    /// Bytes, then the names of system and manager, and of the group when it is wanted.
    fn smb1_names(&self, message: &Message<'_>, at: usize, mut bytes: Vec<u8>, group: bool) -> Vec<u8> {
        let (os, manager) = self.server.product.native();
        let names = [os, manager, self.server.group.clone()];
        for name in names.iter().take(if group { 3 } else { 2 }) {
            if message.is_unicode() {
                if !at.saturating_add(bytes.len()).is_multiple_of(2) {
                    bytes.push(0);
                }
                bytes.extend_from_slice(&wide(name));
                bytes.extend_from_slice(&[0, 0]);
            } else {
                bytes.extend_from_slice(name.as_bytes());
                bytes.push(0);
            }
        }
        bytes
    }

    /// Words: next command (4), flags (2), length of the password (2). Bytes: password, path, service.
    fn smb1_tree_connect(&mut self, message: &Message<'_>, out: &mut Outbox) {
        let session = u64::from(message.user);
        if self.session(session).is_none() {
            return message.fail(status::USER_SESSION_DELETED, out);
        }
        let length = usize::from(u16_at(message.words, 6).unwrap_or(0));
        let (path, _) = message.text(length);
        let found = self.find_share(session, &wide(&String::from_utf8_lossy(&path)), out);
        let pipes = match found {
            Ok(pipes) => pipes,
            Err(status) => return message.fail(status, out),
        };
        let Some(tree) = self.add_tree(session, pipes) else {
            return message.fail(status::INSUFFICIENT_RESOURCES, out);
        };
        let words = [0xff, 0, 0, 0, 1, 0];
        let mut bytes = if pipes { b"IPC\0".to_vec() } else { b"A:\0".to_vec() };
        let system = if pipes { "" } else { "NTFS" };
        if message.is_unicode() {
            // Bytes begin at an odd place.
            if bytes.len().is_multiple_of(2) {
                bytes.push(0);
            }
            bytes.extend_from_slice(&wide(system));
            bytes.extend_from_slice(&[0, 0]);
        } else {
            bytes.extend_from_slice(system.as_bytes());
            bytes.push(0);
        }
        out.reply(message.answer(status::SUCCESS, u16::try_from(tree).ok(), message.user, &words, &bytes));
    }
}
