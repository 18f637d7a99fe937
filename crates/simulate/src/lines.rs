//! Events of each service, with the keys that it writes.

use aviary_event::{Kind, LogData, Value};

use crate::random::Random;

const USERS: [&str; 24] = [
    "root",
    "admin",
    "user",
    "test",
    "ubuntu",
    "oracle",
    "postgres",
    "guest",
    "ftp",
    "pi",
    "git",
    "deploy",
    "mysql",
    "administrator",
    "support",
    "backup",
    "nagios",
    "tomcat",
    "hadoop",
    "jenkins",
    "www",
    "info",
    "operator",
    "sa",
];
const PASSWORDS: [&str; 30] = [
    "123456",
    "password",
    "admin",
    "root",
    "12345678",
    "1234",
    "qwerty",
    "toor",
    "letmein",
    "changeme",
    "welcome",
    "P@ssw0rd",
    "test",
    "123",
    "raspberry",
    "ubuntu",
    "abc123",
    "1q2w3e4r",
    "dragon",
    "iloveyou",
    "000000",
    "secret",
    "server",
    "summer2025",
    "passw0rd",
    "Aa123456",
    "system",
    "vizxv",
    "xc3511",
    "S3cure!",
];
const PATHS: [&str; 14] = [
    "/",
    "/login",
    "/.env",
    "/wp-login.php",
    "/.git/config",
    "/admin",
    "/robots.txt",
    "/phpmyadmin/",
    "/actuator/health",
    "/cgi-bin/luci",
    "/manager/html",
    "/api/v1/pods",
    "/server-status",
    "/owa/",
];
const AGENTS: [&str; 6] =
    ["Mozilla/5.0 (X11; Linux x86_64)", "curl/8.11.0", "python-requests/2.32", "Go-http-client/1.1", "zgrab/0.x", "-"];
const CLIENTS: [&str; 5] =
    ["SSH-2.0-Go", "SSH-2.0-libssh_0.9.6", "SSH-2.0-OpenSSH_9.6", "SSH-2.0-PUTTY", "SSH-2.0-paramiko_3.4.0"];
const COMMANDS: [(&str, &str); 6] = [
    ("INFO", ""),
    ("CONFIG", "GET dir"),
    ("KEYS", "*"),
    ("CONFIG", "SET dir /root/.ssh"),
    ("SLAVEOF", "198.51.100.9 6379"),
    ("PING", ""),
];

/// A kind with what it says.
pub(crate) type Said = (Kind, LogData);

/// The kind of a number, as its service declares it.
pub(crate) fn kind(service: &str, number: i64) -> Option<Kind> {
    let declared = aviary_services::ALL.iter().find(|entry| entry.name == service).map(|entry| entry.kinds);
    declared.into_iter().flatten().chain(&aviary_scan::KINDS).find(|kind| kind.number == number)
}

/// A password of a list, or one that nobody else tries.
pub(crate) fn password(random: &mut Random) -> String {
    if random.below(12) == 0 {
        return format!("{}{}", random.one(&PASSWORDS), random.below(100_000));
    }
    random.skewed_one(&PASSWORDS).to_owned()
}

pub(crate) fn user(random: &mut Random) -> String {
    random.skewed_one(&USERS).to_owned()
}

/// What a look at a service comes to.
pub(crate) fn look(service: &str, random: &mut Random) -> Option<Said> {
    let (number, data) = match service {
        "ssh" => {
            let data = LogData::new().with("LOCALVERSION", "SSH-2.0-OpenSSH_9.2p1");
            (4001, data.with("REMOTEVERSION", random.one(&CLIENTS)))
        }
        "http" => {
            let data = LogData::new().with("HOSTNAME", "localhost").with("PATH", random.skewed_one(&PATHS));
            (3000, data.with("SKIN", "nasLogin").with("USERAGENT", random.one(&AGENTS)))
        }
        "redis" => {
            let (command, arguments) = COMMANDS.get(random.index(COMMANDS.len())).copied().unwrap_or_default();
            (17001, LogData::new().with("ARGS", arguments).with("CMD", command))
        }
        "smb" => (
            31100,
            LogData::new().with("CHOSEN", "3.1.1").with("DIALECTS", vec![Value::from("2.0.2"), Value::from("3.1.1")]),
        ),
        "rdp" => (
            31000,
            LogData::new().with("COOKIE", format!("mstshash={}", random.one(&USERS))).with("SELECTED", "HYBRID"),
        ),
        "ftp" => (30100, LogData::new().with("COMMAND", "SYST")),
        "telnet" => (6002, LogData::new()),
        "mysql" => (9003, LogData::new()),
        _ => return None,
    };
    Some((kind(service, number)?, data))
}

/// What a guess at a service comes to.
pub(crate) fn login(service: &str, user: &str, password: &str, random: &mut Random) -> Option<Said> {
    let both = LogData::new().with("PASSWORD", password.as_bytes().to_vec()).with("USERNAME", user.as_bytes().to_vec());
    let (number, data) = match service {
        "ssh" => {
            let data = both.with("LOCALVERSION", "SSH-2.0-OpenSSH_9.2p1");
            (4002, data.with("REMOTEVERSION", random.one(&CLIENTS)))
        }
        "http" => {
            let data = both.with("HOSTNAME", "localhost").with("PATH", "/login").with("SKIN", "nasLogin");
            (3001, data.with("USERAGENT", random.one(&AGENTS)))
        }
        "ftp" => (2000, both),
        "telnet" => (6001, both),
        "redis" => (30501, both),
        "mysql" => (30801, both.with("METHOD", "mysql_clear_password")),
        "rdp" => (14001, both.with("HOSTNAME", "DESKTOP").with("DOMAIN", "")),
        "smb" => (31101, both.with("DOMAIN", "WORKGROUP").with("MECHANISM", "NTLMSSP")),
        _ => return None,
    };
    Some((kind(service, number)?, data))
}

/// A SYN to a port where nothing listens.
pub(crate) fn knock(random: &mut Random) -> Option<Said> {
    let data = LogData::new()
        .with("DF", "")
        .with("ID", random.below(65_536).to_string())
        .with("IN", "eth0")
        .with("LEN", "44")
        .with("PROTO", "TCP")
        .with("SYN", "")
        .with("TTL", "52")
        .with("WINDOW", "1024");
    Some((kind("portscan", 5001)?, data))
}

/// What a worm does to a machine: a file comes over SMB, under a name that is always another one and with bytes that
/// are always the same.
pub(crate) fn infection(random: &mut Random) -> Option<Said> {
    let name = format!("{:08x}.exe", random.below(1 << 32));
    let data = LogData::new()
        .with("FILENAME", name)
        .with("SHA256", "a3f5c1d2e4b697887766554433221100ffeeddccbbaa99887766554433221100")
        .with("SHARENAME", "ADMIN$")
        .with("SIZE", 3_723_264_i64)
        .with("USERNAME", "administrator");
    Some((kind("smb", 31105)?, data))
}
