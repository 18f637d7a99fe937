//! `aviary.metrics.listen`: where the page of metrics may be.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Longest path of a Unix socket in bytes: `sun_path` of Linux's `sockaddr_un`, less its NUL.
const LONGEST_PATH: usize = 107;

/// A place that only this machine reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricsPlace {
    /// An address of the loopback.
    Loopback(SocketAddr),
    /// A Unix socket.
    Socket(PathBuf),
}

impl MetricsPlace {
    /// Reads `127.0.0.1:9464`, `[::1]:9464` or `unix:/run/aviary/metrics.sock`; `None` for an empty text.
    ///
    /// # Errors
    /// What is wrong, as it reads after the key's name.
    pub fn read(text: &str) -> Result<Option<Self>, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                path if !path.starts_with('/') => Err("needs a whole path after `unix:`, from `/` on".to_owned()),
                path if path.len() > LONGEST_PATH => Err(format!("is a path of more than {LONGEST_PATH} bytes")),
                path => Ok(Some(Self::Socket(PathBuf::from(path)))),
            };
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if !address.ip().is_loopback() => {
                Err("is not an address of the loopback: a page of metrics on the network would tell everybody that \
                     this is a honeypot"
                    .to_owned())
            }
            Ok(address) if address.port() == 0 => Err("has port 0".to_owned()),
            Ok(address) => Ok(Some(Self::Loopback(address))),
            Err(_) => Err("is no place; accepted: an address of the loopback with a port, such as \
                           \"127.0.0.1:9464\", or \"unix:/PATH\""
                .to_owned()),
        }
    }
}

impl fmt::Display for MetricsPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback(address) => write!(f, "{address}"),
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_only_this_machine_reaches_are_taken() {
        assert_eq!(MetricsPlace::read("  "), Ok(None));
        for text in ["127.0.0.1:9464", "127.9.9.9:1", "[::1]:9464", "unix:/run/aviary/metrics.sock"] {
            let place = MetricsPlace::read(text).unwrap().unwrap();
            assert_eq!(place.to_string(), text);
        }
    }

    #[test]
    fn the_network_is_refused_and_the_reason_given() {
        for text in ["0.0.0.0:9464", "[::]:9464", "10.0.0.5:9464", "[::ffff:10.0.0.5]:9464"] {
            let fault = MetricsPlace::read(text).unwrap_err();
            assert!(fault.contains("honeypot"), "{text}: {fault}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        let long = format!("unix:/{}", "x".repeat(LONGEST_PATH));
        for text in
            ["localhost:9464", "9464", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999", "unix:metrics.sock", &long]
        {
            assert!(MetricsPlace::read(text).is_err(), "{text}");
        }
    }
}
