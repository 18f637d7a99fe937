//! What the operator asked for: the key space, the files, and every check that needs no network.
//!
//! One key space, two spellings: OpenCanary's flat JSON and TOML whose tables nest the same keys.
//! [`load`] does all of it: it finds the file ([`search`]), parses it ([`Document`]), replaces what
//! its values refer to ([`expand`]) and checks it against the [`KeySpace`] ([`check`]). What comes
//! out are [`Settings`], right by construction, and every [`Problem`] at once, each with its place.

mod check;
mod copy;
mod document;
mod expand;
mod handlers;
mod honeycreds;
mod hosts;
mod ignore;
mod key;
mod keys;
mod load;
mod metrics;
mod persona;
mod problem;
mod search;
mod settings;
mod shape;
mod shipped;
mod space;
#[cfg(test)]
mod testing;

pub use check::check;
pub use copy::{Spelling, sample};
pub use document::{Document, Entry, Format, HostPart, LONGEST_FILE};
pub use expand::{LONGEST_SECRET, expand};
pub use handlers::{DEFAULT_FORMAT, Handler};
pub use honeycreds::{BadHoneyCred, HoneyCreds};
pub use hosts::Host;
pub use ignore::{BadNetwork, IgnoreList, IgnoreRules};
pub use key::{Key, Shape};
pub use load::{Loaded, load};
pub use metrics::MetricsPlace;
pub use persona::Persona;
pub use problem::{Location, Problem, Severity, nearest};
pub use search::{Found, LoadError, Place, Surroundings, places, read, search};
pub use settings::Settings;
pub use space::KeySpace;
