//! Kinds of event: log type numbers with what they mean.
//!
//! Numbers below 30000 are OpenCanary's; ours start there. Each service declares its own kinds
//! beside its code; a test holds code, `docs/events.md` and `schema/` to each other.

use std::fmt;

/// What an event means to whoever reads it, shared by all services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A credential was tried, whatever its form.
    Login,
    /// A connection was made and nothing more is known yet.
    Connection,
    /// A command or request was received.
    Command,
    /// The peer broke the protocol, or spoke another one.
    Violation,
    /// Packets that look for open ports.
    Scan,
    /// A peer was refused or cut off because of a limit.
    Limit,
    /// The canary itself: started, stopped, reloaded, an output failing.
    Lifecycle,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 7] =
        [Self::Login, Self::Connection, Self::Command, Self::Violation, Self::Scan, Self::Limit, Self::Lifecycle];

    /// The word in `aviary.kind`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Connection => "connection",
            Self::Command => "command",
            Self::Violation => "violation",
            Self::Scan => "scan",
            Self::Limit => "limit",
            Self::Lifecycle => "lifecycle",
        }
    }

    /// The class of a word that [`Class::word`] gives.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.word() == word)
    }

    /// The class of one of OpenCanary's log types, for lines that do not say it themselves. What is
    /// not known is a [`Class::Command`]: a peer did something.
    #[must_use]
    pub const fn of_opencanary(logtype: i64) -> Self {
        match logtype {
            1000..=1005 => Self::Lifecycle,
            2000 | 2001 | 3001 | 4002 | 6001 | 7001 | 8001 | 9001 | 9002 | 12001 => Self::Login,
            4000 | 4001 | 6002 | 9003 | 14001 | 18001 | 18002 => Self::Connection,
            5001..=5005 => Self::Scan,
            _ => Self::Command,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A kind of event as it is declared and documented.
#[derive(Debug)]
pub struct KindInfo {
    /// The log type.
    pub number: i64,
    /// The constant's name, `LOG_…`, as OpenCanary writes it in its own tables.
    pub constant: &'static str,
    /// The class.
    pub class: Class,
    /// When it is written: a sentence fragment.
    pub when: &'static str,
    /// Keys of `logdata` that may appear, sorted; `*` alone stands for any.
    pub keys: &'static [&'static str],
    /// MITRE ATT&CK techniques, if the kind alone says one.
    pub technique: &'static [&'static str],
}

/// A declared kind.
pub type Kind = &'static KindInfo;
