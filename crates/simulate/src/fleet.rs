//! The sensors, and the addresses of who comes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::random::Random;

/// A service as a sensor offers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) service: &'static str,
    pub(crate) port: u16,
}

/// What servers offer together.
const PERSONAS: [&[Offer]; 5] = [
    &[Offer { service: "ssh", port: 22 }, Offer { service: "http", port: 80 }, Offer { service: "mysql", port: 3306 }],
    &[Offer { service: "smb", port: 445 }, Offer { service: "rdp", port: 3389 }, Offer { service: "http", port: 80 }],
    &[Offer { service: "ssh", port: 22 }, Offer { service: "redis", port: 6379 }],
    &[Offer { service: "telnet", port: 23 }, Offer { service: "http", port: 80 }],
    &[Offer { service: "smb", port: 445 }, Offer { service: "ftp", port: 21 }, Offer { service: "ssh", port: 22 }],
];

/// A simulated sensor.
#[derive(Clone, Debug)]
pub(crate) struct Sensor {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    pub(crate) offers: &'static [Offer],
    pub(crate) seq: u64,
}

/// Sensors, 100 a site, each site with a network.
pub(crate) fn fleet(count: usize, random: &mut Random) -> Vec<Sensor> {
    let sensor = |number: usize| {
        let (site, host) = (number / 100, number % 100 + 10);
        let byte = |number: usize| u8::try_from(number % 256).unwrap_or(0);
        Sensor {
            name: format!("sim-{:03}", number + 1),
            address: IpAddr::V4(Ipv4Addr::new(10, 20, byte(site), byte(host))),
            offers: PERSONAS.get(random.index(PERSONAS.len())).copied().unwrap_or_default(),
            seq: 0,
        }
    };
    (0..count.max(1)).map(sensor).collect()
}

/// Somebody on the Internet: a few come all the time, most once. From networks for documentation and benchmarks
/// (RFC 5737, RFC 2544, RFC 3849), so that nobody is blamed for it.
pub(crate) fn stranger(random: &mut Random) -> IpAddr {
    let number = if random.below(3) == 0 { random.below(40) } else { 40 + random.below(60_000) };
    let byte = |number: u64| u8::try_from(number % 256).unwrap_or(0);
    match number {
        0..20 => IpAddr::V4(Ipv4Addr::new(198, 51, 100, byte(number + 1))),
        20..40 => IpAddr::V4(Ipv4Addr::new(203, 0, 113, byte(number + 1))),
        _ if number % 10 == 0 => {
            let part = u16::try_from(number).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, part, 0, 0, 0, 0, part))
        }
        _ => IpAddr::V4(Ipv4Addr::new(198, 18, byte(number / 256), byte(number))),
    }
}

/// A machine inside.
pub(crate) fn insider(random: &mut Random) -> IpAddr {
    let byte = |number: u64| u8::try_from(number).unwrap_or(0);
    IpAddr::V4(Ipv4Addr::new(10, 30, byte(random.below(8)), byte(random.below(250) + 1)))
}
