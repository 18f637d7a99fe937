//! LOGIN7 ([MS-TDS] 2.2.6.4) and the login record of TDS 4.2 before it.
//!
//! [MS-TDS]: https://learn.microsoft.com/openspecs/windows_protocols/ms-tds/

/// Fixed part of LOGIN7 up to TDS 7.1 and since 7.2, which added two fields.
const FIXED: usize = 86;
const FIXED_SINCE_72: usize = 94;
/// Fixed part of a login record of TDS 4.2, up to the language.
const OLD_FIXED: usize = 511;
/// Most features in the extension; clients send up to eight.
const MOST_FEATURES: usize = 32;

/// A login, read as far as it could be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Login {
    /// TDS version, `0x74000004` for 7.4.
    pub(super) tds: u32,
    pub(super) packet_size: u32,
    /// Version of the client's program or driver, as it says it.
    pub(super) client_version: [u8; 4],
    pub(super) client_pid: u32,
    pub(super) connection: u32,
    /// The option bytes: flags 1, flags 2, type, flags 3.
    pub(super) flags: [u8; 4],
    /// Minutes from UTC.
    pub(super) time_zone: i32,
    /// Locale of the client.
    pub(super) lcid: u32,
    /// Mostly a network address of the client's machine.
    pub(super) client_id: [u8; 6],
    // Text in UTF-8; what is no text keeps its bytes.
    pub(super) host: Vec<u8>,
    pub(super) user: Vec<u8>,
    pub(super) password: Vec<u8>,
    pub(super) app: Vec<u8>,
    pub(super) server: Vec<u8>,
    pub(super) library: Vec<u8>,
    pub(super) language: Vec<u8>,
    pub(super) database: Vec<u8>,
    pub(super) attach: Vec<u8>,
    pub(super) new_password: Vec<u8>,
    /// Token of the security package; empty when a password is given.
    pub(super) sspi: Vec<u8>,
    /// Names of features that it asks for.
    pub(super) features: Vec<String>,
    /// What it gives for federated authentication.
    pub(super) federated: Vec<u8>,
    /// What the driver says of itself.
    pub(super) user_agent: Vec<u8>,
    /// What is wrong with the message; a server closes without a word then.
    pub(super) fault: Option<&'static str>,
}

impl Login {
    /// Reads LOGIN7. Length (4), TDS version (4), packet size (4), client version (4), process (4),
    /// connection (4), four bytes of flags, time zone (4), locale (4), all little endian; then from 36
    /// pairs of offset (2) and length in characters (2): host, user, password, program, server,
    /// extension, library, language, database; six bytes of client identity at 72; SSPI (78), file to
    /// attach (82), and since TDS 7.2 new password (86) and the length of a long SSPI token (90).
    ///
    /// # Errors
    /// When the fixed part is not whole. A field that points outside is told in [`Login::fault`].
    pub(super) fn parse(message: &[u8]) -> Result<Self, &'static str> {
        if message.len() < FIXED {
            return Err("LOGIN7 ends inside its fixed part");
        }
        let fields = Fields { message };
        let tds = fields.long(4);
        let since_72 = tds >> 24 != 0x70 && tds >> 24 != 0x71;
        if since_72 && message.len() < FIXED_SINCE_72 {
            return Err("LOGIN7 ends inside its fixed part");
        }
        let mut login = Self {
            tds,
            packet_size: fields.long(8),
            client_version: fields.array(12),
            client_pid: fields.long(16),
            connection: fields.long(20),
            flags: fields.array(24),
            time_zone: i32::from_le_bytes(fields.array(28)),
            lcid: fields.long(32),
            client_id: fields.array(72),
            ..Self::default()
        };
        if usize::try_from(fields.long(0)) != Ok(message.len()) {
            login.fault = Some("LOGIN7 has another length than it says");
        }
        let mut take = |at: usize, unit: usize| match fields.pair(at, unit) {
            Some(bytes) => bytes.to_vec(),
            None => {
                login.fault = Some("a field of LOGIN7 points outside the message");
                Vec::new()
            }
        };
        let texts = [36, 40, 48, 52, 60, 64, 68, 82].map(|at| text(take(at, 2)));
        let password = clear(take(44, 2));
        let new_password = if since_72 { clear(take(86, 2)) } else { Vec::new() };
        // A length of 65535 means that the longer one counts; no client is known to need it.
        let sspi = take(78, 1);
        let has_extension = fields.array::<4>(24)[3] & 0x10 != 0;
        let extension = if has_extension { take(56, 1) } else { Vec::new() };
        let [host, user, app, server, library, language, database, attach] = texts;
        let mut login = Self {
            host,
            user,
            app,
            server,
            library,
            language,
            database,
            attach,
            password: text(password),
            new_password: text(new_password),
            sspi,
            ..login
        };
        if let Some(at) = extension.first_chunk() {
            login.take_features(message, *at);
        }
        Ok(login)
    }

    /// Features: number (1), length (4), data, up to 0xff. `at` is where they stand.
    fn take_features(&mut self, message: &[u8], at: [u8; 4]) {
        let at = usize::try_from(u32::from_le_bytes(at)).unwrap_or(usize::MAX);
        let mut rest = message.get(at..).unwrap_or_default();
        for _ in 0..MOST_FEATURES {
            let Some(&[number, l0, l1, l2, l3]) = rest.first_chunk() else { break };
            if number == 0xff {
                return;
            }
            let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
            let Some((data, after)) = rest.get(5..).and_then(|rest| rest.split_at_checked(length)) else { break };
            rest = after;
            self.features.push(feature(number));
            match number {
                0x02 => self.federated = data.to_vec(),
                // A version (1), then UTF-16.
                0x10 => self.user_agent = text(data.get(1..).unwrap_or_default().to_vec()),
                _ => {}
            }
        }
        if rest.first() != Some(&0xff) {
            self.fault = Some("features of LOGIN7 do not end");
        }
    }

    /// Reads the login record of TDS 4.2: fixed fields with a byte of length behind each. Host (30),
    /// user (30), password (30), process (30), 16 bytes of number formats, program (30), server (30),
    /// remote passwords (255), TDS version (4), library (10), its version (4), 3 bytes, language (30).
    ///
    /// # Errors
    /// When it is not whole.
    pub(super) fn parse_old(message: &[u8]) -> Result<Self, &'static str> {
        if message.len() < OLD_FIXED {
            return Err("login record of TDS 4.2 is too short");
        }
        let fields = Fields { message };
        let take = |at, room| fields.behind(at, room).to_vec();
        let version: [u8; 4] = fields.array(458);
        Ok(Self {
            tds: u32::from_be_bytes(version),
            host: take(0, 30),
            user: take(31, 30),
            password: take(62, 30),
            app: take(140, 30),
            server: take(171, 30),
            library: take(462, 10),
            client_version: fields.array(473),
            language: take(480, 30),
            client_pid: std::str::from_utf8(&take(93, 30)).ok().and_then(|pid| pid.trim().parse().ok()).unwrap_or(0),
            ..Self::default()
        })
    }

    /// Whether the client speaks TDS 7.2 or later.
    pub(super) const fn is_wide(&self) -> bool {
        !matches!(self.tds >> 24, 0x70 | 0x71)
    }

    /// Whether it is a login record of before TDS 7, which has fewer fields.
    pub(super) const fn is_old(&self) -> bool {
        matches!(self.tds >> 24, 4 | 5)
    }

    /// The TDS version for people.
    pub(super) fn version(&self) -> String {
        match self.tds {
            0x7000_0000 => "7.0".to_owned(),
            0x7100_0000 | 0x7100_0001 => "7.1".to_owned(),
            0x7209_0002 => "7.2".to_owned(),
            0x730a_0003 => "7.3A".to_owned(),
            0x730b_0003 => "7.3B".to_owned(),
            0x7400_0004 => "7.4".to_owned(),
            0x0800_0000 => "8.0".to_owned(),
            0x0400_0000 | 0x0402_0000 => "4.2".to_owned(),
            0x0500_0000 => "5.0".to_owned(),
            other => format!("{other:#010x}"),
        }
    }

    /// Names of the flags that are set and say something of the client.
    pub(super) fn flag_names(&self) -> Vec<&'static str> {
        let [one, two, kind, three] = self.flags;
        let names = [
            (one & 0x20 != 0, "use-database"),
            (one & 0x40 != 0, "database-fatal"),
            (one & 0x80 != 0, "language-warning"),
            (two & 0x01 != 0, "language-fatal"),
            (two & 0x02 != 0, "odbc"),
            (two & 0x80 != 0, "integrated-security"),
            (two & 0x70 == 0x30, "replication"),
            (kind & 0x0f == 0x01, "transact-sql"),
            (kind & 0x10 != 0, "ole-db"),
            (kind & 0x20 != 0, "read-only-intent"),
            (three & 0x01 != 0, "change-password"),
            (three & 0x04 != 0, "user-instance"),
            (three & 0x08 != 0, "unknown-collation"),
            (three & 0x10 != 0, "extension"),
        ];
        names.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect()
    }

    /// Whether Windows vouches for the user instead of a password.
    pub(super) const fn is_integrated(&self) -> bool {
        self.flags[1] & 0x80 != 0 || !self.sspi.is_empty()
    }
}

/// A feature's name in [MS-TDS] 2.2.6.4.
fn feature(number: u8) -> String {
    let name = match number {
        0x01 => "SESSIONRECOVERY",
        0x02 => "FEDAUTH",
        0x04 => "COLUMNENCRYPTION",
        0x05 => "GLOBALTRANSACTIONS",
        0x08 => "AZURESQLSUPPORT",
        0x09 => "DATACLASSIFICATION",
        0x0a => "UTF8_SUPPORT",
        0x0b => "AZURESQLDNSCACHING",
        0x0d => "JSONSUPPORT",
        0x0e => "VECTORSUPPORT",
        0x10 => "USERAGENT",
        _ => return format!("{number:#04x}"),
    };
    name.to_owned()
}

/// Fields of a message whose fixed part is known to be whole.
struct Fields<'a> {
    message: &'a [u8],
}

impl<'a> Fields<'a> {
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        self.message.get(at..).and_then(|rest| rest.first_chunk().copied()).unwrap_or([0; N])
    }

    fn long(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    /// Offset and length at `at`; the length counts units of `unit` bytes.
    fn pair(&self, at: usize, unit: usize) -> Option<&'a [u8]> {
        let [o0, o1, l0, l1] = self.array(at);
        let length = usize::from(u16::from_le_bytes([l0, l1])).saturating_mul(unit);
        if length == 0 {
            return Some(&[]);
        }
        self.message.get(usize::from(u16::from_le_bytes([o0, o1]))..)?.get(..length)
    }

    /// A field of `room` bytes at `at` with its length behind.
    fn behind(&self, at: usize, room: usize) -> &'a [u8] {
        let end = at.saturating_add(room);
        let length = self.message.get(end).map_or(0, |length| usize::from(*length)).min(room);
        self.message.get(at..at.saturating_add(length)).unwrap_or_default()
    }
}

/// Undoes what clients do to passwords: nibbles swapped, then XOR 0xa5.
fn clear(mut bytes: Vec<u8>) -> Vec<u8> {
    for byte in &mut bytes {
        *byte = (*byte ^ 0xa5).rotate_left(4);
    }
    bytes
}

/// UTF-16LE as UTF-8; what is not stays as it was sent.
fn text(bytes: Vec<u8>) -> Vec<u8> {
    let pairs = bytes.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return bytes;
    }
    let units: Vec<u16> = pairs.filter_map(|pair| pair.first_chunk().map(|unit| u16::from_le_bytes(*unit))).collect();
    String::from_utf16(&units).map_or(bytes, String::into_bytes)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{login7, wide};
    use super::*;

    #[test]
    fn reads_every_field_and_the_password() {
        let login = Login::parse(&login7(0x7400_0004, "sa", "sa123456", &[])).unwrap();
        assert_eq!(login.fault, None);
        assert_eq!((login.user.as_slice(), login.password.as_slice()), (&b"sa"[..], &b"sa123456"[..]));
        assert_eq!((login.host.as_slice(), login.app.as_slice()), (&b"Piroguehost"[..], &b"app"[..]));
        assert_eq!((login.library.as_slice(), login.database.as_slice()), (&b"DB-Library"[..], &b"test"[..]));
        assert_eq!((login.version().as_str(), login.client_pid), ("7.4", 4711));
        assert_eq!(login.client_id, [2, 0x42, 0xac, 0x11, 0, 2]);
        assert!(login.is_wide() && !login.is_integrated());
    }

    #[test]
    fn rejects_every_prefix_or_tells_what_is_wrong() {
        let whole = login7(0x7400_0004, "sa", "secret", &[]);
        for end in 0..whole.len() {
            match Login::parse(&whole[..end]) {
                Err(_) => assert!(end < FIXED_SINCE_72, "{end}"),
                Ok(login) => assert!(login.fault.is_some(), "{end}"),
            }
        }
    }

    #[test]
    fn keeps_the_bytes_of_what_is_no_text() {
        assert_eq!(text(vec![0x00, 0xd8, b'a', 0]), [0x00, 0xd8, b'a', 0]);
        assert_eq!(text(vec![b'a', 0, b'b']), [b'a', 0, b'b']);
        assert_eq!(text(wide("r\u{f6}t")), "r\u{f6}t".as_bytes());
    }

    #[test]
    fn tells_a_field_that_points_outside() {
        let mut message = login7(0x7400_0004, "sa", "secret", &[]);
        message[44..46].copy_from_slice(&[0xff, 0xff]);
        let login = Login::parse(&message).unwrap();
        assert_eq!(login.fault, Some("a field of LOGIN7 points outside the message"));
        assert_eq!((login.user.as_slice(), login.password.as_slice()), (&b"sa"[..], &b""[..]));
    }

    #[test]
    fn reads_features_and_tells_those_without_end() {
        let mut message = login7(0x7400_0004, "sa", "secret", &[]);
        message[27] |= 0x10;
        let at = u16::try_from(message.len()).unwrap();
        message[56..60].copy_from_slice(&[at.to_le_bytes(), 4_u16.to_le_bytes()].concat());
        message.extend(u32::from(at + 4).to_le_bytes());
        message.extend(b"\x0a\x01\0\0\0\x01\x02\x03\0\0\0abc\xff");
        let length = u32::try_from(message.len()).unwrap();
        message[..4].copy_from_slice(&length.to_le_bytes());
        let login = Login::parse(&message).unwrap();
        assert_eq!(login.features, ["UTF8_SUPPORT", "FEDAUTH"]);
        assert_eq!((login.federated.as_slice(), login.fault), (&b"abc"[..], None));
        message.pop();
        message[..4].copy_from_slice(&(length - 1).to_le_bytes());
        assert_eq!(Login::parse(&message).unwrap().fault, Some("features of LOGIN7 do not end"));
    }

    #[test]
    fn reads_a_login_record_of_tds_4_2() {
        let mut record = vec![0; 512];
        for (at, room, value) in [(0, 30, "host"), (31, 30, "sa"), (62, 30, "old secret"), (140, 30, "app")] {
            record[at..at + value.len()].copy_from_slice(value.as_bytes());
            record[at + room] = u8::try_from(value.len()).unwrap();
        }
        record[458] = 4;
        record[459] = 2;
        let login = Login::parse_old(&record).unwrap();
        assert_eq!((login.user.as_slice(), login.password.as_slice()), (&b"sa"[..], &b"old secret"[..]));
        assert_eq!(login.version(), "4.2");
        assert!(Login::parse_old(&record[..510]).is_err());
        record[61] = 0xff;
        assert_eq!(Login::parse_old(&record).unwrap().user.len(), 30);
    }
}
