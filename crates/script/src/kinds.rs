//! The kinds of event that modules may report: OpenCanary's numbers for its examples and for users, and ours
//! for a module that fails.

use aviary_event::{Class, Kind, KindInfo};

/// First of OpenCanary's ten numbers for users, and the usual one of a module.
pub(crate) const USER: i64 = 99_000;

/// Stands for keys that each module names itself.
const ANY: &str = "*";

const fn kind(number: i64, constant: &'static str, class: Class, when: &'static str) -> KindInfo {
    KindInfo { number, constant, class, when, keys: &[ANY], technique: &[] }
}

const fn user(number: i64, constant: &'static str) -> KindInfo {
    kind(number, constant, Class::Command, "a user's module reports it; the keys are the module's own")
}

const fn login(number: i64, constant: &'static str) -> KindInfo {
    kind(number, constant, Class::Login, "a user's module reports a user name or a password")
}

/// All kinds, in the order of their numbers; a user's number is a login where the event holds one.
pub static KINDS: [KindInfo; 22] = [
    kind(1006, "LOG_BASE_EXAMPLE", Class::Login, "a module made after OpenCanary's examples gets a password"),
    KindInfo {
        number: 32_100,
        constant: "LOG_USER_MODULE_FAILED",
        class: Class::Command,
        when: "a user's module failed at what a peer sent; the connection ends",
        keys: &["DATA", "ERROR"],
        technique: &[],
    },
    user(99_000, "LOG_USER_0"),
    login(99_000, "LOG_USER_0"),
    user(99_001, "LOG_USER_1"),
    login(99_001, "LOG_USER_1"),
    user(99_002, "LOG_USER_2"),
    login(99_002, "LOG_USER_2"),
    user(99_003, "LOG_USER_3"),
    login(99_003, "LOG_USER_3"),
    user(99_004, "LOG_USER_4"),
    login(99_004, "LOG_USER_4"),
    user(99_005, "LOG_USER_5"),
    login(99_005, "LOG_USER_5"),
    user(99_006, "LOG_USER_6"),
    login(99_006, "LOG_USER_6"),
    user(99_007, "LOG_USER_7"),
    login(99_007, "LOG_USER_7"),
    user(99_008, "LOG_USER_8"),
    login(99_008, "LOG_USER_8"),
    user(99_009, "LOG_USER_9"),
    login(99_009, "LOG_USER_9"),
];

/// A module failed.
pub(crate) const FAILED: Kind = &KINDS[1];

/// The kind of a number that a module may report.
pub(crate) fn find(number: i64, is_login: bool) -> Option<Kind> {
    let of_number = |kind: &&KindInfo| kind.number == number && kind.number != FAILED.number;
    let wanted = if is_login { Class::Login } else { Class::Command };
    let mut kinds = KINDS.iter().filter(of_number);
    kinds.clone().find(|kind| kind.class == wanted).or_else(|| kinds.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_known_with_its_class() {
        for number in (99_000..99_010).chain([1006]) {
            let login = find(number, true).expect("known");
            assert_eq!((login.number, login.class), (number, Class::Login));
            assert_eq!(find(number, false).map(|kind| kind.constant), Some(login.constant));
        }
        assert_eq!(find(99_003, false).map(|kind| (kind.constant, kind.class)), Some(("LOG_USER_3", Class::Command)));
        for number in [0, 2000, 32_100, 99_010] {
            assert!(find(number, true).is_none(), "{number}");
        }
    }
}
