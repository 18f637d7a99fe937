//! KEXINIT: both sides' lists and what comes of them.
//!
//! Layout and rules: [RFC 4253 section 7.1]. The client's order decides; a cipher that
//! authenticates needs no MAC. Strict key exchange is OpenSSH's `PROTOCOL` section 1.10.
//!
//! [RFC 4253 section 7.1]: https://www.rfc-editor.org/rfc/rfc4253#section-7.1

use super::cipher::CipherKind;
use super::codec::{Reader, Writer, message};
use super::hostkey::Algorithm;
use super::kex::Method;
use super::mac::MacKind;
use super::personas::Persona;

/// The ten name lists, in the order of the message. "In" is from client to server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    Kex,
    HostKey,
    CipherIn,
    CipherOut,
    MacIn,
    MacOut,
    CompressionIn,
    CompressionOut,
    LanguageIn,
    LanguageOut,
}

/// All lists with the key that each has in an event.
pub(crate) const LISTS: [(List, &str); 10] = [
    (List::Kex, "KEX_ALGORITHMS"),
    (List::HostKey, "HOST_KEY_ALGORITHMS"),
    (List::CipherIn, "CIPHERS_CLIENT_TO_SERVER"),
    (List::CipherOut, "CIPHERS_SERVER_TO_CLIENT"),
    (List::MacIn, "MACS_CLIENT_TO_SERVER"),
    (List::MacOut, "MACS_SERVER_TO_CLIENT"),
    (List::CompressionIn, "COMPRESSION_CLIENT_TO_SERVER"),
    (List::CompressionOut, "COMPRESSION_SERVER_TO_CLIENT"),
    (List::LanguageIn, "LANGUAGES_CLIENT_TO_SERVER"),
    (List::LanguageOut, "LANGUAGES_SERVER_TO_CLIENT"),
];

/// One side's KEXINIT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KexInit {
    /// Random, and in some clients telling.
    pub(crate) cookie: [u8; 16],
    lists: [Vec<u8>; 10],
    /// A packet that guesses the outcome follows.
    pub(crate) guess_follows: bool,
}

impl KexInit {
    /// `byte 20, byte[16] cookie, 10 × name-list, boolean first_kex_packet_follows, uint32 0`; `None`
    /// when it is cut short or goes on.
    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(payload);
        if reader.u8()? != message::KEXINIT {
            return None;
        }
        let cookie = reader.bytes(16)?.try_into().ok()?;
        let mut lists: [Vec<u8>; 10] = Default::default();
        for list in &mut lists {
            *list = reader.string()?.to_vec();
        }
        let guess_follows = reader.u8()? != 0;
        reader.u32()?;
        reader.end()?;
        Some(Self { cookie, lists, guess_follows })
    }

    /// A list as it came, commas and all.
    pub(crate) fn list(&self, list: List) -> &[u8] {
        let position = LISTS.iter().position(|(other, _)| *other == list);
        position.and_then(|at| self.lists.get(at)).map(Vec::as_slice).unwrap_or_default()
    }

    fn names(&self, list: List) -> impl Iterator<Item = &[u8]> {
        self.list(list).split(|byte| *byte == b',')
    }
}

/// The persona's KEXINIT payload, but for a method that is withheld from this client.
pub(crate) fn server_init(persona: &Persona, withheld: &str, cookie: [u8; 16]) -> Vec<u8> {
    let mut writer = Writer::message(message::KEXINIT).bytes(cookie);
    for (list, _) in LISTS {
        writer = writer.string(names(persona, withheld, list).collect::<Vec<_>>().join(","));
    }
    writer.u8(0).u32(0).done()
}

fn names<'a>(persona: &Persona, withheld: &'a str, list: List) -> impl Iterator<Item = &'static str> + use<'a> {
    offered(persona, list).split(',').filter(move |name| *name != withheld || name.is_empty())
}

/// What the persona offers in a list.
pub(crate) const fn offered(persona: &Persona, list: List) -> &'static str {
    match list {
        List::Kex => persona.kex,
        List::HostKey => persona.host_keys,
        List::CipherIn | List::CipherOut => persona.ciphers,
        List::MacIn | List::MacOut => persona.macs,
        List::CompressionIn | List::CompressionOut => persona.compression,
        List::LanguageIn | List::LanguageOut => "",
    }
}

/// Cipher and MAC of one direction; the MAC is missing when the cipher authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Suite {
    /// The cipher.
    pub(crate) cipher: CipherKind,
    /// The MAC.
    pub(crate) mac: Option<MacKind>,
}

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Key exchange method.
    pub(crate) method: Method,
    /// Host key and how it signs.
    pub(crate) host_key: Algorithm,
    /// From client to server.
    pub(crate) inbound: Suite,
    /// From server to client.
    pub(crate) outbound: Suite,
    /// The client's guess was wrong: its next packet is to be dropped.
    pub(crate) drop_guess: bool,
    /// Sequence numbers start again with NEWKEYS, and nothing unexpected is borne before.
    pub(crate) strict: bool,
    /// The client takes EXT_INFO.
    pub(crate) ext_info: bool,
}

/// The list in which both sides have nothing in common.
pub(crate) type NoCommon = List;

/// What comes of the client's lists and the persona's.
pub(crate) fn choose(client: &KexInit, persona: &Persona, withheld: &str) -> Result<Choice, NoCommon> {
    let pick = |list: List| {
        let ours = |name: &[u8]| names(persona, withheld, list).find(|our| our.as_bytes() == name);
        client.names(list).find_map(ours).ok_or(list)
    };
    let suite = |cipher: List, mac: List, compression: List| {
        let kind = CipherKind::by_name(pick(cipher)?).ok_or(cipher)?;
        let mac = if kind.authenticates() { None } else { Some(MacKind::by_name(pick(mac)?).ok_or(mac)?) };
        // Compression begins after authentication, which never succeeds; it must only be agreed on.
        pick(compression)?;
        Ok(Suite { cipher: kind, mac })
    };
    let has = |name: &str| client.names(List::Kex).any(|other| other == name.as_bytes());
    let first_differs =
        |list: List| client.names(list).next() != names(persona, withheld, list).next().map(str::as_bytes);
    Ok(Choice {
        method: Method::by_name(pick(List::Kex)?).ok_or(List::Kex)?,
        host_key: Algorithm::by_name(pick(List::HostKey)?).ok_or(List::HostKey)?,
        inbound: suite(List::CipherIn, List::MacIn, List::CompressionIn)?,
        outbound: suite(List::CipherOut, List::MacOut, List::CompressionOut)?,
        drop_guess: client.guess_follows && (first_differs(List::Kex) || first_differs(List::HostKey)),
        strict: persona.is_strict() && has("kex-strict-c-v00@openssh.com"),
        ext_info: has("ext-info-c"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::personas::{DEFAULT, PERSONAS};

    /// A client's KEXINIT with these lists.
    fn client(kex: &str, host_key: &str, cipher: &str, mac: &str, guess: u8) -> Vec<u8> {
        let mut writer = Writer::message(message::KEXINIT).bytes([9; 16]);
        for list in [kex, host_key, cipher, cipher, mac, mac, "none", "none", "", ""] {
            writer = writer.string(list);
        }
        writer.u8(guess).u32(0).done()
    }

    fn chosen(payload: &[u8]) -> Result<Choice, NoCommon> {
        choose(&KexInit::parse(payload).expect("a whole KEXINIT"), DEFAULT, "")
    }

    #[test]
    fn own_message_reads_back_whole_and_every_prefix_is_refused() {
        for persona in PERSONAS {
            let payload = server_init(persona, "", [7; 16]);
            let init = KexInit::parse(&payload).expect("own message");
            assert_eq!(init.cookie, [7; 16]);
            for (list, _) in LISTS {
                assert_eq!(init.list(list), offered(persona, list).as_bytes());
            }
            for end in 0..payload.len() {
                assert_eq!(KexInit::parse(&payload[..end]), None);
            }
            assert_eq!(KexInit::parse(&[payload.as_slice(), b"x"].concat()), None);
        }
    }

    #[test]
    fn every_offered_name_is_implemented_and_none_stands_twice() {
        for persona in PERSONAS {
            for (list, _) in LISTS {
                let names: Vec<_> = offered(persona, list).split(',').filter(|n| !n.is_empty()).collect();
                for (n, name) in names.iter().enumerate() {
                    assert!(!names[..n].contains(name), "{} has {name} twice", persona.banner);
                    let known = match list {
                        List::Kex => {
                            Method::by_name(name).is_some()
                                || ["ext-info-s", "kex-strict-s-v00@openssh.com"].contains(name)
                        }
                        List::HostKey => Algorithm::by_name(name).is_some(),
                        List::CipherIn | List::CipherOut => CipherKind::by_name(name).is_some(),
                        List::MacIn | List::MacOut => MacKind::by_name(name).is_some(),
                        _ => ["none", "zlib@openssh.com"].contains(name),
                    };
                    assert!(known, "{name} of {} is not implemented", persona.banner);
                }
            }
        }
    }

    #[test]
    fn the_clients_order_decides() {
        let choice =
            chosen(&client("foo,ecdh-sha2-nistp384,curve25519-sha256", "ssh-ed25519", "aes256-ctr", "hmac-sha1", 0));
        let choice = choice.expect("common algorithms");
        assert_eq!((choice.method, choice.host_key), (Method::Nistp384, Algorithm::Ed25519));
        assert_eq!(choice.inbound, Suite { cipher: CipherKind::Aes256Ctr, mac: Some(MacKind::HmacSha1) });
        assert!(!choice.drop_guess && !choice.strict && !choice.ext_info);
    }

    #[test]
    fn says_which_list_has_nothing_in_common() {
        for (payload, list) in [
            (client("foo", "ssh-ed25519", "aes128-ctr", "hmac-sha1", 0), List::Kex),
            (client("curve25519-sha256", "ssh-dss", "aes128-ctr", "hmac-sha1", 0), List::HostKey),
            (client("curve25519-sha256", "ssh-ed25519", "3des-cbc", "hmac-sha1", 0), List::CipherIn),
            (client("curve25519-sha256", "ssh-ed25519", "aes128-ctr", "hmac-md5", 0), List::MacIn),
            (client("kex-strict-s-v00@openssh.com", "ssh-ed25519", "aes128-ctr", "hmac-sha1", 0), List::Kex),
        ] {
            assert_eq!(chosen(&payload), Err(list));
        }
    }

    #[test]
    fn an_authenticating_cipher_needs_no_common_mac() {
        let choice = chosen(&client("curve25519-sha256", "ssh-ed25519", "aes128-gcm@openssh.com", "foo", 0));
        assert_eq!(choice.expect("common algorithms").inbound.mac, None);
    }

    #[test]
    fn a_wrong_guess_is_dropped_and_a_right_one_kept() {
        let first_kex = DEFAULT.kex.split(',').next().expect("a list");
        let right = client(first_kex, "rsa-sha2-512", "aes128-ctr", "hmac-sha1", 1);
        let wrong = client("curve25519-sha256", "rsa-sha2-512", "aes128-ctr", "hmac-sha1", 1);
        assert!(!chosen(&right).expect("common").drop_guess);
        assert!(chosen(&wrong).expect("common").drop_guess);
    }

    #[test]
    fn a_withheld_method_is_neither_offered_nor_agreed_on() {
        let withheld = "curve25519-sha256@libssh.org";
        let init = KexInit::parse(&server_init(DEFAULT, withheld, [0; 16])).expect("own message");
        assert!(init.names(List::Kex).all(|name| name != withheld.as_bytes()));
        assert_eq!(init.names(List::Kex).count() + 1, DEFAULT.kex.split(',').count());
        let payload = client(withheld, "ssh-ed25519", "aes128-ctr", "hmac-sha1", 0);
        let init = KexInit::parse(&payload).expect("a whole KEXINIT");
        assert_eq!(choose(&init, DEFAULT, withheld), Err(List::Kex));
    }
}
