//! The conversation: what happens to a request before its command runs, and what is reported.

use std::sync::Arc;

use aviary_event::{LogData, PeerBytes};
use aviary_service::{Dialogue, Facts, Outbox};
use sha2::{Digest, Sha256};

use super::abuse::Abuse;
use super::codec::{Bounds, Fault, Read, Reader, integer};
use super::commands::{Command, Era};
use super::events;
use super::open::{BAD_NAME, Client, Next, Session};
use super::persona::{NO_AUTH, terminated};
use super::reply::Replies;
use super::server::Server;
use super::store::Store;

/// Bytes of a command that an event holds; of the rest it holds the hash.
const KEPT: usize = 64 * 1024;

/// Commands that wait for EXEC, and their bytes.
const QUEUE: (usize, usize) = (1000, 1024 * 1024);

/// A transaction.
#[derive(Debug, Default)]
struct Queue {
    commands: Vec<(&'static Command, Vec<Vec<u8>>)>,
    bytes: usize,
    spoiled: bool,
}

/// One connection.
pub(super) struct Redis {
    server: Arc<Server>,
    reader: Reader,
    replies: Replies,
    session: Session,
    queue: Option<Queue>,
    abuse: Abuse,
}

impl Redis {
    pub(super) fn new(server: Arc<Server>, facts: &Facts) -> Self {
        let decoys = if server.open { server.decoys() } else { Arc::default() };
        let first = if server.open { server.number("client", 9000) } else { 0 };
        let client = Client {
            id: facts.count.saturating_add(first).saturating_add(3),
            peer: facts.peer,
            local: facts.local,
            name: Vec::new(),
            count: facts.count,
            digits: facts.entropy.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        Self {
            server,
            reader: Reader::default(),
            replies: Replies::default(),
            session: Session::new(Store::new(decoys), client),
            queue: None,
            abuse: Abuse::default(),
        }
    }

    fn bounds(&self) -> Bounds {
        let persona = &self.server.persona;
        let logged_in = self.server.open || !persona.strict;
        Bounds { logged_in, word: self.server.word, era: persona.era }
    }

    /// Does what a request asks for; whether the connection goes on.
    fn request(&mut self, words: &[Vec<u8>], out: &mut Outbox) -> Next {
        self.report(words, out);
        let server = Arc::clone(&self.server);
        let persona = &server.persona;
        let era = persona.era;
        let name = words.first().map_or(&[][..], Vec::as_slice);
        if http(name) && (persona.closes_on_http() || server.open) {
            // The server takes it for a request that a browser was made to send, and leaves without a
            // word, even those that it had ready.
            drop(self.replies.take());
            return Next::Close;
        }
        if name.eq_ignore_ascii_case(b"quit") {
            self.replies.ok();
            return Next::Close;
        }
        let Some(command) = Command::find(name, era) else {
            return self.reject(None, &persona.unknown_command(words));
        };
        let sub = words.get(1).filter(|_| command.is_container() && persona.has_subcommands());
        let command = match sub {
            None => command,
            Some(sub) => match Command::find_sub(name, sub, era) {
                Some(command) => command,
                None => return self.reject(None, &persona.unknown_subcommand(name, sub)),
            },
        };
        if !command.takes(words.len(), era) {
            let text = format!("ERR wrong number of arguments for '{}' command", command.name);
            return self.reject(Some(command), text.as_bytes());
        }
        if let Some(text) = persona.protects(command) {
            return self.reject(Some(command), text.as_bytes());
        }
        if !server.open && !command.without_login(era) {
            return self.reject(Some(command), NO_AUTH.as_bytes());
        }
        self.run(command, words, out)
    }

    /// A refusal before the command runs: it spoils a transaction.
    fn reject(&mut self, command: Option<&Command>, text: &[u8]) -> Next {
        if let Some(queue) = &mut self.queue {
            queue.spoiled = true;
        }
        if command.is_some_and(|command| command.name == "exec") {
            self.queue = None;
            let text = text.strip_prefix(b"ERR ").unwrap_or(text);
            self.replies.error([b"EXECABORT Transaction discarded because of: ".as_slice(), text].concat());
        } else {
            self.replies.error(text);
        }
        Next::Stay
    }

    fn run(&mut self, command: &'static Command, words: &[Vec<u8>], out: &mut Outbox) -> Next {
        let subscribed = !self.session.channels.is_empty() && !self.replies.resp3;
        let subscriber = command.name.ends_with("subscribe") || matches!(command.name, "ping" | "reset");
        if subscribed && !subscriber {
            let text = self.server.persona.only_subscriber(command);
            return self.reject(Some(command), text.as_bytes());
        }
        let transaction = matches!(command.name, "exec" | "discard" | "multi" | "watch" | "reset");
        if let Some(queue) = &mut self.queue
            && !transaction
        {
            let size = words.iter().fold(0_usize, |sum, word| sum.saturating_add(word.len()));
            queue.bytes = queue.bytes.saturating_add(size);
            if queue.commands.len() < QUEUE.0 && queue.bytes <= QUEUE.1 {
                queue.commands.push((command, words.to_vec()));
            }
            self.replies.status("QUEUED");
            return Next::Stay;
        }
        match command.name {
            "auth" => self.auth(words),
            "hello" => self.hello(words),
            "reset" => {
                self.queue = None;
                self.session.channels.clear();
                self.session.client.name.clear();
                self.session.store.database = 0;
                self.replies.resp3 = false;
                self.replies.status("RESET");
            }
            "multi" if self.queue.is_some() => self.replies.error("ERR MULTI calls can not be nested"),
            "multi" => {
                self.queue = Some(Queue::default());
                self.replies.ok();
            }
            "watch" if self.queue.is_some() => self.replies.error("ERR WATCH inside MULTI is not allowed"),
            "discard" => match self.queue.take() {
                None => self.replies.error("ERR DISCARD without MULTI"),
                Some(_) => self.replies.ok(),
            },
            "exec" => return self.exec(out),
            _ => match self.resolve(command, words) {
                Some(command) => {
                    return self.session.answer(&self.server, command, words, out.now(), &mut self.replies);
                }
                None => {
                    let [name, sub, ..] = words else { return Next::Stay };
                    let text = self.server.persona.unknown_subcommand(name, sub);
                    self.replies.error(text);
                }
            },
        }
        Next::Stay
    }

    /// The subcommand that is meant, before 7.0 where commands find theirs themselves.
    fn resolve(&self, command: &'static Command, words: &[Vec<u8>]) -> Option<&'static Command> {
        let persona = &self.server.persona;
        let [name, sub, ..] = words else { return Some(command) };
        if persona.has_subcommands() || !command.is_container() || command.name == "cluster" {
            return Some(command);
        }
        let found = Command::find_sub(name, sub, persona.era)?;
        // Then CONFIG GET and SET took one parameter.
        let one = match found.name {
            "config|get" => words.len() == 3,
            "config|set" => words.len() == 4,
            _ => true,
        };
        (one && found.takes(words.len(), persona.era)).then_some(found)
    }

    fn exec(&mut self, out: &mut Outbox) -> Next {
        match self.queue.take() {
            None => self.replies.error("ERR EXEC without MULTI"),
            Some(queue) if queue.spoiled => {
                self.replies.error("EXECABORT Transaction discarded because of previous errors.");
            }
            Some(queue) => {
                self.replies.array(queue.commands.len());
                for (command, words) in queue.commands {
                    if self.run(command, &words, out) == Next::Close {
                        return Next::Close;
                    }
                }
            }
        }
        Next::Stay
    }

    fn auth(&mut self, words: &[Vec<u8>]) {
        let wrong = self.server.persona.wrong_password();
        match words {
            [_, password] if self.server.open => self.session.auth(&self.server, password, &mut self.replies),
            [_, user, password] if self.server.open && self.session.accepts(user, password) => self.replies.ok(),
            [_, _] | [_, _, _] => self.replies.error(wrong),
            _ => self.replies.error("ERR syntax error"),
        }
    }

    fn hello(&mut self, words: &[Vec<u8>]) {
        let server = Arc::clone(&self.server);
        let version = match words.get(1).map(|word| integer(word)) {
            None => None,
            // 6.0 does not tell a word from a wrong number.
            Some(None) if server.persona.era >= Era::V6_2 => {
                return self.replies.error("ERR Protocol version is not an integer or out of range");
            }
            Some(Some(version @ (2 | 3))) => Some(version),
            Some(_) => return self.replies.error("NOPROTO unsupported protocol version"),
        };
        let mut options = words.get(2..).unwrap_or_default();
        let mut name = None;
        loop {
            options = match options {
                [] => break,
                [option, user, password, rest @ ..] if option.eq_ignore_ascii_case(b"auth") => {
                    if !(server.open && self.session.accepts(user, password)) {
                        return self.replies.error(server.persona.wrong_password());
                    }
                    rest
                }
                [option, new, rest @ ..] if option.eq_ignore_ascii_case(b"setname") => {
                    if !new.iter().all(|byte| matches!(byte, b'!'..=b'~')) {
                        return self.replies.error(BAD_NAME);
                    }
                    name = Some(new);
                    rest
                }
                [option, ..] => {
                    let text = [b"ERR Syntax error in HELLO option '", terminated(option), b"'"].concat();
                    return self.replies.error(text);
                }
            };
        }
        if !server.open {
            return self.replies.error(server.persona.hello_no_auth());
        }
        if let Some(name) = name {
            self.session.rename(name);
        }
        if let Some(version) = version {
            self.replies.resp3 = version == 3;
        }
        let to = &mut self.replies;
        to.map(7);
        to.bulk("server");
        to.bulk("redis");
        to.bulk("version");
        to.bulk(&server.persona.version);
        to.bulk("proto");
        to.int(if to.resp3 { 3 } else { 2 });
        to.bulk("id");
        to.int(i64::try_from(self.session.client.id).unwrap_or(1));
        to.bulk("mode");
        to.bulk("standalone");
        to.bulk("role");
        to.bulk("master");
        to.bulk("modules");
        to.array(0);
    }

    fn report(&mut self, words: &[Vec<u8>], out: &mut Outbox) {
        let (data, whole) = told(words, self.server.logged);
        out.report(events::COMMAND, data);
        if !whole {
            out.report(events::WHOLE_COMMAND, in_full(words));
        }
        for (user, password) in logins(words) {
            out.report(events::LOGIN_ATTEMPT, LogData::new().with("PASSWORD", password).with("USERNAME", user));
        }
        if let Some(technique) = self.abuse.technique(words) {
            let (arguments, _) = capped(words);
            out.report(events::ABUSE, LogData::new().with("ARGUMENTS", arguments).with("TECHNIQUE", technique));
        }
    }

    /// Ends the connection over what stands at the head of `input`.
    fn fault(&mut self, fault: Fault, input: &[u8], out: &mut Outbox) {
        let text = fault.text();
        let mut words = self.reader.unfinished();
        if fault == Fault::CountBeforeLogin {
            words = following(input);
        }
        let (data, _) = told(&words, self.server.logged);
        out.report(events::COMMAND, data.with("ERROR", text.as_slice()));
        violation(&words, input, &text, out);
        out.reply(self.replies.take());
        if fault != Fault::RequestTooBig {
            out.reply([b"-ERR Protocol error: ".as_slice(), &text, b"\r\n"].concat());
        }
        out.close();
    }

    /// Reports what was sent of a request that never came whole.
    fn cut_off(&mut self, rest: &[u8], out: &mut Outbox) {
        let inside = self.reader.is_inside();
        let words = self.reader.unfinished();
        if inside || !rest.is_empty() {
            violation(&words, rest, b"unfinished request", out);
        }
    }
}

impl Dialogue for Redis {
    fn open(&mut self, _out: &mut Outbox) {}

    fn feed(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        let (used, read) = self.reader.read(input, self.bounds());
        let next = match read {
            Read::More if used == 0 => return 0,
            Read::More | Read::Nothing => Next::Stay,
            Read::Request(words) => self.request(&words, out),
            Read::Fault(fault) => {
                self.fault(fault, input.get(used..).unwrap_or_default(), out);
                return input.len();
            }
        };
        let rest = input.get(used..).unwrap_or_default();
        if next == Next::Close {
            if !rest.is_empty() {
                violation(&[], rest, b"data after the end", out);
            }
            out.reply(self.replies.take());
            out.close();
            return input.len();
        }
        // The server answers when it has worked off all that it read, and a browser's request leaves
        // it no time to: what waits before one is not sent.
        if !(self.server.persona.closes_on_http() && http_follows(rest)) {
            let replies = self.replies.take();
            if !replies.is_empty() {
                out.reply(replies);
            }
        }
        used
    }

    fn ended(&mut self, rest: &[u8], out: &mut Outbox) {
        self.cut_off(rest, out);
    }

    fn expired(&mut self, rest: &[u8], out: &mut Outbox) {
        self.cut_off(rest, out);
    }

    fn overflowed(&mut self, input: &[u8], out: &mut Outbox) {
        self.cut_off(input, out);
    }
}

/// `POST` and `Host:`, the words that give a browser away.
fn http(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"post") || word.eq_ignore_ascii_case(b"host:")
}

/// Whether a line that waits begins with one of them.
fn http_follows(rest: &[u8]) -> bool {
    let mut lines = rest.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    lines.any(|line| http(line.split(u8::is_ascii_whitespace).next().unwrap_or_default()))
}

/// CMD and ARGS as OpenCanary writes them, and whether they say all.
///
/// OpenCanary takes a subcommand that 6.0 has to CMD, joins the rest with blanks and cuts both.
fn told(words: &[Vec<u8>], longest: usize) -> (LogData, bool) {
    let joined = match words {
        [name, sub, ..] => Command::find_sub(name, sub, Era::V6_0).is_some(),
        _ => false,
    };
    let (name, arguments) = words.split_at_checked(if joined { 2 } else { 1 }).unwrap_or((words, &[]));
    let (name, arguments) = (name.join(&b' '), arguments.join(&b' '));
    let plain = |word: &Vec<u8>| !word.is_empty() && !word.iter().any(|byte| matches!(byte, b' ' | b'\r' | b'\n'));
    let whole = name.len() <= longest && arguments.len() <= longest && words.iter().all(plain);
    let text = |bytes: Vec<u8>| {
        let cut = bytes.get(..longest).unwrap_or(&bytes);
        let line: Vec<u8> = cut.iter().map(|&b| if matches!(b, b'\r' | b'\n') { b' ' } else { b }).collect();
        line
    };
    (LogData::new().with("ARGS", text(arguments)).with("CMD", text(name)), whole)
}

/// All words, up to `KEPT` bytes, and the hash of what is beyond.
fn capped(words: &[Vec<u8>]) -> (Vec<PeerBytes>, Option<String>) {
    let mut room = KEPT;
    let mut rest = Sha256::new();
    let mut cut = false;
    let mut kept = Vec::new();
    for word in words {
        let (head, tail) = word.split_at_checked(room).unwrap_or((word, &[]));
        // Empty words cost as well, or there could be a million of them.
        room = room.saturating_sub(head.len().saturating_add(8));
        if room > 0 || !head.is_empty() {
            kept.push(PeerBytes::from(head));
        }
        cut |= !tail.is_empty() || room == 0;
        rest.update(tail);
    }
    let hash = rest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    (kept, cut.then_some(hash))
}

fn in_full(words: &[Vec<u8>]) -> LogData {
    let (arguments, hash) = capped(words);
    let size = words.iter().fold(0_usize, |sum, word| sum.saturating_add(word.len()));
    let name = words.first().map_or(&[][..], Vec::as_slice);
    let mut data = LogData::new()
        .with("ARGUMENTS", arguments)
        .with("COMMAND", name.get(..KEPT).unwrap_or(name))
        .with("SIZE", size);
    if let Some(hash) = hash {
        data.insert("SHA256", hash);
    }
    data
}

/// User names and passwords in a request.
fn logins(words: &[Vec<u8>]) -> Vec<(&[u8], &[u8])> {
    match words {
        [name, password] if name.eq_ignore_ascii_case(b"auth") => vec![(b"default", password)],
        [name, user, password, ..] if name.eq_ignore_ascii_case(b"auth") => vec![(user, password)],
        [name, _, options @ ..] if name.eq_ignore_ascii_case(b"hello") => options
            .windows(3)
            .filter_map(|window| match window {
                [option, user, password] if option.eq_ignore_ascii_case(b"auth") => {
                    Some((user.as_slice(), password.as_slice()))
                }
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The words of an array that is longer than allowed, as far as they wait.
fn following(input: &[u8]) -> Vec<Vec<u8>> {
    let mut reader = Reader::default();
    let bounds = Bounds { logged_in: true, word: 16 * 1024, era: Era::V7_0 };
    match reader.read(input, bounds).1 {
        Read::Request(words) => words,
        _ => reader.unfinished(),
    }
}

fn violation(words: &[Vec<u8>], data: &[u8], error: &[u8], out: &mut Outbox) {
    let mut event = LogData::new().with("DATA", data).with("ERROR", error);
    if !words.is_empty() {
        event.insert("ARGUMENTS", capped(words).0);
    }
    out.report(events::VIOLATION, event);
}
