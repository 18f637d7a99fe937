//! The products that are played, as data: what each calls itself and which objects it shows.

/// A product.
#[derive(Debug)]
pub(super) struct Persona {
    /// The word of `snmp.persona`.
    pub(super) name: &'static str,
    /// sysDescr, with words in braces filled in.
    pub(super) description: &'static str,
    /// The objects; see [`super::mib`].
    pub(super) table: &'static str,
    /// How its engine is named; nothing when it does not know version 3.
    pub(super) engine: Option<Engine>,
    /// The first half of its Ethernet addresses.
    pub(super) vendor: [u8; 3],
    /// Most octets of an answer.
    pub(super) size: usize,
}

/// How an engine identifier is made (RFC 3411, section 5, SnmpEngineID): four octets of the enterprise
/// with the high bit set, and a format.
#[derive(Debug)]
pub(super) enum Engine {
    /// net-snmp's: format 128, four random octets, and when it was made in eight (least first).
    NetSnmp,
    /// Format 3 of this enterprise: the Ethernet address.
    Mac(u32),
}

/// The words of `snmp.persona`.
pub(super) const NAMES: &[&str] = &["linux", "cisco", "printer", "ups", "windows"];

static PERSONAS: [Persona; 5] = [
    Persona {
        name: "linux",
        description: "Linux {host} 6.1.0-40-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1 (2025-09-20) x86_64",
        table: include_str!("personas/linux.txt"),
        engine: Some(Engine::NetSnmp),
        vendor: [0x52, 0x54, 0x00],
        size: 65_507,
    },
    Persona {
        name: "cisco",
        description: "Cisco IOS Software, C2960X Software (C2960X-UNIVERSALK9-M), Version 15.2(7)E10, RELEASE SOFTWARE (fc3)\r\nTechnical Support: http://www.cisco.com/techsupport\r\nCopyright (c) 1986-2024 by Cisco Systems, Inc.\r\nCompiled Tue 19-Mar-24 04:43 by mcpre",
        table: include_str!("personas/cisco.txt"),
        engine: Some(Engine::Mac(9)),
        vendor: [0x00, 0x1b, 0x54],
        size: 1500,
    },
    Persona {
        name: "printer",
        description: "HP ETHERNET MULTI-ENVIRONMENT,ROM none,JETDIRECT,JD153,EEPROM JSI24170108,CIDATE 01/28/2022",
        table: include_str!("personas/printer.txt"),
        engine: Some(Engine::Mac(11)),
        vendor: [0x3c, 0x52, 0x82],
        size: 1472,
    },
    Persona {
        name: "ups",
        description: "APC Web/SNMP Management Card (MB:v4.1.0 PF:v7.1.2 PN:apc_hw05_aos_712.bin AF1:v7.1.2 AN1:apc_hw05_sumx_712.bin MN:AP9631 HR:05 SN: {serial} MD:03/14/2022) (Embedded PowerNet SNMP Agent SW v2.2 compatible)",
        table: include_str!("personas/ups.txt"),
        engine: Some(Engine::Mac(318)),
        vendor: [0x00, 0xc0, 0xb7],
        size: 1472,
    },
    Persona {
        name: "windows",
        description: "Hardware: Intel64 Family 6 Model 85 Stepping 7 AT/AT COMPATIBLE - Software: Windows Version 6.3 (Build 20348 Multiprocessor Free)",
        table: include_str!("personas/windows.txt"),
        engine: None,
        vendor: [0x00, 0x50, 0x56],
        size: 4096,
    },
];

impl Persona {
    /// The product of a name; the first for a name that is none.
    pub(super) fn of_name(name: &str) -> &'static Self {
        let [first, ..] = &PERSONAS;
        PERSONAS.iter().find(|persona| persona.name == name).unwrap_or(first)
    }

    /// The engine's identifier for an Ethernet address and a secret.
    pub(super) fn engine_id(&self, mac: [u8; 6], secret: &[u8]) -> Option<Vec<u8>> {
        Some(match self.engine.as_ref()? {
            Engine::NetSnmp => {
                let [a, b, c, d, e, f, g, ..] = secret else { return None };
                // Some moment of 2024.
                let made = 1_704_067_200_u32.saturating_add(u32::from_be_bytes([0, *e, *f, *g]));
                let mut id = vec![0x80, 0, 0x1f, 0x88, 0x80, *a, *b, *c, *d];
                id.extend(made.to_le_bytes());
                id.extend([0; 4]);
                id
            }
            Engine::Mac(enterprise) => {
                let mut id = (enterprise | 0x8000_0000).to_be_bytes().to_vec();
                id.push(3);
                id.extend(mac);
                id
            }
        })
    }
}
