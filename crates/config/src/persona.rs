//! Personas: machines to play, each with defaults for all services that fit together.

use serde_json::Value;

/// A machine to play.
#[derive(Clone, Copy, Debug)]
pub struct Persona {
    /// Its name in `device.persona`: `nas`.
    pub name: &'static str,
    /// What it is, in a few words.
    pub summary: &'static str,
    /// Keys and their defaults as JSON text. What is not among them has its own default.
    pub defaults: &'static [(&'static str, &'static str)],
}

impl Persona {
    /// Its defaults as values. A text that is not JSON is left out; a test looks for such.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, Value)> {
        self.defaults.iter().filter_map(|(key, text)| Some((*key, serde_json::from_str(text).ok()?)))
    }
}
