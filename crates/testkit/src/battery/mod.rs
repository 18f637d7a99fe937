//! The batteries: what every service must stand, whatever it imitates.
//!
//! Each check takes a [`Subject`] and says what is wrong, so that a service gets all of them by
//! being in the list, and the checks themselves can be seen to fail on services made for that.

mod bytes;
mod datagrams;
mod declaration;
mod errands;
mod inputs;
mod secrets;

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use aviary_config::Settings;
use aviary_event::Timestamp;
use aviary_service::{
    Dialogue, Endpoint, Entry, Facts, Maker, Materials, MemoryVault, Outbox, Protocol, Service, Slot, Vault,
};

pub use bytes::{
    answers_are_bounded, chunk_size_changes_nothing, ends_whatever_comes, fuzz_oracle, names_nothing_of_ours,
    silence_loses_nothing,
};
pub use datagrams::strangers_get_no_more_than_they_send;
pub use declaration::{declaration_is_whole, reports_what_it_declares};
pub use inputs::{Input, SEPARATOR, join, of_fixtures, of_folder, segments, whatever};
pub use secrets::{installations_share_nothing, same_facts_same_answers};

use crate::{Datagrams, NOW, Talk, Transcript, facts, settings};

/// What a check found wrong.
pub type Finding = Result<(), String>;

/// A service under test, with the settings that open everything it has and what to send it.
pub struct Subject<'a> {
    /// The registry's line.
    pub entry: &'a Entry,
    /// Key and JSON text, beyond the defaults.
    pub given: Vec<(String, String)>,
    /// What a peer might send.
    pub inputs: Vec<Input>,
}

impl<'a> Subject<'a> {
    /// With the generic inputs, and what lies in the folders of this repository: settings in
    /// `crates/services/src/*/fixtures/settings-<name>.json`, inputs in `fuzz/corpus/<name>/` and
    /// in the service's `fixtures/*.bin`.
    ///
    /// # Panics
    /// When a settings file is not a JSON object.
    #[must_use]
    pub fn of(entry: &'a Entry, root: &Path) -> Self {
        let sources = root.join("crates/services/src");
        let mut inputs = whatever();
        inputs.extend(of_folder(&root.join("fuzz/corpus").join(entry.name)));
        inputs.extend(of_fixtures(&sources.join(entry.name).join("fixtures")));
        Self { entry, given: settings_of(entry, &sources), inputs }
    }

    /// With the generic inputs alone and every setting at its default.
    #[must_use]
    pub fn plain(entry: &'a Entry) -> Self {
        Self { entry, given: Vec::new(), inputs: whatever() }
    }

    /// A new installation of the service, which remembers its secrets.
    ///
    /// # Errors
    /// When the service refuses the settings.
    pub fn install(&self) -> Result<Installation, String> {
        let given: Vec<(&str, &str)> = self.given.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let settings: Settings = settings(self.entry.keys, &given);
        let vault = RecordingVault::default();
        let materials = Materials { settings: &settings, vault: &vault, host_name: "srv01" };
        let service = (self.entry.build)(&materials).map_err(|rejection| rejection.to_string())?;
        let slots = vault.slots.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Installation { service, slots })
    }
}

/// A built service and the secrets that it asked for.
pub struct Installation {
    /// The service.
    pub service: Box<dyn Service>,
    /// Name and slot of each secret, in order of asking.
    pub slots: Vec<(String, Slot)>,
}

impl Installation {
    /// Runs `talk` on each endpoint in turn, with fresh dialogues for connections with this entropy.
    fn on_each_endpoint(&self, entropy: [u8; 32], mut talk: impl FnMut(&str, &mut dyn Dialogue) -> Finding) -> Finding {
        for (index, endpoint) in self.service.endpoints().iter().enumerate() {
            let facts = Facts { entropy, ..facts(endpoint.port) };
            match endpoint.protocol {
                Protocol::Tcp => talk(&endpoint.label, self.service.dialogue(index, &facts).as_mut())?,
                Protocol::Udp => {
                    talk(&endpoint.label, &mut Datagrams::new(&*self.service, index, facts))?;
                }
            }
        }
        Ok(())
    }

    /// What its questions and files bring of these segments.
    fn overheard(&self, entropy: [u8; 32], input: &[Vec<u8>]) -> Vec<Transcript> {
        errands::overheard(&*self.service, entropy, input)
    }

    /// One exchange on each endpoint over TCP, with this end.
    fn streams(&self, input: &[Vec<u8>], end: fn(Talk<'_>) -> Transcript) -> Vec<Transcript> {
        let streams = self.service.endpoints().into_iter().enumerate();
        let streams = streams.filter(|(_, endpoint)| endpoint.protocol == Protocol::Tcp);
        let talk = |(index, endpoint): (usize, Endpoint)| {
            let facts = Facts { entropy: [0x42; 32], ..facts(endpoint.port) };
            let mut dialogue = self.service.dialogue(index, &facts);
            let mut talk = Talk::open(dialogue.as_mut());
            for chunk in input {
                talk.send(chunk);
            }
            end(talk)
        };
        streams.map(talk).collect()
    }

    /// One exchange on each endpoint, segment by segment; then what comes of it for a service that asks or
    /// reads files.
    fn exchanges(&self, entropy: [u8; 32], input: &[Vec<u8>]) -> Vec<Transcript> {
        let mut transcripts = Vec::new();
        let done = self.on_each_endpoint(entropy, |_, dialogue| {
            transcripts.push(converse(dialogue, input.iter().map(Vec::as_slice)));
            Ok(())
        });
        debug_assert!(done.is_ok(), "the closure never fails");
        transcripts.extend(self.overheard(entropy, input));
        transcripts
    }
}

/// Opens, sends each chunk, ends.
fn converse<'b>(dialogue: &mut dyn Dialogue, chunks: impl Iterator<Item = &'b [u8]>) -> Transcript {
    let mut talk = Talk::open(dialogue);
    for chunk in chunks {
        talk.send(chunk);
    }
    talk.end()
}

/// Ends a fresh dialogue in each way that is not the peer's: idle limit, too much waiting.
fn cut_off(dialogue: &mut dyn Dialogue, waiting: &[u8], overflow: bool) {
    let mut out = Outbox::new(Timestamp::from_micros(NOW));
    dialogue.open(&mut out);
    if overflow { dialogue.overflowed(waiting, &mut out) } else { dialogue.expired(waiting, &mut out) }
}

/// A vault that forgets, but tells which secrets were asked for.
#[derive(Default)]
struct RecordingVault {
    inner: MemoryVault,
    slots: Mutex<Vec<(String, Slot)>>,
}

impl Vault for RecordingVault {
    fn slot(&self, name: &str, make: Maker) -> Slot {
        let slot = self.inner.slot(name, make);
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.push((name.to_owned(), slot.clone()));
        slot
    }
}

/// The settings of `<sources>/*/fixtures/settings-<name>.json`, each value as JSON text.
fn settings_of(entry: &Entry, sources: &Path) -> Vec<(String, String)> {
    let file = format!("fixtures/settings-{}.json", entry.name);
    let folders = fs::read_dir(sources).into_iter().flatten().flatten();
    let Some(text) = folders.filter_map(|folder| fs::read_to_string(folder.path().join(&file)).ok()).next() else {
        return Vec::new();
    };
    let parsed: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    parsed.into_iter().map(|(key, value)| (key, value.to_string())).collect()
}
