//! ProFTPD 1.3.8, measured on Debian's package without `mod_tls`; the TLS texts are from its documentation.

use aviary_wire::line::Ending;

use super::persona::{Answer, Overlong, Persona, Tls};

const LOGIN: &str = "530 Please login with USER and PASS\r\n";
const PARAMETERS: &str = "501 Invalid number of parameters\r\n";

/// ProFTPD 1.3.8.
pub(super) static PROFTPD: Persona = Persona {
    words: &["proftpd"],
    greeting: None,
    tls_by_default: false,
    ending: Ending::CrLf,
    longest: 4096,
    overlong: Overlong::Ignore,
    telnet: true,
    feat: concat!(
        "211-Features:\r\n CLNT\r\n CSID\r\n EPRT\r\n EPSV\r\n HOST\r\n LANG C.UTF-8*\r\n MDTM\r\n",
        " MFF modify;UNIX.group;UNIX.mode;\r\n MFMT\r\n",
        " MLST modify*;perm*;size*;type*;unique*;UNIX.group*;UNIX.groupname*;UNIX.mode*;UNIX.owner*;UNIX.ownername*;\r\n",
        " RANG STREAM\r\n REST STREAM\r\n SIZE\r\n TVFS\r\n UTF8\r\n211 End\r\n"
    ),
    commands: &[
        (
            "USER",
            Answer::User {
                missing: Some("500 USER: command requires a parameter\r\n"),
                ask: "331 Password required for {a}\r\n",
            },
        ),
        ("PASS", Answer::Pass),
        ("QUIT", Answer::Leave("221 Goodbye.\r\n")),
        ("FEAT", Answer::Feat(Some(PARAMETERS))),
        ("SYST", Answer::Say("215 UNIX Type: L8\r\n")),
        ("NOOP", Answer::Say("200 NOOP command successful\r\n")),
        ("CLNT", Answer::Say("200 OK\r\n")),
        (
            "HELP",
            Answer::Match(
                &[("", HELP), ("USER", "214 Syntax: USER <sp> username\r\n")],
                "502 Unknown command '{a}'\r\n",
            ),
        ),
        (
            "SITE",
            Answer::Match(
                &[("", "500 'SITE' requires parameters\r\n"), ("HELP", SITE_HELP)],
                "500 'SITE {a}' not understood\r\n",
            ),
        ),
        (
            "OPTS",
            Answer::Match(
                &[
                    ("", PARAMETERS),
                    ("UTF8", "501 'OPTS UTF8' not understood\r\n"),
                    ("UTF8 ON", "200 UTF8 set to on\r\n"),
                    ("UTF8 OFF", "200 UTF8 set to off\r\n"),
                ],
                "500 OPTS {a} not understood\r\n",
            ),
        ),
        (
            "LANG",
            Answer::Match(&[("", "200 Using default language C.UTF-8\r\n")], "504 Language {a} not supported\r\n"),
        ),
        ("HOST", Answer::Need(PARAMETERS, "504 {a}: Unknown hostname provided\r\n")),
        (
            "TYPE",
            Answer::Match(
                &[("I", "200 Type set to I\r\n"), ("A", "200 Type set to A\r\n"), ("", PARAMETERS)],
                "504 TYPE not implemented for '{a}' parameter\r\n",
            ),
        ),
        ("ACCT", Answer::Say("502 ACCT command not implemented\r\n")),
        ("REIN", Answer::Say("502 REIN command not implemented\r\n")),
        // Other protocols' first words: it hangs up without a word.
        ("GET", Answer::Match(&[("", "500 GET not understood\r\n")], "")),
        ("POST", Answer::Match(&[("", "500 POST not understood\r\n")], "")),
        ("HEAD", Answer::Match(&[("", "500 HEAD not understood\r\n")], "")),
        ("OPTIONS", Answer::Match(&[("", "500 OPTIONS not understood\r\n")], "")),
        ("EHLO", Answer::Match(&[("", "500 EHLO not understood\r\n")], "")),
        ("HELO", Answer::Match(&[("", "500 HELO not understood\r\n")], "")),
        ("ABOR", Answer::Say(LOGIN)),
        ("ALLO", Answer::Say(LOGIN)),
        ("APPE", Answer::Say(LOGIN)),
        ("CDUP", Answer::Say(LOGIN)),
        ("CSID", Answer::Say(LOGIN)),
        ("CWD", Answer::Say(LOGIN)),
        ("DELE", Answer::Say(LOGIN)),
        ("EPRT", Answer::Say(LOGIN)),
        ("EPSV", Answer::Say(LOGIN)),
        ("LIST", Answer::Say(LOGIN)),
        ("MDTM", Answer::Say(LOGIN)),
        ("MFF", Answer::Say(LOGIN)),
        ("MFMT", Answer::Say(LOGIN)),
        ("MKD", Answer::Say(LOGIN)),
        ("MLSD", Answer::Say(LOGIN)),
        ("MLST", Answer::Say(LOGIN)),
        ("MODE", Answer::Say(LOGIN)),
        ("NLST", Answer::Say(LOGIN)),
        ("PASV", Answer::Say(LOGIN)),
        ("PORT", Answer::Say(LOGIN)),
        ("PWD", Answer::Say(LOGIN)),
        ("RANG", Answer::Say(LOGIN)),
        ("REST", Answer::Say(LOGIN)),
        ("RETR", Answer::Say(LOGIN)),
        ("RMD", Answer::Say(LOGIN)),
        ("RNFR", Answer::Say(LOGIN)),
        ("RNTO", Answer::Say(LOGIN)),
        ("SIZE", Answer::Say(LOGIN)),
        ("SMNT", Answer::Say(LOGIN)),
        ("STAT", Answer::Say(LOGIN)),
        ("STOR", Answer::Say(LOGIN)),
        ("STOU", Answer::Say(LOGIN)),
        ("STRU", Answer::Say(LOGIN)),
        ("XCUP", Answer::Say(LOGIN)),
        ("XCWD", Answer::Say(LOGIN)),
        ("XMKD", Answer::Say(LOGIN)),
        ("XPWD", Answer::Say(LOGIN)),
        ("XRMD", Answer::Say(LOGIN)),
    ],
    unknown: "500 {v} not understood\r\n",
    empty: "500 Invalid command: try being more creative\r\n",
    user_first: "503 Login with USER first\r\n",
    wrong: "530 Login incorrect.\r\n",
    delay: (8, 60),
    tries: 3,
    errors: 0,
    idle: 300,
    idle_text: "421 Login timeout (300 seconds): closing control connection\r\n",
    tls: &TLS,
};

const HELP: &str = concat!(
    "214-The following commands are recognized (* =>'s unimplemented):\r\n",
    " CWD     XCWD    CDUP    XCUP    SMNT*   QUIT    PORT    PASV    \r\n",
    " EPRT    EPSV    ALLO    RNFR    RNTO    DELE    MDTM    RMD     \r\n",
    " XRMD    MKD     XMKD    PWD     XPWD    SIZE    SYST    HELP    \r\n",
    " NOOP    FEAT    OPTS    HOST    CLNT    AUTH*   CCC*    CONF*   \r\n",
    " ENC*    MIC*    PBSZ*   PROT*   TYPE    STRU    MODE    RETR    \r\n",
    " STOR    STOU    APPE    REST    ABOR    RANG    USER    PASS    \r\n",
    " ACCT*   REIN*   LIST    NLST    STAT    SITE    MLSD    MLST    \r\n",
    "214 Direct comments to root@{ip}\r\n"
);

const SITE_HELP: &str = concat!(
    "214-The following SITE commands are recognized (* =>'s unimplemented)\r\n",
    " HELP\r\n CHGRP\r\n CHMOD\r\n214 Direct comments to root@{ip}\r\n"
);

static TLS: Tls = Tls {
    feat: concat!(
        "211-Features:\r\n AUTH TLS\r\n CCC\r\n CLNT\r\n CSID\r\n EPRT\r\n EPSV\r\n HOST\r\n LANG C.UTF-8*\r\n MDTM\r\n",
        " MFF modify;UNIX.group;UNIX.mode;\r\n MFMT\r\n",
        " MLST modify*;perm*;size*;type*;unique*;UNIX.group*;UNIX.groupname*;UNIX.mode*;UNIX.owner*;UNIX.ownername*;\r\n",
        " PBSZ\r\n PROT\r\n RANG STREAM\r\n REST STREAM\r\n SIZE\r\n SSCN\r\n TVFS\r\n UTF8\r\n211 End\r\n"
    ),
    mechanisms: &["TLS", "TLS-C", "TLS-P", "SSL"],
    accepted: "234 AUTH {a} successful\r\n",
    unknown: "504 AUTH {a} unsupported\r\n",
    again: "500 Unwilling to accept security parameters\r\n",
    pbsz_plain: "503 You must issue the AUTH command prior to PBSZ\r\n",
    pbsz: "200 PBSZ 0 successful\r\n",
    prot_plain: "503 You must issue the PBSZ command prior to PROT\r\n",
    prot: &[
        ("C", "200 Protection set to Clear\r\n"),
        ("P", "200 Protection set to Private\r\n"),
        ("S", "536 PROT S unsupported\r\n"),
        ("E", "536 PROT E unsupported\r\n"),
    ],
    prot_unknown: "504 PROT {a} unsupported\r\n",
};
