//! Named pipes: binds and calls are told by interface and number and answered as a guest is answered.

use std::collections::VecDeque;

use aviary_event::{LogData, PeerBytes};
use aviary_service::Outbox;
use aviary_wire::ntlm::{self, Authenticate, Challenge, Negotiate, from_utf16};
use aviary_wire::spnego;

use super::administration::{self, Done, Machine};
use super::codec::{Answer, Header, Put as _, slice, u32_at};
use super::events;
use super::interfaces::{self, Interface, NDR, PIPES, Process};
use super::rpc::{self, Auth, Fragment};
use super::state::{Connection, What, violation};
use super::status;

/// Bytes of a call, and of fragments that wait for their end.
const LONGEST: usize = 64 * 1024;

/// Bytes of arguments that an event holds.
const TOLD: usize = 2048;

/// Contexts of a pipe.
const BOUND: usize = 32;

/// Responses that wait to be read.
const WAITING: usize = 64;

/// An open pipe.
#[derive(Debug)]
pub(super) struct Pipe {
    name: &'static str,
    process: Process,
    input: Vec<u8>,
    output: VecDeque<Vec<u8>>,
    contexts: Vec<(u16, String)>,
    longest: u16,
    arguments: Vec<u8>,
    challenge: Option<[u8; 8]>,
}

/// What the peer did on a pipe.
enum Happening {
    Bind { uuid: String, version: String, accepted: bool },
    Call { uuid: String, number: u16, arguments: Vec<u8>, status: &'static str },
    Login { response: Box<Authenticate>, challenge: [u8; 8] },
    Wrong { why: &'static str, data: Vec<u8> },
}

impl Pipe {
    /// Opens a pipe: with `strict` only those that nobody in particular may open.
    pub(super) fn open(name: &str, strict: bool, windows: bool) -> Result<Self, u32> {
        let name = name.trim_start_matches('\\');
        let name = name
            .get(..5)
            .filter(|prefix| prefix.eq_ignore_ascii_case("PIPE\\"))
            .map_or(name, |prefix| name.strip_prefix(prefix).unwrap_or(name));
        let known = PIPES.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name));
        let (name, process, nobody, samba) = *known.ok_or(status::OBJECT_NAME_NOT_FOUND)?;
        if !windows && !samba {
            return Err(status::OBJECT_NAME_NOT_FOUND);
        }
        if strict && !nobody {
            return Err(status::ACCESS_DENIED);
        }
        Ok(Self {
            name,
            process,
            input: Vec::new(),
            output: VecDeque::new(),
            contexts: Vec::new(),
            longest: 4280,
            arguments: Vec::new(),
            challenge: None,
        })
    }

    /// The next message or as much of it as fits, and whether there is more of it.
    pub(super) fn take(&mut self, most: usize) -> Option<(Vec<u8>, bool)> {
        let mut message = self.output.pop_front()?;
        if message.len() <= most {
            return Some((message, false));
        }
        let rest = message.split_off(most);
        self.output.push_front(rest);
        Some((message, true))
    }

    /// Bytes that came, and what they amount to.
    fn feed(&mut self, data: &[u8], machine: &Machine<'_>, nonce: [u8; 8]) -> Vec<Happening> {
        let mut happened = Vec::new();
        self.input.extend_from_slice(data);
        let input = std::mem::take(&mut self.input);
        let mut rest = input.as_slice();
        loop {
            match rpc::fragment(rest) {
                Ok(Some((fragment, used))) => {
                    self.fragment(&fragment, machine, nonce, &mut happened);
                    rest = rest.get(used..).unwrap_or_default();
                }
                Ok(None) => break,
                Err(why) => {
                    happened.push(Happening::Wrong { why, data: rest.to_vec() });
                    self.output.push_back(rpc::refused(0));
                    rest = &[];
                    break;
                }
            }
        }
        self.input = rest.get(..rest.len().min(LONGEST)).unwrap_or_default().to_vec();
        while self.output.len() > WAITING {
            self.output.pop_front();
        }
        happened
    }

    fn fragment(
        &mut self,
        fragment: &Fragment<'_>,
        machine: &Machine<'_>,
        nonce: [u8; 8],
        happened: &mut Vec<Happening>,
    ) {
        match fragment.kind {
            rpc::BIND | rpc::ALTER_CONTEXT => self.bind(fragment, machine, nonce, happened),
            rpc::AUTH3 => {
                if let Some(auth) = fragment.auth {
                    self.login(auth, happened);
                }
            }
            rpc::REQUEST => self.call(fragment, machine, happened),
            _ => happened.push(Happening::Wrong { why: "a DCE/RPC packet of a server", data: fragment.body.to_vec() }),
        }
    }

    fn bind(&mut self, fragment: &Fragment<'_>, machine: &Machine<'_>, nonce: [u8; 8], happened: &mut Vec<Happening>) {
        let Some((longest, group, contexts)) = rpc::bind(fragment.body) else {
            happened.push(Happening::Wrong { why: "a bind that cannot be read", data: fragment.body.to_vec() });
            self.output.push_back(rpc::refused(fragment.call));
            return;
        };
        self.longest = longest;
        let mut results = Vec::new();
        for context in contexts {
            let features =
                context.encodings.iter().any(|encoding| encoding.starts_with(b"\x2c\x1c\xb7\x6c\x12\x98\x40\x45"));
            let served = interfaces::find(&context.uuid).is_some_and(|interface| self.serves(interface, machine));
            let ndr = context.encodings.contains(&NDR);
            results.push(match () {
                // Negotiation of features: none of them.
                () if features => (3, 0, [0; 20]),
                () if !served => (2, 1, [0; 20]),
                () if !ndr => (2, 2, [0; 20]),
                () => (0, 0, NDR),
            });
            if features {
                continue;
            }
            let accepted = served && ndr;
            // One interface with several encodings is one bind.
            let again = happened
                .iter()
                .any(|happening| matches!(happening, Happening::Bind { uuid, .. } if *uuid == context.uuid));
            if !again {
                let version = format!("{}.{}", context.version.0, context.version.1);
                happened.push(Happening::Bind { uuid: context.uuid.clone(), version, accepted: served });
            }
            if accepted && self.contexts.len() < BOUND {
                self.contexts.retain(|(id, _)| *id != context.id);
                self.contexts.push((context.id, context.uuid));
            }
        }
        let token = fragment.auth.map(|auth| self.security(auth, machine, nonce, happened)).unwrap_or_default();
        let group = if group == 0 { machine.group } else { group };
        self.output.push_back(rpc::bound(fragment, group, self.name, &results, &token));
    }

    fn serves(&self, interface: &Interface, machine: &Machine<'_>) -> bool {
        let directory = interface.process == Process::Directory && self.process == Process::Lsass;
        interface.process == self.process || directory && machine.server.target.in_domain()
    }

    /// The server's token for a bind that wants to authenticate.
    fn security(
        &mut self,
        auth: Auth<'_>,
        machine: &Machine<'_>,
        nonce: [u8; 8],
        happened: &mut Vec<Happening>,
    ) -> Vec<u8> {
        let Some(message) = ntlm::find(auth.token) else { return Vec::new() };
        if ntlm::message_type(message) != Some(1) {
            self.login(auth, happened);
            return if auth.token.starts_with(ntlm::SIGNATURE) { Vec::new() } else { spnego::completed() };
        }
        let offer = Negotiate::parse(message).unwrap_or_default();
        self.challenge = Some(nonce);
        let answer = Challenge::answer(&offer, nonce, machine.server.target.clone(), machine.micros).encode();
        if auth.token.starts_with(ntlm::SIGNATURE) { answer } else { spnego::incomplete(&answer) }
    }

    fn login(&mut self, auth: Auth<'_>, happened: &mut Vec<Happening>) {
        let message = ntlm::find(auth.token).unwrap_or_default();
        match (self.challenge.take(), Authenticate::parse(message)) {
            (Some(challenge), Ok(response)) => {
                happened.push(Happening::Login { response: Box::new(response), challenge });
            }
            _ => happened.push(Happening::Wrong {
                why: "an NTLM response that cannot be read, or to no challenge",
                data: message.to_vec(),
            }),
        }
    }

    fn call(&mut self, fragment: &Fragment<'_>, machine: &Machine<'_>, happened: &mut Vec<Happening>) {
        let Some((context, number, arguments)) = fragment.request() else {
            happened.push(Happening::Wrong { why: "a call that cannot be read", data: fragment.body.to_vec() });
            return;
        };
        let (first, last) = fragment.bounds();
        if first {
            self.arguments.clear();
        }
        let room = LONGEST.saturating_sub(self.arguments.len());
        self.arguments.extend_from_slice(arguments.get(..arguments.len().min(room)).unwrap_or_default());
        if !last {
            return;
        }
        let arguments = std::mem::take(&mut self.arguments);
        let uuid = self.contexts.iter().find(|(id, _)| *id == context).map(|(_, uuid)| uuid.clone());
        let interface = uuid.as_deref().and_then(interfaces::find);
        let done = match interface {
            None => Done::Fault(rpc::UNKNOWN_INTERFACE),
            // What is encrypted is not understood, and what is signed would have to be answered so.
            Some(_) if fragment.auth.is_some() => Done::Fault(rpc::ACCESS_DENIED),
            Some(interface) => administration::call(interface, number, &arguments, machine),
        };
        let status = match &done {
            Done::Answered(_) => "answered",
            Done::Denied(_) | Done::Fault(rpc::ACCESS_DENIED) => "access denied",
            Done::Fault(_) => "fault",
        };
        match done {
            Done::Answered(stub) | Done::Denied(stub) => {
                self.output.extend(rpc::responses(fragment.call, context, &stub, self.longest));
            }
            Done::Fault(status) => self.output.push_back(rpc::fault(fragment.call, context, status)),
        }
        happened.push(Happening::Call { uuid: uuid.unwrap_or_default(), number, arguments, status });
    }
}

impl Connection {
    /// Bytes for the pipe at that position.
    pub(super) fn pipe_input(
        &mut self,
        session: u64,
        position: usize,
        data: &[u8],
        out: &mut Outbox,
    ) -> Result<(), u32> {
        let number = self.count();
        let nonce = self.random("pipe", number).first_chunk().copied().unwrap_or_default();
        let server = std::sync::Arc::clone(&self.server);
        let group = u32::try_from(self.random_number("group", 0) & 0xffff).unwrap_or(1).max(1);
        let machine = Machine { server: &server, micros: out.now().as_micros(), group };
        let Some(What::Pipe(pipe)) = self.opens.get_mut(position).map(|open| &mut open.what) else {
            return Err(status::INVALID_PARAMETER);
        };
        let name = pipe.name;
        for happening in pipe.feed(data, &machine, nonce) {
            self.tell(session, name, happening, out);
        }
        Ok(())
    }

    fn tell(&mut self, session: u64, pipe: &'static str, happening: Happening, out: &mut Outbox) {
        let user = self.user_of(session);
        let named = |uuid: &str| interfaces::find(uuid).map_or("unknown", |interface| interface.name);
        match happening {
            Happening::Bind { uuid, version, accepted } => {
                let data = LogData::new()
                    .with("PIPE", pipe)
                    .with("INTERFACE", named(&uuid))
                    .with("UUID", uuid)
                    .with("VERSION", version)
                    .with("STATUS", if accepted { "bound" } else { "no such interface" })
                    .with("USERNAME", user);
                out.report(events::BIND, data);
            }
            Happening::Call { uuid, number, arguments, status } => {
                let operation = interfaces::find(&uuid).and_then(|interface| interface.call(number));
                let told = arguments.get(..arguments.len().min(TOLD)).unwrap_or_default();
                let data = LogData::new()
                    .with("PIPE", pipe)
                    .with("INTERFACE", named(&uuid))
                    .with("UUID", uuid)
                    .with("OPNUM", i64::from(number))
                    .with("OPERATION", operation.unwrap_or(""))
                    .with("ARGUMENTS", told)
                    .with("TEXTS", texts(&arguments))
                    .with("STATUS", status)
                    .with("USERNAME", user);
                out.report(events::CALL, data);
            }
            Happening::Login { response, challenge } => {
                self.report_login(&response, &challenge, None, None, "refused", out);
            }
            Happening::Wrong { why, data } => violation(why, &data, out),
        }
    }

    /// Reports that a pipe was opened, or why not.
    pub(super) fn report_pipe(&self, session: u64, name: &[u8], status: Option<u32>, out: &mut Outbox) {
        let said = match status {
            None => "opened",
            Some(status::ACCESS_DENIED) => "access denied",
            Some(_) => "no such pipe",
        };
        let data =
            LogData::new().with("PIPE", from_utf16(name)).with("STATUS", said).with("USERNAME", self.user_of(session));
        out.report(events::BIND, data);
    }

    /// Answers IOCTL: size 49, reserved, code, file id, input's place, output's place, flags.
    pub(super) fn ioctl(
        &mut self,
        header: &Header,
        message: &[u8],
        related: Option<u64>,
        out: &mut Outbox,
    ) -> Result<Answer, u32> {
        let fields = || Some((u32_at(message, 68)?, u32_at(message, 88)?, u32_at(message, 92)?, u32_at(message, 108)?));
        let (code, at, length, most) = fields().ok_or(status::INVALID_PARAMETER)?;
        let input = if length == 0 { &[][..] } else { slice(message, at, length).ok_or(status::INVALID_PARAMETER)? };
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let (status, output) = match code {
            // FSCTL_DFS_GET_REFERRALS, and _EX.
            0x0006_0194 | 0x0006_01b0 => {
                return Err(if self.server.is_windows() { status::FS_DRIVER_REQUIRED } else { status::NOT_FOUND });
            }
            // FSCTL_VALIDATE_NEGOTIATE_INFO: capabilities, GUID, security mode, dialect, as they were told.
            0x0014_0204 => {
                let dialect = self.dialect.unwrap_or_default();
                let mut told = Vec::new();
                told.put32(self.capabilities(dialect));
                told.extend_from_slice(&self.server.guid());
                told.put16(1);
                told.put16(dialect);
                (status::SUCCESS, told)
            }
            // FSCTL_PIPE_TRANSCEIVE.
            0x0011_c017 => {
                let position = self.position(header, message, 72, related)?;
                self.pipe_input(header.session, position, input, out)?;
                let Some(What::Pipe(pipe)) = self.opens.get_mut(position).map(|open| &mut open.what) else {
                    return Err(status::INVALID_DEVICE_REQUEST);
                };
                let (output, more) = pipe.take(most.min(64 * 1024)).unwrap_or_default();
                (if more { status::BUFFER_OVERFLOW } else { status::SUCCESS }, output)
            }
            // FSCTL_PIPE_WAIT.
            0x0011_0018 => (status::SUCCESS, Vec::new()),
            // FSCTL_PIPE_PEEK: state, bytes, messages, length.
            0x0011_400c => {
                let position = self.position(header, message, 72, related)?;
                let Some(What::Pipe(pipe)) = self.opens.get(position).map(|open| &open.what) else {
                    return Err(status::INVALID_DEVICE_REQUEST);
                };
                let waiting = pipe.output.front().map_or(0, Vec::len);
                let mut told = Vec::new();
                told.put32(3);
                told.put_len(waiting);
                told.put_len(pipe.output.len());
                told.put_len(waiting);
                (status::SUCCESS, told)
            }
            // FSCTL_CREATE_OR_GET_OBJECT_ID.
            0x0009_00c0 => {
                let position = self.position(header, message, 72, related)?;
                let place = self.file(position).map(|file| file.place).ok_or(status::INVALID_DEVICE_REQUEST)?;
                let number = u64::try_from(place).unwrap_or(0);
                let mut told = super::content::draw(self.server.seed.wait(), "file object", number).to_vec();
                told.resize(64, 0);
                (status::SUCCESS, told)
            }
            _ => return Err(status::INVALID_DEVICE_REQUEST),
        };
        let mut body = Vec::with_capacity(output.len().saturating_add(48));
        body.put16(49);
        body.put16(0);
        body.put32(code);
        body.extend_from_slice(slice(message, 72_usize, 16_usize).unwrap_or(&[0xff; 16]));
        for value in [112, 0, 112] {
            body.put32(value);
        }
        body.put_len(output.len());
        body.put64(0);
        body.extend_from_slice(&output);
        Ok(Answer { status, body })
    }
}

/// Texts among arguments: counts (4 bytes each) of room, 0 and length, then UTF-16, at multiples of 4.
/// They name the targets of coerced logins, services and commands.
fn texts(arguments: &[u8]) -> Vec<PeerBytes> {
    let mut found: Vec<PeerBytes> = Vec::new();
    let mut at = 0_usize;
    while at < arguments.len() && found.len() < 12 {
        let counted = || -> Option<(Vec<u8>, usize)> {
            let (room, zero, length) = (
                u32_at(arguments, at)?,
                u32_at(arguments, at.checked_add(4)?)?,
                u32_at(arguments, at.checked_add(8)?)?,
            );
            if zero != 0 || length < 2 || length > room || room > 4096 {
                return None;
            }
            let bytes = usize::try_from(length).ok()?.checked_mul(2)?;
            let begin = at.checked_add(12)?;
            let mut text = from_utf16(slice(arguments, begin, bytes)?);
            while text.last() == Some(&0) {
                text.pop();
            }
            let printable = !text.is_empty() && text.iter().all(|byte| !byte.is_ascii_control());
            printable.then_some((text, begin.checked_add(bytes)?))
        };
        match counted() {
            Some((text, end)) => {
                found.push(PeerBytes::from(text));
                at = end.next_multiple_of(4);
            }
            None => at = at.saturating_add(4),
        }
    }
    found
}
