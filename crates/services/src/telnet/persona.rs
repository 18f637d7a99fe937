//! The products: what each offers, asks and says, as data.
//!
//! In a text `{host}` stands for the host name and `{p}` for the prompt that timed out.

use super::option::Side;
use super::terminal::{
    AUTHENTICATION, BINARY, ECHO, ENCRYPTION, ENVIRON, LFLOW, LINEMODE, NAWS, NEW_ENVIRON, SGA, STATUS, TIMING_MARK,
    TSPEED, TTYPE, XDISPLOC,
};

/// What `telnet.persona` accepts, in the order of [`ALL`].
pub(super) const NAMES: &[&str] = &["ios", "linux", "busybox", "windows", "procurve"];

/// An empty user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Empty {
    /// Asks for it again.
    Again,
    /// Asks for the password.
    Password,
}

/// What is waited for before the first prompt.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Options of the greeting that must be agreed to or refused.
    pub answers: &'static [(Side, u8)],
    /// Of these, whose values are asked for, in that order.
    pub values: &'static [u8],
    /// What is offered then, and must be answered, too.
    pub offers: &'static [(Side, u8)],
    /// What is offered at last.
    pub last: &'static [(Side, u8)],
    /// The same for a client that agreed to line mode.
    pub last_linemode: &'static [(Side, u8)],
}

/// A product.
#[derive(Debug)]
pub(super) struct Persona {
    /// What it offers and asks for at once.
    pub greeting: &'static [(Side, u8)],
    /// Options that it performs when asked.
    pub ours: &'static [u8],
    /// Options that it lets the client perform.
    pub theirs: &'static [u8],
    /// Whether it never answers a negotiation.
    pub silent: bool,
    /// Subnegotiations that it sends when the client performs an option.
    pub agreed: &'static [(u8, &'static [u8])],
    /// What it waits for; `None`: it prompts at once.
    pub waiting: Option<&'static Waiting>,
    /// Before the operator's banner.
    pub before: &'static str,
    /// After the operator's banner.
    pub text: &'static str,
    /// Whether a key must be pressed before the user name is asked for.
    pub any_key: bool,
    /// Asks for the user name.
    pub user: &'static str,
    /// Asks for the password.
    pub password: &'static str,
    /// The end of the peer's line, as echoed.
    pub newline: &'static str,
    /// Refuses a password.
    pub wrong: &'static str,
    /// Refuses the last one.
    pub last: &'static str,
    /// Passwords that it takes.
    pub tries: u8,
    /// Least and greatest milliseconds before it refuses.
    pub delay: (u64, u64),
    /// What it does with an empty user name.
    pub empty: Empty,
    /// Answer to AYT.
    pub ayt: &'static [u8],
    /// Answers to an interrupt and to a break, which drop the line; `None` where they do nothing.
    pub interrupt: Option<(&'static [u8], &'static [u8])>,
    /// Seconds that it waits at a prompt.
    pub patience: u64,
    /// What it says then.
    pub timeout: &'static str,
}

impl Persona {
    /// The product of a name; IOS for any other.
    pub(super) fn of_name(name: &str) -> &'static Self {
        NAMES.iter().zip(ALL).find(|(known, _)| **known == name).map_or(&IOS, |(_, persona)| persona)
    }
}

/// Every product.
pub(super) static ALL: &[&Persona] = &[&IOS, &LINUX, &BUSYBOX, &WINDOWS, &PROCURVE];

const SEND: &[u8] = &[1];

/// Cisco IOS 15 with `login local`. From nmap's signatures and public transcripts.
static IOS: Persona = Persona {
    greeting: &[(Side::Ours, ECHO), (Side::Ours, SGA), (Side::Theirs, TTYPE), (Side::Theirs, NAWS)],
    ours: &[ECHO, SGA],
    theirs: &[SGA, TTYPE, NAWS],
    silent: false,
    agreed: &[(TTYPE, SEND)],
    waiting: None,
    before: "\r\n",
    text: "\r\nUser Access Verification\r\n\r\n",
    any_key: false,
    user: "Username: ",
    password: "Password: ",
    newline: "\r\n",
    wrong: "% Login invalid\r\n\r\n",
    last: "% Bad passwords\r\n",
    tries: 3,
    delay: (40, 250),
    empty: Empty::Again,
    ayt: b"",
    interrupt: None,
    patience: 30,
    timeout: "\r\n% {p}:  timeout expired!\r\n",
};

/// inetutils-telnetd 2.4 and login 4.13 of Debian 12; measured.
static LINUX: Persona = Persona {
    greeting: INETUTILS.answers,
    ours: &[BINARY, ECHO, SGA, STATUS, TIMING_MARK],
    theirs: &[BINARY, SGA, TIMING_MARK, TTYPE, NAWS, TSPEED, LFLOW, LINEMODE, XDISPLOC, ENVIRON, NEW_ENVIRON],
    silent: false,
    // Flow control restarts on any key; line mode with local editing and signals.
    agreed: &[(LFLOW, &[3]), (LINEMODE, &[1, 3])],
    waiting: Some(&INETUTILS),
    before: "",
    text: "\r\nLinux 6.1.0-37-amd64 ({host}) (pts/0)\r\n\r\n",
    any_key: false,
    user: "{host} login: ",
    password: "Password: ",
    newline: "\r\n",
    wrong: "\r\nLogin incorrect\r\n",
    last: "\r\nLogin incorrect\r\nMaximum number of tries exceeded (5)\r\n",
    tries: 5,
    delay: (2000, 3900),
    empty: Empty::Password,
    ayt: b"\r\n[Yes]\r\n",
    // After a data mark; the real one marks it urgent, too.
    interrupt: Some((b"\xff\xf2^C", b"\xff\xf2^\\")),
    patience: 60,
    timeout: "\r\nLogin timed out after 60 seconds.\r\n",
};

static INETUTILS: Waiting = Waiting {
    answers: &[
        (Side::Ours, AUTHENTICATION),
        (Side::Ours, ENCRYPTION),
        (Side::Theirs, TTYPE),
        (Side::Theirs, TSPEED),
        (Side::Theirs, XDISPLOC),
        (Side::Theirs, NEW_ENVIRON),
        (Side::Theirs, ENVIRON),
    ],
    values: &[TSPEED, XDISPLOC, NEW_ENVIRON, TTYPE],
    offers: &[
        (Side::Ours, SGA),
        (Side::Theirs, ECHO),
        (Side::Theirs, LINEMODE),
        (Side::Theirs, NAWS),
        (Side::Ours, STATUS),
        (Side::Theirs, LFLOW),
    ],
    last: &[(Side::Ours, ECHO), (Side::Theirs, TIMING_MARK), (Side::Theirs, BINARY)],
    last_linemode: &[(Side::Ours, ECHO), (Side::Theirs, BINARY)],
};

/// A router with BusyBox 1.14 or later; measured on 1.35.
static BUSYBOX: Persona = Persona {
    greeting: &[(Side::Theirs, ECHO), (Side::Theirs, NAWS), (Side::Ours, ECHO), (Side::Ours, SGA)],
    ours: &[],
    theirs: &[],
    silent: true,
    agreed: &[],
    waiting: None,
    before: "",
    text: "\r\r\n",
    any_key: false,
    user: "{host} login: ",
    password: "Password: ",
    newline: "\r\n",
    wrong: "Login incorrect\r\n",
    last: "Login incorrect\r\n",
    tries: 3,
    delay: (3000, 3010),
    empty: Empty::Again,
    // It means IAC NOP and escapes its own IAC.
    ayt: b"\xff\xff\xf1",
    interrupt: None,
    patience: 60,
    timeout: "\r\nLogin timed out after 60 seconds\r\n",
};

/// The Telnet service of Windows Server 2003 to 2012. From nmap's signatures and public transcripts.
static WINDOWS: Persona = Persona {
    greeting: &[
        (Side::Theirs, AUTHENTICATION),
        (Side::Ours, ECHO),
        (Side::Ours, SGA),
        (Side::Theirs, NEW_ENVIRON),
        (Side::Theirs, NAWS),
        (Side::Theirs, BINARY),
        (Side::Ours, BINARY),
    ],
    ours: &[BINARY, ECHO, SGA],
    theirs: &[BINARY, SGA, TTYPE, NAWS, NEW_ENVIRON, AUTHENTICATION],
    silent: false,
    // NTLM is mechanism 15; the two variables are those that Windows asks its own client for.
    agreed: &[(AUTHENTICATION, &[1, 15, 0]), (NEW_ENVIRON, b"\x01\x03SFUTLNTVER\x03SFUTLNTMODE"), (TTYPE, SEND)],
    waiting: None,
    before: "",
    text: "Welcome to Microsoft Telnet Service \r\n",
    any_key: false,
    user: "\n\rlogin: ",
    password: "\n\rpassword: ",
    newline: "",
    wrong: "\r\nThe handle is invalid.\r\n\r\nLogin Failed\r\n",
    last: "\r\nThe handle is invalid.\r\n\r\nLogin Failed\r\n\r\nTelnet Server has closed the connection\r\n",
    tries: 3,
    delay: (15, 120),
    empty: Empty::Again,
    ayt: b"",
    interrupt: None,
    patience: 60,
    timeout: "\r\nSession timed out.\r\n\r\nTelnet Server has closed the connection\r\n",
};

/// An HP ProCurve switch 2626. From nmap's signatures and public captures.
static PROCURVE: Persona = Persona {
    greeting: &[(Side::Theirs, TTYPE), (Side::Ours, ECHO)],
    ours: &[ECHO, SGA],
    theirs: &[SGA, TTYPE, NAWS],
    silent: false,
    agreed: &[(TTYPE, SEND)],
    waiting: None,
    before: "\x1b[2J\x1b[?7l\x1b[3;23r\x1b[?6l\x1b[1;1H\x1b[?25l\x1b[1;1H",
    text: concat!(
        "HP J4900B ProCurve Switch 2626\r\n\rFirmware revision H.10.83\r\n\r\r\n\r",
        "Copyright (C) 1991-2009 Hewlett-Packard Co.  All Rights Reserved.\r\n\r\r\n\r",
        "                           RESTRICTED RIGHTS LEGEND\r\n\r\r\n\r",
        "\x1b[24;1HPress any key to continue\x1b[1;1H\x1b[?25h\x1b[24;27H"
    ),
    any_key: true,
    user: "\x1b[1;1H\x1b[2J\x1b[24;1HUsername: \x1b[?25h\x1b[24;11H",
    password: "\x1b[24;1H\x1b[2KPassword: \x1b[?25h\x1b[24;11H",
    newline: "",
    wrong: "\x1b[24;1H\x1b[2KInvalid password\r\n\r",
    last: "\x1b[24;1H\x1b[2KInvalid password\r\n\r\x1b[21;1HSession Terminated, Connect again\r\n\r\x1b[?25h",
    tries: 3,
    delay: (30, 160),
    empty: Empty::Password,
    ayt: b"",
    interrupt: None,
    patience: 120,
    timeout: "\x1b[21;1HSession Terminated, Connect again\r\n\r\x1b[?25h",
};
