//! The ledger of deliveries: what people are to be told, and what became of it.

use aviary_event::{Severity, Timestamp};
use aviary_insight::Fact;

use crate::Cursor;

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// It goes out by itself when it is due.
    Waiting,
    /// It goes out with others when it is due.
    Gathering,
    /// The recipient has had enough messages for now; it goes out with others when it is due.
    OverBudget,
    /// The receiver has it.
    Delivered,
    /// The receiver has it, with others in one message.
    Digested,
    /// It will not be tried again.
    Failed,
}

impl Fate {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Gathering, Self::OverBudget, Self::Delivered, Self::Digested, Self::Failed];

    /// The word in the store.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Gathering => "gathering",
            Self::OverBudget => "over budget",
            Self::Delivered => "delivered",
            Self::Digested => "digested",
            Self::Failed => "failed",
        }
    }

    /// The fate of a word that [`Fate::word`] gives.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fate| fate.word() == word)
    }

    /// Whether nothing more is done.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Digested | Self::Failed)
    }
}

/// A row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its number.
    pub row: i64,
    /// When it was decided.
    pub at: Timestamp,
    /// The policy that wants it.
    pub policy: String,
    /// Where it goes.
    pub channel: String,
    /// What it is about.
    pub incident: i64,
    /// How grave that was.
    pub severity: Severity,
    /// What became of it.
    pub fate: Fate,
    /// When it is due, or is tried again.
    pub due: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was tried last.
    pub tried: Option<Timestamp>,
    /// The receiver's answer to the last try.
    pub answer: String,
    /// What is new.
    pub facts: Vec<Fact>,
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The row that takes it in, which has not gone out yet; `None` for a row of its own.
    pub into: Option<i64>,
    /// The policy that wants it.
    pub policy: String,
    /// Where it goes.
    pub channel: String,
    /// How grave the incident is.
    pub severity: Severity,
    /// [`Fate::Waiting`] or [`Fate::Gathering`].
    pub fate: Fate,
    /// When it is due.
    pub due: Timestamp,
    /// What is new.
    pub facts: Vec<Fact>,
}

/// What was decided of an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The incident.
    pub number: i64,
    /// What was decided on.
    pub facts: Vec<Fact>,
    /// What is to be told.
    pub drafts: Vec<Draft>,
}

/// What a try came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The row.
    pub row: i64,
    /// What became of it.
    pub fate: Fate,
    /// When it is due, if it is not over.
    pub due: Timestamp,
    /// When it was tried; `None` when it was put off without a try.
    pub tried: Option<Timestamp>,
    /// The receiver's answer.
    pub answer: String,
}

/// What is asked for; what is not given is not asked.
#[derive(Clone, Debug, Default)]
pub struct DeliveryQuery {
    /// Those about an incident.
    pub incident: Option<i64>,
    /// Those to a channel.
    pub channel: Option<String>,
    /// Those that were tried, if true.
    pub tried: bool,
    /// Where the page before ended.
    pub after: Option<Cursor>,
    /// Rows of a page.
    pub limit: usize,
}

/// How often a rule hid something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hits {
    /// The rule.
    pub rule: String,
    /// How many events.
    pub events: u64,
    /// When the last of them arrived.
    pub last: Timestamp,
}
