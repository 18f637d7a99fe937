//! What all connections share: the product that is played, its names, and the decoy share.

use std::sync::{Arc, OnceLock};

use aviary_config::HoneyCreds;
use aviary_service::Slot;
use aviary_wire::ntlm::Target;
use aviary_wire::spnego::Offer;

use super::content::draw;
use super::decoys::Decoys;
use super::signing::Known;
use super::tree::Tree;

/// The product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Product {
    /// Windows Server of this build.
    Windows {
        /// 17763 and the like.
        build: u16,
    },
    /// Samba of this version, `4.17.12-Debian`.
    Samba {
        /// The version as it stands behind `Samba `.
        version: String,
    },
}

impl Product {
    /// The product of the settings; without a version the one that is common today.
    pub(super) fn of(server: &str, version: &str) -> Self {
        if server == "samba" {
            let version = if version.is_empty() { "4.17.12-Debian" } else { version };
            return Self::Samba { version: version.to_owned() };
        }
        let build = version.rsplit('.').next().and_then(|build| build.parse().ok());
        Self::Windows { build: build.unwrap_or(20348) }
    }

    /// NativeOS and NativeLanMan of SMB1.
    pub(super) fn native(&self) -> (String, String) {
        match self {
            Self::Windows { build } => {
                let name = match build {
                    ..=14392 => "Windows Server 2012 R2 Standard",
                    14393..=17762 => "Windows Server 2016 Standard",
                    17763..=20347 => "Windows Server 2019 Standard",
                    20348..=26099 => "Windows Server 2022 Standard",
                    26100.. => "Windows Server 2025 Standard",
                };
                (format!("{name} {build}"), format!("{name} 6.3"))
            }
            Self::Samba { version } => ("Windows 6.1".to_owned(), format!("Samba {version}")),
        }
    }

    /// The newest dialect that it speaks.
    pub(super) fn newest(&self) -> u16 {
        match self {
            Self::Windows { build: ..=6999 } => 0x0202,
            Self::Windows { build: ..=9199 } => 0x0210,
            Self::Windows { build: ..=9599 } => 0x0300,
            Self::Windows { build: ..=10_239 } => 0x0302,
            Self::Windows { .. } => 0x0311,
            Self::Samba { version } => match release(version) {
                (..=3, _) => 0x0202,
                (4, ..=2) => 0x0300,
                _ => 0x0311,
            },
        }
    }

    /// Whether it negotiates how to sign at 3.1.1.
    pub(super) fn negotiates_signing(&self) -> bool {
        match self {
            Self::Windows { build } => *build >= 20348,
            Self::Samba { version } => release(version) >= (4, 15),
        }
    }

    /// Major and minor version that the remote administration interfaces tell.
    pub(super) const fn version(&self) -> (u32, u32) {
        match self {
            Self::Windows { build: ..=10239 } => (6, 3),
            Self::Windows { .. } => (10, 0),
            Self::Samba { .. } => (6, 1),
        }
    }
}

/// Major and minor number of a version of Samba.
fn release(version: &str) -> (u16, u16) {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(4), numbers.next().unwrap_or(0))
}

/// The server.
pub(super) struct Server {
    pub(super) product: Product,
    pub(super) target: Target,
    /// Name of the workgroup or domain.
    pub(super) group: String,
    pub(super) share: String,
    pub(super) comment: String,
    pub(super) guest: bool,
    pub(super) writable: bool,
    pub(super) smb1: bool,
    /// Logins that are accepted.
    pub(super) known: Vec<Known>,
    /// Tried on responses of other users and of SMB1, too.
    pub(super) planted: HoneyCreds,
    pub(super) seed: Slot,
    pub(super) decoys: Decoys,
    pub(super) tree: OnceLock<Arc<Tree>>,
}

impl Server {
    /// Whether Windows is played.
    pub(super) const fn is_windows(&self) -> bool {
        matches!(self.product, Product::Windows { .. })
    }

    /// The server's GUID, which stays.
    pub(super) fn guid(&self) -> [u8; 16] {
        let mut guid = [0; 16];
        for (slot, byte) in guid.iter_mut().zip(draw(self.seed.wait(), "guid", 0)) {
            *slot = byte;
        }
        // Version 4, variant 1, in the byte order of Windows.
        let [_, _, _, _, _, _, _, version, variant, ..] = &mut guid;
        *version = *version & 0x0f | 0x40;
        *variant = *variant & 0x3f | 0x80;
        guid
    }

    /// Serial number of the volume.
    pub(super) fn serial(&self) -> u32 {
        draw(self.seed.wait(), "volume", 0).first_chunk().map_or(0, |four| u32::from_le_bytes(*four))
    }

    /// What the share holds before anybody touched it.
    pub(super) fn tree(&self) -> Arc<Tree> {
        Arc::clone(self.tree.get_or_init(|| Arc::new(self.decoys.tree(self.seed.wait()))))
    }

    /// What is offered in SPNEGO.
    pub(super) fn offer(&self) -> Offer {
        match self.product {
            Product::Samba { .. } => Offer::Samba,
            Product::Windows { .. } if self.target.in_domain() => Offer::Domain,
            Product::Windows { .. } => Offer::Workgroup,
        }
    }

    /// The names and version that NTLM tells.
    pub(super) fn names(product: &Product, host_name: &str, domain: &str) -> (Target, String) {
        let mut target = Target::standalone(host_name);
        if let Product::Windows { build } = product {
            let (major, minor) = product.version();
            let byte = |number: u32| u8::try_from(number).unwrap_or(10);
            target.version = (byte(major), byte(minor), *build);
            // A machine of no domain is its own.
            target.dns_domain.clone_from(&target.dns_computer);
        }
        let dotted = domain.contains('.');
        let short: String = domain.split('.').next().unwrap_or("").chars().take(15).collect::<String>().to_uppercase();
        if short.is_empty() {
            return (target, "WORKGROUP".to_owned());
        }
        target.netbios_domain.clone_from(&short);
        if dotted {
            target.dns_domain = domain.to_lowercase();
            target.dns_tree.clone_from(&target.dns_domain);
            if !target.dns_computer.contains('.') {
                target.dns_computer = format!("{}.{}", target.dns_computer, target.dns_domain);
            }
        }
        (target, short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_name_products() {
        assert_eq!(Product::of("windows", "10.0.17763").native().0, "Windows Server 2019 Standard 17763");
        assert_eq!(Product::of("windows", "").native().1, "Windows Server 2022 Standard 6.3");
        assert_eq!(Product::of("samba", "3.6.25").newest(), 0x0202);
        assert_eq!(Product::of("windows", "6.1.7601").newest(), 0x0210);
        assert_eq!([Product::of("samba", "").newest(), Product::of("windows", "").newest()], [0x0311; 2]);
        assert!(Product::of("samba", "4.15.13").negotiates_signing());
        assert!(!Product::of("windows", "10.0.17763").negotiates_signing());
        assert_eq!(Product::of("samba", "4.19.5-Ubuntu").native().1, "Samba 4.19.5-Ubuntu");
    }

    #[test]
    fn names_of_a_domain_and_of_none() {
        let windows = Product::of("windows", "");
        let (alone, group) = Server::names(&windows, "srv01", "");
        assert_eq!(
            (alone.netbios_domain.as_str(), alone.dns_domain.as_str(), group.as_str()),
            ("SRV01", "srv01", "WORKGROUP")
        );
        assert!(!alone.in_domain());
        let (member, group) = Server::names(&windows, "srv01", "corp.example");
        assert_eq!((member.netbios_domain.as_str(), group.as_str()), ("CORP", "CORP"));
        assert_eq!((member.dns_computer.as_str(), member.version), ("srv01.corp.example", (10, 0, 20348)));
        assert!(member.in_domain());
    }
}
