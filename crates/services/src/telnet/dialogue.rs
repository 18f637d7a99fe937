//! The conversation: negotiation, user name, password, refusal.

use std::sync::Arc;
use std::time::Duration;

use aviary_event::LogData;
use aviary_service::{Dialogue, Facts, Outbox};

use super::Config;
use super::codec::{IAC, Token, command, encode_subnegotiation, next_token};
use super::events::{CONNECTION_MADE, ENVIRON_EXPLOIT, LOGIN_ATTEMPT, OTHER_INPUT, TERMINAL};
use super::line::{Line, Typed};
use super::option::{Options, Side, Verb};
use super::persona::{Empty, Persona, Waiting};
use super::terminal::{ECHO, LINEMODE, Terminal, Variable};

/// OpenCanary's text for a subnegotiation of 256 bytes.
const LIMIT_REACHED: &str = "Telnet subnegotiation buffer limit reached";
/// Subnegotiations of line mode (RFC 1184, 2.1).
const LINEMODE_MODE: u8 = 1;
const LINEMODE_CHARACTERS: u8 = 3;
/// Bytes of negotiation that are noted as a trait of the client.
const NOTED: usize = 96;

/// How far a product that waits for its client has come.
#[derive(Debug)]
enum Phase {
    /// These options have not been answered.
    Answers(&'static Waiting, Vec<(Side, u8)>),
    /// The values of these have not come.
    Values(&'static Waiting, Vec<u8>),
    /// These options, offered then, have not been answered.
    Offers(&'static Waiting, Vec<(Side, u8)>),
    /// Prompts are out.
    Talk,
}

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
    options: Options,
    phase: Phase,
    stage: Stage,
    line: Line,
    terminal: Terminal,
    negotiation: Vec<u8>,
    noted: bool,
    /// Whether the client forbade echo.
    quiet: bool,
    /// The client's special characters of line mode.
    local_characters: Vec<u8>,
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
            quiet: false,
            local_characters: Vec::new(),
            failures: 0,
            config,
        }
    }

    fn persona(&self) -> &'static Persona {
        self.config.persona
    }

    /// Sends text, unless the product still waits for its client and would not.
    fn say(&self, text: &str, out: &mut Outbox) {
        if matches!(self.phase, Phase::Talk) && !text.is_empty() {
            out.reply(text.replace("{host}", &self.config.host_name));
        }
    }

    fn offer(&mut self, offers: &[(Side, u8)], out: &mut Outbox) {
        for (side, option) in offers {
            if let Some(verb) = self.options.ask(*side, *option, true) {
                out.reply([IAC, verb.code(), *option]);
            }
        }
    }

    /// Prints what comes before the first answer.
    fn greet(&mut self, out: &mut Outbox) {
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

    // Negotiation.

    fn negotiation(&mut self, verb: Verb, option: u8, out: &mut Outbox) {
        self.remember(&[verb.code(), option]);
        if option == ECHO && matches!(verb, Verb::Do | Verb::Dont) {
            self.quiet = verb == Verb::Dont && !self.persona().silent;
        }
        let answer = self.options.received(verb, option);
        if self.persona().silent {
            return;
        }
        if let Some(answer) = answer {
            out.reply([IAC, answer.code(), option]);
        }
        if verb == Verb::Will
            && self.options.is_on(Side::Theirs, option)
            && let Some((_, body)) = self.persona().agreed.iter().find(|(agreed, _)| *agreed == option)
        {
            out.reply(encode_subnegotiation(option, body));
        }
        self.answered(verb, option, out);
    }

    /// The client agreed to an option, or refused it.
    fn answered(&mut self, verb: Verb, option: u8, out: &mut Outbox) {
        let side = if matches!(verb, Verb::Will | Verb::Wont) { Side::Theirs } else { Side::Ours };
        match &mut self.phase {
            Phase::Answers(waiting, open) => {
                let waiting = *waiting;
                open.retain(|other| *other != (side, option));
                if open.is_empty() {
                    let on = |option: &&u8| self.options.is_on(Side::Theirs, **option);
                    let values: Vec<u8> = waiting.values.iter().filter(on).copied().collect();
                    for value in &values {
                        out.reply(encode_subnegotiation(*value, &[1]));
                    }
                    self.phase = Phase::Values(waiting, values);
                    self.valued(None, out);
                }
            }
            Phase::Offers(_, open) => {
                // Line mode is agreed when its mode is.
                if (verb, option) != (Verb::Will, LINEMODE) {
                    open.retain(|other| *other != (side, option));
                }
                // It asks in order to know old clients; none shall really echo.
                if (verb, option) == (Verb::Will, ECHO)
                    && let Some(refusal) = self.options.ask(Side::Theirs, ECHO, false)
                {
                    out.reply([IAC, refusal.code(), ECHO]);
                }
                self.settle(out);
            }
            Phase::Values(..) | Phase::Talk => {}
        }
    }

    /// The value of an option came, or none is to come.
    fn valued(&mut self, option: Option<u8>, out: &mut Outbox) {
        let Phase::Values(waiting, open) = &mut self.phase else { return };
        let waiting = *waiting;
        open.retain(|other| Some(*other) != option);
        if open.is_empty() {
            let new = |offer: &&(Side, u8)| !self.options.is_on(offer.0, offer.1);
            let open = waiting.offers.iter().filter(new).copied().collect();
            self.offer(waiting.offers, out);
            self.phase = Phase::Offers(waiting, open);
            self.settle(out);
        }
    }

    /// Greets once everything was answered.
    fn settle(&mut self, out: &mut Outbox) {
        let Phase::Offers(waiting, open) = &self.phase else { return };
        if !open.is_empty() {
            return;
        }
        if self.options.is_on(Side::Theirs, LINEMODE) {
            self.offer(waiting.last_linemode, out);
            if let Some(end) = self.options.ask(Side::Theirs, LINEMODE, false) {
                out.reply([IAC, end.code(), LINEMODE]);
            }
            out.reply(encode_subnegotiation(LINEMODE, &acknowledged(&self.local_characters)));
        } else {
            self.offer(waiting.last, out);
        }
        self.greet(out);
    }

    /// Line mode's own subnegotiations: the agreed mode, and the client's special characters.
    fn linemode(&mut self, body: &[u8], out: &mut Outbox) {
        match body.split_first() {
            Some((&LINEMODE_CHARACTERS, list)) => self.local_characters = list.to_vec(),
            Some((&LINEMODE_MODE, _)) => {
                if let Phase::Offers(_, open) = &mut self.phase {
                    open.retain(|other| *other != (Side::Theirs, LINEMODE));
                    self.settle(out);
                }
            }
            _ => {}
        }
    }

    fn subnegotiation(&mut self, option: u8, body: &[u8], out: &mut Outbox) {
        match self.terminal.take(option, body) {
            Some(variables) => {
                for Variable { name, value } in variables.into_iter().filter(Variable::is_exploit) {
                    out.report(&ENVIRON_EXPLOIT, LogData::new().with("NAME", name).with("VALUE", value));
                }
            }
            None => other("subnegotiation", [&[option], body].concat(), out),
        }
        if option == LINEMODE && !self.persona().silent {
            self.linemode(body, out);
        }
        self.valued(Some(option), out);
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

    fn remember(&mut self, bytes: &[u8]) {
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

/// Accepts the special characters that the client supports (RFC 1184, 2.4): triples of function,
/// flags and character; two bits of the flags are the level, 0x80 acknowledges.
fn acknowledged(characters: &[u8]) -> Vec<u8> {
    let mut body = vec![LINEMODE_CHARACTERS];
    for triple in characters.chunks_exact(3) {
        if let [function, flags, character] = *triple
            && flags & 3 != 0
        {
            body.extend_from_slice(&[function, flags | 0x80, character]);
        }
    }
    body
}

fn other(reason: &str, bytes: Vec<u8>, out: &mut Outbox) {
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

    fn expired(&mut self, out: &mut Outbox) {
        self.leave(&[], out);
        let prompt = if matches!(self.stage, Stage::Password(_)) { "Password" } else { "Username" };
        self.say(&self.persona().timeout.replace("{p}", prompt), out);
        out.close();
    }

    fn overflowed(&mut self, input: &[u8], out: &mut Outbox) {
        self.leave(input, out);
    }
}
