//! What the RDP service reports.

use aviary_event::{Class, KindInfo, LogData, Value};

use super::client_info::ClientInfo;
use super::gcc::Client;
use super::x224::{Request, protocol};

/// OpenCanary's only kind.
pub(super) const LOGIN: KindInfo = KindInfo {
    number: 14001,
    constant: "LOG_RDP",
    class: Class::Login,
    when: "a login by CredSSP or in clear text, else the end of a connection that asked for RDP; \
           `PASSWORD` when it is known, `USERNAME` null when nobody is named",
    keys: &["DOMAIN", "HOSTNAME", "PASSWORD", "USERNAME"],
    technique: &["T1110"],
};

/// The first packet.
pub(super) const CONNECTION: KindInfo = KindInfo {
    number: 31000,
    constant: "LOG_RDP_CONNECTION",
    class: Class::Connection,
    when: "a connection request was received, or TLS without one (`DIRECT`); `SELECTED` is our answer",
    keys: &["COOKIE", "CORRELATION_ID", "DIRECT", "FLAGS", "REQUESTED", "SELECTED", "TOKEN"],
    technique: &[],
};

/// The client's settings.
pub(super) const CLIENT: KindInfo = KindInfo {
    number: 31001,
    constant: "LOG_RDP_CLIENT",
    class: Class::Connection,
    when: "the client told its name, build, keyboard and channels, which it does where it takes no CredSSP",
    keys: &[
        "BUILD",
        "CHANNELS",
        "ENCRYPTION_METHODS",
        "HOSTNAME",
        "KEYBOARD",
        "KEYBOARD_TYPE",
        "PRODUCT_ID",
        "RESOLUTION",
        "VERSION",
    ],
    technique: &[],
};

/// A NetNTLM response.
pub(super) const NTLM: KindInfo = KindInfo {
    number: 31002,
    constant: "LOG_RDP_NTLM",
    class: Class::Login,
    when: "beside 14001: what CredSSP gave, as hashcat takes it; `GUESSED` when it fits a planted or a common password",
    keys: &[
        "CREDSSP_VERSION",
        "DOMAIN",
        "GUESSED",
        "HASHCAT",
        "HASHCAT_MODE",
        "USERNAME",
        "WINDOWS_VERSION",
        "WORKSTATION",
    ],
    technique: &["T1110"],
};

/// Not RDP, or no longer.
pub(super) const MALFORMED: KindInfo = KindInfo {
    number: 31003,
    constant: "LOG_RDP_MALFORMED",
    class: Class::Violation,
    when: "a packet could not be read, was not due, or never ended",
    keys: &["DATA", "REASON", "STAGE"],
    technique: &[],
};

/// The rest of a login in clear text.
pub(super) const CLIENT_INFO: KindInfo = KindInfo {
    number: 31004,
    constant: "LOG_RDP_CLIENT_INFO",
    class: Class::Command,
    when: "beside 14001: what a login in clear text says besides; `CLIENT_ADDRESS` is the client's own address",
    keys: &["CLIENT_ADDRESS", "CLIENT_DIRECTORY", "DIRECTORY", "FLAGS", "PIN", "SHELL", "TIME_ZONE"],
    technique: &[],
};

/// Most bytes of what could not be read.
const KEPT: usize = 2048;

/// Log data of [`CONNECTION`].
pub(super) fn connection(request: &Request, selected: &'static str) -> LogData {
    let mut data = LogData::new().with("SELECTED", selected);
    if let Some(cookie) = &request.cookie {
        data.insert("COOKIE", cookie.as_slice());
    }
    if let Some(token) = &request.token {
        data.insert("TOKEN", token.as_slice());
    }
    if let Some((flags, protocols)) = request.negotiation {
        data.insert("FLAGS", flags);
        data.insert("REQUESTED", protocol_names(protocols));
    }
    if let Some(id) = request.correlation {
        data.insert("CORRELATION_ID", id.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    }
    data
}

/// `SSL|HYBRID`; `RDP` when no bit is set, and bits without a name in hex.
fn protocol_names(protocols: u32) -> String {
    let mut names = Vec::new();
    let mut rest = protocols;
    for (bit, name) in protocol::NAMES {
        if protocols & bit != 0 {
            names.push(name.to_owned());
            rest &= !bit;
        }
    }
    if rest != 0 {
        names.push(format!("{rest:#x}"));
    }
    if names.is_empty() { "RDP".to_owned() } else { names.join("|") }
}

/// Log data of [`CLIENT`].
pub(super) fn client(client: &Client) -> LogData {
    let (width, height) = client.resolution;
    let channels: Vec<Value> = client.channels.iter().map(|name| Value::from(name.as_slice())).collect();
    let mut data = LogData::new()
        .with("BUILD", client.build)
        .with("CHANNELS", channels)
        .with("ENCRYPTION_METHODS", client.methods)
        .with("HOSTNAME", client.name.as_slice())
        .with("KEYBOARD", format!("{:#010x}", client.keyboard))
        .with("KEYBOARD_TYPE", client.keyboard_type)
        .with("RESOLUTION", format!("{width}x{height}"))
        .with("VERSION", format!("{:#010x}", client.version));
    if !client.product.is_empty() {
        data.insert("PRODUCT_ID", client.product.as_slice());
    }
    data
}

/// Log data of [`CLIENT_INFO`].
pub(super) fn client_info(info: &ClientInfo) -> LogData {
    let mut data = LogData::new().with("FLAGS", format!("{:#010x}", info.flags));
    for (key, value) in [
        ("CLIENT_ADDRESS", &info.address),
        ("CLIENT_DIRECTORY", &info.client_directory),
        ("DIRECTORY", &info.directory),
        ("SHELL", &info.shell),
        ("TIME_ZONE", &info.time_zone),
    ] {
        if !value.is_empty() {
            data.insert(key, value.as_slice());
        }
    }
    if info.is_pin() {
        data.insert("PIN", true);
    }
    data
}

/// Log data of [`MALFORMED`].
pub(super) fn malformed(stage: &'static str, reason: &str, bytes: &[u8]) -> LogData {
    let kept = bytes.get(..KEPT).unwrap_or(bytes);
    LogData::new().with("DATA", kept).with("REASON", reason).with("STAGE", stage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_every_bit() {
        assert_eq!(protocol_names(0), "RDP");
        assert_eq!(protocol_names(0x0b), "SSL|HYBRID|HYBRID_EX");
        assert_eq!(protocol_names(0xffff_0001), "SSL|0xffff0000");
    }
}
