//! The machines that `device.persona` names: defaults for all services that fit together.
//!
//! A persona says what a machine of its kind runs and which products these are; a service that it does
//! not name keeps its own default and stays off. Versions belong together: one distribution, one release of
//! Windows, one year of firmware.

use aviary_config::Persona;

/// All personas.
pub static PERSONAS: [Persona; 5] = [LINUX_SERVER, WINDOWS_SERVER, NAS, NETWORK_DEVICE, PRINTER];

/// Debian 12 as it serves files, pages and databases.
const LINUX_SERVER: Persona = Persona {
    name: "linux-server",
    summary: "a Debian 12 server",
    defaults: &[
        ("ssh.enabled", "true"),
        ("ssh.version", r#""SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7""#),
        ("http.enabled", "true"),
        ("http.banner", r#""Apache/2.4.65 (Debian)""#),
        ("http.skin", r#""basicLogin""#),
        ("https.skin", r#""basicLogin""#),
        ("ftp.banner", r#""(vsFTPd 3.0.3)""#),
        ("telnet.persona", r#""linux""#),
        ("redis.version", r#""7.0.15""#),
    ],
};

/// Windows Server 2019.
const WINDOWS_SERVER: Persona = Persona { name: "windows-server", summary: "a Windows Server 2019", defaults: &[] };

/// A network storage of Synology's make.
const NAS: Persona = Persona { name: "nas", summary: "a network storage", defaults: &[] };

/// A switch of Cisco's make.
const NETWORK_DEVICE: Persona = Persona { name: "network-device", summary: "a switch or router", defaults: &[] };

/// A printer of HP's make.
const PRINTER: Persona = Persona { name: "printer", summary: "a network printer", defaults: &[] };
