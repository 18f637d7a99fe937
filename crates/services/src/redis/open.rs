//! What an open server answers: the commands behind the login.
//!
//! As deep as attacks go: keys that are strings, the configuration, scripts' errors. Nothing is
//! obeyed: no file is written, no master connected to, no module loaded, no script run. Commands on
//! other types answer as on a key that is not there, and store nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::codec::integer;
use super::commands::{Blank, Command, Era};
use super::persona::{NO_PASSWORD_SET, terminated};
use super::reply::Replies;
use super::scripts;
use super::server::{Load, Server};
use super::store::{Store, fits};
use aviary_event::Timestamp;

/// A word that should have been a number.
pub(super) const NO_INTEGER: &str = "ERR value is not an integer or out of range";
/// An option that there is not.
pub(super) const SYNTAX: &str = "ERR syntax error";
/// A key that must be there.
pub(super) const NO_KEY: &str = "ERR no such key";
const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";
const NO_CLUSTER: &str = "ERR This instance has cluster support disabled";

/// Who is connected, for CLIENT.
#[derive(Debug)]
pub(super) struct Client {
    pub id: u64,
    pub peer: SocketAddr,
    pub local: SocketAddr,
    pub name: Vec<u8>,
    /// Connections of the endpoint since the start.
    pub count: u64,
    /// Random hex digits of this connection.
    pub digits: String,
}

/// What to do after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Go on.
    Stay,
    /// Close.
    Close,
}

/// State of a connection behind the login.
#[derive(Debug)]
pub(super) struct Session {
    pub store: Store,
    pub client: Client,
    /// Parameters that the peer set.
    settings: BTreeMap<Vec<u8>, Vec<u8>>,
    master: Option<(Vec<u8>, Vec<u8>)>,
    /// Channels subscribed to.
    pub channels: Vec<Vec<u8>>,
}

/// Most parameters that are remembered, and channels.
const REMEMBERED: usize = 64;

impl Session {
    pub(super) const fn new(store: Store, client: Client) -> Self {
        Self { store, client, settings: BTreeMap::new(), master: None, channels: Vec::new() }
    }

    /// Answers a command that may be answered and has the words it needs.
    pub(super) fn answer(
        &mut self,
        server: &Server,
        command: &Command,
        words: &[Vec<u8>],
        now: Timestamp,
        to: &mut Replies,
    ) -> Next {
        if self.holds_text(command, words) {
            to.error(WRONG_TYPE);
            return Next::Stay;
        }
        match command.blank {
            Blank::Own => {}
            blank => {
                generic(blank, command, words, to);
                return Next::Stay;
            }
        }
        if command.name == "shutdown" {
            if words.len() == 1 || words.iter().skip(1).all(|word| is_any(word, &["nosave", "save", "now", "force"])) {
                return Next::Close;
            }
            to.error(SYNTAX);
            return Next::Stay;
        }
        let done = self.strings(command.name, words, to)
            || self.keyspace(command.name, words, to)
            || self.connection(server, command.name, words, to)
            || self.administration(server, command.name, words, now, to)
            || scripts::answer(server, command.name, words, to)
            || listing(server, command.name, words, to);
        if !done {
            to.error(SYNTAX);
        }
        Next::Stay
    }

    /// Whether a command on another type meets a key that holds text.
    fn holds_text(&self, command: &Command, words: &[Vec<u8>]) -> bool {
        let other = command.name.starts_with(['h', 'l', 'x', 'z'])
            || ["rpop", "rpush", "rpushx", "sadd", "scard", "sismember", "smembers", "smismember", "smove", "spop"]
                .contains(&command.name)
            || ["srandmember", "srem", "sscan"].contains(&command.name);
        let keyless = ["hello", "lastsave", "latency", "lolwut", "lcs"].contains(&command.name);
        other
            && !keyless
            && !command.name.contains('|')
            && words.get(1).is_some_and(|key| self.store.get(key).is_some())
    }

    fn connection(&mut self, server: &Server, name: &str, words: &[Vec<u8>], to: &mut Replies) -> bool {
        match name {
            "ping" => match words.get(1) {
                _ if words.len() > 2 => to.error("ERR wrong number of arguments for 'ping' command"),
                message if !self.channels.is_empty() && !to.resp3 => {
                    to.array(2);
                    to.bulk("pong");
                    to.bulk(message.map_or(&[][..], Vec::as_slice));
                }
                Some(message) => to.bulk(message),
                None => to.status("PONG"),
            },
            "echo" => to.bulk(word(words, 1)),
            "client|id" => to.int(i64::try_from(self.client.id).unwrap_or(1)),
            "client|getname" => to.bulk_or_nil(Some(self.client.name.as_slice()).filter(|name| !name.is_empty())),
            "client|setname" => {
                if self.rename(word(words, 2)) {
                    to.ok();
                } else {
                    to.error(BAD_NAME);
                }
            }
            "client|info" | "client|list" => to.text(&self.describe(server, name)),
            "client|kill" => to.error("ERR No such client"),
            "client|setinfo" | "client|no-touch" | "client|no-evict" => to.ok(),
            "client|reply" => match word(words, 2).to_ascii_lowercase().as_slice() {
                b"on" => to.ok(),
                // Nothing is answered; LIMIT: the replies that follow are sent all the same.
                b"off" | b"skip" => {}
                _ => to.error(SYNTAX),
            },
            "subscribe" | "psubscribe" | "ssubscribe" => {
                for channel in words.iter().skip(1) {
                    if !self.channels.contains(channel) && self.channels.len() < REMEMBERED {
                        self.channels.push(channel.clone());
                    }
                    to.push(3);
                    to.bulk(name);
                    to.bulk(channel);
                    to.length(self.channels.len());
                }
            }
            "unsubscribe" | "punsubscribe" | "sunsubscribe" => {
                let named = words.get(1..).unwrap_or_default();
                let gone = if named.is_empty() { std::mem::take(&mut self.channels) } else { named.to_vec() };
                self.channels.retain(|channel| !gone.contains(channel));
                for channel in
                    gone.iter().map(|channel| Some(channel.as_slice())).chain(gone.is_empty().then_some(None))
                {
                    to.push(3);
                    to.bulk(name);
                    to.bulk_or_nil(channel);
                    to.length(self.channels.len());
                }
            }
            "monitor" | "watch" | "unwatch" => to.ok(),
            "sync" | "psync" => to.error("NOMASTERLINK Can't SYNC while not connected with my master"),
            _ => return false,
        }
        true
    }

    /// Takes a client name, unless it holds what a name may not.
    pub(super) fn rename(&mut self, name: &[u8]) -> bool {
        let fine = name.iter().all(|byte| matches!(byte, b'!'..=b'~'));
        if fine {
            self.client.name = name.get(..256).unwrap_or(name).to_vec();
        }
        fine
    }

    fn describe(&self, server: &Server, command: &str) -> String {
        let client = &self.client;
        let (era, database) = (server.persona.era, self.store.database);
        let new = era >= Era::V7_0;
        let shards = if new { " ssub=0" } else { "" };
        let memory = if new { " multi-mem=0 rbs=1024 rbp=0" } else { "" };
        let resp = if new { " resp=2" } else { "" };
        let total = if new { 22_426 } else { 61_464 };
        let command = if new { command } else { "client" };
        let library = if era >= Era::V7_2 { " lib-name= lib-ver=" } else { "" };
        format!(
            "id={} addr={} laddr={} fd=8 name={} age=0 idle=0 flags=N db={database} sub=0 psub=0{shards} multi=-1 \
             qbuf=26 qbuf-free=20448 argv-mem=10{memory} obl=0 oll=0 omem=0 tot-mem={total} events=r cmd={command} \
             user=default redir=-1{resp}{library}\n",
            client.id,
            client.peer,
            client.local,
            String::from_utf8_lossy(&client.name),
        )
    }

    fn administration(
        &mut self,
        server: &Server,
        name: &str,
        words: &[Vec<u8>],
        now: Timestamp,
        to: &mut Replies,
    ) -> bool {
        match name {
            "info" => {
                let sections: Vec<Vec<u8>> = words.iter().skip(1).map(|word| word.to_ascii_lowercase()).collect();
                if sections.len() > 1 && !server.persona.has_subcommands() {
                    to.error(SYNTAX);
                } else {
                    let keys = if self.store.database == 0 { self.store.keys().len() } else { 0 };
                    let load = Load { connections: self.client.count, keys, master: self.master.clone() };
                    to.text(&server.info(&sections, now, &load));
                }
            }
            "config|get" => {
                let patterns = words.get(2..).unwrap_or_default();
                let found: Vec<_> = server
                    .parameters()
                    .filter(|(name, _)| patterns.iter().any(|pattern| fits(pattern, name.as_bytes(), true)))
                    .collect();
                to.map(found.len());
                for (name, value) in found {
                    to.bulk(name);
                    to.bulk(self.settings.get(name.as_bytes()).map_or(value.as_bytes(), Vec::as_slice));
                }
            }
            "config|set" => self.configure(server, words, to),
            "slaveof" | "replicaof" => {
                let (host, port) = (word(words, 1), word(words, 2));
                if is_any(host, &["no"]) && is_any(port, &["one"]) {
                    self.master = None;
                    to.ok();
                } else if integer(port).is_some_and(|port| (0..=65_535).contains(&port)) {
                    self.master = Some((host.to_vec(), port.to_vec()));
                    to.ok();
                } else {
                    to.error(if server.persona.era >= Era::V7_0 { "ERR Invalid master port" } else { NO_INTEGER });
                }
            }
            "role" => match &self.master {
                None => {
                    to.array(3);
                    to.bulk("master");
                    to.int(0);
                    to.array(0);
                }
                Some((host, port)) => {
                    to.array(5);
                    to.bulk("slave");
                    to.bulk(host);
                    to.int(integer(port).unwrap_or_default());
                    to.bulk("connecting");
                    to.int(-1);
                }
            },
            "module|list" => to.array(0),
            "module|load" => to.error("ERR Error loading the extension. Please check the server logs."),
            "module|unload" => to.error("ERR Error unloading module: no such module with that name"),
            "debug" => match word(words, 1).to_ascii_lowercase().as_slice() {
                b"object" if self.store.get(word(words, 2)).is_none() => to.error(NO_KEY),
                _ => to.ok(),
            },
            "save" => to.ok(),
            "bgsave" => match words.get(1) {
                Some(how) if !is_any(how, &["schedule"]) => to.error(SYNTAX),
                _ => to.status("Background saving started"),
            },
            "lastsave" => to.int(server.saved(now)),
            "time" => {
                to.array(2);
                to.bulk(now.as_seconds().to_string());
                to.bulk(now.as_micros().rem_euclid(1_000_000).to_string());
            }
            "acl|whoami" => to.bulk("default"),
            "acl|users" => {
                to.array(1);
                to.bulk("default");
            }
            "acl|list" => {
                to.array(1);
                let channels = if server.persona.era >= Era::V6_2 { " &*" } else { "" };
                to.bulk(format!("user default on nopass ~*{channels} +@all"));
            }
            "acl|cat" => match words.get(2) {
                Some(category) => to.error([b"ERR Unknown category '", terminated(category), b"'"].concat()),
                None => {
                    to.array(CATEGORIES.len());
                    CATEGORIES.iter().for_each(|category| to.bulk(category));
                }
            },
            "acl|genpass" => to.bulk(self.client.digits.get(..64).unwrap_or_default()),
            "lolwut" => to.text(&format!("Redis ver. {}\n", server.persona.version)),
            _ => return false,
        }
        true
    }

    /// Says that it was set and remembers it for this connection's CONFIG GET.
    fn configure(&mut self, server: &Server, words: &[Vec<u8>], to: &mut Replies) {
        let new = server.persona.era >= Era::V7_0;
        let pairs = words.get(2..).unwrap_or_default();
        if pairs.len() % 2 == 1 {
            return to.error(SYNTAX);
        }
        for pair in pairs.chunks(2) {
            let (name, value) = (word(pair, 0).to_ascii_lowercase(), word(pair, 1));
            let shown = terminated(word(pair, 0));
            if !server.parameters().any(|(known, _)| known.as_bytes() == name) {
                return to.error(if new {
                    [b"ERR Unknown option or number of arguments for CONFIG SET - '", shown, b"'"].concat()
                } else {
                    [b"ERR Unsupported CONFIG parameter: ", shown].concat()
                });
            }
            if name == b"dbfilename" && value.contains(&b'/') {
                let what = "dbfilename can't be a path, just a filename";
                return to.error(if new {
                    format!("ERR CONFIG SET failed (possibly related to argument 'dbfilename') - {what}").into_bytes()
                } else {
                    let value = terminated(value);
                    [b"ERR Invalid argument '", value, b"' for CONFIG SET 'dbfilename' - ", what.as_bytes()].concat()
                });
            }
        }
        for pair in pairs.chunks(2) {
            if self.settings.len() < REMEMBERED && word(pair, 1).len() <= 4096 {
                self.settings.insert(word(pair, 0).to_ascii_lowercase(), word(pair, 1).to_vec());
            }
        }
        to.ok();
    }

    /// AUTH and HELLO's AUTH where no password is set: whether user and password are right.
    pub(super) fn accepts(&self, user: &[u8], password: &[u8]) -> bool {
        let set = self.settings.get(b"requirepass".as_slice()).filter(|set| !set.is_empty());
        user == b"default" && set.is_none_or(|set| set == password)
    }

    /// AUTH with a password alone.
    pub(super) fn auth(&self, server: &Server, password: &[u8], to: &mut Replies) {
        if self.settings.get(b"requirepass".as_slice()).is_none_or(Vec::is_empty) {
            to.error(NO_PASSWORD_SET);
        } else if self.accepts(b"default", password) {
            to.ok();
        } else {
            to.error(server.persona.wrong_password());
        }
    }
}

/// The text about a client name that may not be.
pub(super) const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

const CATEGORIES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// COMMAND: names and arities. LIMIT: no flags, key positions and documentation.
fn listing(server: &Server, name: &str, words: &[Vec<u8>], to: &mut Replies) -> bool {
    let era = server.persona.era;
    match name {
        "command" | "command|info" if words.len() <= 2 => {
            to.array(Command::all(era).count());
            Command::all(era).for_each(|command| entry(command, era, to));
        }
        "command|info" => {
            to.array(words.len().saturating_sub(2));
            for word in words.iter().skip(2) {
                match Command::find(word, era) {
                    Some(command) => entry(command, era, to),
                    None => to.nil(),
                }
            }
        }
        "command|count" => to.length(Command::all(era).count()),
        "command|list" => {
            to.array(Command::all(era).count());
            Command::all(era).for_each(|command| to.bulk(command.name));
        }
        "command|docs" => to.map(0),
        _ => return false,
    }
    true
}

fn entry(command: &Command, era: Era, to: &mut Replies) {
    let new = era >= Era::V7_0;
    to.array(if new { 10 } else { 7 });
    to.bulk(command.name);
    to.int(command.arity(era));
    to.set(0);
    (0..3).for_each(|_| to.int(0));
    to.set(0);
    if new {
        to.array(0);
        to.array(0);
        to.array(0);
    }
}

fn generic(blank: Blank, command: &Command, words: &[Vec<u8>], to: &mut Replies) {
    match blank {
        Blank::Ok => to.ok(),
        Blank::Simple(text) => to.status(text),
        Blank::Int(number) => to.int(number),
        Blank::Nil => to.nil(),
        Blank::Empty => to.array(0),
        Blank::EmptySet => to.set(0),
        Blank::EmptyMap => to.map(0),
        Blank::Bulk(text) => to.bulk(text),
        Blank::Scan => {
            to.array(2);
            to.bulk("0");
            to.array(0);
        }
        Blank::NoCluster => to.error(NO_CLUSTER),
        Blank::Help => {
            let name = command.name.split('|').next().unwrap_or_default().to_ascii_uppercase();
            to.array(3);
            to.status(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
            to.status("HELP");
            to.status("    Prints this help.");
        }
        Blank::Error(text) => {
            let mut arguments = words.iter().skip(if command.name.contains('|') { 2 } else { 1 });
            let mut parts = text.split('%');
            let mut filled = parts.next().unwrap_or_default().as_bytes().to_vec();
            for part in parts {
                filled.extend_from_slice(terminated(arguments.next().map_or(&[], Vec::as_slice)));
                filled.extend_from_slice(part.as_bytes());
            }
            to.error(filled);
        }
        Blank::Silent | Blank::Own => {}
    }
}

/// The word at a place; empty if there is none.
pub(super) fn word(words: &[Vec<u8>], at: usize) -> &[u8] {
    words.get(at).map_or(&[], Vec::as_slice)
}

/// Whether a word is one of these, in any case of letters.
pub(super) fn is_any(word: &[u8], of: &[&str]) -> bool {
    of.iter().any(|other| word.eq_ignore_ascii_case(other.as_bytes()))
}
