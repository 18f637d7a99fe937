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
    /// Keys of `logdata` that may appear, sorted.
    pub keys: &'static [&'static str],
    /// MITRE ATT&CK techniques, if the kind alone says one.
    pub technique: &'static [&'static str],
}

/// A declared kind.
pub type Kind = &'static KindInfo;
