//! PRELOGIN ([MS-TDS] 2.2.6.5): what the client is, and whether there will be TLS.
//!
//! [MS-TDS]: https://learn.microsoft.com/openspecs/windows_protocols/ms-tds/

use super::version::Version;

/// Most options in one message; clients send up to eight.
const MOST: usize = 32;

/// Numbers of options.
mod option {
    pub(crate) const VERSION: u8 = 0;
    pub(crate) const ENCRYPTION: u8 = 1;
    pub(crate) const INSTANCE: u8 = 2;
    pub(crate) const THREAD: u8 = 3;
    pub(crate) const MARS: u8 = 4;
    pub(crate) const TRACE: u8 = 5;
    pub(crate) const FEDERATED: u8 = 6;
    pub(crate) const END: u8 = 0xff;
}

/// What is agreed about encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    /// There is none.
    None,
    /// The login alone goes through TLS.
    Login,
    /// Everything goes through TLS.
    All,
}

impl Encryption {
    /// The table of [MS-TDS] 2.2.6.5 for a server that demands nothing: OFF (0), ON (1), NOT_SUP (2),
    /// REQ (3), each with 0x80 when the client has a certificate.
    const fn agreed(asked: u8) -> Option<Self> {
        match asked & 0x7f {
            0 => Some(Self::Login),
            1 | 3 => Some(Self::All),
            2 => Some(Self::None),
            _ => None,
        }
    }

    const fn byte(self) -> u8 {
        match self {
            Self::Login => 0,
            Self::All => 1,
            Self::None => 2,
        }
    }
}

/// What a client said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Prelogin {
    /// Version of its library, `16.0.4430`, as far as it says one.
    pub(super) version: String,
    /// The encryption byte.
    pub(super) encryption: u8,
    /// The instance that it wants.
    pub(super) instance: Vec<u8>,
    /// Its thread.
    pub(super) thread: Option<u32>,
    /// Whether it wants several result sets at once.
    pub(super) mars: Option<bool>,
    /// Its connection and activity, 36 bytes, which end up in its own logs too.
    pub(super) trace: Vec<u8>,
    /// Whether it can do federated authentication.
    pub(super) federated: Option<bool>,
}

impl Prelogin {
    /// Reads a message: options of number (1), offset (2, big endian) and length (2), up to 0xff, then
    /// their values. The first must be the version.
    ///
    /// # Errors
    /// With the reason.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, &'static str> {
        let mut parsed = Self::default();
        let mut rest = payload;
        for n in 0..MOST {
            let number = *rest.first().ok_or("PRELOGIN without end")?;
            if number == option::END {
                return if n == 0 { Err("PRELOGIN without options") } else { Ok(parsed) };
            }
            let &[number, o0, o1, l0, l1] = rest.first_chunk().ok_or("PRELOGIN without end")?;
            rest = rest.get(5..).unwrap_or_default();
            let offset = usize::from(u16::from_be_bytes([o0, o1]));
            let length = usize::from(u16::from_be_bytes([l0, l1]));
            let value = payload.get(offset..).and_then(|value| value.get(..length));
            let value = value.ok_or("PRELOGIN option outside the message")?;
            if n == 0 && (number != option::VERSION || length != 6) {
                return Err("PRELOGIN does not begin with a version");
            }
            parsed.take(number, value)?;
        }
        Err("PRELOGIN with too many options")
    }

    fn take(&mut self, number: u8, value: &[u8]) -> Result<(), &'static str> {
        match (number, value) {
            // The sub-build is little endian, and mostly nothing.
            (option::VERSION, &[major, minor, high, low, ..]) => {
                self.version = format!("{major}.{minor}.{}", u16::from_be_bytes([high, low]));
            }
            (option::ENCRYPTION, &[byte]) if Encryption::agreed(byte).is_some() => self.encryption = byte,
            (option::ENCRYPTION, _) => return Err("PRELOGIN with an unknown encryption"),
            (option::INSTANCE, value) => self.instance = value.strip_suffix(b"\0").unwrap_or(value).to_vec(),
            (option::THREAD, &[a, b, c, d]) => self.thread = Some(u32::from_be_bytes([a, b, c, d])),
            (option::MARS, &[mars]) => self.mars = Some(mars != 0),
            (option::TRACE, value) => self.trace = value.to_vec(),
            (option::FEDERATED, &[federated]) => self.federated = Some(federated != 0),
            _ => {}
        }
        Ok(())
    }

    /// What is agreed about encryption.
    pub(super) fn agreed(&self) -> Encryption {
        Encryption::agreed(self.encryption).unwrap_or(Encryption::None)
    }

    /// What the client asks for, in words.
    pub(super) const fn asked(&self) -> &'static str {
        match self.encryption & 0x7f {
            0 => "off",
            1 => "on",
            2 => "not supported",
            _ => "required",
        }
    }

    /// The answer of a server: the options that the client has, in order of their numbers. Thread and
    /// trace are empty. The instance's byte tells that it is another than was asked for.
    pub(super) fn answer(&self, version: Version, instance: &str) -> Vec<u8> {
        let wanted = &self.instance;
        let another = !wanted.is_empty() && !wanted.eq_ignore_ascii_case(instance.as_bytes());
        let mut options: Vec<(u8, Vec<u8>)> = vec![
            (option::VERSION, version.bytes().to_vec()),
            (option::ENCRYPTION, vec![self.agreed().byte()]),
            (option::INSTANCE, vec![u8::from(another)]),
            (option::THREAD, Vec::new()),
        ];
        if self.mars.is_some() {
            options.push((option::MARS, vec![0]));
        }
        if !self.trace.is_empty() {
            options.push((option::TRACE, Vec::new()));
        }
        // Federated authentication came with SQL Server 2022.
        if self.federated == Some(true) && version.major >= 16 {
            options.push((option::FEDERATED, vec![0]));
        }
        let mut offset = u16::try_from(options.len()).unwrap_or(0).saturating_mul(5).saturating_add(1);
        let (mut table, mut values) = (Vec::new(), Vec::new());
        for (number, value) in options {
            let length = u16::try_from(value.len()).unwrap_or(0);
            table.push(number);
            table.extend_from_slice(&offset.to_be_bytes());
            table.extend_from_slice(&length.to_be_bytes());
            offset = offset.saturating_add(length);
            values.extend(value);
        }
        table.push(option::END);
        table.extend(values);
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What nmap's probe `ms-sql-s` sends, without its header.
    pub(crate) const NMAP: &[u8] =
        b"\0\0\x15\0\x06\x01\0\x1b\0\x01\x02\0\x1c\0\x0c\x03\0\x28\0\x04\xff\x08\0\x01\x55\0\0\0MSSQLServer\0\x48\x0f\0\0";

    #[test]
    fn reads_the_probe_of_nmap() {
        let parsed = Prelogin::parse(NMAP).unwrap();
        assert_eq!((parsed.version.as_str(), parsed.asked()), ("8.0.341", "off"));
        assert_eq!((parsed.instance.as_slice(), parsed.thread), (&b"MSSQLServer"[..], Some(0x480f_0000)));
        assert_eq!(parsed.mars, None);
    }

    #[test]
    fn rejects_every_prefix() {
        for end in 0..NMAP.len() {
            assert!(Prelogin::parse(&NMAP[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn rejects_what_does_not_begin_with_a_version() {
        assert_eq!(Prelogin::parse(b"\xff"), Err("PRELOGIN without options"));
        assert!(Prelogin::parse(b"\x01\0\x06\0\x01\xff\0").is_err());
        let mut odd = NMAP.to_vec();
        odd[27] = 5;
        assert_eq!(Prelogin::parse(&odd), Err("PRELOGIN with an unknown encryption"));
    }

    #[test]
    fn answers_what_was_offered_in_kind() {
        for (asked, answered, agreed) in [
            (0, 0, Encryption::Login),
            (1, 1, Encryption::All),
            (2, 2, Encryption::None),
            (3, 1, Encryption::All),
            (0x83, 1, Encryption::All),
        ] {
            let mut bytes = NMAP.to_vec();
            bytes[27] = asked;
            let parsed = Prelogin::parse(&bytes).unwrap();
            let answer = parsed.answer(Version::parse("15.0.2000").unwrap(), "MSSQLSERVER");
            assert_eq!((answer[27], parsed.agreed()), (answered, agreed), "{asked}");
        }
    }

    #[test]
    fn tells_a_wrong_instance() {
        let parsed = Prelogin::parse(NMAP).unwrap();
        let version = Version::parse("2019").unwrap();
        assert_eq!(parsed.answer(version, "MSSQLSERVER").last(), Some(&0));
        assert_eq!(parsed.answer(version, "SQLEXPRESS").last(), Some(&1));
    }
}
