//! Common passwords, to say at once what a captured hash stands for.
//!
//! Not a cracker: a short list that costs microseconds, so that an event carries the clear text where
//! the intruder tried what everybody tries. The list is of passwords that reports on leaked and on
//! sprayed passwords name year after year, and of defaults of common devices.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use hmac::{Hmac, KeyInit as _, Mac as _};
use md4::{Digest as _, Md4};
use md5::Md5;

use crate::ntlm::{self, Authenticate};

/// Passwords that are tried first everywhere. The empty one is the first.
#[rustfmt::skip] // several a line
pub const WORDS: &[&str] = &[
    "", "123456", "password", "12345678", "123456789", "12345", "1234567890", "1234567", "1234", "123", "111111",
    "000000", "123123", "654321", "666666", "888888", "121212", "112233", "123321", "987654321", "11111111",
    "88888888", "00000000", "147258369", "159753", "qwerty", "qwerty123", "qwertyuiop", "qwerty1", "1q2w3e",
    "1q2w3e4r", "1q2w3e4r5t", "1qaz2wsx", "1qaz@WSX", "!QAZ2wsx", "zaq12wsx", "zxcvbnm", "asdfgh", "asdfghjkl",
    "qazwsx", "abc123", "a123456", "123abc", "abcd1234", "Abcd1234", "Abc12345", "Abc123!", "Aa123456", "aa123456",
    "password1", "password123", "Password", "Password1", "Password123", "Password1!", "Password123!", "P@ssw0rd",
    "P@ssw0rd1", "P@ssword", "P@ssword1", "P@55w0rd", "p@ssw0rd", "p@ssword", "passw0rd", "Passw0rd", "Passw0rd!",
    "pass", "pass123", "pass1234", "passwd", "Pa$$w0rd", "pa$$word", "admin", "admin1", "admin12", "admin123",
    "admin1234", "admin12345", "admin123456", "admin888", "admin@123", "Admin123", "Admin@123", "Admin123!",
    "administrator", "Administrator", "administrator1", "root", "root123", "root1234", "root@123", "toor", "r00t",
    "changeme", "ChangeMe", "Changeme1", "changeme123", "Changeme123!", "default", "welcome", "welcome1", "Welcome1",
    "Welcome1!", "Welcome123", "Welcome123!", "letmein", "letmein1", "Letmein1", "secret", "secret123", "Secret123",
    "test", "test1", "test123", "test1234", "Test1234", "Test123!", "testing", "guest", "guest123", "user", "user123",
    "user1234", "oracle", "oracle123", "mysql", "mysql123", "postgres", "postgres123", "mongo", "mongodb", "redis",
    "sa", "sa123", "sa123456", "sql", "sqlserver", "database", "backup", "backup123", "Backup123", "service",
    "support", "support123", "manager", "master", "operator", "supervisor", "system", "sysadmin", "server", "server123",
    "ubuntu", "debian", "centos", "raspberry", "pi", "vagrant", "docker", "jenkins", "tomcat", "s3cret", "nagios",
    "zabbix", "ansible", "deploy", "cisco", "cisco123", "Cisco123", "router", "switch", "public", "private", "enable",
    "ubnt", "mikrotik", "netgear", "linksys", "dlink", "hikvision", "hik12345", "vizxv", "xc3511", "juantech",
    "synology", "qnap", "nas", "printer", "vnc", "vnc123", "password12", "remote", "rdp", "desktop", "windows",
    "Windows1", "company", "Company123", "office", "Office123", "monkey", "dragon", "sunshine", "princess", "football",
    "baseball", "superman", "batman", "iloveyou", "trustno1", "shadow", "michael", "jordan", "hunter2", "hello",
    "hello123", "login", "computer", "internet", "Spring2026", "Spring2026!", "Summer2026", "Summer2026!",
    "Autumn2026", "Autumn2026!", "Fall2026!", "Winter2026", "Winter2026!", "Spring2025", "Spring2025!", "Summer2025",
    "Summer2025!", "Autumn2025", "Autumn2025!", "Winter2025", "Winter2025!", "January2026", "2026", "2025", "alpine",
    "anonymous", "calvin", "ADMIN", "sysadm", "super", "nimda", "1111", "2222", "8888", "9999", "4321", "5555", "666",
];

/// Passwords made of a user's name, which are not in the list: `bob`, `bob1`, `bob123`, `bob1234`, `Bob123!`.
#[must_use]
pub fn of_user(user: &[u8]) -> Vec<Vec<u8>> {
    if user.is_empty() {
        return Vec::new();
    }
    let with = |tail: &[u8]| [user, tail].concat();
    let mut capital = with(b"123!");
    if let Some(first) = capital.first_mut() {
        first.make_ascii_uppercase();
    }
    vec![with(b""), with(b"1"), with(b"123"), with(b"1234"), with(b"12345"), capital]
}

/// How many captured hashes a service tries with common passwords in one second: each takes the time of
/// many hashes, and is cheap to send for who floods. What is not tried is still captured.
#[derive(Debug)]
pub struct Budget {
    most: u16,
    /// Second and count in one number.
    spent: AtomicU64,
}

impl Budget {
    /// So many a second.
    #[must_use]
    pub const fn new(most: u16) -> Self {
        Self { most, spent: AtomicU64::new(0) }
    }

    /// Whether one more is tried in this second since 1970; if so, it is counted.
    #[must_use]
    pub fn take(&self, second: i64) -> bool {
        let second = u64::try_from(second).unwrap_or(0).min(u64::MAX >> 16);
        let next = |packed: u64| {
            let count = if packed >> 16 == second { packed & 0xffff } else { 0 };
            (count < u64::from(self.most)).then(|| second << 16 | count.saturating_add(1))
        };
        self.spent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

/// The NT hash of each word: MD4 over UTF-16LE.
static NT_HASHES: LazyLock<Vec<[u8; 16]>> =
    LazyLock::new(|| WORDS.iter().map(|word| nt_hash(word.as_bytes())).collect());

/// The NT hash of a password in UTF-8.
#[must_use]
pub fn nt_hash(password: &[u8]) -> [u8; 16] {
    let text = String::from_utf8_lossy(password);
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    Md4::digest(wide).into()
}

/// The clear text of a NetNTLMv2 response over this challenge, when it is one of `planted` or a common
/// one. Version 1 is left to whoever cracks the line, and an anonymous login has none.
#[must_use]
pub fn ntlm<'a>(
    response: &Authenticate,
    challenge: &[u8; 8],
    planted: impl IntoIterator<Item = &'a [u8]>,
) -> Option<Vec<u8>> {
    let (proof, blob) = response.nt.split_at_checked(16)?;
    if response.mode() != Some(5600) {
        return None;
    }
    // NTOWFv2: HMAC-MD5 over the upper-case user and the domain as sent; then over challenge and blob.
    let user = String::from_utf8_lossy(&response.user).to_uppercase();
    let identity = [ntlm::utf16(&user), ntlm::utf16(&String::from_utf8_lossy(&response.domain))].concat();
    let fits = |nt: &[u8; 16]| {
        let key = hmac_md5(nt, &[&identity]);
        hmac_md5(&key, &[challenge, blob]) == proof
    };
    if let Some(word) = planted.into_iter().find(|word| fits(&nt_hash(word))) {
        return Some(word.to_vec());
    }
    let listed = NT_HASHES.iter().zip(WORDS).find(|(nt, _)| fits(nt)).map(|(_, word)| word.as_bytes().to_vec());
    listed.or_else(|| of_user(&response.user).into_iter().find(|word| fits(&nt_hash(word))))
}

fn hmac_md5(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let Ok(mut mac) = Hmac::<Md5>::new_from_slice(key) else { return [0; 16] };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_bounded_in_each_second() {
        for most in [0, 1, 64, u16::MAX] {
            let budget = Budget::new(most);
            for second in [0, 5, 6, 5, i64::MAX] {
                let taken = (0..70_000).filter(|_| budget.take(second)).count();
                assert_eq!(taken, usize::from(most), "{second}");
            }
        }
    }

    #[test]
    fn no_word_stands_twice() {
        let mut words = WORDS.to_vec();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), WORDS.len());
    }

    #[test]
    fn the_nt_hash_is_the_published_one() {
        // [MS-NLMP] 4.2.2.1.2: "Password".
        let hash: String = nt_hash(b"Password").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, "a4f49c406510bdcab6824ee7c30fd852");
    }

    #[test]
    fn the_response_of_the_specification_is_guessed() {
        // [MS-NLMP] 4.2.4: user "User", domain "Domain", password "Password", server challenge
        // 0123456789abcdef; the blob is the one that is given there.
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
        };
        let proof = hex("68cd0ab851e51c96aabc927bebef6a1c");
        let blob = hex(concat!(
            "01010000000000000000000000000000aaaaaaaaaaaaaaaa0000000002000c0044006f006d00610069006e0001000c00",
            "5300650072007600650072000000000000000000",
        ));
        let mut response =
            Authenticate { user: b"User".to_vec(), domain: b"Domain".to_vec(), ..Authenticate::default() };
        let challenge = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
        response.nt = [proof, blob].concat();
        assert_eq!(ntlm(&response, &challenge, []).as_deref(), Some(&b"Password"[..]));
        assert_eq!(ntlm(&response, &[0; 8], []), None);
    }

    #[test]
    fn planted_words_are_tried_too() {
        let (challenge, blob) = ([7; 8], [3; 28]);
        let key = hmac_md5(&nt_hash(b"Zebra-Quartz-77"), &[&ntlm::utf16("APP"), &ntlm::utf16("D")]);
        let nt = [&hmac_md5(&key, &[&challenge, &blob])[..], &blob].concat();
        let response = Authenticate { user: b"app".to_vec(), domain: b"D".to_vec(), nt, ..Authenticate::default() };
        let planted: [&[u8]; 2] = [b"other", b"Zebra-Quartz-77"];
        assert_eq!(ntlm(&response, &challenge, planted).as_deref(), planted.last().copied());
        assert_eq!(ntlm(&response, &challenge, []), None);
    }

    #[test]
    fn names_are_tried_too() {
        assert_eq!(of_user(b"bob").last().map(Vec::as_slice), Some(&b"Bob123!"[..]));
        assert_eq!(of_user(b""), Vec::<Vec<u8>>::new());
    }
}
