//! The OpenSSH servers that can be played, as data.
//!
//! Source of every list: the KEXINIT and EXT_INFO of these builds, captured with their Debian or
//! Ubuntu default configuration. A persona is one build: banner, lists, texts and delays together.

use std::time::Duration;

/// One build of OpenSSH.
#[derive(Debug)]
pub(crate) struct Persona {
    /// The identification line without CR and LF.
    pub(crate) banner: &'static str,
    /// Major and minor version, by which the nearest persona is found.
    pub(crate) version: (u32, u32),
    /// Key exchange methods, with the markers that stand among them.
    pub(crate) kex: &'static str,
    /// Host key algorithms.
    pub(crate) host_keys: &'static str,
    /// Ciphers, of both directions.
    pub(crate) ciphers: &'static str,
    /// MACs, of both directions.
    pub(crate) macs: &'static str,
    /// Compression, of both directions.
    pub(crate) compression: &'static str,
    /// Extensions in EXT_INFO, in order.
    pub(crate) extensions: &'static [(&'static str, &'static str)],
    /// Authentications that can continue, with and without keyboard-interactive.
    pub(crate) methods: Methods,
    /// Whether a packet type beyond the local range is called `Invalid ssh2 packet type`; later
    /// builds leave without a word.
    pub(crate) names_local_types: bool,
    /// Whether PING and a client's EXT_INFO are understood (9.5 and later).
    pub(crate) knows_ping_and_ext_info: bool,
    /// What makes a failed attempt slow.
    pub(crate) delay: Delay,
}

/// The method list of USERAUTH_FAILURE.
#[derive(Debug)]
pub(crate) struct Methods {
    /// `KbdInteractiveAuthentication no`, which Debian and Ubuntu ship.
    pub(crate) plain: &'static str,
    /// `KbdInteractiveAuthentication yes`.
    pub(crate) with_keyboard: &'static str,
}

/// The time that a failed attempt takes.
#[derive(Debug)]
pub(crate) struct Delay {
    /// Least time of a failure (`MIN_FAIL_DELAY_SECONDS`), to which up to 4.3 ms are added that
    /// depend on the user name and the host keys; the sum is doubled until the work fits in.
    pub(crate) least: Duration,
    /// `pam_unix` asks for this much after a wrong password; PAM spreads it from half to one and a half.
    pub(crate) pam: Duration,
}

impl Persona {
    /// Whether the persona knows strict key exchange.
    pub(crate) fn is_strict(&self) -> bool {
        self.kex.split(',').any(|name| name == "kex-strict-s-v00@openssh.com")
    }
}

/// Failed authentications after which the connection ends (`MaxAuthTries`).
pub(crate) const MAX_AUTH_TRIES: u32 = 6;

/// Requests after which it ends whatever their outcome.
pub(crate) const MAX_REQUESTS: u32 = 1024;

/// Time to log in (`LoginGraceTime`).
pub(crate) const LOGIN_GRACE: Duration = Duration::from_secs(120);

/// To a line that is none.
pub(crate) const TEXT_INVALID: &str = "Invalid SSH identification string.\r\n";
/// To another protocol version.
pub(crate) const TEXT_OTHER_MAJOR: &str = "Protocol major versions differ.\r\n";
/// After the last attempt.
pub(crate) const TEXT_TOO_MANY: &str = "Too many authentication failures";

const METHODS: Methods =
    Methods { plain: "publickey,password", with_keyboard: "publickey,password,keyboard-interactive" };
const DELAY: Delay = Delay { least: Duration::from_millis(5), pam: Duration::from_secs(2) };
const COMPRESSION: &str = "none,zlib@openssh.com";
const MACS: &str = "umac-64-etm@openssh.com,umac-128-etm@openssh.com,hmac-sha2-256-etm@openssh.com,\
    hmac-sha2-512-etm@openssh.com,hmac-sha1-etm@openssh.com,umac-64@openssh.com,umac-128@openssh.com,\
    hmac-sha2-256,hmac-sha2-512,hmac-sha1";
const CIPHERS: &str = "chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,\
    aes128-gcm@openssh.com,aes256-gcm@openssh.com";
const CIPHERS_GCM_FIRST: &str = "chacha20-poly1305@openssh.com,aes128-gcm@openssh.com,aes256-gcm@openssh.com,\
    aes128-ctr,aes192-ctr,aes256-ctr";
const HOST_KEYS: &str = "rsa-sha2-512,rsa-sha2-256,ecdsa-sha2-nistp256,ssh-ed25519";
const HOST_KEYS_WITH_SHA1: &str = "rsa-sha2-512,rsa-sha2-256,ssh-rsa,ecdsa-sha2-nistp256,ssh-ed25519";
const KEX_10: &str = "mlkem768x25519-sha256,sntrup761x25519-sha512,sntrup761x25519-sha512@openssh.com,\
    curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,\
    ext-info-s,kex-strict-s-v00@openssh.com";
const HOSTBOUND: (&str, &str) = ("publickey-hostbound@openssh.com", "0");
const PING: (&str, &str) = ("ping@openssh.com", "0");
const SIGNATURES_8_4: (&str, &str) = (
    "server-sig-algs",
    "ssh-ed25519,sk-ssh-ed25519@openssh.com,ssh-rsa,rsa-sha2-256,rsa-sha2-512,ssh-dss,ecdsa-sha2-nistp256,\
     ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,sk-ecdsa-sha2-nistp256@openssh.com,\
     webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
);
const SIGNATURES_9_6: (&str, &str) = (
    "server-sig-algs",
    "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,sk-ssh-ed25519@openssh.com,\
     sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512,rsa-sha2-256",
);

/// Ubuntu 20.04 as released.
static OPENSSH_8_2: Persona = Persona {
    banner: "SSH-2.0-OpenSSH_8.2p1 Ubuntu-4",
    version: (8, 2),
    kex: "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,\
          ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,\
          diffie-hellman-group18-sha512,diffie-hellman-group14-sha256",
    host_keys: HOST_KEYS_WITH_SHA1,
    ciphers: CIPHERS,
    macs: MACS,
    compression: COMPRESSION,
    extensions: &[(
        "server-sig-algs",
        "ssh-ed25519,sk-ssh-ed25519@openssh.com,ssh-rsa,rsa-sha2-256,rsa-sha2-512,ssh-dss,ecdsa-sha2-nistp256,\
         ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,sk-ecdsa-sha2-nistp256@openssh.com",
    )],
    methods: METHODS,
    names_local_types: true,
    knows_ping_and_ext_info: false,
    delay: DELAY,
};

/// Debian 11.
static OPENSSH_8_4: Persona = Persona {
    banner: "SSH-2.0-OpenSSH_8.4p1 Debian-5+deb11u3",
    version: (8, 4),
    kex: "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,\
          ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,\
          diffie-hellman-group18-sha512,diffie-hellman-group14-sha256,kex-strict-s-v00@openssh.com",
    host_keys: HOST_KEYS_WITH_SHA1,
    ciphers: CIPHERS,
    macs: MACS,
    compression: COMPRESSION,
    extensions: &[SIGNATURES_8_4],
    methods: METHODS,
    names_local_types: true,
    knows_ping_and_ext_info: false,
    delay: DELAY,
};

/// Ubuntu 22.04.
static OPENSSH_8_9: Persona = Persona {
    banner: "SSH-2.0-OpenSSH_8.9p1 Ubuntu-3ubuntu0.18",
    version: (8, 9),
    kex: "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,\
          ecdh-sha2-nistp521,sntrup761x25519-sha512@openssh.com,diffie-hellman-group-exchange-sha256,\
          diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,diffie-hellman-group14-sha256,\
          kex-strict-s-v00@openssh.com",
    host_keys: HOST_KEYS,
    ciphers: CIPHERS,
    macs: MACS,
    compression: COMPRESSION,
    extensions: &[SIGNATURES_8_4, HOSTBOUND],
    methods: METHODS,
    names_local_types: true,
    knows_ping_and_ext_info: false,
    delay: DELAY,
};

/// Debian 12.
static OPENSSH_9_2: Persona = Persona {
    banner: "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10",
    version: (9, 2),
    kex: "sntrup761x25519-sha512,sntrup761x25519-sha512@openssh.com,curve25519-sha256,\
          curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,\
          diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,\
          diffie-hellman-group14-sha256,kex-strict-s-v00@openssh.com",
    host_keys: HOST_KEYS,
    ciphers: CIPHERS,
    macs: MACS,
    compression: COMPRESSION,
    extensions: &[
        (
            "server-sig-algs",
            "ssh-ed25519,sk-ssh-ed25519@openssh.com,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,\
             sk-ecdsa-sha2-nistp256@openssh.com,webauthn-sk-ecdsa-sha2-nistp256@openssh.com,ssh-dss,ssh-rsa,\
             rsa-sha2-256,rsa-sha2-512",
        ),
        HOSTBOUND,
    ],
    methods: METHODS,
    names_local_types: true,
    knows_ping_and_ext_info: false,
    delay: DELAY,
};

/// Ubuntu 24.04.
static OPENSSH_9_6: Persona = Persona {
    banner: "SSH-2.0-OpenSSH_9.6p1 Ubuntu-3ubuntu13.20",
    version: (9, 6),
    kex: "sntrup761x25519-sha512@openssh.com,curve25519-sha256,curve25519-sha256@libssh.org,\
          ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,\
          diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,diffie-hellman-group14-sha256,\
          ext-info-s,kex-strict-s-v00@openssh.com",
    host_keys: HOST_KEYS,
    ciphers: CIPHERS,
    macs: MACS,
    compression: COMPRESSION,
    extensions: &[SIGNATURES_9_6, HOSTBOUND, PING],
    methods: METHODS,
    names_local_types: false,
    knows_ping_and_ext_info: true,
    delay: DELAY,
};

/// Debian 13.
static OPENSSH_10_0: Persona = Persona {
    banner: "SSH-2.0-OpenSSH_10.0p2 Debian-7+deb13u4",
    version: (10, 0),
    kex: KEX_10,
    host_keys: HOST_KEYS,
    ciphers: CIPHERS_GCM_FIRST,
    macs: MACS,
    compression: COMPRESSION,
    extensions: &[SIGNATURES_9_6, HOSTBOUND, PING],
    methods: METHODS,
    names_local_types: false,
    knows_ping_and_ext_info: true,
    delay: DELAY,
};

/// Debian unstable in late 2026.
static OPENSSH_10_6: Persona = Persona {
    banner: "SSH-2.0-OpenSSH_10.6p1 Debian-1",
    version: (10, 6),
    kex: KEX_10,
    // LIMIT: without `ssh-mldsa44-ed25519`, which we cannot sign with. A machine that was
    // upgraded to this version has no such key either, and offers exactly this list.
    host_keys: HOST_KEYS,
    ciphers: CIPHERS_GCM_FIRST,
    macs: MACS,
    compression: COMPRESSION,
    extensions: &[
        (
            "server-sig-algs",
            "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,sk-ssh-ed25519@openssh.com,\
             sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512,rsa-sha2-256,ssh-mldsa44-ed25519,\
             webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
        ),
        HOSTBOUND,
        PING,
        ("agent-forward", "0"),
    ],
    methods: METHODS,
    names_local_types: false,
    knows_ping_and_ext_info: true,
    delay: DELAY,
};

/// All personas, oldest first.
pub(crate) static PERSONAS: &[&Persona] =
    &[&OPENSSH_8_2, &OPENSSH_8_4, &OPENSSH_8_9, &OPENSSH_9_2, &OPENSSH_9_6, &OPENSSH_10_0, &OPENSSH_10_6];

/// The persona when none is configured: the newest build of which we implement every algorithm.
pub(crate) static DEFAULT: &Persona = &OPENSSH_10_0;

/// The persona whose version is nearest to the banner's (the newer one of two); the default when the
/// banner names no OpenSSH version.
pub(crate) fn nearest(banner: &str) -> &'static Persona {
    let place = |(major, minor): (u32, u32)| major.saturating_mul(100).saturating_add(minor.min(99));
    let wanted = version_of(banner).unwrap_or(DEFAULT.version);
    let distance = |persona: &&&'static Persona| place(persona.version).abs_diff(place(wanted));
    PERSONAS.iter().rev().min_by_key(distance).copied().unwrap_or(DEFAULT)
}

/// Clients that get a method wrong, by how their software name begins, and the method that OpenSSH
/// withholds from them. Measured on 9.2; the first line that fits counts.
const WITHHELD: &[(&str, &str)] = &[
    ("OpenSSH_6.6.1", ""),
    ("OpenSSH_6.5", "curve25519-sha256@libssh.org"),
    ("OpenSSH_6.6", "curve25519-sha256@libssh.org"),
    ("PuTTY_Local:", "diffie-hellman-group-exchange-sha256"),
    ("PuTTY-Release-0.5", "diffie-hellman-group-exchange-sha256"),
    ("PuTTY_Release_0.5", "diffie-hellman-group-exchange-sha256"),
    ("FuTTY", "diffie-hellman-group-exchange-sha256"),
    ("WinSCP_release_4", "diffie-hellman-group-exchange-sha256"),
    ("WinSCP_release_5.0", "diffie-hellman-group-exchange-sha256"),
    ("WinSCP_release_5.1", "diffie-hellman-group-exchange-sha256"),
];

/// The key exchange method that is not offered to a client with this identification line; empty when
/// all are.
pub(crate) fn withheld(line: &[u8]) -> &'static str {
    let software = line.splitn(3, |byte| *byte == b'-').nth(2).unwrap_or_default();
    WITHHELD.iter().find(|(start, _)| software.starts_with(start.as_bytes())).map_or("", |(_, method)| method)
}

/// `SSH-2.0-OpenSSH_9.2p1 …` or `…OpenSSH_for_Windows_9.5` as (9, 2) or (9, 5).
fn version_of(banner: &str) -> Option<(u32, u32)> {
    let (_, rest) = banner.split_once("OpenSSH_")?;
    let rest = rest.strip_prefix("for_Windows_").unwrap_or(rest);
    let mut numbers = rest.split(|c: char| !c.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    Some((major, numbers.next().and_then(|minor| minor.parse().ok()).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::hassh;
    use crate::ssh::negotiation::{KexInit, server_init};

    #[test]
    fn finds_the_nearest_version() {
        for (banner, version) in [
            ("SSH-2.0-OpenSSH_5.1p1 Debian-4", (8, 2)),
            ("SSH-2.0-OpenSSH_8.3", (8, 4)),
            ("SSH-2.0-OpenSSH_8.9p1 Ubuntu-3ubuntu0.1", (8, 9)),
            ("SSH-2.0-OpenSSH_9.9", (9, 6)),
            ("SSH-2.0-OpenSSH_for_Windows_9.5", (9, 6)),
            ("SSH-2.0-OpenSSH_11.0", (10, 6)),
            ("SSH-2.0-Cisco-1.25", (10, 0)),
            ("SSH-2.0-OpenSSH_x", (10, 0)),
        ] {
            assert_eq!(nearest(banner).version, version, "{banner}");
        }
        for persona in PERSONAS {
            assert_eq!(nearest(persona.banner).banner, persona.banner);
        }
    }

    #[test]
    fn withholds_what_old_clients_get_wrong() {
        for (line, method) in [
            (&b"SSH-2.0-OpenSSH_6.6p1 Ubuntu-2"[..], "curve25519-sha256@libssh.org"),
            (b"SSH-2.0-OpenSSH_6.6.1p1", ""),
            (b"SSH-2.0-OpenSSH_9.2p1", ""),
            (b"SSH-2.0-PuTTY-Release-0.53", "diffie-hellman-group-exchange-sha256"),
            (b"SSH-2.0-WinSCP_release_5.2", ""),
            (b"SSH-2.0", ""),
        ] {
            assert_eq!(withheld(line), method, "{}", line.escape_ascii());
        }
    }

    /// The size of the whole packet and hasshServer, as measured on each build.
    #[test]
    fn fingerprints_are_those_of_the_real_builds() {
        for (persona, size, fingerprint) in [
            (&OPENSSH_8_2, 1056, "3ccd1778a76049721c71ad7d2bf62bbc"),
            (&OPENSSH_8_4, 1080, "779664e66160bf75999f091fce5edb5a"),
            (&OPENSSH_8_9, 1112, "41ff3ecd1458b0bf86e1b4891636213e"),
            (&OPENSSH_9_2, 1136, "425d29fe50d8e4f5e37efb6e24bcf660"),
            (&OPENSSH_9_6, 1120, "e42184b06d45385a906f0803d04c83da"),
            (&OPENSSH_10_0, 1040, "671c5858369db8e0a60108d866bbf8ec"),
            // The real one is 20 bytes longer by the host key that we leave out.
            (&OPENSSH_10_6, 1040, "671c5858369db8e0a60108d866bbf8ec"),
        ] {
            let payload = server_init(persona, "", [0; 16]);
            assert_eq!((payload.len() + 5 + 4).next_multiple_of(8), size, "{}", persona.banner);
            let init = KexInit::parse(&payload).expect("own message");
            assert_eq!(hassh::digest(&hassh::server_text(&init)), fingerprint, "{}", persona.banner);
        }
    }
}
