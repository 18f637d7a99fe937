//! Names to ask for: such as a host of this network might look for, and nobody has.

/// What machines are called, before a number.
const STEMS: [&str; 24] = [
    "FILESRV", "FS", "PRINTSRV", "PRN", "SQL", "SQLPROD", "BACKUP", "BKP", "APP", "APPSRV", "WEB", "INTRA", "EXCH",
    "MAIL", "WSUS", "DC", "RDS", "TS", "NAS", "VEEAM", "SCCM", "CITRIX", "HYPERV", "SHARE",
];

/// What stands before a number with a dash.
const PLACES: [&str; 8] = ["PRNT", "SCAN", "MFP", "CAM", "LAB", "KIOSK", "MEET", "STORE"];

/// A name out of seven random bytes. One in four is the canary's own name with two characters swapped, as
/// a mistyped share is.
pub(super) fn name(host_name: &str, chance: [u8; 7]) -> String {
    let [kind, stem, number, floor, swap, ..] = chance;
    if kind % 4 == 0
        && let Some(typo) = mistyped(host_name, swap)
    {
        return typo;
    }
    // Numbers from 11 on: low ones are what real machines have.
    let number = 11_u32.saturating_add(u32::from(number) % 88);
    if kind % 4 == 1 {
        let letter = char::from(b'A'.saturating_add(floor % 6));
        return format!("{}-{}{letter}", pick(&PLACES, stem), number % 40);
    }
    format!("{}{number}", pick(&STEMS, stem))
}

fn pick<const N: usize>(words: &[&'static str; N], chance: u8) -> &'static str {
    usize::from(chance).checked_rem(N).and_then(|at| words.get(at)).copied().unwrap_or("FILESRV")
}

/// The first label in capitals, two neighbours in it swapped; `None` when it is short or that changes
/// nothing.
fn mistyped(host_name: &str, chance: u8) -> Option<String> {
    let label = host_name.split('.').next().unwrap_or_default().to_ascii_uppercase();
    let mut letters: Vec<char> = label.chars().collect();
    let plain = letters.iter().all(|c| c.is_ascii_alphanumeric() || *c == '-');
    if letters.len() < 5 || letters.len() > 15 || !plain {
        return None;
    }
    let at = usize::from(chance).checked_rem(letters.len().saturating_sub(1))?;
    letters.swap(at, at.saturating_add(1));
    let typo: String = letters.into_iter().collect();
    (typo != label && !typo.starts_with('-') && !typo.ends_with('-')).then_some(typo)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_many_and_of_netbios_length() {
        let mut seen = HashSet::new();
        for kind in 0..=255_u8 {
            for other in 0..=255_u8 {
                let name = name("fileserver", [kind, other, other.wrapping_mul(7), other, other, 0, 0]);
                assert!((4..=15).contains(&name.len()), "{name}");
                assert!(name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-'), "{name}");
                seen.insert(name);
            }
        }
        assert!(seen.len() > 150, "{}", seen.len());
        assert!(!seen.contains("FILESERVER"));
        assert!(seen.contains("FILESREVER"), "the host's own name, mistyped");
    }

    #[test]
    fn short_and_strange_names_are_not_mistyped() {
        for host in ["srv1", "aaaaaa", "café-server", "a-very-long-host-name", ""] {
            assert_eq!(mistyped(host, 1), None, "{host}");
        }
        assert_eq!(mistyped("server.example.org", 0).as_deref(), Some("ESRVER"));
    }
}
