//! The servers met on Windows: IIS 10 and FileZilla Server 1.x. Texts are from public transcripts and
//! documentation ([MS-FTPS] for IIS); neither was measured.
//!
//! [MS-FTPS]: https://learn.microsoft.com/openspecs/windows_protocols/ms-ftps

use aviary_wire::line::Ending;

use super::persona::{Answer, Overlong, Persona, Tls};

/// Microsoft FTP Service of IIS 10.
pub(super) static IIS: Persona = Persona {
    words: &["microsoft ftp"],
    greeting: None,
    tls_by_default: false,
    ending: Ending::CrLf,
    longest: 4096,
    overlong: Overlong::Leave("500 Command line too long.\r\n"),
    telnet: false,
    feat: IIS_FEAT,
    commands: &[
        (
            "USER",
            Answer::User {
                missing: Some("501 Syntax error in parameters or arguments.\r\n"),
                ask: "331 Password required\r\n",
            },
        ),
        ("PASS", Answer::Pass),
        ("QUIT", Answer::Leave("221 Goodbye.\r\n")),
        ("FEAT", Answer::Feat(None)),
        ("SYST", Answer::Say("215 Windows_NT\r\n")),
        ("HELP", Answer::Say(IIS_HELP)),
        (
            "OPTS",
            Answer::Match(
                &[
                    ("UTF8 ON", "200 OPTS UTF8 command successful - UTF8 encoding now ON.\r\n"),
                    ("UTF8", "200 OPTS UTF8 command successful - UTF8 encoding now ON.\r\n"),
                    ("UTF8 OFF", "200 OPTS UTF8 command successful - UTF8 encoding now OFF.\r\n"),
                ],
                "501 Option not supported.\r\n",
            ),
        ),
        (
            "AUTH",
            Answer::Match(
                &[
                    ("TLS", "534 Local policy on server does not allow TLS secure connections.\r\n"),
                    ("TLS-C", "534 Local policy on server does not allow TLS secure connections.\r\n"),
                    ("SSL", "534 Local policy on server does not allow TLS secure connections.\r\n"),
                    ("TLS-P", "534 Local policy on server does not allow TLS secure connections.\r\n"),
                ],
                "504 Security mechanism not implemented.\r\n",
            ),
        ),
        ("PBSZ", Answer::Say("503 Bad sequence of commands.\r\n")),
        ("PROT", Answer::Say("503 Bad sequence of commands.\r\n")),
        ("ABOR", Answer::Say(IIS_LOGIN)),
        ("ALLO", Answer::Say(IIS_LOGIN)),
        ("APPE", Answer::Say(IIS_LOGIN)),
        ("CDUP", Answer::Say(IIS_LOGIN)),
        ("CWD", Answer::Say(IIS_LOGIN)),
        ("DELE", Answer::Say(IIS_LOGIN)),
        ("EPRT", Answer::Say(IIS_LOGIN)),
        ("EPSV", Answer::Say(IIS_LOGIN)),
        ("LIST", Answer::Say(IIS_LOGIN)),
        ("MDTM", Answer::Say(IIS_LOGIN)),
        ("MKD", Answer::Say(IIS_LOGIN)),
        ("MODE", Answer::Say(IIS_LOGIN)),
        ("NLST", Answer::Say(IIS_LOGIN)),
        ("NOOP", Answer::Say(IIS_LOGIN)),
        ("PASV", Answer::Say(IIS_LOGIN)),
        ("PORT", Answer::Say(IIS_LOGIN)),
        ("PWD", Answer::Say(IIS_LOGIN)),
        ("REST", Answer::Say(IIS_LOGIN)),
        ("RETR", Answer::Say(IIS_LOGIN)),
        ("RMD", Answer::Say(IIS_LOGIN)),
        ("RNFR", Answer::Say(IIS_LOGIN)),
        ("RNTO", Answer::Say(IIS_LOGIN)),
        ("SITE", Answer::Say(IIS_LOGIN)),
        ("SIZE", Answer::Say(IIS_LOGIN)),
        ("STAT", Answer::Say(IIS_LOGIN)),
        ("STOR", Answer::Say(IIS_LOGIN)),
        ("STOU", Answer::Say(IIS_LOGIN)),
        ("STRU", Answer::Say(IIS_LOGIN)),
        ("TYPE", Answer::Say(IIS_LOGIN)),
        ("XPWD", Answer::Say(IIS_LOGIN)),
    ],
    unknown: "500 Command not understood.\r\n",
    empty: "500 Command not understood.\r\n",
    user_first: "503 Login with USER first.\r\n",
    wrong: "530 User cannot log in.\r\n",
    delay: (2, 40),
    tries: 0,
    errors: 0,
    idle: 120,
    idle_text: "421 Connection timed out.\r\n",
    tls: &IIS_TLS,
};

const IIS_LOGIN: &str = "530 Please login with USER and PASS.\r\n";

const IIS_FEAT: &str = concat!(
    "211-Extended features supported:\r\n LANG EN*\r\n UTF8\r\n AUTH TLS;TLS-C;SSL;TLS-P;\r\n PBSZ\r\n PROT C;P;\r\n",
    " CCC\r\n HOST\r\n SIZE\r\n MDTM\r\n REST STREAM\r\n211 END\r\n"
);

const IIS_HELP: &str = concat!(
    "214-The following commands are recognized (* ==>'s unimplemented).\r\n",
    " ABOR \r\n ACCT \r\n ADAT *\r\n ALLO \r\n APPE \r\n AUTH \r\n CCC \r\n CDUP \r\n CWD \r\n DELE \r\n ENC *\r\n",
    " EPRT \r\n EPSV \r\n FEAT \r\n HELP \r\n HOST \r\n LANG \r\n LIST \r\n MDTM \r\n MIC *\r\n MKD \r\n MODE \r\n",
    " NLST \r\n NOOP \r\n OPTS \r\n PASS \r\n PASV \r\n PBSZ \r\n PORT \r\n PROT \r\n PWD \r\n QUIT \r\n REIN \r\n",
    " REST \r\n RETR \r\n RMD \r\n RNFR \r\n RNTO \r\n SITE \r\n SIZE \r\n SMNT \r\n STAT \r\n STOR \r\n STOU \r\n",
    " STRU \r\n SYST \r\n TYPE \r\n USER \r\n XCUP \r\n XCWD \r\n XMKD \r\n XPWD \r\n XRMD \r\n",
    "214 HELP command successful.\r\n"
);

static IIS_TLS: Tls = Tls {
    feat: IIS_FEAT,
    mechanisms: &["TLS", "TLS-C", "SSL", "TLS-P"],
    accepted: "234 AUTH command ok. Expecting TLS Negotiation.\r\n",
    unknown: "504 Security mechanism not implemented.\r\n",
    again: "503 Bad sequence of commands.\r\n",
    pbsz_plain: "503 Bad sequence of commands.\r\n",
    pbsz: "200 PBSZ command successful.\r\n",
    prot_plain: "503 Bad sequence of commands.\r\n",
    prot: &[
        ("C", "200 PROT command successful.\r\n"),
        ("P", "200 PROT command successful.\r\n"),
        ("S", "536 Protection level not supported.\r\n"),
        ("E", "536 Protection level not supported.\r\n"),
    ],
    prot_unknown: "504 Protection level not recognized.\r\n",
};

const FZ_LOGIN: &str = "530 Please log in with USER and PASS first.\r\n";
const FZ_ARGUMENT: &str = "501 Missing required argument\r\n";
const FZ_SECURITY: &str = "502 Command {v} not implemented for this authentication type\r\n";

/// FileZilla Server 1.x.
pub(super) static FILEZILLA: Persona = Persona {
    words: &["filezilla"],
    greeting: Some("Please visit https://filezilla-project.org/"),
    tls_by_default: true,
    ending: Ending::CrLf,
    longest: 4096,
    overlong: Overlong::Leave(""),
    telnet: false,
    feat: FZ_FEAT,
    commands: &[
        ("USER", Answer::User { missing: Some(FZ_ARGUMENT), ask: "331 Please, specify the password.\r\n" }),
        ("PASS", Answer::Pass),
        ("QUIT", Answer::Leave("221 Goodbye.\r\n")),
        ("FEAT", Answer::Feat(None)),
        ("SYST", Answer::Say("215 UNIX emulated by FileZilla.\r\n")),
        ("NOOP", Answer::Say("200 Noop ok.\r\n")),
        ("NOP", Answer::Say("200 Noop ok.\r\n")),
        ("CLNT", Answer::Say("200 Don't care.\r\n")),
        (
            "OPTS",
            Answer::Match(
                &[
                    ("", FZ_ARGUMENT),
                    ("UTF8 ON", "202 UTF8 mode is always enabled. No need to send this command\r\n"),
                    ("UTF8 OFF", "504 UTF8 mode cannot be disabled\r\n"),
                ],
                "501 Option not understood\r\n",
            ),
        ),
        ("PBSZ", Answer::Need(FZ_ARGUMENT, FZ_SECURITY)),
        ("PROT", Answer::Need(FZ_ARGUMENT, FZ_SECURITY)),
        ("ADAT", Answer::Say(FZ_LOGIN)),
        ("ABOR", Answer::Say(FZ_LOGIN)),
        ("ALLO", Answer::Say(FZ_LOGIN)),
        ("CDUP", Answer::Say(FZ_LOGIN)),
        ("EPSV", Answer::Say(FZ_LOGIN)),
        ("LIST", Answer::Say(FZ_LOGIN)),
        ("MLSD", Answer::Say(FZ_LOGIN)),
        ("MLST", Answer::Say(FZ_LOGIN)),
        ("NLST", Answer::Say(FZ_LOGIN)),
        ("PASV", Answer::Say(FZ_LOGIN)),
        ("PWD", Answer::Say(FZ_LOGIN)),
        ("XPWD", Answer::Say(FZ_LOGIN)),
        ("STAT", Answer::Say(FZ_LOGIN)),
        ("APPE", Answer::Need(FZ_ARGUMENT, FZ_LOGIN)),
        ("CWD", Answer::Need(FZ_ARGUMENT, FZ_LOGIN)),
        ("XCWD", Answer::Need(FZ_ARGUMENT, FZ_LOGIN)),
        ("DELE", Answer::Need(FZ_ARGUMENT, FZ_LOGIN)),
        ("EPRT", Answer::Need(FZ_ARGUMENT, FZ_LOGIN)),
        ("MDTM", Answer::Need(FZ_ARGUMENT, FZ_LOGIN)),
        ("MFMT", Answer::Need(FZ_ARGUMENT, FZ_LOGIN)),
        ("MKD", Answer::Need(FZ_ARGUMENT, FZ_LOGIN)),
        ("XMKD", Answer::Need(FZ_ARGUMENT, FZ_LOGIN)),
        ("MODE", Answer::Need(FZ_ARGUMENT, FZ_LOGIN)),
        ("PORT", Answer::Need(FZ_ARGUMENT, FZ_LOGIN)),
        ("REST", Answer::Need(FZ_ARGUMENT, FZ_LOGIN)),
        ("RETR", Answer::Need(FZ_ARGUMENT, FZ_LOGIN)),
        ("RMD", Answer::Need(FZ_ARGUMENT, FZ_LOGIN)),
        ("XRMD", Answer::Need(FZ_ARGUMENT, FZ_LOGIN)),
        ("RNFR", Answer::Need(FZ_ARGUMENT, FZ_LOGIN)),
        ("RNTO", Answer::Need(FZ_ARGUMENT, FZ_LOGIN)),
        ("SIZE", Answer::Need(FZ_ARGUMENT, FZ_LOGIN)),
        ("STOR", Answer::Need(FZ_ARGUMENT, FZ_LOGIN)),
        ("STRU", Answer::Need(FZ_ARGUMENT, FZ_LOGIN)),
        ("TYPE", Answer::Need(FZ_ARGUMENT, FZ_LOGIN)),
        ("GET", Answer::Leave(FZ_OTHER)),
        ("HEAD", Answer::Leave(FZ_OTHER)),
        ("POST", Answer::Leave(FZ_OTHER)),
        ("PUT", Answer::Leave(FZ_OTHER)),
        ("PATCH", Answer::Leave(FZ_OTHER)),
        ("PROPFIND", Answer::Leave(FZ_OTHER)),
        ("EHLO", Answer::Leave(FZ_OTHER)),
        ("HELO", Answer::Leave(FZ_OTHER)),
        ("MAIL", Answer::Leave(FZ_OTHER)),
    ],
    unknown: "500 Wrong command.\r\n",
    empty: "",
    user_first: "503 Login with USER first.\r\n",
    wrong: "530 Login incorrect.\r\n",
    delay: (5, 60),
    tries: 0,
    errors: 5,
    idle: 60,
    idle_text: "421 Login time exceeded. Closing control connection.\r\n",
    tls: &FZ_TLS,
};

const FZ_OTHER: &str = "501 What are you trying to do? Go away.\r\n";

const FZ_FEAT: &str = concat!(
    "211-Features:\r\n MDTM\r\n REST STREAM\r\n SIZE\r\n MLST type*;size*;modify*;perm*;\r\n MLSD\r\n AUTH SSL\r\n AUTH TLS\r\n",
    " PROT\r\n PBSZ\r\n UTF8\r\n TVFS\r\n EPSV\r\n EPRT\r\n MFMT\r\n211 End\r\n"
);

static FZ_TLS: Tls = Tls {
    feat: FZ_FEAT,
    mechanisms: &["TLS", "SSL"],
    accepted: "234 Using authentication type TLS.\r\n",
    unknown: "504 Auth type not supported.\r\n",
    again: "534 Authentication type already set to TLS\r\n",
    pbsz_plain: FZ_SECURITY,
    pbsz: "200 PBSZ=0\r\n",
    prot_plain: FZ_SECURITY,
    prot: &[
        ("C", "200 Protection level set to C\r\n"),
        ("P", "200 Protection level set to P\r\n"),
        ("S", "536 Protection level S not supported\r\n"),
        ("E", "536 Protection level E not supported\r\n"),
    ],
    prot_unknown: "504 Unknown protection level\r\n",
};
