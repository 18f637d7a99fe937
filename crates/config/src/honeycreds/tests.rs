//! Honeycreds against hashes that passlib and bcrypt made.
//!
//! Made with passlib 1.7.4 and bcrypt 4.0.1, as in:
//! `python -c 'from passlib.hash import *; print(pbkdf2_sha512.using(rounds=1000, salt=b"0123456789abcdef").hash("hunter2"))'`,
//! `bcrypt.using(rounds=4, salt="abcdefghijklmnopqrstuu", ident="2b").hash("hunter2")`,
//! `sha512_crypt.using(rounds=5000, salt="saltstring").hash("hunter2")`.

use serde_json::json;

use super::*;

const LONG: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// Hash and the password that it is of.
const VECTORS: &[(&str, &str)] = &[
    (
        "$pbkdf2-sha512$1000$MDEyMzQ1Njc4OWFiY2RlZg$Xp/4UtI3VYuUskUJvg/ElBho/1QUob2t4wOqDH2dRs5/P6kzj5.E8oi97sPcw7P4ZvydZ2rKx3aQeetuxYWOOg",
        "hunter2",
    ),
    (
        "$pbkdf2-sha512$1$//77$L.ndQZd1QodXAtxeYe.0/YYfDnN6IgTuDrCgKI6cm8pMcdTHMeAk3jW0uiObPovYBtkfYZnrhXeG5KcJqibEBg",
        "pässwörd",
    ),
    // The hash in OpenCanary's shipped settings.
    (
        "$pbkdf2-sha512$19000$bG1NaY3xvjdGyBlj7N37Xw$dGrmBqqWa1okTCpN3QEmeo9j5DuV2u1EuVFD8Di0GxNiM64To5O/Y66f7UASvnQr8.LCzqTm6awC8Kj/aGKvwA",
        "password",
    ),
    ("$2b$04$abcdefghijklmnopqrstuuV3duMsC0HpUex6N9qapiuOHHWkwRXVm", "hunter2"),
    ("$2a$04$abcdefghijklmnopqrstuuyx2n0Zzopyr9QuYTMCfOJJOj526QVoC", "pässwörd"),
    ("$2y$05$abcdefghijklmnopqrstuujf8SX2ahXLwp9w/B.Y5XdysS6yR576q", LONG.split_at(72).0),
    // bcrypt reads no more than 72 bytes.
    ("$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i", LONG),
    ("$6$saltstring$q2.778Y7vt0Ij2OIl01VlxEE6SEh8ZCtgFbyJX8fYkl5S7gx32QO24FVg.rs4DkoAs9t6R19x4z8g69teXFxA0", "hunter2"),
    (
        "$6$rounds=1000$abcdefghijklmnop$qPrHhJkLFTKGV1TdvYOUDypEIon9bSd6dprjfYwTygJIzTQd1WsqJhrwRYZKlZxtUslaXz1NuQ5gzHkmY5A5b.",
        "pässwörd",
    ),
    ("$5$saltstring$9JBjAeLRHX/Lm/1Njo98nbLiUsNRFEuARumLKkxJMm7", "hunter2"),
    ("$5$rounds=1000$a$h8gEN0ODxYvLokgp44mp9FQeMZy0f9j01cbNDQnD727", ""),
];

fn creds(items: Value) -> HoneyCreds {
    let (creds, faults) = HoneyCreds::parse(items.as_array().expect("a list"));
    assert_eq!(faults, []);
    creds
}

#[test]
fn knows_what_passlib_and_bcrypt_made() {
    for (hash, password) in VECTORS {
        let creds = creds(json!([{"username": "admin", "password": hash}]));
        assert!(!creds.is_cheap(), "{hash}");
        assert!(creds.matches(b"admin", password.as_bytes()), "{hash}");
        assert!(!creds.matches(b"admin", b"wrong"), "{hash}");
        assert!(!creds.matches(b"root", password.as_bytes()), "{hash}");
    }
}

#[test]
fn a_plain_password_is_compared_whole() {
    let creds = creds(json!([{"username": "admin", "password": "admin1"}, {"username": "root", "password": "$1$a$b"}]));
    assert!(creds.is_cheap());
    assert!(creds.matches(b"admin", b"admin1"));
    assert!(creds.matches(b"root", b"$1$a$b"));
    for (user, password) in
        [("admin", "admin"), ("admin", "admin12"), ("Admin", "admin1"), ("root", "admin1"), ("", "")]
    {
        assert!(!creds.matches(user.as_bytes(), password.as_bytes()), "{user} {password}");
    }
}

#[test]
fn plain_passwords_are_those_without_a_hash() {
    let creds = creds(json!([
        {"username": "a", "password": "one"},
        {"username": "b"},
        {"username": "c", "password": "$2b$04$abcdefghijklmnopqrstuu5Lo0g67CiD3M4RpN1BmBb4Crp5w7dbK"},
        {"password": "two"},
    ]));
    assert_eq!(creds.plain_passwords().collect::<Vec<_>>(), [&b"one"[..], b"two"]);
}

#[test]
fn what_is_not_named_matches_anything() {
    assert!(creds(json!([{"username": "admin"}])).matches(b"admin", b"\xff\xfe"));
    assert!(creds(json!([{"password": "s3cret"}])).matches(b"\xff", b"s3cret"));
    assert!(!creds(json!([{"password": "s3cret"}])).matches(b"", b""));
    assert!(!HoneyCreds::default().matches(b"", b""));
    assert!(HoneyCreds::default().is_empty());
}

#[test]
fn a_password_beyond_the_limit_is_not_hashed() {
    let long = vec![b'x'; LONGEST_PASSWORD + 1];
    for (hash, _) in VECTORS {
        assert!(!creds(json!([{"password": hash}])).matches(b"", &long), "{hash}");
    }
    assert!(!creds(json!([{"password": VECTORS[3].0}])).matches(b"", b"hunter2\0"));
}

#[test]
fn refuses_hashes_that_cannot_be_read() {
    let hash = VECTORS[0].0;
    let broken = [
        "$pbkdf2-sha512$x".to_owned(),
        hash.replace("$1000$", "$01000$"),
        hash.replace("$1000$", "$0$"),
        hash.replace("$1000$", "$4000000000$"),
        hash.replace("OOg", "OO"),
        hash.replace("MDEy", "MD*y"),
        "$2b$xx".to_owned(),
        VECTORS[3].0.replace("$04$", "$03$"),
        VECTORS[3].0.replace("$04$", "$31$"),
        VECTORS[3].0.replace("$2b$", "$2x$"),
        "$6$x".to_owned(),
        "$6$salt$".to_owned(),
        VECTORS[7].0.replace("saltstring", ""),
        VECTORS[7].0.replace("saltstring", "seventeen-letters"),
        VECTORS[7].0.replace("q2.", "q2*"),
        VECTORS[8].0.replace("rounds=1000", "rounds=999"),
    ];
    for password in broken {
        let (creds, faults) = HoneyCreds::parse(&[json!({"username": "a", "password": password})]);
        assert!(creds.is_empty(), "{password}");
        assert!(matches!(faults[..], [(0, BadHoneyCred::Hash { .. })]), "{password}");
    }
}

#[test]
fn refuses_entries_of_another_shape() {
    let items = [json!("admin:admin"), json!({}), json!({"username": 5}), json!({"username": "a", "password": true})];
    let (creds, faults) = HoneyCreds::parse(&items);
    assert!(creds.is_empty());
    assert_eq!(
        faults,
        [
            (0, BadHoneyCred::NotAnObject),
            (1, BadHoneyCred::Empty),
            (2, BadHoneyCred::NotText { field: "username" }),
            (3, BadHoneyCred::NotText { field: "password" }),
        ]
    );
}

#[test]
fn a_secret_is_not_printed() {
    let printed = format!("{:?}", creds(json!([{"username": "admin", "password": "admin1"}])));
    assert!(!printed.contains("admin1"), "{printed}");
}

#[test]
fn foreign_hashes_are_recognised() {
    assert!(is_foreign_hash("$1$abc$xyz"));
    assert!(is_foreign_hash("$argon2id$v=19$m=1$a$b"));
    assert!(!is_foreign_hash("pa$$word"));
    assert!(!is_foreign_hash("$ecret"));
    assert!(!is_foreign_hash(VECTORS[0].0));
}
