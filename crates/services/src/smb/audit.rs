//! The audit log of a real Samba, as OpenCanary's documentation sets it up:
//!
//! ```text
//! full_audit:prefix = %U|%I|%i|%m|%S|%L|%R|%a|%T|%D
//! ... smbd_audit[4711]: user|from|to|client|share|server|version|system|time|domain|action|status|file...
//! ```
//! What follows the status depends on the action. OpenCanary takes the first of it for the file's name in
//! every case, which for `openat|ok|r|path` gives `r`; here the name is behind what an action is known to
//! put before it. Of actions with two names, `renameat` and the like, it is the first, as there.
//!
//! LIMIT: Samba does not escape, so a `|` in a user's or a share's name moves all that follows. In a
//! file's name it is kept where nothing else can follow.

use aviary_event::{Kind, LogData, Origin, Port};
use aviary_service::{LineReader, Told};

/// Fields of the prefix, with the action and its status.
const FIXED: usize = 12;

/// Longest field that an event keeps.
const LONGEST: usize = 4096;

/// What stands before the file's name, and whether more may stand behind it.
const ACTIONS: [(&[u8], usize, bool); 12] = [
    (b"open", 1, false),
    (b"openat", 1, false),
    // Access mask, file or folder, open or create.
    (b"create_file", 3, false),
    (b"rename", 0, true),
    (b"renameat", 0, true),
    (b"link", 0, true),
    (b"linkat", 0, true),
    (b"symlink", 0, true),
    (b"symlinkat", 0, true),
    (b"getxattr", 0, true),
    (b"setxattr", 0, true),
    (b"fsetxattr", 0, true),
];

/// Makes OpenCanary's event 5000 of each line.
#[derive(Debug)]
pub(super) struct Audit {
    kind: Kind,
}

impl Audit {
    /// A reader that reports this kind.
    pub(super) const fn new(kind: Kind) -> Self {
        Self { kind }
    }
}

impl LineReader for Audit {
    fn line(&mut self, line: &[u8]) -> Option<Told> {
        let entry = Entry::parse(line)?;
        let clip = |field: &[u8]| field.get(..LONGEST).unwrap_or(field).to_vec();
        let user = if entry.user.is_empty() { b"anonymous".as_slice() } else { entry.user };
        let data = LogData::new()
            .with("AUDITACTION", clip(entry.action))
            .with("DOMAIN", clip(entry.domain))
            .with("FILENAME", clip(&entry.file))
            .with("LOCALNAME", clip(entry.server))
            .with("REMOTENAME", clip(entry.client))
            .with("SHARENAME", clip(entry.share))
            .with("SMBARCH", clip(entry.system))
            .with("SMBVER", clip(entry.version))
            .with("STATUS", clip(entry.status))
            .with("USER", clip(user));
        let host = |field: &[u8]| String::from_utf8_lossy(field.get(..64).unwrap_or(field)).into_owned();
        // OpenCanary's ports: text that means none, and SMB's own.
        let source = Origin { host: host(entry.from), port: Port::Text("-1".to_owned()) };
        let target = Origin { host: host(entry.to), port: Port::Number(445) };
        Some(Told { kind: self.kind, data, source, target })
    }
}

/// The fields of a line.
#[derive(Debug, PartialEq, Eq)]
struct Entry<'a> {
    user: &'a [u8],
    from: &'a [u8],
    to: &'a [u8],
    client: &'a [u8],
    share: &'a [u8],
    server: &'a [u8],
    version: &'a [u8],
    system: &'a [u8],
    domain: &'a [u8],
    action: &'a [u8],
    status: &'a [u8],
    file: Vec<u8>,
}

impl<'a> Entry<'a> {
    /// Reads a line; `None` when it is another program's or holds too few fields.
    fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let tag = memchr::memmem::find(line, b"smbd_audit")?;
        let rest = line.get(tag..)?;
        // The first colon behind the tag ends it; a file's name may hold others.
        let start = memchr::memmem::find(rest, b": ")?.checked_add(2)?;
        let fields: Vec<&[u8]> = rest.get(start..)?.split(|byte| *byte == b'|').collect();
        let (fixed, arguments) = fields.split_at_checked(FIXED)?;
        let [user, from, to, client, share, server, version, system, _, domain, action, status] = *fixed else {
            return None;
        };
        let known = ACTIONS.iter().find(|(name, ..)| *name == action);
        let (before, more) = known.map_or((0, false), |(_, before, more)| (*before, *more));
        let names = arguments.get(before..).filter(|names| !names.is_empty()).unwrap_or(arguments);
        let file = if more { names.first()?.to_vec() } else { names.join(&b'|') };
        // Without any argument the line is cut off; OpenCanary's parser fails there.
        (!arguments.is_empty()).then_some(Self {
            user,
            from,
            to,
            client,
            share,
            server,
            version,
            system,
            domain,
            action,
            status,
            file,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aviary_event::{Class, KindInfo, Value};

    static KIND: KindInfo = KindInfo {
        number: 5000,
        constant: "LOG_SMB_FILE_OPEN",
        class: Class::Command,
        when: "",
        keys: &[],
        technique: &[],
    };

    const LINE: &str = "Nov 24 22:00:00 nas smbd_audit[4711]: alice|192.0.2.7|192.0.2.1|ws7|share|nas|SMB3_11|Win2K|\
        2026/11/24 22:00:00|CORP|flistxattr|ok|plans/2027.docx";

    fn told(line: &[u8]) -> Option<Told> {
        Audit::new(&KIND).line(line)
    }

    fn file(line: &str) -> String {
        let told = told(line.as_bytes()).unwrap();
        told.data.get("FILENAME").and_then(Value::as_str).unwrap().to_owned()
    }

    #[test]
    fn reads_what_opencanary_reads() {
        let told = told(LINE.as_bytes()).unwrap();
        let of = |key: &str| told.data.get(key).and_then(Value::as_str).unwrap();
        assert_eq!(
            ["USER", "REMOTENAME", "SHARENAME", "LOCALNAME", "SMBVER", "SMBARCH", "DOMAIN", "AUDITACTION", "STATUS"]
                .map(of),
            ["alice", "ws7", "share", "nas", "SMB3_11", "Win2K", "CORP", "flistxattr", "ok"]
        );
        assert_eq!(of("FILENAME"), "plans/2027.docx");
        assert_eq!(told.source, Origin { host: "192.0.2.7".to_owned(), port: Port::Text("-1".to_owned()) });
        assert_eq!(told.target, Origin { host: "192.0.2.1".to_owned(), port: Port::Number(445) });
        assert_eq!(told.data.iter().count(), 10);
    }

    #[test]
    fn the_name_is_behind_what_an_action_puts_before_it() {
        for (end, name) in [
            ("openat|ok|r|/srv/share/a.txt", "/srv/share/a.txt"),
            ("open|fail (No such file or directory)|w|a|b.txt", "a|b.txt"),
            ("create_file|ok|0x80|file|open|/srv/share/a.txt", "/srv/share/a.txt"),
            ("renameat|ok|/srv/a|/srv/b", "/srv/a"),
            ("unlinkat|ok|/srv/odd: name", "/srv/odd: name"),
            ("mkdirat|ok|", ""),
            ("openat|ok|r", "r"),
        ] {
            assert_eq!(file(&LINE.replace("flistxattr|ok|plans/2027.docx", end)), name, "{end}");
        }
    }

    #[test]
    fn nobody_is_anonymous() {
        let told = told(LINE.replace("alice|", "|").as_bytes()).unwrap();
        assert_eq!(told.data.get("USER").and_then(Value::as_str), Some("anonymous"));
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_kept() {
        let line = [LINE.as_bytes(), b"\xff\xfe"].concat();
        let data = told(&line).unwrap().data;
        assert_eq!(data.get("FILENAME").and_then(Value::as_bytes), Some(b"plans/2027.docx\xff\xfe".as_slice()));
    }

    #[test]
    fn other_lines_tell_of_nothing() {
        for line in [
            "",
            "Nov 24 22:00:00 nas sshd[1]: alice|192.0.2.7",
            "smbd_audit: ",
            "smbd_audit without a colon",
            "smbd_audit: a|b|c|d|e|f|g|h|i|j|k|l",
            "||||||||||||||||",
        ] {
            assert!(told(line.as_bytes()).is_none(), "{line}");
        }
        for end in 0..LINE.len() - "plans/2027.docx".len() {
            assert!(told(&LINE.as_bytes()[..end]).is_none(), "{end}");
        }
    }
}
