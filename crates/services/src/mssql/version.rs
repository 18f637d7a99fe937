//! Versions of SQL Server: what each says of itself, and the Windows that it mostly runs on.

use std::fmt;

/// A version, `15.0.4430.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) major: u8,
    pub(super) minor: u8,
    pub(super) build: u16,
    pub(super) sub: u16,
}

/// Names of versions, as OpenCanary spells the first three, with the last service pack or cumulative
/// update of each that is known here ([build lists]).
///
/// [build lists]: https://learn.microsoft.com/troubleshoot/sql/releases/download-and-install-latest-updates
const NAMED: [(&str, Version); 7] = [
    ("2008R2", Version { major: 10, minor: 50, build: 6000, sub: 34 }),
    ("2012", Version { major: 11, minor: 0, build: 7001, sub: 0 }),
    ("2014", Version { major: 12, minor: 0, build: 6024, sub: 0 }),
    ("2016", Version { major: 13, minor: 0, build: 6300, sub: 2 }),
    ("2017", Version { major: 14, minor: 0, build: 3456, sub: 2 }),
    ("2019", Version { major: 15, minor: 0, build: 4430, sub: 1 }),
    ("2022", Version { major: 16, minor: 0, build: 4245, sub: 2 }),
];

impl Version {
    /// A version by its name (`2019`) or its numbers (`15.0.4430` or `15.0.4430.1`).
    ///
    /// # Errors
    /// With what is accepted.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some((_, version)) = NAMED.iter().find(|(name, _)| name.eq_ignore_ascii_case(text.trim())) {
            return Ok(*version);
        }
        Self::of_numbers(text.trim()).ok_or_else(|| {
            let names: Vec<&str> = NAMED.iter().map(|(name, _)| *name).collect();
            format!("one of {}, or numbers such as `15.0.4430.1` from 10.50 to 16", names.join(", "))
        })
    }

    fn of_numbers(text: &str) -> Option<Self> {
        let mut numbers = text.split('.');
        let version = Self {
            major: numbers.next()?.parse().ok()?,
            minor: numbers.next()?.parse().ok()?,
            build: numbers.next()?.parse().ok()?,
            sub: numbers.next().map_or(Some(0), |sub| sub.parse().ok())?,
        };
        let known = version.major == 10 && version.minor == 50 || (11..=16).contains(&version.major);
        (known && numbers.next().is_none()).then_some(version)
    }

    /// The six bytes of PRELOGIN ([MS-TDS] 2.2.6.5): major, minor, build (big endian), sub-build (zero).
    ///
    /// [MS-TDS]: https://learn.microsoft.com/openspecs/windows_protocols/ms-tds/
    pub(super) const fn bytes(self) -> [u8; 6] {
        let [high, low] = self.build.to_be_bytes();
        [self.major, self.minor, high, low, 0, 0]
    }

    /// Whether it takes TLS before anything else, which is TDS 8.0.
    pub(super) const fn is_strict_capable(self) -> bool {
        self.major >= 16
    }

    /// The Windows version that it names in NTLM: the one of its time.
    pub(super) const fn windows(self) -> (u8, u8, u16) {
        match self.major {
            0..=10 => (6, 1, 7601),
            11 | 12 => (6, 3, 9600),
            13 | 14 => (10, 0, 14393),
            15 => (10, 0, 17763),
            _ => (10, 0, 20348),
        }
    }

    /// What `@@version` says, without the line of the build's date.
    pub(super) fn describe(self) -> String {
        let year = match (self.major, self.minor) {
            (10, _) => "2008 R2",
            (11, _) => "2012",
            (12, _) => "2014",
            (13, _) => "2016",
            (14, _) => "2017",
            (15, _) => "2019",
            _ => "2022",
        };
        let (major, minor, build) = self.windows();
        let windows = match build {
            7601 | 9600 => format!("Windows NT {major}.{minor}"),
            14393 => format!("Windows Server 2016 Standard {major}.{minor}"),
            17763 => format!("Windows Server 2019 Standard {major}.{minor}"),
            _ => format!("Windows Server 2022 Standard {major}.{minor}"),
        };
        format!(
            "Microsoft SQL Server {year} - {self} (X64) \n\tCopyright (C) Microsoft Corporation\n\tStandard Edition \
             (64-bit) on {windows} <X64> (Build {build}: ) (Hypervisor)\n"
        )
    }

    /// The name of Windows logins in error 18452; from 2016 on it is another.
    pub(super) const fn windows_login(self) -> &'static str {
        if self.major < 13 { "Windows authentication" } else { "Integrated authentication" }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}", self.major, self.minor, self.build, self.sub)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_names_and_numbers() {
        assert_eq!(Version::parse("2008r2").unwrap().bytes(), [10, 50, 0x17, 0x70, 0, 0]);
        assert_eq!(Version::parse("2012").unwrap().bytes(), [11, 0, 0x1b, 0x59, 0, 0]);
        let exact = Version { major: 15, minor: 0, build: 2000, sub: 5 };
        assert_eq!(Version::parse("15.0.2000.5"), Ok(exact));
        assert_eq!(Version::parse("15.00.2000"), Ok(Version { sub: 0, ..exact }));
    }

    #[test]
    fn refuses_what_is_no_version_and_says_what_is() {
        for wrong in ["", "2000", "15", "15.0", "9.0.5000", "17.0.1000", "15.0.70000", "15.0.1.2.3", "15.0.-1"] {
            assert!(Version::parse(wrong).is_err_and(|reason| reason.contains("2008R2, 2012")), "{wrong}");
        }
    }
}
