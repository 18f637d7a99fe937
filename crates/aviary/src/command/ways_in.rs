//! Flags for the ways into a hub beside HTTPS.

use std::net::SocketAddr;

use aviary_hub::{Way, Ways};

/// Where else lines come in.
#[derive(clap::Args)]
#[command(next_help_heading = "Ways in beside HTTPS")]
pub(super) struct WaysIn {
    /// Take JSON of OpenCanary here, an event a line, over TCP; 0.0.0.0:1514 for instance
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    lines: Vec<SocketAddr>,
    /// Take syslog with OpenCanary's JSON in it here, over UDP
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    syslog_udp: Vec<SocketAddr>,
    /// The same over TCP
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    syslog_tcp: Vec<SocketAddr>,
    /// The same over TLS, with the hub's certificate
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    syslog_tls: Vec<SocketAddr>,
}

impl WaysIn {
    /// Opens them.
    pub(super) async fn open(&self) -> anyhow::Result<Ways> {
        let mut ways = Ways::default();
        for (way, addresses) in [
            (Way::Lines, &self.lines),
            (Way::SyslogUdp, &self.syslog_udp),
            (Way::SyslogTcp, &self.syslog_tcp),
            (Way::SyslogTls, &self.syslog_tls),
        ] {
            for address in addresses {
                ways.open(way, *address).await?;
            }
        }
        Ok(ways)
    }
}

/// An address to listen on.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "no address and port such as 0.0.0.0:8443".to_owned())
}
