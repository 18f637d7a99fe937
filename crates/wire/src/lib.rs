//! Bytes that two services share: framing, BER, NTLMSSP and SPNEGO, common passwords,
//! fingerprints. No I/O.

// Bytes from peers are hostile: nothing here may panic, overflow or truncate on their account.
#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::string_slice,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

pub mod ber;
pub mod digest;
pub mod dns;
pub mod fingerprint;
pub mod guess;
pub mod gzip;
pub mod line;
pub mod names;
pub mod ntlm;
pub mod spnego;
pub mod vendor;
