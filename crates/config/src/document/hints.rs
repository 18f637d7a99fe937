//! What to do about an error of syntax: the slips that people make in JSON, and their cure.

use jsonc_parser::errors::{ParseError, ParseErrorKind as Kind};

use super::Lines;
use crate::problem::Problem;

/// Quotes that word processors and web pages put in the place of `"`.
const CURLY: [char; 6] = ['\u{201c}', '\u{201d}', '\u{201e}', '\u{201f}', '\u{2033}', '\u{ff02}'];

/// Finds what would make a parser point to the wrong place: a text whose closing quote is missing
/// (it would run on to the next line's first quote), and curly quotes.
pub(super) fn loose_end(lines: &Lines<'_>) -> Option<Problem> {
    let text = lines.text;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => loop {
                match chars.next() {
                    Some((_, '"')) => break,
                    Some((_, '\\')) if chars.peek().is_some_and(|(_, c)| *c != '\n') => {
                        chars.next();
                    }
                    Some((_, '\n')) | None => {
                        let problem = lines.error(at, "this text has no closing quote on its line");
                        return Some(problem.hint("close it with `\"`; write a line break as `\\n`"));
                    }
                    Some(_) => {}
                }
            },
            '/' if chars.peek().is_some_and(|(_, c)| *c == '/') => {
                while chars.next_if(|(_, c)| *c != '\n').is_some() {}
            }
            '/' if chars.peek().is_some_and(|(_, c)| *c == '*') => {
                chars.next();
                while let Some((_, c)) = chars.next() {
                    if c == '*' && chars.next_if(|(_, c)| *c == '/').is_some() {
                        break;
                    }
                }
            }
            c if CURLY.contains(&c) => {
                let problem = lines.error(at, format!("`{c}` is not a quote of JSON"));
                return Some(problem.hint("type a straight `\"`; this one came from a word processor or a web page"));
            }
            _ => {}
        }
    }
    None
}

/// The parser's error in our words, with a hint.
pub(super) fn json_error(lines: &Lines<'_>, error: &ParseError) -> Problem {
    let offset = error.range().start;
    let rest = lines.text.get(offset..).unwrap_or_default();
    let word: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')).collect();
    let next = rest.chars().next();
    let (message, hint) = match error.kind() {
        Kind::TrailingCommasNotAllowed => ("a comma stands after the last element".to_owned(), "remove this comma"),
        Kind::ExpectedComma if next.is_some_and(|c| c.is_ascii_digit()) => {
            ("this number begins with a zero".to_owned(), "take the zero away, or put it in double quotes")
        }
        Kind::ExpectedComma => ("a comma is missing here".to_owned(), "every element but the last ends with `,`"),
        Kind::UnexpectedComma => {
            ("a comma stands where a value should".to_owned(), "remove it, or write the value before it")
        }
        Kind::ExpectedColonAfterObjectKey => {
            ("a colon is missing before this value".to_owned(), "a key and its value are written `\"key\": value`")
        }
        Kind::ExpectedObjectValue => ("the value is missing".to_owned(), "the file seems to end too early"),
        Kind::ExpectedStringObjectProperty => {
            (format!("the key `{word}` is not in quotes"), "keys stand in double quotes: `\"ftp.port\"`")
        }
        Kind::SingleQuotedStringsNotAllowed => ("a text in single quotes".to_owned(), "use double quotes: `\"text\"`"),
        Kind::UnexpectedWord | Kind::NonFiniteNumbersNotAllowed => (
            format!("`{word}` is not a value"),
            match word.as_str() {
                "True" | "TRUE" | "yes" | "Yes" | "on" => "write `true`",
                "False" | "FALSE" | "no" | "No" | "off" => "write `false`",
                "None" | "NULL" | "Null" => "write `null`, or leave the key out",
                _ => "texts stand in double quotes",
            },
        ),
        Kind::HexadecimalNumbersNotAllowed
        | Kind::UnaryPlusNumbersNotAllowed
        | Kind::BareDecimalPointNumbersNotAllowed
        | Kind::ExpectedDigit
        | Kind::ExpectedDigitFollowingNegativeSign
        | Kind::ExpectedPlusMinusOrDigitInNumberLiteral => {
            ("this is not a number as JSON writes them".to_owned(), "write digits, as in `2222`")
        }
        Kind::String(kind) => {
            (format!("{} in this text", kind.to_string().to_lowercase()), "a backslash itself is written `\\\\`")
        }
        Kind::MultipleRootJsonValues => {
            ("there is more after the end of the object".to_owned(), "a `}` may stand too early, or twice")
        }
        Kind::UnexpectedCloseBrace => ("`}` closes nothing here".to_owned(), "a value or `]` may be missing before it"),
        Kind::UnexpectedCloseBracket => {
            ("`]` closes nothing here".to_owned(), "a value or `}` may be missing before it")
        }
        Kind::UnterminatedObject => {
            ("the `{` here is never closed".to_owned(), "add the missing `}`; it may be that of an object inside")
        }
        Kind::UnterminatedArray => ("the `[` here is never closed".to_owned(), "add the missing `]`"),
        Kind::UnterminatedCommentBlock => ("the comment here is never closed".to_owned(), "end it with `*/`"),
        Kind::NestingDepthExceeded => ("brackets are nested too deeply".to_owned(), "512 levels are the limit"),
        _ => match next {
            Some(',') => ("a comma too many".to_owned(), "remove this comma"),
            Some(c) if c.is_ascii_alphabetic() => {
                (format!("`{word}` is not in quotes"), "keys and texts stand in double quotes")
            }
            Some('#') => ("`#` begins no comment here".to_owned(), "comments are written `// ...`"),
            Some(c) => (format!("`{c}` is not expected here"), "a key in double quotes or a closing bracket is"),
            None => ("the file ends too early".to_owned(), "a bracket may be missing"),
        },
    };
    let looks_like_toml =
        lines.text.lines().map(str::trim_start).find(|line| !line.is_empty() && !line.starts_with(['#', '/']));
    let hint = match looks_like_toml {
        Some(line) if line.starts_with('[') || (line.contains('=') && !line.starts_with('{')) => {
            "if the file is TOML, give it a name that ends in `.toml`"
        }
        _ => hint,
    };
    lines.error(offset, message).hint(hint)
}
