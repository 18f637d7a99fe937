//! Who may do what: every route against everybody.
//!
//! A route that is not in [`MATRIX`] fails a test, and so does a way around the document that is not in [`BESIDE`].

use std::collections::BTreeSet;
use std::path::Path;

use aviary_hub::{Role, Scope, Token};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::document::operations;
use crate::people::{COOKIE, Stand};

/// Who may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// Everybody.
    All,
    /// Who signed in, whatever their role.
    People,
    /// A token or role with a scope.
    With(Scope),
    /// Who shows the certificate of a sensor, which nobody here does; see `sensors.rs`.
    Sensor,
}

const READ: Who = Who::With(Scope::Read);
const ACT: Who = Who::With(Scope::Act);
const ADMINISTER: Who = Who::With(Scope::Administer);

/// Each route and who may, by path.
const MATRIX: &[(&str, &str, Who)] = &[
    ("GET", "/api/v1/audit", ADMINISTER),
    ("GET", "/api/v1/channels", READ),
    ("POST", "/api/v1/channels", ADMINISTER),
    ("GET", "/api/v1/channels/classes", READ),
    ("DELETE", "/api/v1/channels/{name}", ADMINISTER),
    ("PUT", "/api/v1/channels/{name}", ADMINISTER),
    ("POST", "/api/v1/channels/{name}/test", ACT),
    ("GET", "/api/v1/configs", READ),
    ("GET", "/api/v1/configs/{group}", ADMINISTER),
    ("PUT", "/api/v1/configs/{group}", ADMINISTER),
    ("GET", "/api/v1/configs/{group}/diff", ADMINISTER),
    ("POST", "/api/v1/configs/{group}/push", ADMINISTER),
    ("GET", "/api/v1/credentials", READ),
    ("GET", "/api/v1/deliveries", READ),
    ("GET", "/api/v1/events", READ),
    ("POST", "/api/v1/events", Who::With(Scope::Ingest)),
    ("GET", "/api/v1/events/export", READ),
    ("GET", "/api/v1/events/{id}", READ),
    ("GET", "/api/v1/incidents", READ),
    ("GET", "/api/v1/incidents/{number}", READ),
    ("POST", "/api/v1/incidents/{number}/decisions", ACT),
    ("GET", "/api/v1/intake", READ),
    ("GET", "/api/v1/live", READ),
    ("POST", "/api/v1/opencanary", Who::With(Scope::Ingest)),
    ("GET", "/api/v1/overview", READ),
    ("GET", "/api/v1/people", ADMINISTER),
    ("POST", "/api/v1/people", ADMINISTER),
    ("DELETE", "/api/v1/people/{name}", ADMINISTER),
    ("PATCH", "/api/v1/people/{name}", ADMINISTER),
    ("POST", "/api/v1/people/{name}/reset", ADMINISTER),
    ("GET", "/api/v1/policies", READ),
    ("POST", "/api/v1/policies", ADMINISTER),
    ("DELETE", "/api/v1/policies/{name}", ADMINISTER),
    ("GET", "/api/v1/policies/{name}", READ),
    ("PUT", "/api/v1/policies/{name}", ADMINISTER),
    ("GET", "/api/v1/searches", READ),
    ("DELETE", "/api/v1/searches/{name}", READ),
    ("GET", "/api/v1/searches/{name}", READ),
    ("PUT", "/api/v1/searches/{name}", READ),
    ("GET", "/api/v1/senders", READ),
    ("DELETE", "/api/v1/senders/{name}", ADMINISTER),
    ("PUT", "/api/v1/senders/{name}", ADMINISTER),
    ("POST", "/api/v1/sensor/enrol", Who::All),
    ("POST", "/api/v1/sensor/renew", Who::Sensor),
    ("POST", "/api/v1/sensor/turn", Who::Sensor),
    ("GET", "/api/v1/sensors", READ),
    ("POST", "/api/v1/sensors/tokens", ADMINISTER),
    ("GET", "/api/v1/sensors/{name}", READ),
    ("PATCH", "/api/v1/sensors/{name}", ADMINISTER),
    ("GET", "/api/v1/sensors/{name}/config", ADMINISTER),
    ("POST", "/api/v1/sensors/{name}/drill", ACT),
    ("POST", "/api/v1/sensors/{name}/renew", ADMINISTER),
    ("POST", "/api/v1/sensors/{name}/revoke", ADMINISTER),
    ("DELETE", "/api/v1/session", Who::People),
    ("GET", "/api/v1/session", Who::People),
    ("POST", "/api/v1/session", Who::All),
    ("PUT", "/api/v1/session/password", Who::People),
    ("DELETE", "/api/v1/session/totp", Who::People),
    ("POST", "/api/v1/session/totp", Who::People),
    ("PUT", "/api/v1/session/totp", Who::People),
    ("GET", "/api/v1/setup", Who::All),
    ("POST", "/api/v1/setup", Who::All),
    ("GET", "/api/v1/sources", READ),
    ("GET", "/api/v1/sources/{address}", READ),
    ("GET", "/api/v1/suppressions", READ),
    ("POST", "/api/v1/suppressions", ACT),
    ("POST", "/api/v1/suppressions/preview", READ),
    ("DELETE", "/api/v1/suppressions/{name}", ACT),
    ("PUT", "/api/v1/suppressions/{name}", ACT),
    ("GET", "/api/v1/tokens", ADMINISTER),
    ("POST", "/api/v1/tokens", ADMINISTER),
    ("DELETE", "/api/v1/tokens/{key}", ADMINISTER),
];

/// What in the sources adds routes without the document, each looked at. The calls over gRPC ask for a token of their own, see
/// `grpc.rs` and `questions.rs`; opencanary_web's `/log` does, see `ways.rs`; the others take nobody.
const BESIDE: &[&str] = &[
    r#".route("/api/v1/openapi.json", get(move || async move { Json(shown) }))"#,
    r#".route("/health", get(|| async { "ok" }))"#,
    ".merge(console::routes())",
    r#".route("/", get(|| async { Redirect::to("/console/") }))"#,
    r#".route("/console", get(|| async { Redirect::to("/console/") }))"#,
    r#".route("/console/", get(|headers: HeaderMap| async move { page(&headers) }))"#,
    ".route(",
    r#".route("/log", post(opencanary::log))"#,
    r#".route("/log/", post(opencanary::log))"#,
    r#".route_service("/aviary.hub.v1.Hub/{method}", questions::server(Arc::clone(hub)));"#,
    r#".route_service("/aviary.ingest.v1.Ingest/{method}", ingest::server(Arc::clone(hub)))"#,
    r#"Ok(service) => router = router.route_service("/grpc.reflection.v1.ServerReflection/{method}", service),"#,
    r#"router = router.route_service("/grpc.reflection.v1alpha.ServerReflection/{method}", service);"#,
    "(gate::around(router, hub, &document).merge(calls), document)",
];

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    Nobody,
    /// With a cookie of a session that never was.
    Stranger,
    Token(Scope),
    Person(Role),
    /// Who forgets, or whose browser is misled by another site's page.
    Unmarked(Role),
}

const ROLES: [Role; 3] = [Role::Viewer, Role::Analyst, Role::Admin];

/// What somebody gets who asks for a route: nothing of it, or an answer of any other kind.
fn refusal(who: Who, asker: Asker, method: &str) -> Option<StatusCode> {
    let forbidden = Some(StatusCode::FORBIDDEN);
    let may = |scopes: &[Scope]| match who {
        Who::With(scope) if !scopes.contains(&scope) => forbidden,
        _ => None,
    };
    match (who, asker) {
        (Who::All, _) => None,
        (Who::Sensor, _) | (_, Asker::Nobody | Asker::Stranger) => Some(StatusCode::UNAUTHORIZED),
        (Who::People, Asker::Token(_)) => forbidden,
        (_, Asker::Token(scope)) => may(&[scope]),
        (_, Asker::Unmarked(_)) if method != "GET" => forbidden,
        (_, Asker::Person(role) | Asker::Unmarked(role)) => may(role.scopes()),
    }
}

#[test]
fn the_matrix_has_every_route_and_no_other() {
    let document = serde_json::to_value(aviary_api::document()).expect("JSON");
    let there: BTreeSet<(String, String)> =
        operations(&document).into_iter().map(|(path, method, _)| (path, method)).collect();
    let known: BTreeSet<(String, String)> =
        MATRIX.iter().map(|(method, path, _)| ((*path).to_owned(), (*method).to_owned())).collect();
    let missing: Vec<_> = there.difference(&known).collect();
    let gone: Vec<_> = known.difference(&there).collect();
    assert!(missing.is_empty(), "not in the matrix: {missing:?}");
    assert!(gone.is_empty(), "in the matrix, but no route: {gone:?}");
    assert_eq!(known.len(), MATRIX.len(), "each once");
}

#[test]
fn the_document_says_of_each_route_what_the_matrix_does() {
    let document = serde_json::to_value(aviary_api::document()).expect("JSON");
    for (path, method, operation) in operations(&document) {
        let who = MATRIX.iter().find(|(m, p, _)| *m == method && *p == path).map(|(_, _, who)| *who);
        let said = match who {
            Some(Who::All) => serde_json::json!([{}]),
            Some(Who::People) => serde_json::json!([{"session": []}]),
            Some(Who::Sensor) => serde_json::json!([{"certificate": []}]),
            Some(Who::With(Scope::Ingest)) => serde_json::json!([{"token": ["ingest"]}, {"certificate": []}]),
            Some(Who::With(scope)) => serde_json::json!([{"token": [scope.word()]}, {"session": [scope.word()]}]),
            None => Value::Null,
        };
        assert_eq!(operation["security"], said, "{method} {path}");
    }
}

#[test]
fn nothing_is_served_beside_the_document_that_nobody_looked_at() {
    let mut found = BTreeSet::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            for line in std::fs::read_to_string(path).expect("a file").lines().map(str::trim) {
                let ways = [".route(", ".nest(", ".merge(", "_service("];
                if ways.iter().any(|way| line.contains(way)) {
                    found.insert(line.to_owned());
                }
            }
        }
    }
    let known: BTreeSet<String> = BESIDE.iter().map(|line| (*line).to_owned()).collect();
    assert_eq!(found, known);
}

#[tokio::test]
async fn nobody_does_more_than_the_matrix_says() {
    let stand = Stand::new(Vec::new()).await;
    stand.set_up().await;
    let mut tokens = Vec::new();
    for scope in Scope::ALL {
        let sensor = (scope == Scope::Ingest).then(|| "north".to_owned());
        let token =
            Token { name: scope.word().to_owned(), scopes: vec![scope], sensor, site: String::new(), nodes: vec![] };
        let (text, _) = stand.hub.people().make_token(token, "anna").await.expect("a token");
        tokens.push((scope, text));
    }
    stand.join("vera", Role::Viewer).await;
    stand.join("alan", Role::Analyst).await;
    let askers = [Asker::Nobody, Asker::Stranger].into_iter().chain(Scope::ALL.map(Asker::Token));
    let askers: Vec<Asker> = askers.chain(ROLES.map(Asker::Person)).chain(ROLES.map(Asker::Unmarked)).collect();
    for (_, path, _) in MATRIX.iter().filter(|(method, _, who)| *method == "GET" && *who != Who::All) {
        let answer = stand.client.head(format!("{}{path}", stand.base)).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "HEAD {path}");
    }
    for (method, path, who) in MATRIX {
        // One path may end a session.
        let mut sessions = Vec::new();
        for (role, name) in [(Role::Viewer, "vera"), (Role::Analyst, "alan"), (Role::Admin, "anna")] {
            sessions.push((role, stand.sign_in(name).await));
        }
        for asker in &askers {
            let url = path.replace("{id}", &uuid::Uuid::nil().to_string()).replace("{number}", "1");
            let url = url.replace("{name}", "nobody").replace("{key}", "0").replace("{group}", "all");
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let request = stand.client.request(method.clone(), format!("{}{url}", stand.base));
            // Nothing that could be done: who may is told that it is not understood.
            let request = request.header("content-type", "application/json").body("{}");
            let cookie = |role: &Role| {
                let (_, secret) = sessions.iter().find(|(other, _)| other == role).expect("a session");
                format!("{COOKIE}={secret}")
            };
            let request = match asker {
                Asker::Nobody => request,
                Asker::Stranger => request.header("cookie", format!("{COOKIE}=00")).header("x-aviary", "console"),
                Asker::Token(scope) => {
                    request.bearer_auth(&tokens.iter().find(|(other, _)| other == scope).expect("a token").1)
                }
                Asker::Person(role) => request.header("cookie", cookie(role)).header("x-aviary", "console"),
                Asker::Unmarked(role) => request.header("cookie", cookie(role)),
            };
            let status = request.send().await.expect("an answer").status();
            let at = format!("{method} {path} by {asker:?}: {status}");
            match refusal(*who, *asker, method.as_str()) {
                Some(refusal) => assert_eq!(status, refusal, "{at}"),
                None => assert!(!matches!(status.as_u16(), 401 | 403 | 405 | 500..), "{at}"),
            }
            if status == StatusCode::NO_CONTENT && *path == "/api/v1/session" {
                let role = if let Asker::Person(role) = asker { role } else { panic!("{at}") };
                sessions.retain(|(other, _)| other != role);
                let name = ["vera", "alan", "anna"][ROLES.iter().position(|other| other == role).expect("a role")];
                sessions.push((*role, stand.sign_in(name).await));
            }
        }
    }
}
