//! The control connection before login, which nobody ever gets past.

use std::sync::Arc;
use std::time::Duration;

use aviary_event::LogData;
use aviary_service::{Dialogue, Facts, Outbox, TlsFacts};
use aviary_wire::line::{Framed, next_line};

use super::Config;
use super::codec::{Command, without_telnet};
use super::events::{AUTH_ATTEMPT_INITIATED, COMMAND, LOGIN_ATTEMPT, MALFORMED, PASSWORD_WITHOUT_USER, TLS_STARTED};
use super::persona::{Answer, Overlong, Persona, Tls};

/// Pieces of an endless line that an ignoring product swallows before it resets.
const PIECES: u8 = 3;

/// One control connection.
pub(super) struct Ftp {
    config: Arc<Config>,
    local: String,
    entropy: [u8; 32],
    /// The name that waits for its password.
    user: Option<Vec<u8>>,
    /// Wrong passwords so far.
    failures: u8,
    /// Replies 5xx in a row.
    errors: u8,
    /// Pieces of the line that is too long.
    pieces: u8,
    /// Whether TLS stands.
    secure: bool,
}

impl Ftp {
    pub(super) fn new(config: Arc<Config>, facts: &Facts) -> Self {
        Self {
            config,
            local: facts.local.ip().to_canonical().to_string(),
            entropy: facts.entropy,
            user: None,
            failures: 0,
            errors: 0,
            pieces: 0,
            secure: false,
        }
    }

    fn persona(&self) -> &'static Persona {
        self.config.persona
    }

    fn line(&mut self, line: &[u8], out: &mut Outbox) {
        self.report(&Command::parse(line), line, out);
        if !self.persona().telnet {
            return self.command(&Command::parse(line), out);
        }
        let (text, refusals) = without_telnet(line);
        if !refusals.is_empty() {
            out.reply(refusals);
        }
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        self.command(&Command::parse(text), out);
    }

    /// Reports what was sent, as sent. PASS is reported where it is answered.
    fn report(&self, command: &Command<'_>, line: &[u8], out: &mut Outbox) {
        if !command.is_text() {
            malformed("no command", line, out);
        } else if self.config.log_commands && !command.verb.eq_ignore_ascii_case(b"PASS") {
            let data =
                LogData::new().with("COMMAND", command.verb).with("ARGUMENT", command.argument.unwrap_or_default());
            out.report(&COMMAND, data);
        }
    }

    fn command(&mut self, command: &Command<'_>, out: &mut Outbox) {
        let persona = self.persona();
        let verb = command.verb.to_ascii_uppercase();
        let argument = command.argument.unwrap_or_default().trim_ascii();
        if verb.is_empty() && (command.argument.is_none() || !persona.empty.is_empty()) {
            return self.say(persona.empty, &verb, argument, out);
        }
        let name = std::str::from_utf8(&verb).unwrap_or_default();
        if self.config.tls && matches!(name, "AUTH" | "PBSZ" | "PROT") {
            return self.tls(persona.tls, name, argument, out);
        }
        match persona.answer(name) {
            Some(Answer::Say(text)) => self.say(text, &verb, argument, out),
            Some(Answer::Need(missing, text)) => {
                self.say(if argument.is_empty() { missing } else { text }, &verb, argument, out);
            }
            Some(Answer::Match(cases, other)) => match pick(cases, argument).unwrap_or(other) {
                "" => out.close(),
                text => self.say(text, &verb, argument, out),
            },
            Some(Answer::User { missing, ask }) => self.user(*missing, ask, command, out),
            Some(Answer::Pass) => self.pass(command.argument.unwrap_or_default(), out),
            Some(Answer::Feat(Some(text))) if !argument.is_empty() => self.say(text, &verb, argument, out),
            Some(Answer::Feat(_)) => {
                let feat = if self.config.tls { persona.tls.feat } else { persona.feat };
                self.say(feat, &verb, argument, out);
            }
            Some(Answer::Leave(text)) => {
                self.say(text, &verb, argument, out);
                out.close();
            }
            None => self.say(persona.unknown, &verb, argument, out),
        }
    }

    fn user(&mut self, missing: Option<&'static str>, ask: &str, command: &Command<'_>, out: &mut Outbox) {
        let name = command.argument.unwrap_or_default();
        // What ProFTPD echoes is the first word.
        let word = name.trim_ascii().split(|byte| *byte == b' ').next().unwrap_or_default();
        match missing {
            Some(text) if word.is_empty() => self.say(text, b"USER", b"", out),
            _ => {
                self.user = Some(name.to_vec());
                self.say(ask, b"USER", word, out);
            }
        }
    }

    fn pass(&mut self, password: &[u8], out: &mut Outbox) {
        let persona = self.persona();
        let Some(user) = self.user.take() else {
            out.report(&PASSWORD_WITHOUT_USER, LogData::new().with("PASSWORD", password));
            return self.say(persona.user_first, b"PASS", password, out);
        };
        if self.config.log_auth_attempt_initiated {
            out.report(&AUTH_ATTEMPT_INITIATED, LogData::new());
        }
        out.report(&LOGIN_ATTEMPT, LogData::new().with("USERNAME", user).with("PASSWORD", password));
        self.failures = self.failures.saturating_add(1);
        out.pause(self.delay());
        self.say(persona.wrong, b"PASS", password, out);
        if persona.tries > 0 && self.failures >= persona.tries {
            out.close();
        }
    }

    /// The delay of this failure: fixed by the operator, or the product's, different each time.
    fn delay(&self) -> Duration {
        let (least, greatest) = self.persona().delay;
        let random = self.entropy.iter().cycle().nth(usize::from(self.failures)).copied().unwrap_or_default();
        let span = greatest.saturating_sub(least).saturating_mul(u64::from(random)) / 255;
        Duration::from_millis(self.config.login_delay.unwrap_or(least.saturating_add(span)))
    }

    fn tls(&mut self, tls: &'static Tls, verb: &str, argument: &[u8], out: &mut Outbox) {
        let text = match (verb, self.secure) {
            ("AUTH", true) => tls.again,
            ("AUTH", false) if tls.mechanisms.iter().any(|name| argument.eq_ignore_ascii_case(name.as_bytes())) => {
                self.say(tls.accepted, b"AUTH", argument, out);
                return out.start_tls();
            }
            ("AUTH", false) => tls.unknown,
            ("PBSZ", true) => tls.pbsz,
            ("PBSZ", false) => tls.pbsz_plain,
            (_, true) => pick(tls.prot, argument).unwrap_or(tls.prot_unknown),
            (_, false) => tls.prot_plain,
        };
        self.say(text, verb.as_bytes(), argument, out);
    }

    /// Sends a template, and hangs up on a peer whose every command fails where the product does.
    fn say(&mut self, template: &str, verb: &[u8], argument: &[u8], out: &mut Outbox) {
        if template.is_empty() {
            return;
        }
        let mut rest = template;
        while let Some((text, after)) = rest.split_once('{') {
            let Some((field, tail)) = after.split_once('}') else { break };
            out.reply(text);
            match field {
                "a" => out.reply(argument),
                "v" => out.reply(verb),
                _ => out.reply(self.local.as_bytes()),
            }
            rest = tail;
        }
        out.reply(rest);
        self.errors = if template.starts_with('5') { self.errors.saturating_add(1) } else { 0 };
        if self.persona().errors > 0 && self.errors >= self.persona().errors {
            out.close();
        }
    }

    /// A line beyond the cap, piece by piece.
    fn overlong(&mut self, piece: &[u8], out: &mut Outbox) {
        malformed("line too long", piece, out);
        self.pieces = self.pieces.saturating_add(1);
        match self.persona().overlong {
            Overlong::Leave(text) => {
                self.say(text, b"", b"", out);
                out.close();
            }
            Overlong::Ignore if self.pieces >= PIECES => out.reset(),
            Overlong::Ignore => {}
        }
    }
}

impl Dialogue for Ftp {
    fn open(&mut self, out: &mut Outbox) {
        out.reply(self.config.greeting(&self.local));
    }

    fn feed(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        let cap = self.persona().longest;
        match next_line(input, cap, self.persona().ending) {
            // The end of a line that was ignored.
            Framed::Line { text, used } if self.pieces > 0 => {
                malformed("line too long", text, out);
                self.pieces = 0;
                used
            }
            Framed::Line { text, used } => {
                self.line(text, out);
                used
            }
            Framed::TooLong => {
                self.overlong(input.get(..cap).unwrap_or(input), out);
                cap.min(input.len())
            }
            Framed::Partial => 0,
        }
    }

    fn ended(&mut self, rest: &[u8], out: &mut Outbox) {
        if !rest.is_empty() {
            malformed("unfinished line", rest, out);
        }
    }

    fn expired(&mut self, rest: &[u8], out: &mut Outbox) {
        self.ended(rest, out);
        out.reply(self.persona().idle_text);
        out.close();
    }

    fn overflowed(&mut self, input: &[u8], out: &mut Outbox) {
        malformed("line too long", input, out);
    }

    fn secured(&mut self, tls: &TlsFacts, out: &mut Outbox) {
        self.secure = true;
        let mut data = LogData::new().with("VERSION", tls.version).with("CIPHER", tls.cipher.as_str());
        if let Some(name) = &tls.server_name {
            data.insert("SERVER_NAME", name.as_bytes());
        }
        if let Some(protocol) = &tls.alpn {
            data.insert("ALPN", protocol.as_slice());
        }
        out.report(&TLS_STARTED, data);
    }
}

fn malformed(reason: &str, bytes: &[u8], out: &mut Outbox) {
    out.report(&MALFORMED, LogData::new().with("REASON", reason).with("DATA", bytes));
}

fn pick(cases: &[(&str, &'static str)], argument: &[u8]) -> Option<&'static str> {
    cases.iter().find(|(name, _)| argument.eq_ignore_ascii_case(name.as_bytes())).map(|(_, text)| *text)
}
