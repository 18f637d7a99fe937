//! The products: what the greeting of each version says, and how it treats a client.
//!
//! Measured: MySQL 8.0.46 and 9.7.4, MariaDB 10.11. The others follow the protocol's history: which
//! release brought which capability flag.

use super::scramble::Plugin;

/// Longest version, in bytes: the server's own limit (`SERVER_VERSION_LENGTH`).
const LONGEST: usize = 60;

/// What follows the status in the greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// Before 4.1: thirteen zeros, and a salt of eight bytes.
    Nothing,
    /// 4.1 to 5.1: thirteen zeros and the other twelve bytes of the salt.
    Salt,
    /// 5.5 and later.
    Plugin {
        /// The upper half of the capability flags.
        upper: u16,
        /// MariaDB's further flags.
        extended: u32,
    },
}

/// A product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Persona {
    /// The lower half of the capability flags.
    pub(super) lower: u16,
    /// Number of the default collation.
    pub(super) charset: u8,
    /// The rest of the greeting.
    pub(super) tail: Tail,
    /// Plugins of accounts: the default first, then those that an unknown name may get, too.
    pub(super) plugins: &'static [Plugin],
    /// Whether salts are of graphic characters; else of anything in seven bits.
    pub(super) graphic_salt: bool,
    /// The certificate's owner and issuer, where the product makes one for itself.
    pub(super) certificate: Option<(String, String)>,
    /// Number of the first connection after a start.
    pub(super) first_id: u32,
    /// Whether bytes that were not read turn the FIN into an RST.
    pub(super) resets: bool,
    /// Bytes of a user name that a message repeats.
    pub(super) name_shown: usize,
    /// Whether the end of input and a timeout are answered with an error.
    pub(super) tells_of_read_errors: bool,
    /// Whether a password has a length before it even if the client says nothing of that.
    pub(super) assumes_length: bool,
}

impl Persona {
    /// Whether it knows plugins; before 5.5 there was one way to log in.
    pub(super) const fn has_plugins(&self) -> bool {
        matches!(self.tail, Tail::Plugin { .. })
    }
}

/// The product that a banner names, and the version as it stands in the greeting.
///
/// # Errors
/// With what is accepted.
pub(super) fn of_banner(banner: &str) -> Result<(Persona, String), &'static str> {
    let accepted = "expected a version from 3 to 12 such as `8.0.43-0ubuntu0.24.04.2` or `10.11.14-MariaDB-0+deb12u2`, \
                    at most 60 printable ASCII characters without spaces";
    if banner.len() > LONGEST || !banner.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(accepted);
    }
    let (banner, version) = match banner.strip_prefix("5.5.5-").and_then(|rest| Some((rest, version(rest)?))) {
        Some((rest, version)) if version.0 >= 10 => (rest, version),
        _ => (banner, version(banner).ok_or(accepted)?),
    };
    if version.0 >= 10 || banner.to_ascii_lowercase().contains("mariadb") {
        // Replication clients of before 2012 took a two-digit version for 1.0, so MariaDB hides it
        // behind a prefix up to 10.11.
        let shown = if version.0 == 10 { format!("5.5.5-{banner}") } else { banner.to_owned() };
        return Ok((mariadb(version), shown));
    }
    Ok((mysql(version), banner.to_owned()))
}

type Version = (u32, u32, u32);

/// The number that a version begins with, from 3 to 12. What is missing counts as 0.
fn version(text: &str) -> Option<Version> {
    let mut numbers = text.splitn(3, '.').map(|part| {
        let end = part.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(part.len());
        part.get(..end).and_then(|digits| digits.parse::<u32>().ok())
    });
    let major = numbers.next()??;
    let minor = numbers.next()??;
    (3..=12).contains(&major).then(|| (major, minor, numbers.next().flatten().unwrap_or(0)))
}

fn mysql(version: Version) -> Persona {
    const NATIVE: &[Plugin] = &[Plugin::Native];
    const EIGHT: &[Plugin] = &[Plugin::CachingSha2, Plugin::Native, Plugin::Sha256];
    // 8.4 no longer loads mysql_native_password, and 9.0 has none.
    const NINE: &[Plugin] = &[Plugin::CachingSha2, Plugin::Sha256];
    let (lower, tail) = match version {
        (3, ..) => (0x002c, Tail::Nothing),
        (4, 0, _) => (0x202c, Tail::Nothing),
        (4, ..) | (5, 0, _) => (0xa22c, Tail::Salt),
        (5, ..=4, _) | (6, ..) => (0xf7ff, Tail::Salt),
        (5, 5, _) => (0xf7ff, Tail::Plugin { upper: 0x800f, extended: 0 }),
        (5, 6, _) => (0xf7ff, Tail::Plugin { upper: 0x807f, extended: 0 }),
        (5 | 7, ..) => (0xf7ff, Tail::Plugin { upper: 0x81ff, extended: 0 }),
        // Since then: zstd, query attributes, several factors.
        (8, 0, ..=17) => (0xffff, Tail::Plugin { upper: 0xc3ff, extended: 0 }),
        (8, 0, ..=22) => (0xffff, Tail::Plugin { upper: 0xc7ff, extended: 0 }),
        (8, 0, ..=26) => (0xffff, Tail::Plugin { upper: 0xcfff, extended: 0 }),
        _ => (0xffff, Tail::Plugin { upper: 0xdfff, extended: 0 }),
    };
    let modern = version.0 >= 8;
    let (major, minor, patch) = version;
    let name = |what| format!("MySQL_Server_{major}.{minor}.{patch}_Auto_Generated_{what}_Certificate");
    Persona {
        lower,
        charset: if modern { 255 } else { 8 },
        tail,
        plugins: match version {
            (8, ..=3, _) => EIGHT,
            (8.., ..) => NINE,
            _ => NATIVE,
        },
        graphic_salt: version < (5, 6, 0) || version.0 == 6,
        certificate: modern.then(|| (name("Server"), name("CA"))),
        first_id: if modern { 8 } else { 2 },
        resets: version < (5, 7, 0) || version.0 == 6,
        // `'%-.48s'` in its messages.
        name_shown: 48,
        tells_of_read_errors: version >= (8, 0, 24),
        assumes_length: version >= (5, 7, 0) && version.0 != 6,
    }
}

fn mariadb(version: Version) -> Persona {
    // The lower half without CLIENT_MYSQL says that MariaDB's further flags are there.
    let (lower, upper, extended) = match version {
        (..=9, ..) | (10, 0, _) => (0xf7ff, 0xa00f, 0),
        (10, 1, _) => (0xf7ff, 0xa03f, 0),
        (10, 2..=3, _) => (0xf7fe, 0x81bf, 0x07),
        (10, 4..=5, _) => (0xf7fe, 0x81ff, 0x0f),
        (10, ..) | (11, ..=3, _) => (0xf7fe, 0x81ff, 0x1d),
        // 11.4 makes itself a certificate.
        (11, 4, _) => (0xfffe, 0x81ff, 0x1d),
        _ => (0xfffe, 0x81ff, 0x3d),
    };
    let name = || "MariaDB Server".to_owned();
    Persona {
        lower,
        // Since 11.6 utf8mb4_uca1400_ai_ci, number 2304, of which this field has the low byte.
        charset: if version >= (11, 6, 0) { 0 } else { 8 },
        tail: Tail::Plugin { upper, extended },
        plugins: &[Plugin::Native],
        graphic_salt: true,
        certificate: (lower & 0x0800 != 0).then(|| (name(), name())),
        first_id: 4,
        resets: true,
        name_shown: 128,
        tells_of_read_errors: false,
        assumes_length: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The block of 3.6 of the golden answers: lower flags, charset, status, upper flags, length of the salt.
    fn block(banner: &str) -> String {
        let (persona, _) = of_banner(banner).unwrap();
        let [a, b] = persona.lower.to_le_bytes();
        let start = format!("{a:02x}{b:02x}{:02x}0200", persona.charset);
        match persona.tail {
            Tail::Plugin { upper, extended } => {
                let [c, d] = upper.to_le_bytes();
                format!(
                    "{start}{c:02x}{d:02x}15{}",
                    if extended == 0 { String::new() } else { format!("+{extended:x}") }
                )
            }
            other => format!("{start}{other:?}"),
        }
    }

    #[test]
    fn flags_are_those_of_the_version() {
        for (banner, expected) in [
            ("8.0.46-0ubuntu0.22.04.5", "ffffff0200ffdf15"),
            ("9.7.4-2", "ffffff0200ffdf15"),
            ("8.4.7", "ffffff0200ffdf15"),
            ("8.0.11", "ffffff0200ffc315"),
            ("8.0.19", "ffffff0200ffc715"),
            ("8.0.25", "ffffff0200ffcf15"),
            ("5.7.44", "fff7080200ff8115"),
            ("5.6.51-log", "fff70802007f8015"),
            ("5.5.43-0ubuntu0.14.04.1", "fff70802000f8015"),
            ("5.1.73", "fff7080200Salt"),
            ("6.0.11-alpha", "fff7080200Salt"),
            ("5.0.96-community", "2ca2080200Salt"),
            ("3.23.58", "2c00080200Nothing"),
            ("10.11.19-MariaDB-0+deb12u1", "fef7080200ff8115+1d"),
            ("5.5.5-10.11.19-MariaDB-0+deb12u1", "fef7080200ff8115+1d"),
            ("11.4.5-MariaDB-ubu2404", "feff080200ff8115+1d"),
            ("12.0.2-MariaDB", "feff000200ff8115+3d"),
        ] {
            assert_eq!(block(banner), expected, "{banner}");
        }
    }

    #[test]
    fn only_mariadb_10_hides_its_version() {
        let shown = |banner| of_banner(banner).unwrap().1;
        assert_eq!(shown("10.6.22-MariaDB"), "5.5.5-10.6.22-MariaDB");
        assert_eq!(shown("5.5.5-10.6.22-MariaDB"), "5.5.5-10.6.22-MariaDB");
        assert_eq!(shown("11.8.3-MariaDB"), "11.8.3-MariaDB");
        assert_eq!(shown("5.5.68-MariaDB"), "5.5.68-MariaDB");
        assert_eq!(shown("5.5.5"), "5.5.5");
        assert_eq!(of_banner("10.6.22-MariaDB").unwrap().0, of_banner("5.5.5-10.6.22-MariaDB").unwrap().0);
    }

    #[test]
    fn refuses_what_is_no_version() {
        for banner in ["", "2.1.3", "13.0.1", "eight", "8", "8.0.43 (Ubuntu)", "8.0.43\0", &"8.0.1".repeat(13)] {
            assert!(of_banner(banner).is_err(), "{banner}");
        }
        assert!(of_banner("8.0").is_ok());
    }

    #[test]
    fn unknown_names_get_plugins_that_the_version_has() {
        let plugins = |banner| of_banner(banner).unwrap().0.plugins;
        assert!(plugins("8.0.46").contains(&Plugin::Native));
        assert!(!plugins("8.4.7").contains(&Plugin::Native));
        assert!(!plugins("9.7.4").contains(&Plugin::Native));
        assert_eq!(plugins("5.7.44"), [Plugin::Native]);
    }
}
