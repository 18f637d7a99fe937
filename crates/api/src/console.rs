//! `/console/`: the web console, out of the program itself. It is static: what it shows, it asks of `/api/v1`.
//!
//! The policy forbids everything that is not a file of ours, so that captured text which becomes markup by a mistake is inert.

use std::io::{self, Read};

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use flate2::read::GzDecoder;

/// Path below `/console/`, and the file, compressed; written by `build.rs`.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/console_files.rs"));

/// What may be loaded, from where, and by whom it may be framed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Names of built files hold a hash of what is in them, so they never change.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// Largest file, unpacked: a bound on what is unpacked for a client that takes nothing compressed.
const LARGEST: u64 = 16 << 20;

/// Shown where the console was left out.
const MISSING: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Aviary</title>\
    <h1>The hub runs; its console was not built</h1>\
    <p>Node 20.19 or newer was not there when this program was built. Install it, run <code>cargo xtask console</code> in \
    the source, build again and restart the hub.</p><p>The API is at <code>/api/v1</code>, its description at \
    <a href=\"/api/v1/openapi.json\">/api/v1/openapi.json</a>.</p>\
    <h1 lang=\"zh-CN\">Hub 正在运行,但未包含控制台</h1>\
    <p lang=\"zh-CN\">构建时没有 Node 20.19 或更新版本。请安装后在源码目录运行 <code>cargo xtask console</code>,重新构建并重启 Hub。</p>";

/// The routes.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(|| async { Redirect::to("/console/") }))
        .route("/console", get(|| async { Redirect::to("/console/") }))
        .route("/console/", get(|headers: HeaderMap| async move { page(&headers) }))
        .route(
            "/console/{*path}",
            get(|Path(path): Path<String>, headers: HeaderMap| async move { file(&path, &headers) }),
        )
}

fn page(headers: &HeaderMap) -> Response {
    match FILES.iter().find(|(name, _)| *name == "index.html") {
        Some((name, packed)) => send(name, packed, headers),
        None => guarded((StatusCode::OK, MISSING.to_owned()).into_response(), "text/html; charset=utf-8", "no-cache"),
    }
}

fn file(path: &str, headers: &HeaderMap) -> Response {
    match FILES.iter().find(|(name, _)| *name == path) {
        Some((name, packed)) => send(name, packed, headers),
        None => crate::Problem::not_found("the console has no such file").into_response(),
    }
}

fn send(name: &str, packed: &'static [u8], headers: &HeaderMap) -> Response {
    let kept = if name.starts_with("assets/") { FOR_EVER } else { "no-cache" };
    if takes_gzip(headers) {
        let mut response = guarded(packed.into_response(), kind(name), kept);
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        return response;
    }
    match unpacked(packed) {
        Ok(bytes) => guarded(bytes.into_response(), kind(name), kept),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn unpacked(packed: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    #[expect(clippy::disallowed_methods, reason = "our own file, and no more of it than `LARGEST`")]
    GzDecoder::new(packed).take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|one| {
        let mut parts = one.split(';').map(str::trim);
        parts.next() == Some("gzip") && !parts.any(|weight| matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

fn guarded(mut response: Response, kind: &'static str, kept: &'static str) -> Response {
    let said = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, kept),
        (header::VARY, "accept-encoding"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in said {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(encoding: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(encoding))])
    }

    #[test]
    fn only_who_takes_gzip_gets_it() {
        assert!(takes_gzip(&asking("br, gzip;q=0.8")));
        for encoding in ["br", "gzip;q=0", "identity", "x-gzip"] {
            assert!(!takes_gzip(&asking(encoding)), "{encoding}");
        }
    }

    #[test]
    fn every_answer_carries_the_policy() {
        let response = page(&HeaderMap::new());
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_SECURITY_POLICY], POLICY);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert!(!POLICY.contains("unsafe"));
    }

    #[test]
    fn a_file_unpacks_to_what_its_kind_says_and_is_cached_by_its_hash() {
        for (name, packed) in FILES {
            let bytes = unpacked(packed).expect("our own file");
            assert!(!bytes.is_empty() && std::str::from_utf8(&bytes).is_ok(), "{name}");
            assert_ne!(kind(name), "application/octet-stream", "{name}");
            let response = file(name, &asking("gzip"));
            let kept = response.headers()[header::CACHE_CONTROL].to_str().expect("text").to_owned();
            assert_eq!(kept.contains("immutable"), name.starts_with("assets/"), "{name}");
            assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
        }
    }

    #[test]
    fn what_is_no_file_is_not_found() {
        for path in ["nothing.js", "../Cargo.toml", "assets/", ""] {
            assert_eq!(file(path, &HeaderMap::new()).status(), StatusCode::NOT_FOUND, "{path}");
        }
    }
}
