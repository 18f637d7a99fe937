//! JA3 and JA4: what a TLS client's hello says about the client.
//!
//! ```text
//! JA3  md5 of  version,ciphers,extensions,groups,point formats     decimal, "-" between members
//! JA4  t<version><d|i><ciphers><extensions><ALPN>_<hash>_<hash>    counts in two digits; the hashes are of the
//!      sorted ciphers, and of the sorted extensions without SNI and ALPN, then "_" and signature algorithms
//! ```
//!
//! Both leave out the values of GREASE (RFC 8701), which a client draws by lot. JA4 sorts, since browsers
//! have shuffled their extensions since 2023, which gives one browser a new JA3 for every connection.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};

use super::hello::{ALPN, ClientHello};
use super::{MOST, hash12, hex};

/// Extension of the server's name.
const SERVER_NAME: u16 = 0;

impl ClientHello {
    /// JA3: 32 hex digits.
    #[must_use]
    pub fn ja3(&self) -> String {
        hex(Md5::digest(self.ja3_text()).iter())
    }

    /// The text under JA3's hash.
    #[must_use]
    pub fn ja3_text(&self) -> String {
        let mut text = self.version.to_string();
        for list in [&self.ciphers, &self.extensions, &self.groups] {
            text.push(',');
            join(&mut text, '-', meant(list), |text, value| write!(text, "{value}"));
        }
        text.push(',');
        join(&mut text, '-', self.formats.iter().copied(), |text, value| write!(text, "{value}"));
        text
    }

    /// JA4 of TLS over TCP: 36 characters.
    #[must_use]
    pub fn ja4(&self) -> String {
        let (ciphers, rest) = self.ja4_lists();
        format!("{}_{}_{}", self.ja4_head(), hash12(&ciphers), hash12(&rest))
    }

    /// JA4 with its lists in place of their hashes, which its authors call `JA4_r`.
    #[must_use]
    pub fn ja4_text(&self) -> String {
        let (ciphers, rest) = self.ja4_lists();
        format!("{}_{ciphers}_{rest}", self.ja4_head())
    }

    fn ja4_head(&self) -> String {
        let goal = if self.extensions.contains(&SERVER_NAME) { 'd' } else { 'i' };
        let count = |list| meant(list).count().min(MOST);
        let (ciphers, extensions) = (count(&self.ciphers), count(&self.extensions));
        let (first, last) = ends(&self.protocol);
        format!("t{}{goal}{ciphers:02}{extensions:02}{first}{last}", self.ja4_version())
    }

    /// The highest version that the client says it supports.
    fn ja4_version(&self) -> &'static str {
        match meant(&self.versions).max().unwrap_or(self.version) {
            0x0304 => "13",
            0x0303 => "12",
            0x0302 => "11",
            0x0301 => "10",
            0x0300 => "s3",
            0x0002 => "s2",
            _ => "00",
        }
    }

    /// The lists under the two hashes.
    fn ja4_lists(&self) -> (String, String) {
        let list = |values: Vec<u16>| {
            let mut text = String::with_capacity(values.len().saturating_mul(5));
            join(&mut text, ',', values.into_iter(), |text, value| write!(text, "{value:04x}"));
            text
        };
        let mut ciphers: Vec<u16> = meant(&self.ciphers).collect();
        ciphers.sort_unstable();
        let mut extensions: Vec<u16> =
            meant(&self.extensions).filter(|kind| !matches!(*kind, SERVER_NAME | ALPN)).collect();
        extensions.sort_unstable();
        let mut rest = list(extensions);
        let algorithms = list(meant(&self.algorithms).collect());
        if !algorithms.is_empty() {
            rest.push('_');
            rest.push_str(&algorithms);
        }
        (list(ciphers), rest)
    }
}

/// The values that are none of GREASE: those have two equal bytes that end in `a`.
fn meant(list: &[u16]) -> impl Iterator<Item = u16> {
    list.iter().copied().filter(|value| {
        let [high, low] = value.to_be_bytes();
        !(high == low && low & 0x0f == 0x0a)
    })
}

/// The first and last character of a protocol's name, or of its hex digits where one of them is no letter
/// or digit.
fn ends(protocol: &[u8]) -> (char, char) {
    let (Some(first), Some(last)) = (protocol.first(), protocol.last()) else { return ('0', '0') };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return (char::from(*first), char::from(*last));
    }
    let digit = |half| char::from_digit(u32::from(half), 16).unwrap_or('0');
    (digit(first >> 4), digit(last & 0x0f))
}

fn join<T>(
    text: &mut String,
    between: char,
    values: impl Iterator<Item = T>,
    write: impl Fn(&mut String, T) -> std::fmt::Result,
) {
    for (n, value) in values.enumerate() {
        if n > 0 {
            text.push(between);
        }
        // Writing into a text does not fail.
        let _ = write(text, value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::hello::tests::{any_hello, body};
    use super::*;

    fn hexes(text: &str) -> Vec<u16> {
        text.split(',').map(|word| u16::from_str_radix(word, 16).unwrap()).collect()
    }

    /// A hello of which JA4 sees this.
    fn of_lists(ciphers: &str, extensions: &str, algorithms: &str) -> ClientHello {
        ClientHello {
            version: 0x0303,
            ciphers: hexes(ciphers),
            extensions: hexes(extensions),
            algorithms: hexes(algorithms),
            versions: vec![0x6a6a, 0x0304, 0x0303],
            protocol: b"h2".to_vec(),
            ..ClientHello::default()
        }
    }

    const CIPHERS: &str = "1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035";
    const EXTENSIONS: &str = "001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015";
    const ALGORITHMS: &str = "0403,0804,0401,0503,0805,0501,0806,0601";

    #[test]
    fn ja3_is_that_of_its_authors_examples() {
        let old = ClientHello {
            version: 769,
            ciphers: vec![47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4],
            extensions: vec![0, 10, 11],
            groups: vec![23, 24, 25],
            formats: vec![0],
            ..ClientHello::default()
        };
        assert_eq!(old.ja3_text(), "769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0");
        assert_eq!(old.ja3(), "ada70206e40642a3e4461f35503241d5");
        let bare = ClientHello {
            version: 769,
            ciphers: vec![4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99],
            ..ClientHello::default()
        };
        assert_eq!(bare.ja3_text(), "769,4-5-10-9-100-98-3-6-19-18-99,,,");
        assert_eq!(bare.ja3(), "de350869b8c85de67a350c8d186f11e6");
    }

    #[test]
    fn ja4_is_that_of_its_authors_example() {
        let chrome = of_lists(CIPHERS, EXTENSIONS, ALGORITHMS);
        assert_eq!(chrome.ja4(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
        assert_eq!(
            chrome.ja4_text(),
            "t13d1516h2_002f,0035,009c,009d,1301,1302,1303,c013,c014,c02b,c02c,c02f,c030,cca8,cca9\
             _0005,000a,000b,000d,0012,0015,0017,001b,0023,002b,002d,0033,4469,ff01\
             _0403,0804,0401,0503,0805,0501,0806,0601"
        );
        let unsigned = ClientHello { algorithms: Vec::new(), ..chrome };
        assert_eq!(unsigned.ja4(), "t13d1516h2_8daaf6152771_6d807ffa2a79");
    }

    /// Of the captures `tls3` and `sigalg-grease` among JA4's own tests.
    #[test]
    fn ja4_is_that_of_its_authors_captures() {
        let resumed = "0033,000a,0005,000d,0012,0000,0010,002b,0023,001b,0017,002d,ff01,4469,000b,0029";
        assert_eq!(of_lists(CIPHERS, resumed, ALGORITHMS).ja4(), "t13d1516h2_8daaf6152771_9b887d9acb53");
        let newer = "fe0d,0010,0017,0033,44cd,ff01,000a,000d,0023,002b,000b,ca34,002d,0000,0005,001b,0012";
        let signed = "dada,0904,0905,0906,0403,0804,0401,0503,0805,0501,0806,0601";
        assert_eq!(of_lists(CIPHERS, newer, signed).ja4(), "t13d1517h2_8daaf6152771_cb7bf5808d99");
    }

    #[test]
    fn the_values_of_grease_count_nowhere() {
        let mut hello = of_lists(CIPHERS, EXTENSIONS, ALGORITHMS);
        hello.groups = vec![29, 23];
        let (ja3, ja4) = (hello.ja3(), hello.ja4());
        for high in 0..16u16 {
            let value = (high << 12) | 0x0a00 | (high << 4) | 0x0a;
            hello.ciphers.insert(0, value);
            hello.extensions.push(value);
            hello.groups.insert(1, value);
            hello.algorithms.push(value);
            hello.versions.push(value);
        }
        assert_eq!((hello.ja3(), hello.ja4()), (ja3, ja4.clone()));
        // These only look like it.
        for value in [0x0a1a, 0x1a0a, 0x1b1b, 0x0101] {
            hello.ciphers.push(value);
        }
        assert_eq!(hello.ja4().get(4..6), Some("19"), "{ja4}");
    }

    #[test]
    fn the_order_of_extensions_and_ciphers_changes_ja3_alone() {
        let hello = of_lists(CIPHERS, EXTENSIONS, ALGORITHMS);
        let mut shuffled = hello.clone();
        shuffled.extensions.reverse();
        shuffled.ciphers.reverse();
        assert_eq!(hello.ja4(), shuffled.ja4());
        assert_ne!(hello.ja3(), shuffled.ja3());
        shuffled.algorithms.reverse();
        assert_ne!(hello.ja4(), shuffled.ja4());
    }

    #[test]
    fn the_version_is_the_highest_one_supported() {
        let version = |version: u16, versions: &[u16]| {
            let hello = ClientHello { version, versions: versions.to_vec(), ..ClientHello::default() };
            hello.ja4()[1..3].to_owned()
        };
        assert_eq!(version(0x0303, &[0x0303, 0x0304, 0x0302]), "13");
        assert_eq!(version(0x0303, &[0x8a8a]), "12");
        for (number, text) in
            [(0x0304, "13"), (0x0303, "12"), (0x0302, "11"), (0x0301, "10"), (0x0300, "s3"), (2, "s2"), (0x7f1c, "00")]
        {
            assert_eq!(version(number, &[]), text);
        }
    }

    #[test]
    fn a_protocol_shows_its_ends() {
        let ends = |protocol: &[u8]| {
            let hello = ClientHello { protocol: protocol.to_vec(), ..ClientHello::default() };
            hello.ja4()[8..10].to_owned()
        };
        let known: [(&[u8], &str); 10] = [
            (b"", "00"),
            (b"h2", "h2"),
            (b"http/1.1", "h1"),
            (b"x", "xx"),
            // The examples of `JA4.md`.
            (b"\xab", "ab"),
            (b"\xab\xcd", "ad"),
            (b"\x30\xab", "3b"),
            (b"\x30\x31\xab\xcd", "3d"),
            (b"\x30\xab\xcd\x31", "01"),
            (b"h-", "6d"),
        ];
        for (protocol, text) in known {
            assert_eq!(ends(protocol), text, "{}", protocol.escape_ascii());
        }
    }

    #[test]
    fn empty_lists_have_zeros_and_long_ones_ninety_nine() {
        assert_eq!(ClientHello::default().ja4(), "t00i000000_000000000000_000000000000");
        let many: Vec<u16> = (1000..1200).collect();
        let hello = ClientHello { ciphers: many.clone(), extensions: many, ..ClientHello::default() };
        assert_eq!(hello.ja4().get(4..8), Some("9999"));
        // Only the two that stand in the first part.
        let named = ClientHello { version: 0x0301, extensions: vec![0, 16], ..ClientHello::default() };
        assert_eq!(named.ja4(), "t10d000200_000000000000_000000000000");
    }

    proptest! {
        #[test]
        fn fingerprints_of_any_hello_have_their_form(hello in any_hello()) {
            let hello = ClientHello::parse(&body(&hello)).unwrap();
            let (ja3, ja4) = (hello.ja3(), hello.ja4());
            prop_assert!(ja3.len() == 32 && ja3.bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", ja3);
            prop_assert!(ja4.len() == 36 && ja4.is_ascii(), "{}", ja4);
            prop_assert_eq!(hello.ja3_text().matches(',').count(), 4);
        }
    }
}
