//! Negotiation: what is offered, what the client answers, and when a product that waits goes on.

use aviary_event::LogData;
use aviary_service::Outbox;

use super::codec::{IAC, encode_subnegotiation};
use super::dialogue::{Telnet, other};
use super::events::ENVIRON_EXPLOIT;
use super::option::{Side, Verb};
use super::persona::Waiting;
use super::terminal::{ECHO, LINEMODE, Variable};

/// Subnegotiations of line mode (RFC 1184, 2.1).
const LINEMODE_MODE: u8 = 1;
const LINEMODE_CHARACTERS: u8 = 3;

/// How far a product that waits for its client has come.
#[derive(Debug)]
pub(super) enum Phase {
    /// These options have not been answered.
    Answers(&'static Waiting, Vec<(Side, u8)>),
    /// The values of these have not come.
    Values(&'static Waiting, Vec<u8>),
    /// These options, offered then, have not been answered.
    Offers(&'static Waiting, Vec<(Side, u8)>),
    /// Prompts are out.
    Talk,
}

impl Telnet {
    /// Asks for options that are not on yet.
    pub(super) fn offer(&mut self, offers: &[(Side, u8)], out: &mut Outbox) {
        for (side, option) in offers {
            if let Some(verb) = self.options.ask(*side, *option, true) {
                out.reply([IAC, verb.code(), *option]);
            }
        }
    }

    pub(super) fn negotiation(&mut self, verb: Verb, option: u8, out: &mut Outbox) {
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
            && !self.asked.contains(&option)
            && let Some((_, body)) = self.persona().agreed.iter().find(|(agreed, _)| *agreed == option)
        {
            self.asked.push(option);
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

    pub(super) fn subnegotiation(&mut self, option: u8, body: &[u8], out: &mut Outbox) {
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
