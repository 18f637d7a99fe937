//! The cookie of a session.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// Its name. Browsers take one with this beginning only over TLS, for this host alone and for all of it.
pub(crate) const NAME: &str = "__Host-aviary";

/// What a browser keeps it with.
const KEPT: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";

/// What the cookie of a request says.
pub(crate) fn read(headers: &HeaderMap) -> Option<String> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == NAME).map(|(_, value)| value.to_owned())
}

/// The header that gives it to a browser for so many seconds.
pub(crate) fn give(secret: &str, seconds: i64) -> [(HeaderName, HeaderValue); 1] {
    header_of(&format!("{NAME}={secret}; Max-Age={seconds}; {KEPT}"))
}

/// The header that takes it away.
pub(crate) fn take_away() -> [(HeaderName, HeaderValue); 1] {
    header_of(&format!("{NAME}=; Max-Age=0; {KEPT}"))
}

fn header_of(text: &str) -> [(HeaderName, HeaderValue); 1] {
    let mut value = HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    [(header::SET_COOKIE, value)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_among_others_and_under_its_own_name_only() {
        let with = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::COOKIE, HeaderValue::from_str(line).expect("a header"));
            }
            read(&headers)
        };
        assert_eq!(with(&["a=b; __Host-aviary=00ff; c"]), Some("00ff".to_owned()));
        assert_eq!(with(&["a=b", "__Host-aviary=00ff"]), Some("00ff".to_owned()));
        assert_eq!(with(&["aviary=00ff; x__Host-aviary=1; __host-aviary=2"]), None);
        assert_eq!(with(&[]), None);
    }

    #[test]
    fn it_is_for_this_host_over_tls_and_not_for_scripts() {
        let [(_, value)] = give("00ff", 60);
        let text = value.to_str().expect("text");
        assert_eq!(text, "__Host-aviary=00ff; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Strict");
    }
}
