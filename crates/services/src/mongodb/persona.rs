//! What a version says of itself, and in which words it refuses.
//!
//! 3.6.8 was measured; later versions are from MongoDB's sources and public transcripts.

use super::bson::{Bson, Document};
use super::compress::Compressor;

/// A version and its manners.
#[derive(Clone, Debug)]
pub(super) struct Persona {
    /// As configured: `7.0.14`.
    pub(super) version: String,
    numbers: [i32; 3],
}

impl Persona {
    /// The persona of a version; parts that are no numbers count as 0, an unknown major as 7.0.
    pub(super) fn of(version: &str) -> Self {
        let mut parts = version.split(['.', '-', '+']).map(|part| part.parse::<u8>().unwrap_or(0));
        let mut next = || i32::from(parts.next().unwrap_or(0));
        let mut numbers = [next(), next(), next()];
        if numbers < [3, 6, 0] {
            numbers = [7, 0, 0];
        }
        Self { version: version.to_owned(), numbers }
    }

    fn since(&self, major: i32, minor: i32) -> bool {
        self.numbers >= [major, minor, 0]
    }

    /// `maxWireVersion`.
    pub(super) const fn wire(&self) -> i32 {
        let [major, minor, _] = self.numbers;
        match (major, minor) {
            (3, _) => 6,
            (4, 0) => 7,
            (4, 2) => 8,
            (4, _) => 9,
            (5, 0) => 13,
            (5, minor) => minor.saturating_add(13),
            (6, minor) => minor.saturating_add(17),
            (7, minor) => minor.saturating_add(21),
            (_, minor) => minor.saturating_add(25),
        }
    }

    /// Whether `hello` is a command: since 5.0, and in the patch releases that had it from there.
    pub(super) fn has_hello(&self) -> bool {
        match self.numbers {
            [3, 6, patch] | [4, 0, patch] if patch >= 21 => true,
            [4, 2, patch] => patch >= 10,
            [4, 4, patch] => patch >= 2,
            _ => self.since(5, 0),
        }
    }

    /// Whether answers to `hello` carry `topologyVersion` and may be waited for.
    pub(super) fn has_topology_version(&self) -> bool {
        self.since(4, 4)
    }

    /// Whether `hello` tells the connection's number.
    pub(super) fn tells_connection(&self) -> bool {
        self.since(4, 2)
    }

    /// Whether SCRAM-SHA-256 exists, and MONGODB-CR no more.
    pub(super) fn has_sha256(&self) -> bool {
        self.since(4, 0)
    }

    /// Whether a login may begin in `hello`.
    pub(super) fn has_speculation(&self) -> bool {
        self.since(4, 4)
    }

    /// Whether OP_QUERY is for the first steps of a connection only.
    pub(super) fn limits_op_query(&self) -> bool {
        self.since(5, 1)
    }

    /// Whether `getnonce` exists.
    pub(super) fn has_getnonce(&self) -> bool {
        !self.since(4, 0)
    }

    /// Compressors that it offers.
    pub(super) fn compressors(&self) -> &'static [Compressor] {
        if self.since(4, 2) { &Compressor::ALL } else { &[Compressor::Snappy] }
    }

    /// The error for a command that does not exist.
    pub(super) fn unknown_command(&self, name: &[u8], command: &[u8]) -> Document {
        let text = if self.since(4, 0) {
            [b"no such command: '", name, b"'"].concat()
        } else {
            [b"no such command: '", name, b"', bad cmd: '", command, b"'"].concat()
        };
        error(text, 59, "CommandNotFound")
    }

    /// The error for a command that needs a login.
    pub(super) fn unauthorized(&self, name: &[u8], database: &[u8], command: &[u8]) -> Document {
        let text = if self.since(4, 0) {
            [b"command ", name, b" requires authentication"].concat()
        } else {
            [b"not authorized on ", database, b" to execute command ", command].concat()
        };
        error(text, 13, "Unauthorized")
    }

    /// The error for a broken document.
    pub(super) fn bad_bson(&self) -> Document {
        let text: &[u8] = if self.since(5, 0) {
            b"incorrect BSON length in element with field name '' in object with unknown _id"
        } else {
            b"bson length doesn't match what we found in object with unknown _id"
        };
        error(text, 22, "InvalidBSON")
    }

    /// The error for a mechanism that is none here.
    pub(super) fn unknown_mechanism(&self, mechanism: &[u8], database: &[u8]) -> Document {
        if self.since(4, 4) {
            let text = [b"Received authentication for mechanism ", mechanism, b" which is unknown or not enabled"];
            error(text.concat(), 334, "MechanismUnavailable")
        } else if self.since(4, 0) {
            let text =
                [b"Unsupported mechanism '", mechanism, b"' on authentication database '", database, b"'"].concat();
            error(text, 2, "BadValue")
        } else {
            let known = ["MONGODB-CR", "MONGODB-X509", "SCRAM-SHA-1"].into_iter().collect::<Bson>();
            let mut document = Document::default().with("supportedMechanisms", known);
            document.0.extend(error([b"Unsupported mechanism ", mechanism].concat(), 2, "BadValue").0);
            document
        }
    }

    /// The error for a login by certificate where there is no TLS.
    pub(super) fn refused_certificate(&self) -> Document {
        if self.since(5, 0) { failed_login() } else { error("auth failed", 18, "AuthenticationFailed") }
    }

    /// The answer to `buildInfo`.
    pub(super) fn build_info(&self) -> Document {
        let [major, minor, patch] = self.numbers;
        let old = !self.since(4, 0);
        let openssl = if self.since(7, 0) { "OpenSSL 3.0.2 15 Mar 2022" } else { "OpenSSL 1.1.1f  31 Mar 2020" };
        let environment = Document::default()
            .with(
                "distmod",
                if old {
                    ""
                } else if self.since(7, 0) {
                    "ubuntu2204"
                } else {
                    "ubuntu2004"
                },
            )
            .with("distarch", "x86_64")
            .with("cc", self.compiler("gcc"))
            .with("ccflags", CC_FLAGS)
            .with("cxx", self.compiler("g++"))
            .with(
                "cxxflags",
                if self.since(6, 0) {
                    CXX_FLAGS
                } else {
                    "-Woverloaded-virtual -Wno-maybe-uninitialized -fsized-deallocation -std=c++17"
                },
            )
            .with("linkflags", LINK_FLAGS)
            .with("target_arch", "x86_64")
            .with("target_os", "linux");
        let version: &str = self.version.as_str();
        let engines: &[&str] =
            if self.since(6, 1) { &["devnull", "wiredTiger"] } else { &["devnull", "ephemeralForTest", "wiredTiger"] };
        Document::default()
            .with("version", version)
            .with("gitVersion", self.git_version().as_str())
            .with("modules", std::iter::empty::<Bson>().collect::<Bson>())
            .with("allocator", "tcmalloc")
            .with("javascriptEngine", "mozjs")
            .with("sysInfo", "deprecated")
            .with("versionArray", [major, minor, patch, 0].into_iter().collect::<Bson>())
            .with("openssl", Document::default().with("running", openssl).with("compiled", openssl))
            .with("buildEnvironment", environment)
            .with("bits", 64)
            .with("debug", false)
            .with("maxBsonObjectSize", 16_777_216)
            .with("storageEngines", engines.iter().copied().collect::<Bson>())
            .with("ok", 1.0)
    }

    fn compiler(&self, name: &str) -> Bson {
        let text = match (self.since(7, 0), name, self.since(4, 0)) {
            (_, _, false) if name == "gcc" => "cc: cc (Ubuntu 9.3.0-10ubuntu2) 9.3.0".to_owned(),
            (_, _, false) => "g++: g++ (Ubuntu 9.3.0-10ubuntu2) 9.3.0".to_owned(),
            (true, name, _) => format!("/opt/mongodbtoolchain/v4/bin/{name}: {name} (GCC) 11.3.0"),
            (false, name, _) => format!("/opt/mongodbtoolchain/v3/bin/{name}: {name} (GCC) 8.5.0"),
        };
        Bson::from(text.as_str())
    }

    /// The commit of a release, where it is known; else 40 digits that are those of the version only.
    fn git_version(&self) -> String {
        match self.version.as_str() {
            "3.6.8" => "8e540c0b6db93ce994cc548f000900bdc740f80a".to_owned(),
            "7.0.14" => "ce59cfc6a3c5e5c067dca0d30697edd68d4f5188".to_owned(),
            version => {
                let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, version.as_bytes());
                digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
            }
        }
    }
}

const CC_FLAGS: &str = "-Werror -include mongo/platform/basic.h -ffp-contract=off -fasynchronous-unwind-tables \
    -g2 -Wall -Wsign-compare -Wno-unknown-pragmas -Winvalid-pch -gdwarf-5 -fno-omit-frame-pointer \
    -fno-strict-aliasing -O2 -march=sandybridge -mtune=generic -mprefer-vector-width=128 \
    -Wno-unused-local-typedefs -Wno-unused-function -Wno-deprecated-declarations -Wno-unused-const-variable \
    -Wno-unused-but-set-variable -Wno-missing-braces -fstack-protector-strong -gdwarf64 \
    -Wa,--nocompress-debug-sections -fno-builtin-memcmp -Wimplicit-fallthrough=5";
const CXX_FLAGS: &str =
    "-Woverloaded-virtual -Wpessimizing-move -Wno-maybe-uninitialized -fsized-deallocation -Wno-deprecated -std=c++20";
const LINK_FLAGS: &str = "-Wl,--fatal-warnings -B/opt/mongodbtoolchain/v4/bin -gdwarf-5 -pthread -Wl,-z,now -fuse-ld=lld \
    -fstack-protector-strong -gdwarf64 -Wl,--build-id -Wl,--hash-style=gnu -Wl,-z,noexecstack \
    -Wl,--warn-execstack -Wl,-z,relro -Wl,--compress-debug-sections=none -Wl,-z,origin -Wl,--enable-new-dtags";

/// An error as an answer has it.
pub(super) fn error(text: impl AsRef<[u8]>, code: i32, name: &str) -> Document {
    Document::default()
        .with("ok", 0.0)
        .with("errmsg", Bson::Text(text.as_ref().to_vec()))
        .with("code", code)
        .with("codeName", name)
}

/// The error that every failed login ends with.
pub(super) fn failed_login() -> Document {
    error("Authentication failed.", 18, "AuthenticationFailed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_versions_are_those_of_the_releases() {
        let wire = |version: &str| Persona::of(version).wire();
        assert_eq!(
            ["3.6.8", "4.0.28", "4.2.24", "4.4.6", "5.0.31", "6.0.19", "7.0.14", "8.0.4"].map(wire),
            [6, 7, 8, 9, 13, 17, 21, 25]
        );
        assert_eq!(wire("nonsense"), 21);
    }

    #[test]
    fn hello_came_with_patch_releases() {
        let knows = ["3.6.8", "3.6.23", "4.2.9", "4.2.10", "4.4.1", "4.4.6", "5.0.0"];
        assert_eq!(knows.map(|v| Persona::of(v).has_hello()), [false, true, false, true, false, true, true]);
    }
}
