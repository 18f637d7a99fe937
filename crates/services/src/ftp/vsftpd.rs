//! vsftpd 3.0.3 and 3.0.5, measured on Debian's 3.0.3 with `anonymous_enable=NO`.

use aviary_wire::line::Ending;

use super::persona::{Answer, Overlong, Persona, Tls};

/// vsftpd 3.0.
pub(super) static VSFTPD: Persona = Persona {
    words: &["vsftpd"],
    greeting: None,
    tls_by_default: false,
    ending: Ending::Lf,
    longest: 4096,
    overlong: Overlong::Leave("500 Input line too long.\r\n"),
    telnet: false,
    feat: "211-Features:\r\n EPRT\r\n EPSV\r\n MDTM\r\n PASV\r\n REST STREAM\r\n SIZE\r\n TVFS\r\n211 End\r\n",
    commands: &[
        ("USER", Answer::User { missing: None, ask: "331 Please specify the password.\r\n" }),
        ("PASS", Answer::Pass),
        ("QUIT", Answer::Leave("221 Goodbye.\r\n")),
        ("FEAT", Answer::Feat(None)),
        ("OPTS", Answer::Match(&[("UTF8 ON", "200 Always in UTF8 mode.\r\n")], "501 Option not understood.\r\n")),
    ],
    unknown: "530 Please login with USER and PASS.\r\n",
    empty: "",
    user_first: "503 Login with USER first.\r\n",
    wrong: "530 Login incorrect.\r\n",
    // One second of its own and PAM's two, which PAM varies by half.
    delay: (2300, 3500),
    tries: 3,
    errors: 0,
    idle: 300,
    idle_text: "421 Timeout.\r\n",
    tls: &TLS,
};

static TLS: Tls = Tls {
    feat: "211-Features:\r\n AUTH TLS\r\n EPRT\r\n EPSV\r\n MDTM\r\n PASV\r\n PBSZ\r\n PROT\r\n REST STREAM\r\n SIZE\r\n TVFS\r\n211 End\r\n",
    mechanisms: &["TLS", "TLS-C", "SSL", "TLS-P"],
    accepted: "234 Proceed with negotiation.\r\n",
    unknown: "504 Unknown AUTH type.\r\n",
    again: "530 Please login with USER and PASS.\r\n",
    pbsz_plain: "503 PBSZ needs a secure connection.\r\n",
    pbsz: "200 PBSZ set to 0.\r\n",
    prot_plain: "503 PROT needs a secure connection.\r\n",
    prot: &[
        ("C", "200 PROT now Clear.\r\n"),
        ("S", "536 PROT not supported.\r\n"),
        ("E", "536 PROT not supported.\r\n"),
        ("P", "200 PROT now Private.\r\n"),
    ],
    prot_unknown: "504 PROT not recognized.\r\n",
};
