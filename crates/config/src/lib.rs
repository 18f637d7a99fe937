//! What the operator asked for: the key space, the files, and every check that needs no network.
//!
//! One key space, two spellings: OpenCanary's flat JSON and TOML whose tables nest the same keys.

mod key;
mod settings;

pub use key::{Key, Shape};
pub use settings::Settings;
