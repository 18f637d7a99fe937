//! Who signs in, with what, for how long, and how often they may try.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;

use aviary_event::Timestamp;
use aviary_hub::{Attempt, Hub, Link, People, PersonError, Role, Scope, SignedIn, Token};
use aviary_store::{AuditQuery, Options, Sqlite};
use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use tempfile::TempDir;

const PASSWORD: &str = "correct horse battery";
const HOME: &str = "10.0.0.1";
const ABROAD: &str = "192.0.2.7";
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;

thread_local! {
    /// Seconds since 1970; each test has a thread of its own.
    static SECONDS: Cell<i64> = const { Cell::new(1_795_000_000) };
}

fn clock() -> Timestamp {
    Timestamp::from_micros(SECONDS.get() * 1_000_000)
}

fn later(seconds: i64) {
    SECONDS.set(SECONDS.get() + seconds);
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

async fn fresh() -> (TempDir, Hub) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Sqlite::open(Options::at(folder.path().join("hub.db"))).expect("a store");
    (folder, Hub::new(Arc::new(store), clock).await.expect("a hub"))
}

async fn open(people: &People, token: &str, name: Option<&str>) -> Result<SignedIn, PersonError> {
    people.open_link(Link { token, name, password: PASSWORD, address: address(HOME) }).await
}

/// A hub with the admin anna, who is signed in.
async fn with_anna() -> (TempDir, Hub, SignedIn) {
    let (folder, hub) = fresh().await;
    let token = hub.people().first_link().await.expect("done").expect("a link");
    let anna = open(hub.people(), &token, Some("anna")).await.expect("an admin");
    (folder, hub, anna)
}

async fn sign_in(people: &People, name: &str, password: &str, from: &str) -> Result<SignedIn, PersonError> {
    people.sign_in(Attempt { name, password, code: None, address: address(from) }).await
}

async fn with_code(people: &People, code: &str) -> Result<SignedIn, PersonError> {
    let attempt = Attempt { name: "anna", password: PASSWORD, code: Some(code), address: address(HOME) };
    people.sign_in(attempt).await
}

/// The code that a telephone shows now, and `steps` later.
fn code(secret: &str, steps: i64) -> String {
    let secret = BASE32_NOPAD.decode(secret.as_bytes()).expect("Base32");
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(&secret).expect("a key");
    mac.update(&(SECONDS.get() / 30 + steps).to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let at = usize::from(digest[19] & 15);
    let number = u32::from_be_bytes([digest[at], digest[at + 1], digest[at + 2], digest[at + 3]]);
    format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
}

async fn is_on(people: &People, signed_in: &SignedIn) -> bool {
    people.session(&signed_in.secret).await.expect("an answer").is_some()
}

#[tokio::test]
async fn the_first_link_makes_one_admin_and_only_the_latest_counts() {
    let (_folder, hub) = fresh().await;
    let people = hub.people();
    let old = people.first_link().await.expect("done").expect("a link");
    let token = people.first_link().await.expect("done").expect("a link");
    assert!(matches!(open(people, &old, Some("anna")).await, Err(PersonError::Link)));
    assert!(matches!(open(people, "", Some("anna")).await, Err(PersonError::Link)));
    assert!(matches!(open(people, &token, None).await, Err(PersonError::Name)));
    let weak = Link { token: &token, name: Some("anna"), password: "short", address: address(HOME) };
    assert!(matches!(people.open_link(weak).await, Err(PersonError::Weak { .. })));
    assert!(people.is_empty().await.expect("an answer"));
    let anna = open(people, &token, Some("Anna ")).await.expect("it can still be used");
    assert_eq!((anna.session.name.as_str(), anna.session.role), ("anna", Role::Admin));
    assert!(is_on(people, &anna).await);
    assert!(matches!(open(people, &token, Some("bert")).await, Err(PersonError::Link)), "it works once");
    assert_eq!(people.first_link().await.expect("done"), None);
}

#[tokio::test]
async fn two_who_open_the_first_link_at_once_are_not_both_admins() {
    let (_folder, hub) = fresh().await;
    let people = hub.people();
    let token = people.first_link().await.expect("done").expect("a link");
    let (one, other) = tokio::join!(open(people, &token, Some("anna")), open(people, &token, Some("bert")));
    assert!(one.is_ok() != other.is_ok());
    assert_eq!(people.list().await.expect("a list").len(), 1);
}

#[tokio::test]
async fn a_link_ends_by_itself() {
    let (_folder, hub) = fresh().await;
    let token = hub.people().first_link().await.expect("done").expect("a link");
    later(24 * HOUR);
    assert!(matches!(open(hub.people(), &token, Some("anna")).await, Err(PersonError::Link)));
}

#[tokio::test]
async fn what_is_wrong_is_not_said() {
    let (_folder, hub, _) = with_anna().await;
    hub.people().invite("bert", Role::Viewer, "anna").await.expect("invited");
    let mut said = Vec::new();
    for (name, password) in [("anna", "wrong"), ("nobody", PASSWORD), ("bert", ""), ("no name at all!", PASSWORD)] {
        said.push(sign_in(hub.people(), name, password, HOME).await.expect_err("wrong").to_string());
    }
    assert_eq!(said, ["the name, the password or the code is wrong"; 4]);
    sign_in(hub.people(), "ANNA", PASSWORD, HOME).await.expect("capitals make no difference");
}

/// What is slow is the hash: without it an unknown name would be refused a thousand times as fast.
#[tokio::test]
async fn an_unknown_name_takes_as_long_as_a_wrong_password() {
    let (_folder, hub, _) = with_anna().await;
    let mut fastest = [std::time::Duration::MAX; 2];
    for _ in 0..4 {
        for (fastest, name) in fastest.iter_mut().zip(["anna", "nobody"]) {
            let begun = std::time::Instant::now();
            sign_in(hub.people(), name, "wrong", HOME).await.expect_err("wrong");
            *fastest = begun.elapsed().min(*fastest);
        }
    }
    let [known, unknown] = fastest;
    assert!(unknown * 5 > known && known * 5 > unknown, "{known:?} {unknown:?}");
}

#[tokio::test]
async fn strangers_who_guess_are_stopped_and_lock_nobody_out() {
    let (_folder, hub, _) = with_anna().await;
    let people = hub.people();
    let mut guesses = 0;
    let seconds = loop {
        match sign_in(people, "anna", "guess", &format!("192.0.2.{guesses}")).await {
            Err(PersonError::Wrong) => guesses += 1,
            Err(PersonError::Limited { seconds }) => break seconds,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(guesses, 10, "from ten addresses");
    let right = sign_in(people, "anna", PASSWORD, ABROAD).await;
    assert!(matches!(right, Err(PersonError::Limited { .. })), "the right password tells a guesser nothing");
    assert!(people.list().await.expect("a list")[0].locked);
    sign_in(people, "anna", PASSWORD, HOME).await.expect("she signed in from there before");
    later(i64::try_from(seconds).expect("small"));
    sign_in(people, "anna", PASSWORD, ABROAD).await.expect("time gives tries back");
    assert!(!people.list().await.expect("a list")[0].locked);
}

#[tokio::test]
async fn one_address_that_tries_many_names_is_stopped_whether_they_exist_or_not() {
    let (_folder, hub, _) = with_anna().await;
    let mut tries = 0;
    while !matches!(
        sign_in(hub.people(), &format!("name{tries}"), "guess", ABROAD).await,
        Err(PersonError::Limited { .. })
    ) {
        tries += 1;
    }
    assert_eq!(tries, 30);
    for _ in 0..40 {
        sign_in(hub.people(), "anna", PASSWORD, HOME).await.expect("who is right is not counted");
    }
}

#[tokio::test]
async fn sessions_end_when_nobody_uses_them_and_in_any_case() {
    let (_folder, hub, anna) = with_anna().await;
    let people = hub.people();
    later(59 * MINUTE);
    assert!(is_on(people, &anna).await);
    later(59 * MINUTE);
    assert!(is_on(people, &anna).await, "it was used in between");
    later(60 * MINUTE);
    assert!(!is_on(people, &anna).await, "nobody used it");
    let anna = sign_in(people, "anna", PASSWORD, HOME).await.expect("signed in");
    for _ in 0..23 {
        later(30 * MINUTE);
        assert!(is_on(people, &anna).await);
    }
    later(30 * MINUTE);
    assert!(!is_on(people, &anna).await, "twelve hours are over");
    assert!(people.session("").await.expect("an answer").is_none());
}

#[tokio::test]
async fn to_look_whether_a_session_goes_on_does_not_make_it_last() {
    let (_folder, hub, anna) = with_anna().await;
    for _ in 0..3 {
        later(19 * MINUTE);
        assert!(hub.people().goes_on(&anna.session).await.expect("an answer"));
    }
    later(3 * MINUTE);
    assert!(!hub.people().goes_on(&anna.session).await.expect("an answer"));
}

#[tokio::test]
async fn what_an_admin_changes_holds_at_once() {
    let (_folder, hub, anna) = with_anna().await;
    let people = hub.people();
    let (name, token) = people.invite("Bert", Role::Analyst, "anna").await.expect("invited");
    assert_eq!(name, "bert");
    assert!(matches!(people.invite("bert", Role::Viewer, "anna").await, Err(PersonError::Exists { .. })));
    assert!(matches!(open(people, &token, Some("carl")).await, Err(PersonError::OthersLink { .. })));
    let bert = open(people, &token, None).await.expect("joined");
    people.give_role("bert", Role::Viewer, "anna").await.expect("done");
    let session = people.session(&bert.secret).await.expect("an answer").expect("a session");
    assert_eq!(session.role, Role::Viewer);
    let token = people.reset("bert", "anna").await.expect("done");
    assert!(!is_on(people, &bert).await);
    assert!(matches!(sign_in(people, "bert", PASSWORD, HOME).await, Err(PersonError::Wrong)));
    let bert = open(people, &token, Some("bert")).await.expect("a new password");
    people.remove("bert", "anna").await.expect("done");
    assert!(!is_on(people, &bert).await && is_on(people, &anna).await);
    assert!(matches!(people.remove("bert", "anna").await, Err(PersonError::Missing { .. })));
    // The same name again is somebody else.
    people.invite("bert", Role::Admin, "anna").await.expect("invited");
    assert!(!is_on(people, &bert).await);
}

#[tokio::test]
async fn the_last_admin_stays_one() {
    let (_folder, hub, _) = with_anna().await;
    let people = hub.people();
    let (_, token) = people.invite("bert", Role::Admin, "anna").await.expect("invited");
    for _ in 0..2 {
        let error = people.remove("anna", "anna").await.expect_err("nobody else can sign in yet");
        assert!(matches!(error, PersonError::LastAdmin { .. }), "{error}");
        assert!(matches!(people.give_role("anna", Role::Viewer, "anna").await, Err(PersonError::LastAdmin { .. })));
    }
    open(people, &token, None).await.expect("joined");
    let (one, other) = tokio::join!(people.remove("anna", "anna"), people.remove("bert", "bert"));
    assert!(one.is_ok() != other.is_ok(), "they do not remove each other");
}

#[tokio::test]
async fn a_new_password_ends_all_other_sessions() {
    let (_folder, hub, anna) = with_anna().await;
    let people = hub.people();
    let other = sign_in(people, "anna", PASSWORD, HOME).await.expect("signed in");
    let change = |old: &'static str, new: &'static str| people.change_password(&anna.session, old, new, address(HOME));
    assert!(matches!(change("wrong", "another horse battery").await, Err(PersonError::Wrong)));
    assert!(matches!(change(PASSWORD, "short").await, Err(PersonError::Weak { .. })));
    change(PASSWORD, "another horse battery").await.expect("changed");
    assert!(is_on(people, &anna).await && !is_on(people, &other).await);
    assert!(matches!(sign_in(people, "anna", PASSWORD, HOME).await, Err(PersonError::Wrong)));
    sign_in(people, "anna", "another horse battery", HOME).await.expect("signed in");
    people.sign_out(&anna.session).await.expect("done");
    assert!(!is_on(people, &anna).await);
}

#[tokio::test]
async fn a_second_factor_counts_once_it_was_proved_and_each_code_once() {
    let (_folder, hub, anna) = with_anna().await;
    let people = hub.people();
    assert!(matches!(people.confirm_factor(&anna.session, "000000").await, Err(PersonError::Factor { .. })));
    let (secret, uri) = people.propose_factor(&anna.session).await.expect("proposed");
    assert!(uri.starts_with("otpauth://totp/Aviary:anna?") && uri.contains(&secret), "{uri}");
    assert!(matches!(people.confirm_factor(&anna.session, &code(&secret, 5)).await, Err(PersonError::Wrong)));
    sign_in(people, "anna", PASSWORD, HOME).await.expect("it does not count yet");
    people.confirm_factor(&anna.session, &code(&secret, 0)).await.expect("on");
    assert!(matches!(sign_in(people, "anna", PASSWORD, HOME).await, Err(PersonError::CodeNeeded)));
    assert!(matches!(sign_in(people, "anna", "wrong", HOME).await, Err(PersonError::Wrong)));
    assert!(matches!(with_code(people, &code(&secret, 0)).await, Err(PersonError::Wrong)), "it turned the factor on");
    later(30);
    let now = code(&secret, 0);
    let (one, other) = tokio::join!(with_code(people, &now), with_code(people, &now));
    assert!(one.is_ok() != other.is_ok(), "the same code at the same time is one sign-in");
    assert!(matches!(with_code(people, &code(&secret, -1)).await, Err(PersonError::Wrong)), "an earlier one");
    later(30);
    let anna = with_code(people, &code(&secret, 0)).await.expect("a new code");
    assert!(anna.session.totp);
    assert!(matches!(people.propose_factor(&anna.session).await, Err(PersonError::Factor { .. })));
    let off = people.drop_factor(&anna.session, "wrong", address(HOME)).await;
    assert!(matches!(off, Err(PersonError::Wrong)));
    people.drop_factor(&anna.session, PASSWORD, address(HOME)).await.expect("off");
    sign_in(people, "anna", PASSWORD, HOME).await.expect("without a code");
}

#[tokio::test]
async fn codes_cannot_be_guessed() {
    let (_folder, hub, anna) = with_anna().await;
    let people = hub.people();
    let (secret, _) = people.propose_factor(&anna.session).await.expect("proposed");
    people.confirm_factor(&anna.session, &code(&secret, 0)).await.expect("on");
    let wrong = if code(&secret, 1) == "000000" { "000001" } else { "000000" };
    let mut guesses = 0;
    while !matches!(with_code(people, wrong).await, Err(PersonError::Limited { .. })) {
        guesses += 1;
    }
    assert_eq!(guesses, 10);
}

#[tokio::test]
async fn sessions_of_one_person_are_bounded() {
    let (_folder, hub, first) = with_anna().await;
    later(1);
    let mut last = first.clone();
    for _ in 0..20 {
        last = sign_in(hub.people(), "anna", PASSWORD, HOME).await.expect("signed in");
    }
    assert!(!is_on(hub.people(), &first).await && is_on(hub.people(), &last).await);
}

#[tokio::test]
async fn tokens_are_listed_with_their_last_use_and_are_nobodys_namesake() {
    let (_folder, hub, _) = with_anna().await;
    let people = hub.people();
    let token = |name: &str| Token {
        name: name.to_owned(),
        scopes: vec![Scope::Read],
        sensor: None,
        site: String::new(),
        nodes: Vec::new(),
    };
    for taken in ["Anna", "hub"] {
        assert!(matches!(people.make_token(token(taken), "anna").await, Err(PersonError::Exists { .. })));
    }
    let (text, listed) = people.make_token(token("grafana"), "anna").await.expect("made");
    assert!(matches!(people.invite("grafana", Role::Viewer, "anna").await, Err(PersonError::Exists { .. })));
    assert_eq!(people.tokens().await.expect("a list"), std::slice::from_ref(&listed));
    later(9);
    assert_eq!(people.token(&text).await.expect("an answer"), Some((listed.key.clone(), token("grafana"))));
    assert!(people.is_token(&listed.key).await.expect("an answer"));
    assert_eq!(people.tokens().await.expect("a list")[0].last_used, Some(clock()));
    people.revoke_token(&listed.key, "anna").await.expect("gone");
    assert_eq!(people.token(&text).await.expect("an answer"), None);
    assert!(!people.is_token(&listed.key).await.expect("an answer"));
    assert!(matches!(people.revoke_token(&listed.key, "anna").await, Err(PersonError::MissingToken)));
}

#[tokio::test]
async fn the_audit_log_says_who_came_and_not_that_they_stayed() {
    let (_folder, hub, anna) = with_anna().await;
    later(30 * MINUTE);
    assert!(is_on(hub.people(), &anna).await);
    let page = hub.store().audit(AuditQuery { limit: 99, ..AuditQuery::default() }).await.expect("a page");
    let told: Vec<(&str, &str, &str)> =
        page.rows.iter().map(|row| (row.by.as_str(), row.kind.as_str(), row.change.word())).collect();
    assert_eq!(
        told,
        [
            ("anna", "session", "created"),
            ("anna", "person", "created"),
            ("anna", "link", "removed"),
            ("hub", "link", "created")
        ]
    );
}
