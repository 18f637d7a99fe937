//! Lines to replies and events.

use aviary_event::LogData;
use aviary_service::{Dialogue, Outbox};

use super::{codec, events};

/// One conversation; it remembers nothing.
pub(super) struct EchoDialogue;

impl Dialogue for EchoDialogue {
    fn open(&mut self, _out: &mut Outbox) {}

    fn feed(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        let Some((line, used)) = codec::line(input) else { return 0 };
        out.report(events::LINE, LogData::new().with("DATA", line));
        out.reply(input.get(..used).unwrap_or_default());
        used
    }

    fn ended(&mut self, rest: &[u8], out: &mut Outbox) {
        if !rest.is_empty() {
            out.report(events::LINE, LogData::new().with("DATA", rest));
        }
    }

    fn expired(&mut self, rest: &[u8], out: &mut Outbox) {
        self.ended(rest, out);
    }

    fn overflowed(&mut self, input: &[u8], out: &mut Outbox) {
        self.ended(input, out);
    }
}

#[cfg(test)]
mod tests {
    use aviary_testkit::{build, exchange, facts};
    use insta::assert_snapshot;

    #[test]
    fn gives_back_each_line() {
        let mut dialogue = build(&super::super::ENTRY, &[]).dialogue(0, &facts(7));
        assert_snapshot!(exchange(dialogue.as_mut(), &[b"hello\r\nwor", b"ld\nno end"]), @r#"
        > hello\r\nwor
        ! 39900 DATA=Bytes(b"hello")
        < hello\r\n
        > ld\nno end
        ! 39900 DATA=Bytes(b"world")
        < world\n
        ! 39900 DATA=Bytes(b"no end")
        "#);
    }
}
