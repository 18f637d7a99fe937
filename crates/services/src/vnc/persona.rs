//! The products, as data.

/// VNC authentication.
pub(super) const VNC_AUTH: u8 = 2;
/// TightVNC's own, with capabilities.
pub(super) const TIGHT: u8 = 16;
/// VeNCrypt.
pub(super) const VENCRYPT: u8 = 19;
/// Apple Remote Desktop.
pub(super) const ARD: u8 = 30;
/// Apple's Kerberos; offered and never spoken.
const APPLE_KERBEROS: u8 = 35;

/// VeNCrypt's user name and password without TLS.
pub(super) const PLAIN: u32 = 256;
/// VNC authentication inside TLS with a certificate.
pub(super) const X509_VNC: u32 = 261;
/// User name and password inside TLS with a certificate.
pub(super) const X509_PLAIN: u32 = 262;

/// What `vnc.server` accepts, in the order of [`ALL`].
pub(super) const NAMES: &[&str] = &["tigervnc", "realvnc", "tightvnc", "macos"];

/// A product.
#[derive(Debug)]
pub(super) struct Persona {
    /// The word in `vnc.server`.
    pub name: &'static str,
    /// Its version line.
    pub version: &'static str,
    /// Greatest major version of a client, and how it names its own version to others; `None`: it closes.
    pub speaks: Option<(i32, &'static str)>,
    /// Security types, unless they can be chosen.
    pub types: &'static [u8],
    /// Whether `vnc.security_types` chooses them.
    pub choosable: bool,
    /// Why a login failed.
    pub failed: &'static str,
    /// Milliseconds before it says so.
    pub delay: u64,
    /// Connections without success after which a source is refused; 0: none is.
    pub threshold: u32,
}

impl Persona {
    /// The product of a name; TigerVNC for any other.
    pub(super) fn of_name(name: &str) -> &'static Self {
        ALL.iter().find(|persona| persona.name == name).unwrap_or(&ALL[0])
    }
}

/// TigerVNC 1.12 was measured. RealVNC shares its ancestor and is played by what nmap knows of it;
/// TightVNC 2.8 follows its published protocol; macOS follows what its clients implement, and the
/// text of its failure is a guess.
static ALL: [Persona; 4] = [
    Persona {
        name: "tigervnc",
        version: "RFB 003.008\n",
        speaks: Some((3, "3.8")),
        types: &[VNC_AUTH],
        choosable: true,
        failed: "Authentication failure",
        delay: 100,
        threshold: 5,
    },
    Persona {
        name: "realvnc",
        version: "RFB 005.000\n",
        speaks: Some((5, "5.0")),
        types: &[VNC_AUTH],
        choosable: false,
        failed: "Authentication failure",
        delay: 0,
        threshold: 5,
    },
    Persona {
        name: "tightvnc",
        version: "RFB 003.008\n",
        speaks: None,
        types: &[VNC_AUTH, TIGHT],
        choosable: false,
        failed: "Authentication failed",
        delay: 0,
        threshold: 0,
    },
    Persona {
        name: "macos",
        version: "RFB 003.889\n",
        speaks: None,
        types: &[ARD, VNC_AUTH, APPLE_KERBEROS],
        choosable: false,
        failed: "Authentication failed",
        delay: 0,
        threshold: 0,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_products_agree() {
        let names: Vec<_> = ALL.iter().map(|persona| persona.name).collect();
        assert_eq!(names, NAMES);
    }
}
