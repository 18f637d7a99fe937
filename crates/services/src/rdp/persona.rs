//! The Windows that is played: versions, and the names that it gives of itself.

use aviary_wire::ntlm::Target;

/// Values of `rdp.version`.
pub(super) const NAMES: &[&str] = &["2012R2", "2016", "2019", "2022"];

/// What differs between versions of Windows Server.
#[derive(Debug)]
pub(super) struct Release {
    /// Flags of the negotiation response: extended client data 01, graphics 02, restricted
    /// administration 08, redirected authentication 10; 04 is set by all since 2012.
    pub(super) flags: u8,
    /// Version of the protocol in the server's core data.
    pub(super) protocol: u32,
    /// Version of Windows in NTLM.
    pub(super) windows: (u8, u8, u16),
}

impl Release {
    /// The release of a value of `rdp.version`. Flags are from nmap's signatures and public scans;
    /// the protocol of 2022 is not measured.
    pub(super) fn of_name(name: &str) -> Self {
        match name {
            "2012R2" => Self { flags: 0x0f, protocol: 0x0008_0004, windows: (6, 3, 9600) },
            "2016" => Self { flags: 0x1f, protocol: 0x0008_0007, windows: (10, 0, 14393) },
            "2019" => Self { flags: 0x1f, protocol: 0x0008_000b, windows: (10, 0, 17763) },
            _ => Self { flags: 0x1f, protocol: 0x0008_000c, windows: (10, 0, 20348) },
        }
    }
}

/// The first label in capitals, cut to the 15 characters of a NetBIOS name.
fn netbios(name: &str) -> String {
    name.split('.').next().unwrap_or_default().chars().take(15).collect::<String>().to_uppercase()
}

/// What the machine says of itself in NTLM. In a workgroup Windows gives the computer's name for the
/// domain's; in a domain its full name ends in the domain's, and the forest is taken to be that domain.
pub(super) fn target(host_name: &str, domain: &str, windows: (u8, u8, u16)) -> Target {
    let computer = netbios(host_name);
    let domain = domain.trim_matches('.').to_lowercase();
    if domain.is_empty() {
        return Target {
            netbios_domain: computer.clone(),
            netbios_computer: computer.clone(),
            dns_domain: computer.clone(),
            dns_computer: computer,
            dns_tree: String::new(),
            version: windows,
        };
    }
    Target {
        netbios_domain: netbios(&domain),
        dns_computer: format!("{computer}.{domain}"),
        netbios_computer: computer,
        dns_domain: domain.clone(),
        dns_tree: domain,
        version: windows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workgroup_has_one_name_and_a_domain_three() {
        let alone = target("srv01.example", "", (10, 0, 17763));
        assert_eq!((alone.netbios_domain.as_str(), alone.dns_computer.as_str()), ("SRV01", "SRV01"));
        assert!(!alone.in_domain() && alone.dns_tree.is_empty());
        let member = target("a-very-long-computer-name", "Corp.Example.com", (10, 0, 17763));
        assert_eq!(member.netbios_domain, "CORP");
        assert_eq!(member.dns_computer, "A-VERY-LONG-COM.corp.example.com");
        assert!(member.in_domain());
    }
}
