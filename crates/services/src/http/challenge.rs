//! Demands for credentials: the 401 and what its `WWW-Authenticate` offers. The challenges of NTLM are the
//! proxy's, too.

use std::fmt::Write as _;
use std::sync::Arc;

use aviary_event::Timestamp;
use aviary_service::Facts;
use aviary_wire::{ntlm, spnego};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::codec::Request;
use super::credentials::Authorization;
use super::response::Response;

/// What `http.auth` asks of every request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Auth {
    /// Nothing.
    #[default]
    None,
    /// RFC 7617.
    Basic,
    /// RFC 7616.
    Digest,
    /// NTLM.
    Ntlm,
    /// Negotiate, and NTLM beside it.
    Negotiate,
}

/// Challenges of one connection.
#[derive(Debug)]
pub(crate) struct Challenger {
    entropy: [u8; 32],
    host_name: Arc<str>,
    /// The challenge that NTLM was given last.
    pub(crate) last: Option<[u8; 8]>,
    given: u32,
}

impl Challenger {
    /// The connection's, which has given none yet.
    pub(crate) fn new(facts: &Facts) -> Self {
        Self { entropy: facts.entropy, host_name: Arc::clone(&facts.host_name), last: None, given: 0 }
    }

    /// The 401 that a request gets: since all do, or since it began NTLM by itself.
    pub(super) fn demand(&mut self, auth: Auth, realm: &str, request: &Request, now: Timestamp) -> Option<Response> {
        let sent = request.first("authorization").map(Authorization::parse);
        let mut offers = match auth {
            Auth::None => Vec::new(),
            Auth::Basic => vec![format!("Basic realm=\"{realm}\"")],
            Auth::Digest => vec![self.digest_offer(realm, now)],
            Auth::Ntlm => vec!["NTLM".to_owned()],
            Auth::Negotiate => vec!["Negotiate".to_owned(), "NTLM".to_owned()],
        };
        if let Some(Authorization::Ntlm { message, wrapped, scheme }) = sent {
            offers = match self.proceed(&message, wrapped, scheme, now) {
                Some(offer) => vec![offer],
                None if offers.is_empty() && wrapped => {
                    vec![format!("{scheme} {}", STANDARD.encode(spnego::rejected()))]
                }
                None if offers.is_empty() => vec![scheme.to_owned()],
                None => offers,
            };
        }
        let extra: Vec<_> = offers.into_iter().map(|offer| ("WWW-Authenticate".to_owned(), offer)).collect();
        (!extra.is_empty()).then(|| Response { status: 401, extra, ..Response::default() })
    }

    /// The scheme with a challenge, when a client's message opens NTLM.
    pub(crate) fn proceed(&mut self, message: &[u8], wrapped: bool, scheme: &str, now: Timestamp) -> Option<String> {
        if ntlm::message_type(message) != Some(1) {
            return None;
        }
        let token = self.ntlm(&ntlm::Negotiate::parse(message).unwrap_or_default(), now);
        let token = if wrapped { spnego::incomplete(&token) } else { token };
        Some(format!("{scheme} {}", STANDARD.encode(token)))
    }

    fn ntlm(&mut self, offer: &ntlm::Negotiate, now: Timestamp) -> Vec<u8> {
        self.given = self.given.saturating_add(1);
        let challenge = self.random(format!("ntlm {}", self.given).as_bytes());
        self.last = Some(challenge);
        let target = ntlm::Target::standalone(&self.host_name);
        ntlm::Challenge::answer(offer, challenge, target, now.as_micros()).encode()
    }

    fn digest_offer(&self, realm: &str, now: Timestamp) -> String {
        let hash = Sha1::new().chain_update(self.entropy).chain_update(now.as_micros().to_le_bytes()).finalize();
        let nonce = digest_nonce(now.as_micros(), &hash);
        format!("Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm=MD5, qop=\"auth\"")
    }

    /// Eight bytes of this connection for a purpose.
    pub(crate) fn random(&self, purpose: &[u8]) -> [u8; 8] {
        let hash = Sha256::new().chain_update(self.entropy).chain_update(purpose).finalize();
        hash.first_chunk().copied().unwrap_or_default()
    }
}

/// The nonce of `mod_auth_digest`: base64 of the time and 40 hex digits over it and a secret.
fn digest_nonce(micros: i64, hash: &[u8]) -> String {
    let mut nonce = STANDARD.encode(micros.to_le_bytes());
    for byte in hash.iter().take(20) {
        let _ = write!(nonce, "{byte:02x}");
    }
    nonce
}
