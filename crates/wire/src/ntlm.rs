//! NTLMSSP, the three messages of [MS-NLMP]: what a server needs to take a NetNTLM response.
//!
//! The server reads a [`Negotiate`], answers a [`Challenge`] and reads an [`Authenticate`], whose
//! [`Authenticate::hashcat`] is the line that hashcat modes 5500 and 5600 take. Nothing is verified:
//! no password is known here. HTTP, SMB, RDP and TDS carry the same bytes, bare or inside SPNEGO.
//!
//! [MS-NLMP]: https://learn.microsoft.com/openspecs/windows_protocols/ms-nlmp/

/// What every message begins with.
pub const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";

/// Text is UTF-16LE.
pub const UNICODE: u32 = 0x0000_0001;
/// Text is in the client's code page.
pub const OEM: u32 = 0x0000_0002;
/// The client asks for the target's name.
pub const REQUEST_TARGET: u32 = 0x0000_0004;
/// Signing.
pub const SIGN: u32 = 0x0000_0010;
/// Sealing.
pub const SEAL: u32 = 0x0000_0020;
/// NTLM authentication itself.
pub const NTLM: u32 = 0x0000_0200;
/// A dummy signature when nothing else was agreed.
pub const ALWAYS_SIGN: u32 = 0x0000_8000;
/// The target is a domain.
pub const TARGET_DOMAIN: u32 = 0x0001_0000;
/// The target is a server of a workgroup.
pub const TARGET_SERVER: u32 = 0x0002_0000;
/// Extended session security, also called NTLM2.
pub const EXTENDED: u32 = 0x0008_0000;
/// The challenge holds target information.
pub const TARGET_INFO: u32 = 0x0080_0000;
/// The message holds a version.
pub const VERSION: u32 = 0x0200_0000;
/// 128-bit keys.
pub const KEY_128: u32 = 0x2000_0000;
/// The client sends a session key of its own.
pub const KEY_EXCHANGE: u32 = 0x4000_0000;
/// 56-bit keys.
pub const KEY_56: u32 = 0x8000_0000;

/// Seconds between 1601 (Windows) and 1970 (Unix).
const EPOCH_GAP: i64 = 11_644_473_600;

/// Why a message cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NtlmError {
    /// It does not begin with the signature.
    #[error("the NTLMSSP signature is missing")]
    Signature,
    /// It is another message than was asked for.
    #[error("message type {found} where {expected} was expected")]
    Type {
        /// The type in the message.
        found: u32,
        /// The type that was asked for.
        expected: u32,
    },
    /// It ends inside the fixed part.
    #[error("the message ends inside its fixed part")]
    Truncated,
    /// A field points outside the message.
    #[error("field `{name}` points outside the message")]
    Field {
        /// The field's name.
        name: &'static str,
    },
}

/// The message inside a token: the token itself, or where the signature stands inside SPNEGO.
#[must_use]
pub fn find(token: &[u8]) -> Option<&[u8]> {
    let at = memchr::memmem::find(token, SIGNATURE)?;
    token.get(at..)
}

/// The type of a message, 1 to 3 when it is one of these.
#[must_use]
pub fn message_type(message: &[u8]) -> Option<u32> {
    message.starts_with(SIGNATURE).then(|| number(message, 8)).flatten()
}

/// What the client opens with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negotiate {
    /// Flags that it offers.
    pub flags: u32,
    /// Its domain, in its code page; mostly empty.
    pub domain: Vec<u8>,
    /// Its name, in its code page; mostly empty.
    pub workstation: Vec<u8>,
    /// Its Windows version, major, minor and build, when it says one.
    pub version: Option<(u8, u8, u16)>,
}

impl Negotiate {
    /// Reads a NEGOTIATE_MESSAGE: signature, type 1, flags, domain and workstation fields, version.
    ///
    /// # Errors
    /// When it is no such message. Domain and workstation are optional, as old clients leave them out.
    pub fn parse(message: &[u8]) -> Result<Self, NtlmError> {
        expect_type(message, 1)?;
        let flags = number(message, 12).ok_or(NtlmError::Truncated)?;
        let optional = |at, name| match message.get(at..) {
            Some(rest) if rest.len() >= 8 => field(message, at, name),
            _ => Ok(Vec::new()),
        };
        Ok(Self {
            flags,
            domain: optional(16, "domain")?,
            workstation: optional(24, "workstation")?,
            version: (flags & VERSION != 0).then(|| version(message, 32)).flatten(),
        })
    }
}

/// Names and version that a server gives of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// NetBIOS name of the domain, or of the machine when it is in a workgroup.
    pub netbios_domain: String,
    /// NetBIOS name of the machine.
    pub netbios_computer: String,
    /// DNS name of the domain; empty in a workgroup.
    pub dns_domain: String,
    /// DNS name of the machine.
    pub dns_computer: String,
    /// DNS name of the forest; left out when empty.
    pub dns_tree: String,
    /// Windows version, major, minor and build; Samba says 6.1.0.
    pub version: (u8, u8, u16),
}

impl Target {
    /// A machine of no domain, as Samba presents it: `nas01.example` becomes `NAS01`.
    #[must_use]
    pub fn standalone(host_name: &str) -> Self {
        let (first, domain) = host_name.split_once('.').unwrap_or((host_name, ""));
        // NetBIOS names have 15 characters.
        let short: String = first.chars().take(15).collect::<String>().to_uppercase();
        Self {
            netbios_domain: short.clone(),
            netbios_computer: short,
            dns_domain: domain.to_lowercase(),
            dns_computer: host_name.to_lowercase(),
            dns_tree: String::new(),
            version: (6, 1, 0),
        }
    }

    /// Whether it is a member of a domain: its domain is another name than its own.
    #[must_use]
    pub fn in_domain(&self) -> bool {
        self.netbios_domain != self.netbios_computer
    }
}

/// What the server answers to a [`Negotiate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The challenge: eight bytes that the caller drew for this connection.
    pub challenge: [u8; 8],
    /// Flags.
    pub flags: u32,
    /// Who answers.
    pub target: Target,
    /// The moment, in microseconds since 1970; it makes clients of today add a MIC.
    pub micros: i64,
}

impl Challenge {
    /// The answer to what a client offered: what both know, as Windows and Samba choose it.
    #[must_use]
    pub fn answer(offer: &Negotiate, challenge: [u8; 8], target: Target, micros: i64) -> Self {
        const MUTUAL: u32 = SIGN | SEAL | ALWAYS_SIGN | EXTENDED | KEY_128 | KEY_EXCHANGE | KEY_56 | REQUEST_TARGET;
        let text = if offer.flags & UNICODE != 0 || offer.flags & OEM == 0 { UNICODE } else { OEM };
        let kind = if target.in_domain() { TARGET_DOMAIN } else { TARGET_SERVER };
        let flags = text | kind | NTLM | TARGET_INFO | VERSION | (offer.flags & MUTUAL);
        Self { challenge, flags, target, micros }
    }

    /// The CHALLENGE_MESSAGE: 56 bytes fixed (signature, type 2, target name field, flags,
    /// challenge, 8 reserved, target information field, version), then name and information.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let name = if self.flags & UNICODE != 0 {
            utf16(&self.target.netbios_domain)
        } else {
            self.target.netbios_domain.clone().into_bytes()
        };
        let info = self.target_info();
        let mut out = Vec::with_capacity(56_usize.saturating_add(name.len()).saturating_add(info.len()));
        out.extend_from_slice(SIGNATURE);
        out.extend_from_slice(&2_u32.to_le_bytes());
        push_field(&mut out, name.len(), 56);
        out.extend_from_slice(&self.flags.to_le_bytes());
        out.extend_from_slice(&self.challenge);
        out.extend_from_slice(&[0; 8]);
        push_field(&mut out, info.len(), 56_usize.saturating_add(name.len()));
        let (major, minor, build) = self.target.version;
        out.extend_from_slice(&[major, minor]);
        out.extend_from_slice(&build.to_le_bytes());
        out.extend_from_slice(&[0, 0, 0, 15]); // NTLMSSP_REVISION_W2K3
        out.extend_from_slice(&name);
        out.extend_from_slice(&info);
        out
    }

    /// AV_PAIRs in the order that servers use: 2, 1, 4, 3, 5, 7 and the end.
    fn target_info(&self) -> Vec<u8> {
        let target = &self.target;
        let mut out = Vec::new();
        let mut pair = |id: u16, value: &[u8]| {
            out.extend_from_slice(&id.to_le_bytes());
            out.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
            out.extend_from_slice(value);
        };
        pair(2, &utf16(&target.netbios_domain));
        pair(1, &utf16(&target.netbios_computer));
        pair(4, &utf16(&target.dns_domain));
        pair(3, &utf16(&target.dns_computer));
        if !target.dns_tree.is_empty() {
            pair(5, &utf16(&target.dns_tree));
        }
        let filetime = self.micros.saturating_add(EPOCH_GAP.saturating_mul(1_000_000)).saturating_mul(10);
        pair(7, &filetime.to_le_bytes());
        pair(0, &[]);
        out
    }
}

/// What the client proves itself with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authenticate {
    /// Flags that were agreed.
    pub flags: u32,
    /// The LM response, 24 bytes when there is one.
    pub lm: Vec<u8>,
    /// The NT response: 24 bytes (version 1) or more (version 2).
    pub nt: Vec<u8>,
    /// Domain as UTF-8 where it is text; what is not stays as it was sent.
    pub domain: Vec<u8>,
    /// User, likewise.
    pub user: Vec<u8>,
    /// Workstation, likewise.
    pub workstation: Vec<u8>,
    /// The client's Windows version when it says one.
    pub version: Option<(u8, u8, u16)>,
}

impl Authenticate {
    /// Reads an AUTHENTICATE_MESSAGE: signature, type 3, fields LM, NT, domain, user, workstation
    /// and session key at 12, 20, 28, 36, 44 and 52, flags at 60, version at 64.
    ///
    /// # Errors
    /// When it is no such message or a field points outside.
    pub fn parse(message: &[u8]) -> Result<Self, NtlmError> {
        expect_type(message, 3)?;
        // Clients before Windows NT 4 SP4 end before session key and flags; they speak OEM.
        let flags = number(message, 60).unwrap_or(OEM);
        let text = |at, name| {
            field(message, at, name).map(|bytes| if flags & UNICODE != 0 { from_utf16(&bytes) } else { bytes })
        };
        Ok(Self {
            flags,
            lm: field(message, 12, "lm response")?,
            nt: field(message, 20, "nt response")?,
            domain: text(28, "domain")?,
            user: text(36, "user")?,
            workstation: text(44, "workstation")?,
            version: (flags & VERSION != 0).then(|| version(message, 64)).flatten(),
        })
    }

    /// Whether nobody in particular logs in.
    #[must_use]
    pub const fn is_anonymous(&self) -> bool {
        self.user.is_empty() && self.nt.is_empty()
    }

    /// The hashcat mode of [`Authenticate::hashcat`]: 5500 (NetNTLMv1) or 5600 (NetNTLMv2).
    #[must_use]
    pub fn mode(&self) -> Option<u16> {
        match self.nt.len() {
            24 => Some(5500),
            // 16 bytes of proof and at least the 28 fixed bytes of the client's challenge.
            44.. => Some(5600),
            _ => None,
        }
    }

    /// The line for hashcat, over the challenge that this connection was given: mode 5600
    /// `user::domain:challenge:proof:blob`, mode 5500 `user::domain:lm:nt:challenge`, all hex.
    #[must_use]
    pub fn hashcat(&self, challenge: &[u8; 8]) -> Option<Vec<u8>> {
        let mode = self.mode()?;
        let mut line = self.user.clone();
        line.extend_from_slice(b"::");
        line.extend_from_slice(&self.domain);
        line.push(b':');
        if mode == 5600 {
            let (proof, blob) = self.nt.split_at_checked(16)?;
            push_hex(&mut line, challenge);
            line.push(b':');
            push_hex(&mut line, proof);
            line.push(b':');
            push_hex(&mut line, blob);
        } else {
            push_hex(&mut line, &self.lm);
            line.push(b':');
            push_hex(&mut line, &self.nt);
            line.push(b':');
            push_hex(&mut line, challenge);
        }
        Some(line)
    }
}

fn expect_type(message: &[u8], expected: u32) -> Result<(), NtlmError> {
    if !message.starts_with(SIGNATURE) {
        return Err(NtlmError::Signature);
    }
    match number(message, 8) {
        Some(found) if found == expected => Ok(()),
        Some(found) => Err(NtlmError::Type { found, expected }),
        None => Err(NtlmError::Truncated),
    }
}

fn number(message: &[u8], at: usize) -> Option<u32> {
    message.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn version(message: &[u8], at: usize) -> Option<(u8, u8, u16)> {
    let [major, minor, low, high] = *message.get(at..)?.first_chunk()?;
    Some((major, minor, u16::from_le_bytes([low, high])))
}

/// A field: length (2), room (2), offset from the message's start (4).
fn field(message: &[u8], at: usize, name: &'static str) -> Result<Vec<u8>, NtlmError> {
    let header: &[u8; 8] = message.get(at..).and_then(|rest| rest.first_chunk()).ok_or(NtlmError::Truncated)?;
    let [l0, l1, _, _, o0, o1, o2, o3] = *header;
    let length = usize::from(u16::from_le_bytes([l0, l1]));
    if length == 0 {
        return Ok(Vec::new());
    }
    let offset = usize::try_from(u32::from_le_bytes([o0, o1, o2, o3])).unwrap_or(usize::MAX);
    let bytes = message.get(offset..).and_then(|rest| rest.get(..length));
    bytes.map(<[u8]>::to_vec).ok_or(NtlmError::Field { name })
}

fn push_field(out: &mut Vec<u8>, length: usize, offset: usize) {
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&u32::try_from(offset).unwrap_or(u32::MAX).to_le_bytes());
}

/// Text as UTF-16LE.
#[must_use]
pub fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// UTF-16LE as UTF-8. A lone surrogate becomes its three-byte form and an odd last byte stays, so
/// nothing is lost and what is not text is visibly not UTF-8.
#[must_use]
pub fn from_utf16(bytes: &[u8]) -> Vec<u8> {
    let pairs = bytes.chunks_exact(2);
    let odd = pairs.remainder();
    let units = pairs.filter_map(|pair| pair.first_chunk().map(|unit| u16::from_le_bytes(*unit)));
    let mut out = Vec::with_capacity(bytes.len());
    for item in char::decode_utf16(units) {
        match item {
            Ok(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(lone) => {
                let [high, low] = lone.unpaired_surrogate().to_be_bytes();
                // 1110xxxx 10xxxxxx 10xxxxxx
                out.push(0xe0 | (high >> 4));
                out.push(0x80 | ((high & 0x0f) << 2) | (low >> 6));
                out.push(0x80 | (low & 0x3f));
            }
        }
    }
    out.extend_from_slice(odd);
    out
}

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            out.push(DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0'));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: [u8; 8] = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];

    /// An AUTHENTICATE_MESSAGE with these fields in its payload, in order, from offset 72.
    fn authenticate(flags: u32, fields: [&[u8]; 6]) -> Vec<u8> {
        let mut out = SIGNATURE.to_vec();
        out.extend_from_slice(&3_u32.to_le_bytes());
        let mut offset = 72;
        for field in fields {
            push_field(&mut out, field.len(), offset);
            offset += field.len();
        }
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&[10, 0, 0x63, 0x45, 0, 0, 0, 15]);
        for field in fields {
            out.extend_from_slice(field);
        }
        out
    }

    #[test]
    fn reads_a_negotiate_with_and_without_names() {
        let short = b"NTLMSSP\0\x01\0\0\0\x07\x82\x08\xa2";
        assert_eq!(Negotiate::parse(short).unwrap().flags, 0xa208_8207);
        let mut long = SIGNATURE.to_vec();
        long.extend_from_slice(&[1, 0, 0, 0, 0x07, 0x82, 0x08, 0xa2]);
        push_field(&mut long, 4, 45);
        push_field(&mut long, 5, 40);
        long.extend_from_slice(&[10, 0, 0x61, 0x4a, 0, 0, 0, 15]);
        long.extend_from_slice(b"WKS01CORP");
        let parsed = Negotiate::parse(&long).unwrap();
        assert_eq!(
            (parsed.domain.as_slice(), parsed.workstation.as_slice()),
            (b"CORP".as_slice(), b"WKS01".as_slice())
        );
        assert_eq!(parsed.version, Some((10, 0, 19041)));
    }

    #[test]
    fn answers_with_names_time_and_the_given_challenge() {
        let offer = Negotiate { flags: 0xe208_82b7, ..Negotiate::default() };
        let target = Target::standalone("nas-with-a-long-name.example");
        let bytes = Challenge::answer(&offer, SERVER, target, 1_795_384_800_000_000).encode();
        assert_eq!(message_type(&bytes), Some(2));
        assert_eq!(bytes.get(24..32), Some(SERVER.as_slice()));
        assert_eq!(number(&bytes, 20), Some(0xe28a_8235));
        let name = field(&bytes, 12, "name").unwrap();
        assert_eq!(from_utf16(&name), b"NAS-WITH-A-LONG");
        let info = field(&bytes, 40, "info").unwrap();
        assert!(memchr::memmem::find(&info, &utf16("nas-with-a-long-name.example")).is_some());
        // 2026-11-22 22:00:00 UTC as a Windows file time, and the end of the list.
        assert!(info.ends_with(&[7, 0, 8, 0, 0, 0xb0, 0xa2, 0xd1, 0xcc, 0x7a, 0xdd, 0x01, 0, 0, 0, 0]), "{info:x?}");
    }

    #[test]
    fn writes_the_published_ntlmv2_example_for_hashcat() {
        // [MS-NLMP] 4.2.4: user `User`, domain `Domain`, password `Password`.
        let proof = [0x68, 0xcd, 0x0a, 0xb8, 0x51, 0xe5, 0x1c, 0x96, 0xaa, 0xbc, 0x92, 0x7b, 0xeb, 0xef, 0x6a, 0x1c];
        let mut nt = proof.to_vec();
        nt.extend_from_slice(&[1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        nt.extend_from_slice(&[0xaa; 8]);
        nt.extend_from_slice(&[0; 4]);
        let (domain, user, host) = (utf16("Domain"), utf16("User"), utf16("COMPUTER"));
        let message = authenticate(UNICODE | VERSION, [&[0; 24], &nt, &domain, &user, &host, &[]]);
        let parsed = Authenticate::parse(&message).unwrap();
        assert_eq!(parsed.mode(), Some(5600));
        assert_eq!(
            String::from_utf8(parsed.hashcat(&SERVER).unwrap()).unwrap(),
            "User::Domain:0123456789abcdef:68cd0ab851e51c96aabc927bebef6a1c:\
             01010000000000000000000000000000aaaaaaaaaaaaaaaa00000000"
        );
        assert_eq!(parsed.workstation, b"COMPUTER");
    }

    #[test]
    fn writes_version_1_and_keeps_a_code_page_as_it_is() {
        let message = authenticate(OEM, [&[0xab; 24], &[0xcd; 24], b"D", b"r\xf6t", b"W", &[]]);
        let parsed = Authenticate::parse(&message).unwrap();
        assert_eq!((parsed.mode(), parsed.user.as_slice()), (Some(5500), b"r\xf6t".as_slice()));
        let line = parsed.hashcat(&SERVER).unwrap();
        assert!(line.starts_with(b"r\xf6t::D:abab") && line.ends_with(b"cdcd:0123456789abcdef"));
    }

    #[test]
    fn keeps_what_is_not_utf_16() {
        assert_eq!(from_utf16(&[0x00, 0xd8, b'a', 0, 0x7f]), [0xed, 0xa0, 0x80, b'a', 0x7f]);
    }

    #[test]
    fn knows_an_anonymous_login() {
        let parsed = Authenticate::parse(&authenticate(UNICODE, [&[0], &[], &[], &[], &[], &[]])).unwrap();
        assert!(parsed.is_anonymous() && parsed.hashcat(&SERVER).is_none());
    }

    #[test]
    fn rejects_every_prefix_and_fields_outside() {
        let message = authenticate(UNICODE, [&[0; 24], &[0; 24], &[], b"u\0", &[], &[]]);
        for end in 0..message.len() {
            assert!(Authenticate::parse(&message[..end]).is_err(), "{end}");
        }
        let mut far = message;
        far[24..28].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Authenticate::parse(&far), Err(NtlmError::Field { name: "nt response" }));
        assert_eq!(Authenticate::parse(b"NTLMSSP\0\x01\0\0\0"), Err(NtlmError::Type { found: 1, expected: 3 }));
        assert_eq!(Negotiate::parse(b"KERBEROS"), Err(NtlmError::Signature));
    }

    #[test]
    fn finds_the_message_inside_spnego() {
        assert_eq!(find(b"\x60\x10NTLMSSP\0\x01\0\0\0"), Some(b"NTLMSSP\0\x01\0\0\0".as_slice()));
        assert_eq!(find(b"\x60\x82\x01\x02kerberos"), None);
    }
}
