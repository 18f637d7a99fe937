//! Documents as text: as OpenCanary's Python prints a `dict`, and as MongoDB prints one in an error.

use super::bson::{Bson, Document};

/// Longest text.
const LONGEST: usize = 16 * 1024;

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// `{'ping': 1, 'payload': b'n,,'}`.
    Python,
    /// The same with bytes in hex, as OpenCanary shows logins: `{'payload': '6e2c2c'}`.
    PythonHex,
    /// `{ ping: 1, $db: "admin" }`.
    Shell,
}

/// A command as OpenCanary logs it; what Python has no type for is written as the shell writes it.
pub(super) fn python(document: &Document) -> Vec<u8> {
    print(document, Style::Python)
}

/// A login as OpenCanary logs it.
pub(super) fn python_login(document: &Document) -> Vec<u8> {
    print(document, Style::PythonHex)
}

/// A command as the server prints it in an error.
pub(super) fn shell(document: &Document) -> Vec<u8> {
    print(document, Style::Shell)
}

fn print(document: &Document, style: Style) -> Vec<u8> {
    let mut out = Vec::new();
    write_document(&mut out, document, style, false);
    if out.len() > LONGEST {
        out.truncate(LONGEST);
        out.extend_from_slice(b"...");
    }
    out
}

fn write_document(out: &mut Vec<u8>, document: &Document, style: Style, list: bool) {
    let padded = style == Style::Shell && !document.0.is_empty();
    out.extend_from_slice(match (list, padded) {
        (true, false) => b"[",
        (true, true) => b"[ ",
        (false, false) => b"{",
        (false, true) => b"{ ",
    });
    for (n, (name, value)) in document.0.iter().enumerate() {
        if out.len() > LONGEST {
            return;
        }
        if n > 0 {
            out.extend_from_slice(b", ");
        }
        if !list {
            if style == Style::Shell {
                out.extend_from_slice(name);
            } else {
                quoted(out, name);
            }
            out.extend_from_slice(b": ");
        }
        write_value(out, value, style);
    }
    out.extend_from_slice(match (list, padded) {
        (true, false) => b"]",
        (true, true) => b" ]",
        (false, false) => b"}",
        (false, true) => b" }",
    });
}

fn write_value(out: &mut Vec<u8>, value: &Bson, style: Style) {
    let is_shell = style == Style::Shell;
    let mut say = |text: String| out.extend_from_slice(text.as_bytes());
    match value {
        Bson::Double(number) if is_shell && number.fract() == 0.0 && number.abs() < 1e15 => say(format!("{number:.1}")),
        Bson::Double(number) => say(format!("{number:?}")),
        Bson::Int(number) => say(number.to_string()),
        Bson::Long(number) => say(number.to_string()),
        Bson::Bool(flag) if is_shell => say(flag.to_string()),
        Bson::Bool(flag) => say(if *flag { "True" } else { "False" }.to_owned()),
        Bson::Null => say(if is_shell { "null" } else { "None" }.to_owned()),
        Bson::Date(number) => say(format!("new Date({number})")),
        Bson::Timestamp(number) => say(format!("Timestamp({}, {})", number >> 32, number & 0xffff_ffff)),
        Bson::ObjectId(id) => say(format!("ObjectId('{}')", hex(id))),
        Bson::Decimal(bytes) => say(format!("Decimal128('{}')", hex(bytes))),
        Bson::Bound(upper) => say(if *upper { "MaxKey" } else { "MinKey" }.to_owned()),
        Bson::Binary(subtype, bytes) => match style {
            Style::PythonHex => say(format!("'{}'", hex(bytes))),
            Style::Python => say(python_bytes(bytes)),
            Style::Shell => say(format!("BinData({subtype}, {})", hex(bytes).to_uppercase())),
        },
        Bson::Text(text) if is_shell => {
            out.push(b'"');
            for byte in text {
                if matches!(byte, b'"' | b'\\') {
                    out.push(b'\\');
                }
                out.push(*byte);
            }
            out.push(b'"');
        }
        Bson::Text(text) => quoted(out, text),
        Bson::Document(inner) => write_document(out, inner, style, false),
        Bson::Array(inner) => write_document(out, inner, style, true),
        Bson::Regex(pattern, options) => {
            out.push(b'/');
            out.extend_from_slice(pattern);
            out.push(b'/');
            out.extend_from_slice(options);
        }
        Bson::Pointer(collection, id) => {
            out.extend_from_slice(b"DBPointer(");
            quoted(out, collection);
            out.extend_from_slice(format!(", '{}')", hex(id)).as_bytes());
        }
        Bson::Code(code, scope) => {
            out.extend_from_slice(b"Code(");
            quoted(out, code);
            if let Some(scope) = scope {
                out.extend_from_slice(b", ");
                write_document(out, scope, style, false);
            }
            out.push(b')');
        }
    }
}

/// Text as Python's `repr` writes it; bytes that are no UTF-8 stay as they are.
fn quoted(out: &mut Vec<u8>, text: &[u8]) {
    let mark = mark_of(text);
    out.push(mark);
    for byte in text {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte if *byte == mark => out.extend_from_slice(&[b'\\', mark]),
            0..=0x1f | 0x7f => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
            byte => out.push(*byte),
        }
    }
    out.push(mark);
}

/// Which mark Python puts around text.
fn mark_of(text: &[u8]) -> u8 {
    if text.contains(&b'\'') && !text.contains(&b'"') { b'"' } else { b'\'' }
}

/// Bytes as Python's `repr` writes them.
fn python_bytes(bytes: &[u8]) -> String {
    let mark = char::from(mark_of(bytes));
    let mut text = format!("b{mark}");
    for byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            byte if char::from(*byte) == mark => text.extend(['\\', mark]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            0x20..=0x7e => text.push(char::from(*byte)),
            byte => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push(mark);
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Document {
        Document::default()
            .with("ping", 1.0)
            .with("it's", "a\"b\\\n\u{e9}")
            .with("flag", true)
            .with("none", Bson::Null)
            .with("data", Bson::Binary(0, b"n,,'\x00".to_vec()))
            .with("list", [1, 2].into_iter().collect::<Bson>())
            .with("empty", Document::default())
            .with("inner", Document::default().with("$db", "admin"))
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn prints_as_python_does() {
        assert_eq!(
            text(python(&sample())),
            "{'ping': 1.0, \"it's\": 'a\"b\\\\\\n\u{e9}', 'flag': True, 'none': None, 'data': b\"n,,'\\x00\", \
             'list': [1, 2], 'empty': {}, 'inner': {'$db': 'admin'}}"
        );
        assert!(text(python_login(&sample())).contains("'data': '6e2c2c2700'"));
    }

    #[test]
    fn prints_as_the_server_does() {
        assert_eq!(
            text(shell(&sample())),
            "{ ping: 1.0, it's: \"a\\\"b\\\\\n\u{e9}\", flag: true, none: null, data: BinData(0, 6E2C2C2700), \
             list: [ 1, 2 ], empty: {}, inner: { $db: \"admin\" } }"
        );
    }

    #[test]
    fn long_text_is_cut() {
        let long = Document::default().with("a", "x".repeat(2 * LONGEST).as_str());
        assert_eq!(python(&long).len(), LONGEST + 3);
    }
}
