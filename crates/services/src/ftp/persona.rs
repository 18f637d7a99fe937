//! The products: what each answers, as data.
//!
//! In a template `{a}` stands for the argument, `{v}` for the verb in capitals, `{ip}` for the address
//! that the peer reached. Every reply line ends CR LF here already.

use aviary_wire::line::Ending;

/// What a command is answered with before login.
#[derive(Debug)]
pub(super) enum Answer {
    /// This.
    Say(&'static str),
    /// The first without an argument, the second with one.
    Need(&'static str, &'static str),
    /// By argument, whatever its case; the last when none fits.
    Match(&'static [(&'static str, &'static str)], &'static str),
    /// The user name; `missing` when there must be one and is none.
    User {
        /// When there is no name.
        missing: Option<&'static str>,
        /// Asks for the password.
        ask: &'static str,
    },
    /// The password.
    Pass,
    /// The list of features; the text when FEAT must not have an argument and has one.
    Feat(Option<&'static str>),
    /// This, then a FIN. Empty: only the FIN.
    Leave(&'static str),
}

/// AUTH, PBSZ and PROT (RFC 4217) when TLS is on.
#[derive(Debug)]
pub(super) struct Tls {
    /// The list of features.
    pub feat: &'static str,
    /// Mechanisms that AUTH accepts.
    pub mechanisms: &'static [&'static str],
    /// AUTH accepted; TLS follows.
    pub accepted: &'static str,
    /// AUTH with another mechanism.
    pub unknown: &'static str,
    /// AUTH inside TLS.
    pub again: &'static str,
    /// PBSZ without TLS.
    pub pbsz_plain: &'static str,
    /// PBSZ inside TLS.
    pub pbsz: &'static str,
    /// PROT without TLS.
    pub prot_plain: &'static str,
    /// PROT by level inside TLS.
    pub prot: &'static [(&'static str, &'static str)],
    /// PROT with a level that does not exist.
    pub prot_unknown: &'static str,
}

/// What a line beyond the cap leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overlong {
    /// This text, then a FIN.
    Leave(&'static str),
    /// Nothing; a reset when it goes on.
    Ignore,
}

/// A product and version.
#[derive(Debug)]
pub(super) struct Persona {
    /// Words in a banner, in small letters, that select it.
    pub words: &'static [&'static str],
    /// A second line of the greeting.
    pub greeting: Option<&'static str>,
    /// Whether TLS is on as installed.
    pub tls_by_default: bool,
    /// What ends a line.
    pub ending: Ending,
    /// Longest line with its ending, in bytes.
    pub longest: usize,
    /// What a longer one leads to.
    pub overlong: Overlong,
    /// Whether Telnet signals are honoured and a NUL ends the line's text.
    pub telnet: bool,
    /// The list of features without TLS.
    pub feat: &'static str,
    /// Commands.
    pub commands: &'static [(&'static str, Answer)],
    /// Any other command.
    pub unknown: &'static str,
    /// An empty line; empty when it is ignored.
    pub empty: &'static str,
    /// PASS without USER.
    pub user_first: &'static str,
    /// A wrong password.
    pub wrong: &'static str,
    /// Least and greatest delay of that answer in milliseconds.
    pub delay: (u64, u64),
    /// Wrong passwords before it hangs up; 0 for any number.
    pub tries: u8,
    /// Replies 5xx in a row before it hangs up; 0 for any number.
    pub errors: u8,
    /// Seconds of silence before it hangs up.
    pub idle: u64,
    /// What it says then.
    pub idle_text: &'static str,
    /// TLS.
    pub tls: &'static Tls,
}

impl Persona {
    /// The product that a banner names; vsftpd when it names none.
    pub(super) fn of_banner(banner: &str) -> &'static Self {
        let banner = banner.to_ascii_lowercase();
        ALL.iter()
            .copied()
            .find(|persona| persona.words.iter().any(|word| banner.contains(word)))
            .unwrap_or(&super::vsftpd::VSFTPD)
    }

    /// The answer to a verb in capitals.
    pub(super) fn answer(&self, verb: &str) -> Option<&'static Answer> {
        self.commands.iter().find(|(name, _)| *name == verb).map(|(_, answer)| answer)
    }
}

/// Every product, in the order in which banners are looked at.
pub(super) static ALL: &[&Persona] =
    &[&super::windows::FILEZILLA, &super::windows::IIS, &super::proftpd::PROFTPD, &super::vsftpd::VSFTPD];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banner_selects_the_product() {
        let of = |banner| Persona::of_banner(banner).wrong;
        assert_eq!(of("Microsoft FTP Service"), "530 User cannot log in.\r\n");
        assert_eq!(Persona::of_banner("FileZilla Server 1.8.2").errors, 5);
        assert!(Persona::of_banner("ProFTPD Server (Debian)").telnet);
        for other in ["(vsFTPd 3.0.5)", "(vsFTPd 3.0.3)", "FTP server ready", ""] {
            assert_eq!(Persona::of_banner(other).idle_text, "421 Timeout.\r\n");
        }
    }

    #[test]
    fn every_reply_ends_its_line() {
        let ends = |text: &str| text.is_empty() || text.ends_with("\r\n");
        for persona in ALL {
            assert!(ends(persona.feat) && ends(persona.tls.feat) && ends(persona.unknown) && ends(persona.wrong));
            for (verb, answer) in persona.commands {
                let texts: Vec<&str> = match answer {
                    Answer::Say(text) | Answer::Leave(text) => vec![text],
                    Answer::Need(a, b) => vec![a, b],
                    Answer::Match(cases, other) => cases.iter().map(|(_, text)| *text).chain([*other]).collect(),
                    Answer::User { missing, ask } => vec![missing.unwrap_or_default(), ask],
                    Answer::Feat(text) => vec![text.unwrap_or_default()],
                    Answer::Pass => vec![],
                };
                assert!(texts.iter().all(|text| ends(text)), "{verb}");
            }
        }
    }
}
