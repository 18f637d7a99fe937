//! What all connections share: the version, this installation's secret, and what follows from both.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use aviary_event::Timestamp;
use aviary_service::Slot;
use aviary_wire::guess::Budget;
use ring::hmac;

use super::persona::Persona;
use super::scram::{Conversation, Hash};

/// Users whose candidates are remembered.
const USERS: usize = 256;

/// New users whose password is guessed in one second: the keys of each take some 60 ms of the threads that all
/// services share for such work.
pub(super) const GUESSES: u16 = 8;

/// Hash, database and name of a user.
type Credential = (Hash, Vec<u8>, Vec<u8>);

/// Passwords and their keys.
pub(super) type Candidates = Arc<Vec<(Vec<u8>, Vec<u8>)>>;

/// The server.
pub(super) struct Server {
    /// The version and its manners.
    pub(super) persona: Persona,
    /// 32 random bytes of this installation.
    pub(super) seed: Slot,
    /// `topologyVersion.processId`, made by the first connection.
    pub(super) process: OnceLock<[u8; 12]>,
    /// Planted passwords, [`PLANTED`](super::scram::PLANTED) at most.
    pub(super) planted: Vec<Vec<u8>>,
    /// Keys of the passwords that are tried, since a user's salt never changes.
    pub(super) candidates: Mutex<HashMap<Credential, Candidates>>,
    /// New users whose keys are made.
    pub(super) guesses: Budget,
}

impl Server {
    /// Bytes of this installation for a purpose.
    pub(super) fn secret(&self, purpose: &[&[u8]]) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, self.seed.wait()));
        for part in purpose {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            context.update(part);
        }
        context.sign().as_ref().to_vec()
    }

    /// The process's ObjectId: seconds, five bytes that stay, and a counter.
    pub(super) fn process(&self, now: Timestamp) -> [u8; 12] {
        *self.process.get_or_init(|| {
            let seconds = u32::try_from(now.as_seconds()).unwrap_or(0).to_be_bytes();
            let secret = self.secret(&[b"process"]);
            let mut id = [0; 12];
            for (to, from) in id.iter_mut().zip(seconds.iter().chain(&secret)) {
                *to = *from;
            }
            id
        })
    }

    /// The salt of a user's credential, which is the same for ever.
    pub(super) fn salt(&self, hash: Hash, database: &[u8], user: &[u8]) -> Vec<u8> {
        let (length, _) = hash.costs();
        let name: &[u8] = if hash == Hash::Sha1 { b"salt 1" } else { b"salt 256" };
        let mut salt = self.secret(&[name, database, user]);
        salt.truncate(length);
        salt
    }

    /// Whether the keys to try for a conversation are there, or may be made now.
    pub(super) fn may_guess(&self, database: &[u8], conversation: &Conversation, now: Timestamp) -> bool {
        let key = (conversation.hash, database.to_vec(), conversation.user.clone());
        let is_known = self.known().contains_key(&key);
        is_known || self.guesses.take(now.as_seconds())
    }

    /// The keys to try for a conversation. Takes long the first time for a user.
    pub(super) fn candidates(&self, database: &[u8], conversation: &Conversation) -> Candidates {
        let key = (conversation.hash, database.to_vec(), conversation.user.clone());
        if let Some(known) = self.known().get(&key) {
            return Arc::clone(known);
        }
        let made = Arc::new(conversation.candidates(&self.planted));
        let mut known = self.known();
        if known.len() >= USERS {
            known.clear();
        }
        known.insert(key, Arc::clone(&made));
        made
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Credential, Candidates>> {
        self.candidates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
