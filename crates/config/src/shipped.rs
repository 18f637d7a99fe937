//! Values that OpenCanary and its kin ship: whoever scans for honeypots looks for exactly these.

use serde_json::Value;

/// A value that gives a honeypot away.
pub(crate) struct Shipped {
    /// The key.
    pub(crate) key: &'static str,
    /// The value.
    pub(crate) value: &'static str,
    /// Whose it is.
    pub(crate) whose: &'static str,
    /// What to do.
    pub(crate) cure: &'static str,
}

const LEAVE_OUT: &str = "leave the key out to play a current product";
const ITS_SAMPLE: &str = "OpenCanary's sample";
const ITS_CODE: &str = "OpenCanary's default";

const fn shipped(key: &'static str, value: &'static str, whose: &'static str, cure: &'static str) -> Shipped {
    Shipped { key, value, whose, cure }
}

/// Sources: OpenCanary 0.9.10's `settings.json` and its modules' defaults; the default banners of
/// Kippo and Cowrie as public detectors list them.
pub(crate) static SHIPPED: &[Shipped] = &[
    shipped("ftp.banner", "FTP server ready", ITS_SAMPLE, LEAVE_OUT),
    shipped("ftp.banner", "FTP Ready.", ITS_CODE, LEAVE_OUT),
    shipped("http.banner", "Apache/2.2.22 (Ubuntu)", ITS_SAMPLE, LEAVE_OUT),
    shipped("https.domain_name", "synologynas.local", ITS_CODE, "name a host of your own domain"),
    shipped("llmnr.hostname", "DC03", ITS_SAMPLE, "ask for a name that fits yours and nobody has"),
    shipped("mysql.banner", "5.5.43-0ubuntu0.14.04.1", ITS_SAMPLE, LEAVE_OUT),
    shipped("mssql.version", "2012", ITS_SAMPLE, LEAVE_OUT),
    shipped("mongodb.version", "4.4.6", ITS_CODE, LEAVE_OUT),
    shipped("ssh.version", "SSH-2.0-OpenSSH_5.1p1 Debian-4", ITS_SAMPLE, LEAVE_OUT),
    shipped("ssh.version", "SSH-2.0-OpenSSH_5.1p1 Debian-5", "OpenCanary's and Kippo's default", LEAVE_OUT),
    shipped("ssh.version", "SSH-2.0-OpenSSH_6.0p1 Debian-4+deb7u2", "Cowrie's default", LEAVE_OUT),
    shipped("vnc.port", "5000", ITS_SAMPLE, "VNC listens on 5900"),
];

/// Values that OpenCanary ships and that give nobody away by themselves, beside [`SHIPPED`]: its
/// `settings.json`, but for switches, ports and what is no service's.
static HARMLESS: &[(&str, &str)] = &[
    ("http.skin", "nasLogin"),
    ("https.skin", "nasLogin"),
    ("httpproxy.skin", "squid"),
    ("https.certificate", "/etc/ssl/opencanary/opencanary.pem"),
    ("https.key", "/etc/ssl/opencanary/opencanary.key"),
    ("telnet.banner", ""),
];

/// Whether a key's value is what OpenCanary ships, so that with a persona it counts as not given.
pub(crate) fn is_default(key: &str, value: &Value) -> bool {
    // Ports that are written down are ports that are wanted, whoever ships them.
    !key.ends_with(".port") && find(key, value).is_some()
        || HARMLESS.iter().any(|(name, text)| *name == key && value.as_str() == Some(text))
}

/// The entry that a key's value is, if any.
pub(crate) fn find(key: &str, value: &Value) -> Option<&'static Shipped> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    SHIPPED.iter().find(|shipped| shipped.key == key && shipped.value == text.trim())
}
