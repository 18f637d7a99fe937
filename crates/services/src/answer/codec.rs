//! Which protocol a peer's first bytes look like.

/// A protocol and the bytes that begin it, from its specification; `None` stands for any byte.
struct Mark {
    protocol: &'static str,
    bytes: &'static [Option<u8>],
}

/// `mark!("name": 1 2 _ 4)`.
macro_rules! mark {
    (@byte _) => { None };
    (@byte $byte:literal) => { Some($byte) };
    ($protocol:literal : $($byte:tt)*) => { Mark { protocol: $protocol, bytes: &[$(mark!(@byte $byte)),*] } };
}

/// Binary protocols. The first that fits counts.
static MARKS: &[Mark] = &[
    // A handshake record of version 3.x that holds a ClientHello.
    mark!("tls": 0x16 0x03 _ _ _ 0x01),
    // NetBIOS session messages of four bytes, then SMB 1 or 2.
    mark!("smb": 0x00 _ _ _ 0xff 0x53 0x4d 0x42),
    mark!("smb": 0x00 _ _ _ 0xfe 0x53 0x4d 0x42),
    // A NetBIOS session request; the called name is 32 letters.
    mark!("netbios": 0x81 0x00 0x00 _ 0x20),
    // TPKT, then a connection request of X.224: RDP, and S7 with its parameter of the TPDU's size.
    mark!("s7": 0x03 0x00 0x00 0x16 0x11 0xe0),
    mark!("rdp": 0x03 0x00 _ _ _ 0xe0),
    // TDS: PRELOGIN, LOGIN7, one packet of status 0 or 1.
    mark!("mssql": 0x12 0x01 _ _ 0x00 0x00),
    mark!("mssql": 0x10 0x01 _ _ 0x00 0x00),
    // PostgreSQL: SSLRequest, GSSENCRequest, StartupMessage 3.0.
    mark!("postgresql": 0x00 0x00 0x00 0x08 0x04 0xd2 0x16 0x2f),
    mark!("postgresql": 0x00 0x00 0x00 0x08 0x04 0xd2 0x16 0x30),
    mark!("postgresql": 0x00 0x00 _ _ 0x00 0x03 0x00 0x00),
    // Length, request id, no answer to anything, OP_MSG (2013) or OP_QUERY (2004).
    mark!("mongodb": _ _ 0x00 0x00 _ _ _ _ 0x00 0x00 0x00 0x00 0xdd 0x07 0x00 0x00),
    mark!("mongodb": _ _ 0x00 0x00 _ _ _ _ 0x00 0x00 0x00 0x00 0xd4 0x07 0x00 0x00),
    // A SEQUENCE of a message id of one byte and a bind request.
    mark!("ldap": 0x30 _ 0x02 0x01 _ 0x60),
    mark!("ldap": 0x30 0x84 _ _ _ _ 0x02 0x01 _ 0x60),
    mark!("ldap": 0x30 0x84 _ _ _ _ 0x02 0x01 _ 0x63),
    // A SEQUENCE of a message id and a search request.
    mark!("ldap": 0x30 _ 0x02 0x01 _ 0x63),
    // Greeting with methods; connect and bind.
    mark!("socks5": 0x05 0x01 0x00),
    mark!("socks5": 0x05 0x02 0x00 0x02),
    mark!("socks4": 0x04 0x01 _ _ _ _ _ _),
    // A record of ONC RPC, the last fragment: call, version 2.
    mark!("rpc": 0x80 0x00 _ _ _ _ _ _ 0x00 0x00 0x00 0x00 0x00 0x00 0x00 0x02),
    // DCE RPC 5.0, bind.
    mark!("dcerpc": 0x05 0x00 0x0b 0x03),
    // CONNECT of MQTT 3 and 3.1.1.
    mark!("mqtt": 0x10 _ 0x00 0x04 0x4d 0x51 0x54 0x54),
    mark!("mqtt": 0x10 _ 0x00 0x06 0x4d 0x51 0x49 0x73),
    mark!("amqp": 0x41 0x4d 0x51 0x50),
    // IAC and a verb of Telnet.
    mark!("telnet": 0xff 0xfb),
    mark!("telnet": 0xff 0xfd),
    // X11, least and most significant byte first, protocol 11.
    mark!("x11": 0x6c 0x00 0x0b 0x00),
    mark!("x11": 0x42 0x00 0x00 0x0b),
    // Java's remote method invocation and serialised objects.
    mark!("rmi": 0x4a 0x52 0x4d 0x49),
    mark!("java": 0xac 0xed 0x00 0x05),
    // Android's debug bridge.
    mark!("adb": 0x43 0x4e 0x58 0x4e),
    // The binary protocol of memcached, a request.
    mark!("memcached": 0x80 _ _ _ _ 0x00 0x00 0x00),
    // Modbus over TCP: protocol 0, a length of at most two digits, a function.
    mark!("modbus": _ _ 0x00 0x00 0x00 0x06 _ 0x01),
    mark!("modbus": _ _ 0x00 0x00 0x00 0x06 _ 0x03),
    mark!("modbus": _ _ 0x00 0x00 0x00 0x05 _ 0x2b),
    // EtherNet/IP: register session, list identity.
    mark!("ethernet/ip": 0x65 0x00 0x04 0x00),
    mark!("ethernet/ip": 0x63 0x00 0x00 0x00),
    // An association request of DICOM.
    mark!("dicom": 0x01 0x00 0x00 0x00 _ _ 0x00 0x01),
    // BGP's marker of ones.
    mark!("bgp": 0xff 0xff 0xff 0xff 0xff 0xff 0xff 0xff 0xff 0xff 0xff 0xff 0xff 0xff 0xff 0xff),
];

/// Protocols whose requests are words at the beginning of a line.
static WORDS: &[(&str, &[&str])] = &[
    ("ssh", &["SSH-"]),
    ("vnc", &["RFB "]),
    ("sip", &["OPTIONS sip:", "REGISTER sip:", "INVITE sip:", "OPTIONS sips:"]),
    ("rtsp", &["OPTIONS rtsp:", "DESCRIBE rtsp:", "OPTIONS * RTSP/", "OPTIONS / RTSP/"]),
    (
        "http",
        &["GET ", "POST ", "HEAD ", "PUT ", "DELETE ", "OPTIONS ", "CONNECT ", "PROPFIND ", "TRACE ", "PRI * HTTP/2"],
    ),
    ("redis", &["*1\r\n$", "*2\r\n$", "*3\r\n$", "*4\r\n$", "PING\r\n", "INFO\r\n", "CONFIG GET "]),
    ("smtp", &["EHLO ", "HELO ", "MAIL FROM:"]),
    ("memcached", &["stats\r\n", "version\r\n"]),
    ("weblogic", &["t3 ", "t3s "]),
    ("distcc", &["DIST0000"]),
    ("adb", &["CNXN"]),
    ("git", &["0032git-upload-pack", "git-upload-pack "]),
    ("ftp", &["USER ", "AUTH TLS"]),
    ("irc", &["NICK "]),
    ("zookeeper", &["ruok", "srvr", "envi"]),
];

/// The protocol that these bytes look like, in small letters; `None` when they look like none that is known here.
pub(super) fn likely(bytes: &[u8]) -> Option<&'static str> {
    let begins = |word: &&str| bytes.starts_with(word.as_bytes());
    let words = WORDS.iter().find(|(_, words)| words.iter().any(begins)).map(|(protocol, _)| *protocol);
    let fits = |mark: &&Mark| {
        let pairs = mark.bytes.iter().zip(bytes);
        bytes.len() >= mark.bytes.len() && pairs.into_iter().all(|(wanted, byte)| wanted.is_none_or(|w| w == *byte))
    };
    words.or_else(|| MARKS.iter().find(fits).map(|mark| mark.protocol))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_name_their_protocol() {
        for (bytes, protocol) in [
            (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], Some("tls")),
            (b"\x00\x00\x00\x54\xffSMBr", Some("smb")),
            (b"\x00\x00\x00\xa4\xfeSMB@\x00", Some("smb")),
            (b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00", Some("rdp")),
            (b"\x03\x00\x00\x16\x11\xe0\x00\x00\x00\x01\x00\xc1", Some("s7")),
            (b"\x12\x01\x00\x2f\x00\x00\x01\x00", Some("mssql")),
            (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", Some("postgresql")),
            (b"GET / HTTP/1.1\r\n\r\n", Some("http")),
            (b"OPTIONS sip:nm SIP/2.0\r\n", Some("sip")),
            (b"OPTIONS / RTSP/1.0\r\n", Some("rtsp")),
            (b"OPTIONS / HTTP/1.0\r\n", Some("http")),
            (b"SSH-2.0-Go\r\n", Some("ssh")),
            (b"*1\r\n$4\r\nPING\r\n", Some("redis")),
            (b"0\x0c\x02\x01\x01`\x07\x02\x01\x03\x04\x00\x80\x00", Some("ldap")),
            (b"\x05\x01\x00", Some("socks5")),
            (b"hello", None),
            (b"", None),
            (b"\x16\x03\x01", None),
        ] {
            assert_eq!(likely(bytes), protocol, "{bytes:?}");
        }
    }
}
