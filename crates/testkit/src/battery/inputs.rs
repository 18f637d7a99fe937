//! What a peer might send: to any service, and to one of them.

use std::fs;
use std::path::{Path, PathBuf};

/// Cuts a corpus file into the segments that a peer sends one after another. Four bytes of which
/// none occurs in UTF-8.
pub const SEPARATOR: [u8; 4] = [0xf5, 0xc1, 0xf9, 0xc0];

/// Longest fixture that is sent.
const LONGEST: usize = 16 * 1024;

/// What one peer sends.
#[derive(Clone, Debug)]
pub struct Input {
    /// For findings: what it is, or the file it comes from.
    pub name: String,
    /// What it sends, one after another.
    pub segments: Vec<Vec<u8>>,
}

impl Input {
    fn new(name: &str, bytes: &[u8]) -> Self {
        Self { name: name.to_owned(), segments: vec![bytes.to_vec()] }
    }

    /// All of it.
    #[must_use]
    pub fn whole(&self) -> Vec<u8> {
        self.segments.concat()
    }
}

/// The segments of corpus bytes.
#[must_use]
pub fn segments(mut data: &[u8]) -> Vec<Vec<u8>> {
    let mut segments = Vec::new();
    while let Some(at) = data.windows(SEPARATOR.len()).position(|window| window == SEPARATOR) {
        segments.push(data[..at].to_vec());
        data = &data[at + SEPARATOR.len()..];
    }
    segments.push(data.to_vec());
    segments
}

/// Corpus bytes of segments.
#[must_use]
pub fn join(segments: &[&[u8]]) -> Vec<u8> {
    segments.join(&SEPARATOR[..])
}

/// Every file of a corpus or regression folder; none when there is no such folder.
#[must_use]
pub fn of_folder(folder: &Path) -> Vec<Input> {
    read(folder, |_| true).map(|(name, bytes)| Input { name, segments: segments(&bytes) }).collect()
}

/// Every `*.bin` of a fixtures folder in one piece; none when there is no such folder.
#[must_use]
pub fn of_fixtures(folder: &Path) -> Vec<Input> {
    let is_bin = |path: &Path| path.extension().is_some_and(|extension| extension == "bin");
    read(folder, is_bin)
        .filter(|(_, bytes)| bytes.len() <= LONGEST)
        .map(|(name, bytes)| Input::new(&name, &bytes))
        .collect()
}

fn read(folder: &Path, wanted: impl Fn(&Path) -> bool) -> impl Iterator<Item = (String, Vec<u8>)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    paths.retain(|path| path.is_file() && wanted(path));
    paths.sort();
    paths.into_iter().filter_map(|path| {
        let name = path.file_name()?.to_string_lossy().into_owned();
        Some((name, fs::read(&path).ok()?))
    })
}

/// What strangers send to any port: other protocols, scanners' probes, and noise.
#[must_use]
pub fn whatever() -> Vec<Input> {
    let mut inputs: Vec<Input> = [
        ("nothing", &b""[..]),
        ("an empty line", b"\r\n"),
        ("line feeds", b"\n\n\n\n"),
        ("an HTTP request", b"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n"),
        ("an HTTP post", b"POST /index.html HTTP/1.0\r\nContent-Length: 27\r\n\r\nusername=a&password=b&x=%ff"),
        ("an HTTP line without end", &[b'A'; 9000]),
        ("help", b"HELP\r\nhelp\r\n?\r\nQUIT\r\n"),
        ("a login in lines", b"USER root\r\nPASS toor\r\nroot\r\ntoor\r\n"),
        ("a Redis command", b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nAUTH\r\n$3\r\nabc\r\n"),
        ("a Redis length that lies", b"*1000000\r\n$2147483647\r\nx"),
        ("an SSH identification", b"SSH-2.0-OpenSSH_9.6\r\n\0\0\0\x0c\x0a\x14aaaaaaaaaaaaaaaa"),
        ("a TLS ClientHello", b"\x16\x03\x01\0\x2f\x01\0\0\x2b\x03\x03AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\0\0\x04\x13\x01\0\x2f\x01\0"),
        ("an RDP connection request", b"\x03\0\0\x2b\x26\xe0\0\0\0\0\0Cookie: mstshash=admin\r\n\x01\0\x08\0\x03\0\0\0"),
        ("an SMB negotiation", b"\0\0\0\x2f\xffSMB\x72\0\0\0\0\x18\x01\x28\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x0c\0\x02NT LM 0.12\0"),
        ("a git request", b"0032git-upload-pack /project.git\0host=myserver.com\0"),
        ("telnet options", b"\xff\xfd\x18\xff\xfa\x18\0xterm\xff\xf0root\r\0toor\r\0"),
        ("a VNC version", b"RFB 003.008\n\x02AAAAAAAAAAAAAAAA"),
        ("a MySQL answer", b"\x20\0\0\x01\x85\xa6\x7f\0\0\0\0\x01\x21\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0root\0\0"),
        ("a SIP request", b"OPTIONS sip:nm SIP/2.0\r\nVia: SIP/2.0/TCP nm;branch=foo\r\nCSeq: 42 OPTIONS\r\n\r\n"),
        ("a PROXY header", b"PROXY TCP4 198.51.100.1 192.0.2.1 1 2\r\n"),
        ("lengths of all ones", &[0xff; 600]),
        ("zeros", &[0; 600]),
        ("text beyond ASCII", "Gr\u{fc}\u{df}e \u{1f600}\r\n".as_bytes()),
        ("format strings and escapes", b"%s%s%n${jndi:ldap://x/}\x1b[2J\\x00'\"<script>\r\n"),
    ]
    .iter()
    .map(|(name, bytes)| Input::new(name, bytes))
    .collect();
    inputs.extend((0..12_u64).map(|seed| Input::new(&format!("noise {seed}"), &noise(seed, 64 << (seed % 6)))));
    inputs
}

/// Bytes that look random and are the same everywhere (splitmix64).
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_and_join_undo_each_other() {
        for parts in [&[&b"a"[..], b"", b"bc"][..], &[b""], &[b"", b""]] {
            assert_eq!(segments(&join(parts)), parts);
        }
    }

    #[test]
    fn noise_is_the_same_everywhere() {
        // The first output of splitmix64 for seed 0, 0xe220a8397b1dcdaf.
        assert_eq!(noise(0, 4), [0xaf, 0xcd, 0x1d, 0x7b]);
        assert_eq!(noise(3, 100).len(), 100);
    }
}
