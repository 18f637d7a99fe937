//! JA4H: what the head of an HTTP request says about the client.
//!
//! ```text
//! <method><version><c|n><r|n><headers><language>_<hash>_<hash>_<hash>
//! ```
//!
//! Two characters of the method, two digits of the version, whether there is a `Cookie` and a `Referer`,
//! how many other headers there are, four characters of the first accepted language; then hashes of the
//! other headers' names as sent, of the names of the cookies, and of the cookies, both sorted by name.

use super::{HashedList, MOST};

/// JA4H of a request with this method, this version (`None` for HTTP/0.9), and these headers in the order
/// and the spelling in which they came: 51 characters.
///
/// What the authors leave open: a character that is no letter or digit in method or language is left out,
/// one that is missing is `0`, and a version that two digits cannot show is `00`.
pub fn ja4h<'a>(
    method: &[u8],
    version: Option<(u16, u16)>,
    headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> String {
    let (mut has_cookie, mut has_referer, mut count) = (false, false, 0usize);
    let mut language = None;
    let mut names = HashedList::default();
    let mut cookies: Vec<(&[u8], &[u8])> = Vec::new();
    for (name, value) in headers {
        if name.eq_ignore_ascii_case(b"cookie") {
            has_cookie = true;
            let pairs = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty());
            cookies.extend(pairs.map(|pair| (before_equals(pair).trim_ascii(), pair)));
            continue;
        }
        if name.eq_ignore_ascii_case(b"referer") {
            has_referer = true;
            continue;
        }
        if language.is_none() && name.eq_ignore_ascii_case(b"accept-language") {
            language = Some(value);
        }
        count = count.saturating_add(1);
        names.push(name);
    }
    cookies.sort_by_key(|(name, _)| *name);
    let (mut cookie_names, mut cookie_pairs) = (HashedList::default(), HashedList::default());
    for (name, pair) in cookies {
        cookie_names.push(name);
        cookie_pairs.push(pair);
    }
    let language = language.unwrap_or_default().split(|byte| matches!(byte, b',' | b';')).next();
    let (major, minor) = version.unwrap_or((0, 9));
    let version = if major < 10 && minor < 10 { format!("{major}{minor}") } else { "00".to_owned() };
    format!(
        "{}{version}{}{}{:02}{}_{}_{}_{}",
        characters::<2>(method),
        if has_cookie { 'c' } else { 'n' },
        if has_referer { 'r' } else { 'n' },
        count.min(MOST),
        characters::<4>(language.unwrap_or_default()),
        names.finish(),
        cookie_names.finish(),
        cookie_pairs.finish(),
    )
}

/// The first so many letters and digits in lower case, filled up with zeros.
fn characters<const N: usize>(text: &[u8]) -> String {
    let letters = text.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase);
    letters.chain(std::iter::repeat(b'0')).take(N).map(char::from).collect()
}

fn before_equals(pair: &[u8]) -> &[u8] {
    pair.split(|byte| *byte == b'=').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(method: &str, version: (u16, u16), headers: &[(&str, &str)]) -> String {
        let headers = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        ja4h(method.as_bytes(), Some(version), headers)
    }

    /// Of a request to cnn.com among JA4H's own tests.
    #[test]
    fn is_that_of_its_authors_example_with_cookies() {
        let cookies = "FastAB=0=6859,1=8174,2=4183,3=3319,4=3917,5=2557,6=4259,7=6070,8=0804,9=6453,10=1942,\
            11=4435,12=4143,13=9445,14=6957,15=8682,16=1885,17=1825,18=3760,19=0929; sato=1; countryCode=US; \
            stateCode=VA; geoData=purcellville|VA|20132|US|NA|-400|broadband|39.160|-77.700|511; usprivacy=1---; \
            umto=1; _dd_s=logs=1&id=b5c2d770-eaba-4847-8202-390c4552ff9a&created=1686159462724&expire=1686160422726";
        let headers = [
            ("Host", "www.cnn.com"),
            ("Cookie", cookies),
            ("Sec-Ch-Ua", ""),
            ("Sec-Ch-Ua-Mobile", "?0"),
            ("User-Agent", "Mozilla/5.0"),
            ("Sec-Ch-Ua-Platform", "\"\""),
            ("Accept", "*/*"),
            ("Sec-Fetch-Site", "same-origin"),
            ("Sec-Fetch-Mode", "cors"),
            ("Sec-Fetch-Dest", "empty"),
            ("Sec-Fetch-Mode", "cors"),
            ("Sec-Fetch-Dest", "empty"),
            ("Referer", "https://www.cnn.com/"),
            ("Accept-Encoding", "gzip, deflate"),
            ("Accept-Language", "en-US,en;q=0.9"),
        ];
        assert_eq!(of("GET", (1, 1), &headers), "ge11cr13enus_88d2d584d47f_0f2659b474bf_161698816dab");
    }

    /// Of the captures `http1` and `https-connect` among JA4H's own tests.
    #[test]
    fn is_that_of_its_authors_captures() {
        let without = |method, version, names: &str, language| {
            let named = names.split(',').map(|name| (name, if name == "Accept-Language" { language } else { "x" }));
            of(method, version, &named.collect::<Vec<_>>())
        };
        for (method, version, names, hash) in [
            ("POST", (1, 1), "Host,Accept,User-Agent,Content-Type,Content-Length", "po11nn050000_530ceba2075f"),
            ("HEAD", (1, 1), "Host,Connection,User-Agent,Accept-Encoding,Accept-Language", "he11nn05enus_6f8992deff94"),
            ("GET", (1, 1), "Host,User-Agent,Accept,Range", "ge11nn040000_ad0fd3707af2"),
            ("CONNECT", (1, 0), "User-Agent", "co10nn010000_b8bcd45ac095"),
        ] {
            let wanted = format!("{hash}_000000000000_000000000000");
            assert_eq!(without(method, version, names, "en-US,en;q=0.9"), wanted);
        }
    }

    #[test]
    fn the_language_is_the_first_one() {
        let language = |value| of("GET", (1, 1), &[("accept-language", value)])[8..12].to_owned();
        for (value, text) in [
            ("da, en-GB;q=0.8, en;q=0.7", "da00"),
            ("en-US,en;q=0.9", "enus"),
            ("EN;q=1", "en00"),
            ("zh-Hant-TW", "zhha"),
            ("*", "0000"),
            ("", "0000"),
            ("\u{e4}\u{f6}", "0000"),
        ] {
            assert_eq!(language(value), text, "{value}");
        }
    }

    #[test]
    fn cookies_are_sorted_by_name_and_others_are_not() {
        let one = of("GET", (1, 1), &[("A", ""), ("Cookie", "b=2; a=1;c"), ("B", "")]);
        assert_eq!(one, of("GET", (1, 1), &[("A", ""), ("cookie", "c; a=1"), ("B", ""), ("COOKIE", " b=2 ;")]));
        assert_ne!(one.get(..25), of("GET", (1, 1), &[("B", ""), ("Cookie", "b=2;a=1;c"), ("A", "")]).get(..25));
        // Other values change the last part alone.
        let two = of("GET", (1, 1), &[("A", ""), ("Cookie", "b=3; a=1;c"), ("B", "")]);
        assert_eq!(one.get(..38), two.get(..38));
        assert_ne!(one, two);
    }

    #[test]
    fn requests_beyond_the_definition_have_zeros() {
        assert_eq!(ja4h(b"GET", None, std::iter::empty()), "ge09nn000000_000000000000_000000000000_000000000000");
        assert_eq!(of("g", (11, 1), &[]).get(..4), Some("g000"));
        assert_eq!(of("\u{ff}-M", (9, 9), &[]).get(..4), Some("m099"));
        let many = [("X", "y"); 200];
        assert_eq!(of("GET", (1, 1), &many).get(6..8), Some("99"));
        assert_eq!(of("GET", (1, 1), &[("Cookie", ""), ("Referer", "")]).get(4..8), Some("cr00"));
    }

    proptest! {
        #[test]
        fn any_request_has_a_fingerprint_of_its_form(
            method in prop::collection::vec(any::<u8>(), 0..5),
            version in prop::option::of(any::<(u16, u16)>()),
            headers in prop::collection::vec(
                (
                    prop_oneof![
                        Just(b"Cookie".to_vec()),
                        Just(b"accept-language".to_vec()),
                        prop::collection::vec(any::<u8>(), 0..9),
                    ],
                    prop::collection::vec(any::<u8>(), 0..40),
                ),
                0..120,
            ),
        ) {
            let print = ja4h(&method, version, headers.iter().map(|(n, v)| (n.as_slice(), v.as_slice())));
            prop_assert_eq!(print.len(), 51, "{}", print);
            prop_assert!(print.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{}", print);
        }
    }
}
