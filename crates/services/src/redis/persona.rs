//! The version that is played, and the texts in which versions differ.

use super::commands::{Command, Era};

/// Bytes of a command, and of all arguments, that an error text repeats.
const REPEATED: usize = 128;

/// Every command before a login.
pub(super) const NO_AUTH: &str = "NOAUTH Authentication required.";

/// AUTH where no password is set.
pub(super) const NO_PASSWORD_SET: &str = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?";

/// A product version.
#[derive(Debug)]
pub(super) struct Persona {
    /// As INFO and HELLO tell it: `7.0.15`.
    pub version: String,
    /// What it is like.
    pub era: Era,
    /// Whether requests are limited more strictly before a login (since 6.0.16 and 6.2.6).
    pub strict: bool,
}

impl Persona {
    /// The persona of a version; one that is no version plays 7.0 under that name.
    pub(super) fn of(version: &str) -> Self {
        let mut numbers = version.split('.').map(str::parse::<u32>);
        let era = match (numbers.next(), numbers.next()) {
            (Some(Ok(0..=5)), _) | (Some(Ok(6)), Some(Ok(0 | 1)) | None) => Era::V6_0,
            (Some(Ok(6)), _) => Era::V6_2,
            (Some(Ok(7)), Some(Ok(2 | 3))) => Era::V7_2,
            (Some(Ok(7)), Some(Ok(4..))) => Era::V7_4,
            (Some(Ok(8..)), _) => Era::V8_0,
            _ => Era::V7_0,
        };
        let strict = match era {
            Era::V6_0 => numbers.next().is_none_or(|patch| patch.is_ok_and(|patch| patch >= 16)),
            Era::V6_2 => numbers.next().is_none_or(|patch| patch.is_ok_and(|patch| patch >= 6)),
            _ => true,
        };
        Self { version: version.to_owned(), era, strict }
    }

    /// Whether subcommands are commands, with arities of their own.
    pub(super) fn has_subcommands(&self) -> bool {
        self.era >= Era::V7_0
    }

    /// Whether `POST` and `Host:` close the connection even before a login.
    pub(super) fn closes_on_http(&self) -> bool {
        self.era >= Era::V7_0
    }

    /// Whether DEBUG and MODULE are off unless configured.
    pub(super) fn protects(&self, command: &Command) -> Option<String> {
        let (name, option) = match command.name {
            "debug" => ("DEBUG", "enable-debug-command"),
            "module|load" | "module|loadex" | "module|unload" => ("MODULE", "enable-module-command"),
            _ => return None,
        };
        self.has_subcommands().then(|| {
            format!(
                "ERR {name} command not allowed. If the {option} option is set to \"local\", you can run it from a \
                 local connection, otherwise you need to set this option in the configuration file, and then restart \
                 the server."
            )
        })
    }

    /// A command that there is not.
    pub(super) fn unknown_command(&self, words: &[Vec<u8>]) -> Vec<u8> {
        let new = self.has_subcommands();
        let (open, close): (&[u8], &[u8]) = if new { (b"'", b"' ") } else { (b"`", b"`, ") };
        let name = terminated(words.first().map_or(&[], Vec::as_slice));
        let name = if new { name.get(..REPEATED).unwrap_or(name) } else { name };
        let mut arguments = Vec::new();
        for word in words.iter().skip(1) {
            let left = REPEATED.saturating_sub(arguments.len());
            if left == 0 {
                break;
            }
            let word = terminated(word);
            arguments.extend_from_slice(open);
            arguments.extend_from_slice(word.get(..left).unwrap_or(word));
            arguments.extend_from_slice(close);
        }
        let quote = open;
        [b"ERR unknown command ", quote, name, quote, b", with args beginning with: ", &arguments].concat()
    }

    /// A subcommand that there is not, or before 7.0 one with too few or too many words.
    pub(super) fn unknown_subcommand(&self, container: &[u8], sub: &[u8]) -> Vec<u8> {
        let start: &[u8] = if self.has_subcommands() {
            b"ERR unknown subcommand '"
        } else {
            b"ERR Unknown subcommand or wrong number of arguments for '"
        };
        let sub = terminated(sub);
        let sub = sub.get(..REPEATED).unwrap_or(sub);
        [start, sub, b"'. Try ", &container.to_ascii_uppercase(), b" HELP."].concat()
    }

    /// A wrong password.
    pub(super) fn wrong_password(&self) -> &'static str {
        if self.era >= Era::V6_2 {
            "WRONGPASS invalid username-password pair or user is disabled."
        } else {
            "WRONGPASS invalid username-password pair"
        }
    }

    /// HELLO before a login.
    pub(super) fn hello_no_auth(&self) -> String {
        let protocol = if self.era >= Era::V7_2 { "<proto> " } else { "" };
        format!(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO {protocol}AUTH \
             <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the \
             same time"
        )
    }

    /// A command that a subscriber may not send.
    pub(super) fn only_subscriber(&self, command: &Command) -> String {
        let sharded = if self.era >= Era::V7_0 { "|S" } else { "" };
        format!(
            "ERR Can't execute '{}': only (P{sharded})SUBSCRIBE / (P{sharded})UNSUBSCRIBE / PING / QUIT / RESET are \
             allowed in this context",
            command.name
        )
    }
}

/// A string as C sees it: up to the first NUL.
pub(super) fn terminated(bytes: &[u8]) -> &[u8] {
    memchr::memchr(0, bytes).and_then(|end| bytes.get(..end)).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_versions() {
        let eras = ["5.0.7", "6.0.16", "6", "6.2.14", "7.0.15", "7.2.4", "7.4.1", "8.0.2", "9.1", "mine"]
            .map(|version| Persona::of(version).era);
        use Era::{V6_0, V6_2, V7_0, V7_2, V7_4, V8_0};
        let strict = ["6.0.15", "6.0.16", "6.2.5", "6.2.6", "7.0.0"].map(|version| Persona::of(version).strict);
        assert_eq!(strict, [false, true, false, true, true]);
        assert_eq!(eras, [V6_0, V6_0, V6_0, V6_2, V7_0, V7_2, V7_4, V8_0, V8_0, V7_0]);
    }
}
