//! Kinds of event: numbers, constants and keys hold together over all services.

use std::collections::BTreeMap;

use aviary_event::KindInfo;

/// First number of ours.
const OURS: i64 = 30_000;

/// OpenCanary 0.9.10's numbers: number, constant and every key that it may write; `*` stands for
/// the fields of a packet, `+` for a space in a key.
const OPENCANARY: &str = include_str!("../../fixtures/opencanary-logtypes.txt");

/// Checks all kinds, each with the word for who declares it. One number may be declared by several
/// services when constant and keys are the same.
#[must_use]
pub fn kinds_are_in_order<'a>(kinds: impl Iterator<Item = (&'a str, &'a KindInfo)>) -> Vec<String> {
    let mut problems = Vec::new();
    let mut by_number: BTreeMap<i64, &KindInfo> = BTreeMap::new();
    let mut by_constant: BTreeMap<&str, i64> = BTreeMap::new();
    for (who, kind) in kinds {
        let mut wrong = |what: String| problems.push(format!("{who}: {} ({}) {what}", kind.constant, kind.number));
        let first = by_number.entry(kind.number).or_insert(kind);
        if first.constant != kind.constant || first.keys != kind.keys {
            wrong(format!("has the number of {}, or other keys", first.constant));
        }
        if *by_constant.entry(kind.constant).or_insert(kind.number) != kind.number {
            wrong("has a constant that another number has".to_owned());
        }
        if !kind.constant.starts_with("LOG_")
            || kind.constant.contains(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_')
        {
            wrong("is not named `LOG_…` in capitals".to_owned());
        }
        if !kind.keys.is_sorted_by(|a, b| a < b) {
            wrong(format!("has keys out of order: {:?}", kind.keys));
        }
        if kind.when.is_empty() || kind.when.ends_with('.') {
            wrong("does not say when in a fragment".to_owned());
        }
        if let Some(technique) = kind.technique.iter().find(|technique| !is_technique(technique)) {
            wrong(format!("names `{technique}`, which is no ATT&CK technique"));
        }
        if kind.number < OURS {
            problems.extend(against_opencanary(who, kind));
        } else if let Some(key) = kind.keys.iter().find(|key| !is_key(key)) {
            wrong(format!("has the key `{key}`, not in UPPER_CASE"));
        }
    }
    problems
}

/// `T1110` or `T1110.001`.
fn is_technique(text: &str) -> bool {
    let (main, sub) = text.split_once('.').unwrap_or((text, "000"));
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    main.strip_prefix('T').is_some_and(|number| digits(number, 4)) && digits(sub, 3)
}

/// `*` alone stands for keys that users name themselves.
fn is_key(key: &str) -> bool {
    key == "*" || !key.is_empty() && key.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

fn against_opencanary(who: &str, kind: &KindInfo) -> Option<String> {
    let mut lines = OPENCANARY.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let Some(line) = lines.find(|words| words.first().is_some_and(|n| n.parse() == Ok(kind.number))) else {
        return Some(format!("{who}: {} is no number of OpenCanary's, and ours begin at {OURS}", kind.number));
    };
    let [_, constant, keys @ ..] = line.as_slice() else { return Some("a line without constant".to_owned()) };
    if *constant != kind.constant {
        return Some(format!("{who}: {} is {constant}, not {}", kind.number, kind.constant));
    }
    let known = |key: &&str| keys.contains(&"*") || keys.iter().any(|known| known.replace('+', " ") == **key);
    let unknown = kind.keys.iter().find(|key| !known(key))?;
    Some(format!("{who}: OpenCanary's {constant} has no key `{unknown}`"))
}

#[cfg(test)]
mod tests {
    use aviary_event::Class;

    use super::*;

    const OURS_GOOD: KindInfo = KindInfo {
        number: 30_500,
        constant: "LOG_TEST",
        class: Class::Command,
        when: "a test runs",
        keys: &["A", "B_2"],
        technique: &["T1110", "T1110.001"],
    };
    const VNC: KindInfo = KindInfo {
        number: 12_001,
        constant: "LOG_VNC",
        keys: &["VNC Client Response", "VNC Password", "VNC Server Challenge"],
        ..OURS_GOOD
    };

    fn problems(kinds: &[KindInfo]) -> Vec<String> {
        kinds_are_in_order(kinds.iter().map(|kind| ("test", kind)))
    }

    #[test]
    fn kinds_that_hold_together_are_right() {
        assert_eq!(problems(&[OURS_GOOD, OURS_GOOD, VNC]), [""; 0]);
    }

    #[test]
    fn each_disorder_is_found() {
        for bad in [
            KindInfo { constant: "LOG_OTHER", ..OURS_GOOD },
            KindInfo { keys: &["A"], ..OURS_GOOD },
            KindInfo { number: 30_501, ..OURS_GOOD },
            KindInfo { number: 30_501, constant: "TEST", ..OURS_GOOD },
            KindInfo { number: 30_501, constant: "LOG_Test", ..OURS_GOOD },
            KindInfo { number: 30_501, constant: "LOG_B", keys: &["B", "A"], ..OURS_GOOD },
            KindInfo { number: 30_501, constant: "LOG_B", keys: &["lower"], ..OURS_GOOD },
            KindInfo { number: 30_501, constant: "LOG_B", when: "", ..OURS_GOOD },
            KindInfo { number: 30_501, constant: "LOG_B", when: "A test runs.", ..OURS_GOOD },
            KindInfo { number: 30_501, constant: "LOG_B", technique: &["T11"], ..OURS_GOOD },
            KindInfo { number: 29_999, constant: "LOG_B", ..OURS_GOOD },
            KindInfo { constant: "LOG_VNC_LOGIN", ..VNC },
            KindInfo { keys: &["VNC Username"], ..VNC },
        ] {
            assert_eq!(problems(&[OURS_GOOD, bad]).len(), 1, "{:?}", problems(&[OURS_GOOD]));
        }
    }
}
