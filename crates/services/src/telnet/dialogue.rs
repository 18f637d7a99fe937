//! The conversation: user name, password, refusal.

use std::sync::Arc;
use std::time::Duration;

use aviary_event::LogData;
use aviary_service::{Dialogue, Facts, Outbox};

use super::Config;
use super::codec::{IAC, Token, command, next_token};
use super::events::{CONNECTION_MADE, LOGIN_ATTEMPT, OTHER_INPUT, TERMINAL};
use super::line::{Line, Typed};
use super::negotiation::Phase;
use super::option::Options;
use super::persona::{Empty, Persona};
use super::terminal::Terminal;

/// OpenCanary's text for a subnegotiation of 256 bytes.
const LIMIT_REACHED: &str = "Telnet subnegotiation buffer limit reached";
/// Bytes of negotiation that are noted as a trait of the client.
const NOTED: usize = 96;

/// What the next line is.
enum Stage {
    Key,
    User,
    Password(Vec<u8>),
}

/// One connection.
pub(super) struct Telnet {
    config: Arc<Config>,
    entropy: [u8; 32],
    pub(super) options: Options,
    pub(super) phase: Phase,
    stage: Stage,
    line: Line,
    pub(super) terminal: Terminal,
    negotiation: Vec<u8>,
    noted: bool,
    /// Options that were answered by a subnegotiation, once each.
    pub(super) asked: Vec<u8>,
    /// Whether the client forbade echo.
    pub(super) quiet: bool,
    /// The client's special characters of line mode.
    pub(super) local_characters: Vec<u8>,
    failures: u8,
}

impl Telnet {
    pub(super) fn new(config: Arc<Config>, facts: &Facts) -> Self {
        let persona = config.persona;
        Self {
            entropy: facts.entropy,
            options: Options::new(persona.ours, persona.theirs),
            phase: match persona.waiting {
                Some(waiting) => Phase::Answers(waiting, waiting.answers.to_vec()),
                None => Phase::Talk,
            },
            stage: if persona.any_key { Stage::Key } else { Stage::User },
            line: Line::default(),
            terminal: Terminal::default(),
            negotiation: Vec::new(),
            noted: false,
            asked: Vec::new(),
            quiet: false,
            local_characters: Vec::new(),
            failures: 0,
            config,
        }
    }

    pub(super) fn persona(&self) -> &'static Persona {
        self.config.persona
    }

    /// Sends text, unless the product still waits for its client and would not.
    fn say(&self, text: &str, out: &mut Outbox) {
        if matches!(self.phase, Phase::Talk) && !text.is_empty() {
            out.reply(text.replace("{host}", &self.config.host_name));
        }
    }

    /// Prints what comes before the first answer.
    pub(super) fn greet(&mut self, out: &mut Outbox) {
        self.phase = Phase::Talk;
        let persona = self.persona();
        self.say(persona.before, out);
        self.say(&self.config.banner, out);
        self.say(persona.text, out);
        self.prompt(out);
    }

    fn prompt(&self, out: &mut Outbox) {
        match self.stage {
            Stage::Key => {}
            Stage::User => self.say(self.persona().user, out),
            Stage::Password(_) => self.say(self.persona().password, out),
        }
    }

    fn command(&mut self, code: u8, out: &mut Outbox) {
        self.remember(&[code]);
        match code {
            command::AYT if !self.persona().ayt.is_empty() => out.reply(self.persona().ayt),
            command::EC => {
                let typed = self.line.erase();
                self.typed(typed, out);
            }
            command::EL => {
                let typed = self.line.kill();
                self.typed(typed, out);
            }
            command::IP => self.interrupt(false, out),
            command::BRK => self.interrupt(true, out),
            _ => {}
        }
    }

    pub(super) fn remember(&mut self, bytes: &[u8]) {
        if self.negotiation.len() < NOTED {
            self.negotiation.extend_from_slice(bytes);
        }
    }

    // Lines.

    /// Takes text in up to where the frame must act; gives how much.
    fn text(&mut self, text: &[u8], out: &mut Outbox) -> usize {
        let mut used = 0_usize;
        for byte in text {
            used = used.saturating_add(1);
            let mut typed = self.line.take(*byte);
            if matches!(self.stage, Stage::Key) && typed != Typed::Nothing {
                self.stage = Stage::User;
                self.prompt(out);
                // The key is no answer, but a client that did not wait for the prompt begins its name.
                if !matches!(typed, Typed::Put(byte) if byte.is_ascii_graphic()) {
                    self.line.kill();
                    typed = Typed::Nothing;
                }
            }
            self.typed(typed, out);
            if out.must_act() {
                break;
            }
        }
        used
    }

    fn typed(&mut self, typed: Typed, out: &mut Outbox) {
        match typed {
            Typed::Nothing => {}
            Typed::Put(byte) => self.echo(&[byte], out),
            Typed::Erased(bytes) => self.echo(&b"\x08 \x08".repeat(bytes), out),
            Typed::Interrupt => self.interrupt(false, out),
            Typed::Full(text) => self.other_line("line too long", text, out),
            Typed::Enter(text) => self.enter(text, out),
        }
    }

    fn interrupt(&mut self, is_break: bool, out: &mut Outbox) {
        if let Some((interrupt, quit)) = self.persona().interrupt
            && matches!(self.phase, Phase::Talk)
        {
            let text = self.line.text().to_vec();
            if !text.is_empty() {
                self.other_line("interrupted line", text, out);
            }
            self.line.kill();
            out.reply(if is_break { quit } else { interrupt });
        }
    }

    fn echo(&self, bytes: &[u8], out: &mut Outbox) {
        if self.quiet || !matches!(self.phase, Phase::Talk) || !matches!(self.stage, Stage::User) {
            return;
        }
        for byte in bytes {
            match *byte {
                IAC => out.reply([IAC, IAC]),
                // What is not to be seen moves nothing; 8 is how erasing looks.
                byte if byte < b' ' && byte != 8 => {}
                byte => out.reply([byte]),
            }
        }
    }

    fn enter(&mut self, text: Vec<u8>, out: &mut Outbox) {
        self.tell_terminal(out);
        match std::mem::replace(&mut self.stage, Stage::User) {
            Stage::Password(user) => self.password(user, text, out),
            _ => {
                self.say(self.persona().newline, out);
                if !text.is_empty() || self.persona().empty == Empty::Password {
                    self.stage = Stage::Password(text);
                }
                self.prompt(out);
            }
        }
    }

    fn password(&mut self, user: Vec<u8>, password: Vec<u8>, out: &mut Outbox) {
        let persona = self.persona();
        out.report(&LOGIN_ATTEMPT, LogData::new().with("USERNAME", user).with("PASSWORD", password));
        // Nothing is checked for a client that got no prompt.
        if !matches!(self.phase, Phase::Talk) {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        self.say(persona.newline, out);
        out.pause(self.delay());
        if self.failures >= persona.tries {
            self.say(persona.last, out);
            out.close();
        } else {
            self.say(persona.wrong, out);
            self.prompt(out);
        }
    }

    /// The product's delay, different each time.
    fn delay(&self) -> Duration {
        let (least, greatest) = self.persona().delay;
        let random = self.entropy.iter().cycle().nth(usize::from(self.failures)).copied().unwrap_or_default();
        let span = greatest.saturating_sub(least).saturating_mul(u64::from(random)) / 255;
        Duration::from_millis(least.saturating_add(span))
    }

    // Events.

    fn tell_terminal(&mut self, out: &mut Outbox) {
        if !self.noted && !self.negotiation.is_empty() {
            self.noted = true;
            let hex: String = self.negotiation.iter().map(|byte| format!("{byte:02x}")).collect();
            out.note("telnet_negotiation", hex);
        }
        if let Some(data) = self.terminal.news() {
            out.report(&TERMINAL, data);
        }
    }

    fn other_line(&self, reason: &str, text: Vec<u8>, out: &mut Outbox) {
        let mut data = LogData::new().with("REASON", reason);
        if !text.is_empty() {
            data.insert("DATA", text);
        }
        if let Stage::Password(user) = &self.stage {
            data.insert("USERNAME", user.as_slice());
        }
        out.report(&OTHER_INPUT, data);
    }

    /// Everything that the peer sent and no event holds yet.
    fn leave(&mut self, rest: &[u8], out: &mut Outbox) {
        self.tell_terminal(out);
        let text = self.line.text().to_vec();
        if !text.is_empty() {
            self.other_line("unfinished line", text, out);
        } else if matches!(self.stage, Stage::Password(_)) {
            self.other_line("user name without password", text, out);
        }
        if !rest.is_empty() {
            other("unfinished command", rest.to_vec(), out);
        }
    }
}

pub(super) fn other(reason: &str, bytes: Vec<u8>, out: &mut Outbox) {
    out.report(&OTHER_INPUT, LogData::new().with("REASON", reason).with("DATA", bytes));
}

impl Dialogue for Telnet {
    fn open(&mut self, out: &mut Outbox) {
        if self.config.log_tcp_connection {
            out.report(&CONNECTION_MADE, LogData::new());
        }
        out.idle_limit(self.config.patience());
        self.offer(self.persona().greeting, out);
        if matches!(self.phase, Phase::Talk) {
            self.greet(out);
        }
    }

    fn feed(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        let Some((token, used)) = next_token(input) else { return 0 };
        match token {
            // A doubled IAC is one byte of text and two of input.
            Token::Data(text) if text.len() < used => {
                self.text(text, out);
            }
            Token::Data(text) => return self.text(text, out),
            Token::Command(code) => self.command(code, out),
            Token::Negotiation(verb, option) => self.negotiation(verb, option, out),
            Token::Subnegotiation(option, body) => self.subnegotiation(option, &body, out),
            Token::Overlong => {
                self.leave(input.get(..used).unwrap_or(input), out);
                out.report(&LOGIN_ATTEMPT, LogData::new().with("ERROR", LIMIT_REACHED));
                out.close();
            }
        }
        used
    }

    fn ended(&mut self, rest: &[u8], out: &mut Outbox) {
        self.leave(rest, out);
    }

    fn expired(&mut self, rest: &[u8], out: &mut Outbox) {
        self.leave(rest, out);
        let prompt = if matches!(self.stage, Stage::Password(_)) { "Password" } else { "Username" };
        self.say(&self.persona().timeout.replace("{p}", prompt), out);
        out.close();
    }

    fn overflowed(&mut self, input: &[u8], out: &mut Outbox) {
        self.leave(input, out);
    }
}
