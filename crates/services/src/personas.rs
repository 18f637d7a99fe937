//! The machines that `device.persona` names: defaults for all services that fit together.
//!
//! A persona says what a machine of its kind runs, with the few services that one of these usually has
//! switched on, and which product each service is when the operator switches it on. Versions belong
//! together: one distribution, one release of Windows, one year of firmware. A service that it does not name
//! keeps its own default, and is one that such a machine does not have.

use aviary_config::Persona;

/// All personas.
pub static PERSONAS: [Persona; 5] = [LINUX_SERVER, WINDOWS_SERVER, NAS, NETWORK_DEVICE, PRINTER];

/// Debian 12 as it serves pages, files and databases.
const LINUX_SERVER: Persona = Persona {
    name: "linux-server",
    summary: "a Debian 12 server",
    defaults: &[
        ("ssh.enabled", "true"),
        ("http.enabled", "true"),
        ("mysql.enabled", "true"),
        ("ssh.version", r#""SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10""#),
        ("http.banner", r#""Apache/2.4.71 (Debian)""#),
        ("http.skin", r#""basicLogin""#),
        ("https.skin", r#""basicLogin""#),
        ("httpproxy.skin", r#""squid""#),
        ("httpproxy.banner", r#""squid/5.7""#),
        ("ftp.banner", r#""(vsFTPd 3.0.3)""#),
        ("telnet.persona", r#""linux""#),
        ("redis.version", r#""7.0.15""#),
        ("mysql.banner", r#""10.11.19-MariaDB-0+deb12u1""#),
        ("mongodb.version", r#""7.0.14""#),
        ("smb.server", r#""samba""#),
        ("smb.version", r#""4.17.12-Debian""#),
        ("smb.share", r#""projects""#),
        ("snmp.persona", r#""linux""#),
        ("vnc.server", r#""tigervnc""#),
        ("sip.server", r#""asterisk""#),
    ],
};

/// Windows Server 2022 in the usual roles.
const WINDOWS_SERVER: Persona = Persona {
    name: "windows-server",
    summary: "a Windows Server 2022",
    defaults: &[
        ("smb.enabled", "true"),
        ("rdp.enabled", "true"),
        ("mssql.enabled", "true"),
        ("smb.server", r#""windows""#),
        ("smb.version", r#""10.0.20348""#),
        ("smb.netbios_port", "139"),
        ("rdp.version", r#""2022""#),
        ("mssql.version", r#""2022""#),
        ("http.banner", r#""Microsoft-IIS/10.0""#),
        ("http.skin", r#""basicLogin""#),
        ("https.skin", r#""basicLogin""#),
        ("httpproxy.skin", r#""ms-isa""#),
        ("ftp.banner", r#""Microsoft FTP Service""#),
        ("telnet.persona", r#""windows""#),
        ("ssh.version", r#""SSH-2.0-OpenSSH_for_Windows_9.5""#),
        ("mysql.banner", r#""8.0.43""#),
        ("mongodb.version", r#""7.0.14""#),
        ("snmp.persona", r#""windows""#),
        ("vnc.server", r#""tightvnc""#),
    ],
};

/// A network storage of Synology's make.
const NAS: Persona = Persona {
    name: "nas",
    summary: "a network storage",
    defaults: &[
        ("http.enabled", "true"),
        ("https.enabled", "true"),
        ("smb.enabled", "true"),
        ("ssh.enabled", "true"),
        ("http.banner", r#""nginx""#),
        ("http.skin", r#""nasLogin""#),
        ("https.skin", r#""nasLogin""#),
        ("ssh.version", r#""SSH-2.0-OpenSSH_8.2""#),
        ("ftp.banner", r#""NAS FTP server ready.""#),
        ("telnet.persona", r#""busybox""#),
        ("smb.server", r#""samba""#),
        ("smb.version", r#""4.15.13""#),
        ("smb.share", r#""homes""#),
        ("mysql.banner", r#""10.11.6-MariaDB""#),
        ("snmp.persona", r#""linux""#),
        ("snmp.description", r#""Linux {host} 4.4.302+ #72806 SMP Mon Jul 21 23:14:27 CST 2025 x86_64""#),
        ("snmp.location", r#""Unknown""#),
        ("tftp.files", "[]"),
    ],
};

/// A switch of Cisco's make.
const NETWORK_DEVICE: Persona = Persona {
    name: "network-device",
    summary: "a switch or router",
    defaults: &[
        ("telnet.enabled", "true"),
        ("snmp.enabled", "true"),
        ("tftp.enabled", "true"),
        ("telnet.persona", r#""ios""#),
        ("snmp.persona", r#""cisco""#),
        ("http.banner", r#""cisco-IOS""#),
        ("http.skin", r#""basicLogin""#),
        ("https.skin", r#""basicLogin""#),
        ("sip.server", r#""cisco""#),
        ("ntp.stratum", "3"),
    ],
};

/// A printer of HP's make.
const PRINTER: Persona = Persona {
    name: "printer",
    summary: "a network printer",
    defaults: &[
        ("http.enabled", "true"),
        ("snmp.enabled", "true"),
        ("ftp.enabled", "true"),
        ("http.banner", r#""HP HTTP Server; HP LaserJet Pro MFP M428fdw - W1A30A""#),
        ("http.skin", r#""basicLogin""#),
        ("https.skin", r#""basicLogin""#),
        ("ftp.banner", r#""Print Server Ready.""#),
        ("telnet.persona", r#""busybox""#),
        ("snmp.persona", r#""printer""#),
        ("smb.server", r#""samba""#),
        ("smb.version", r#""3.6.25""#),
        ("smb.smb1", "true"),
        ("smb.share", r#""scans""#),
        ("tftp.files", "[]"),
    ],
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use aviary_config::{Document, Format, KeySpace, check};
    use aviary_service::{Materials, MemoryVault};

    use super::*;
    use crate::ALL;

    fn space() -> KeySpace {
        KeySpace::new(ALL.iter().map(|entry| entry.keys)).with_personas(&PERSONAS)
    }

    #[test]
    fn every_default_is_a_value_of_a_key_that_exists() {
        let space = space();
        for persona in &PERSONAS {
            let values: BTreeMap<_, _> = persona.values().collect();
            assert_eq!(values.len(), persona.defaults.len(), "{}: one is given twice or is no JSON", persona.name);
            // As the operator would write them: what the check says of a file it says of these.
            let text = serde_json::to_string(&values).expect("JSON");
            let document = Document::parse(Path::new(persona.name), &text, Format::Json, &space).expect("parses");
            let problems = check(&document, &space).1;
            let said: Vec<String> = problems
                .iter()
                .filter(|p| p.is_error() || p.message.contains("unknown key"))
                .map(ToString::to_string)
                .collect();
            assert!(said.is_empty(), "{}: {said:?}", persona.name);
        }
    }

    #[test]
    fn every_service_can_be_built_as_every_persona() {
        let space = space();
        for persona in &PERSONAS {
            let text = format!(r#"{{"device.persona": "{}"}}"#, persona.name);
            let document = Document::parse(Path::new("x"), &text, Format::Json, &space).expect("parses");
            let (settings, _) = check(&document, &space);
            assert_eq!(settings.persona(), Some(persona.name));
            let vault = MemoryVault::default();
            let on = ALL.iter().filter(|entry| settings.flag(&format!("{}.enabled", entry.name))).count();
            assert!((1..=4).contains(&on), "{}: {on} services are on", persona.name);
            for entry in ALL {
                let built = (entry.build)(&Materials { settings: &settings, vault: &vault, host_name: "srv01" });
                assert!(built.is_ok(), "{} as {}: {:?}", entry.name, persona.name, built.err());
            }
        }
    }
}
