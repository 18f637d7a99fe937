//! JSON inside of other text: syslog messages, and texts that somebody wrote around an event.

use serde::de::IgnoredAny;

/// Places where an object could begin that are tried.
const TRIED: usize = 8;

/// The event in a syslog message (RFC 3164, RFC 5424, or neither), or a line that is one itself. Where there is none, what
/// comes nearest, so that whoever reads it says what is wrong.
#[must_use]
pub fn event_in(message: &str) -> &str {
    let message = message.trim_matches(|c: char| c.is_whitespace() || c == '\0' || c == '\u{feff}');
    if message.starts_with('{') {
        return message;
    }
    let content =
        after_priority(message).map_or(message, |rest| rest.strip_prefix("1 ").and_then(after_data).unwrap_or(rest));
    object_in(content).unwrap_or(content)
}

/// The first JSON object in a text.
#[must_use]
pub fn object_in(text: &str) -> Option<&str> {
    let starts = text.match_indices('{').take(TRIED);
    let mut rests = starts.filter_map(|(start, _)| text.get(start..));
    rests.find_map(|rest| {
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
        values.next()?.ok()?;
        rest.get(..values.byte_offset())
    })
}

/// What follows `<34>`.
fn after_priority(message: &str) -> Option<&str> {
    let (priority, rest) = message.strip_prefix('<')?.split_once('>')?;
    let digits = (1..=3).contains(&priority.len()) && priority.bytes().all(|byte| byte.is_ascii_digit());
    digits.then_some(rest)
}

/// What follows time, host, application, process, message id and structured data of RFC 5424.
fn after_data(header: &str) -> Option<&str> {
    let rest = header.splitn(6, ' ').nth(5)?;
    let Some(elements) = rest.strip_prefix('[') else {
        return Some(rest.strip_prefix('-').unwrap_or(rest));
    };
    let (mut quoted, mut escaped) = (false, false);
    let mut characters = elements.char_indices().peekable();
    while let Some((place, character)) = characters.next() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ']' if !quoted && characters.peek().is_none_or(|(_, next)| *next != '[') => {
                return elements.get(place..)?.strip_prefix(']');
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrapping_of_an_event_is_taken_off() {
        const EVENT: &str = r#"{"logdata": {"a": "}{"}, "logtype": 2000}"#;
        for wrapped in [
            EVENT.to_owned(),
            format!("  {EVENT}\0\n"),
            format!("<14>{EVENT}"),
            format!("<14>{EVENT}\0"),
            format!("<14>opencanaryd[12:34]: opencanary-1 INFO {EVENT}"),
            format!("<14>Nov  5 01:02:03 host opencanary: {EVENT}"),
            format!("<14>Nov  5 01:02:03 host {{odd}}: {EVENT} and more"),
            format!("<14>1 2026-11-25T00:00:00Z host app 12 ID - {EVENT}"),
            format!("<14>1 2026-11-25T00:00:00Z host app 12 ID - \u{feff}{EVENT}"),
            format!(r#"<165>1 - - - - - [a@1 x="{{\"b\": 1}}" y="]"][b@2] {EVENT}"#),
            format!("Alert: {EVENT}"),
        ] {
            assert_eq!(event_in(&wrapped), EVENT, "{wrapped}");
        }
    }

    #[test]
    fn what_holds_no_event_stays_as_it_is() {
        for message in
            ["", "hello", "<14>Nov  5 01:02:03 host app: hello", "<14>1 - - - - - [a x=\"", "<9999>x", "{", "<1>{"]
        {
            let found = event_in(message);
            assert!(message.ends_with(found) && object_in(message).is_none(), "{message}: {found}");
        }
    }
}
