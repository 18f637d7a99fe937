//! What lines of other canaries leave out.

/// The service that reports one of OpenCanary's log types, by the name that ours have; `None` for its own life, and for
/// what nobody knows.
pub(crate) const fn service(logtype: i64) -> Option<&'static str> {
    Some(match logtype {
        2000..=2999 => "ftp",
        3000..=3999 => "http",
        4000..=4999 => "ssh",
        5000 => "smb",
        5001..=5005 => "portscan",
        6000..=6999 => "telnet",
        7000..=7999 => "httpproxy",
        8000..=8999 => "mysql",
        9000..=9999 => "mssql",
        10000..=10999 => "tftp",
        11000..=11999 => "ntp",
        12000..=12999 => "vnc",
        13000..=13999 => "snmp",
        14000..=14999 => "rdp",
        15000..=15999 => "sip",
        16000..=16999 => "git",
        17000..=17999 => "redis",
        18000..=18999 => "tcpbanner",
        19000..=19999 => "llmnr",
        20000..=20999 => "mongodb",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_types_belong_to_services() {
        assert_eq!((service(4002), service(5000), service(5001)), (Some("ssh"), Some("smb"), Some("portscan")));
        assert_eq!((service(1001), service(99_000), service(-1)), (None, None, None));
    }
}
