//! What a value may refer to: environment variables, and for secrets the contents of a file.
//!
//! * `$NAME` and `${NAME}` in every string, at any depth, as Python's `os.path.expandvars` does it
//!   and OpenCanary with it: a variable that is not set stays as written, what a variable holds is
//!   not looked at again.
//! * `file:/path` as the whole of a string becomes the file's text without the line break at its
//!   end. This counts where secrets are: in options of `logger.kwargs.handlers` and `outputs` and in passwords of
//!   honeycreds, after variables (`file:$CREDENTIALS_DIRECTORY/token`). Elsewhere it is plain text.

use std::path::Path;

use serde_json::Value;

use crate::document::{Document, Entry, below};
use crate::problem::{Location, Problem};
use crate::search::{Surroundings, read_capped};

/// Longest secret that a file may hold, in bytes.
pub const LONGEST_SECRET: usize = 64 * 1024;

/// Replaces what the values of a document refer to, in place, and says what is odd about it.
#[must_use]
pub fn expand(document: &mut Document, surroundings: &Surroundings) -> Vec<Problem> {
    let mut problems = Vec::new();
    let paths: Vec<String> = document.entries.iter().map(|entry| document.path(&entry.key)).collect();
    for (entry, path) in document.entries.iter_mut().zip(&paths) {
        let Entry { key, value, location, parts } = entry;
        let mut places = Places { key, path, location, parts, surroundings, problems: &mut problems };
        places.walk(value, "");
    }
    for host in &mut document.hosts {
        problems.extend(expand(&mut host.document, surroundings));
    }
    problems
}

struct Places<'a> {
    key: &'a str,
    /// The key as messages name it.
    path: &'a str,
    location: &'a Location,
    parts: &'a crate::document::Parts,
    surroundings: &'a Surroundings,
    problems: &'a mut Vec<Problem>,
}

impl Places<'_> {
    fn walk(&mut self, value: &mut Value, pointer: &str) {
        match value {
            Value::String(text) => self.text(text, pointer),
            Value::Array(items) => {
                for (at, item) in items.iter_mut().enumerate() {
                    self.walk(item, &below(pointer, &at.to_string()));
                }
            }
            Value::Object(map) => {
                for (name, item) in map.iter_mut() {
                    self.walk(item, &below(pointer, name));
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &mut String, pointer: &str) {
        let expanded = expand_text(text, |name| self.surroundings.variables.get(name).map(String::as_str));
        let secret = is_secret(self.key, pointer);
        for name in expanded.unset {
            let said = format!("the variable {name} in `{}` is not set, and stays as written", self.path);
            self.warn(pointer, said, "set it where the canary is started, or correct its name");
        }
        if secret && self.key.ends_with(".honeycreds") {
            for name in expanded.bare {
                let said = format!("`${name}` in a password of `{}` was replaced from the environment", self.path);
                self.warn(pointer, said, "write `${NAME}` if this is meant; take another password if it is not");
            }
        }
        *text = expanded.text;
        let Some(path) = text.strip_prefix("file:").filter(|path| secret && path.starts_with('/')) else { return };
        match read_secret(Path::new(path)) {
            Ok(found) => *text = found,
            Err(reason) => {
                let message = format!("`{}` takes a secret from `{path}`, which {reason}", self.path);
                self.problems.push(Problem::error(self.place(pointer), message).of_key(self.path));
            }
        }
    }

    fn warn(&mut self, pointer: &str, said: String, hint: &str) {
        self.problems.push(Problem::warning(self.place(pointer), said).of_key(self.path).hint(hint));
    }

    fn place(&self, pointer: &str) -> Location {
        self.parts.get(pointer).unwrap_or(self.location).clone()
    }
}

/// Whether secrets stand at this place: see the head of the file.
pub(crate) fn is_secret(key: &str, pointer: &str) -> bool {
    let inside = match key {
        "logger" => pointer.strip_prefix("/kwargs/handlers/"),
        "outputs" => pointer.strip_prefix('/'),
        _ => None,
    };
    let option = inside.is_some_and(|rest| rest.contains('/'));
    (option && !pointer.ends_with("/class")) || (key.ends_with(".honeycreds") && pointer.ends_with("/password"))
}

fn read_secret(path: &Path) -> Result<String, String> {
    let bytes = match read_capped(path, LONGEST_SECRET) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Err(format!("holds more than {LONGEST_SECRET} bytes")),
        Err(error) => return Err(format!("cannot be read: {error}")),
    };
    let mut text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// A text after expansion.
#[derive(Debug, PartialEq)]
struct Expanded {
    text: String,
    /// Names that were replaced without curly brackets.
    bare: Vec<String>,
    /// References in curly brackets, as written, that were left alone.
    unset: Vec<String>,
}

fn expand_text<'a>(text: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> Expanded {
    let mut out = Expanded { text: String::with_capacity(text.len()), bare: Vec::new(), unset: Vec::new() };
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, dollar) = rest.split_at(at);
        out.text.push_str(before);
        let (reference, name, braced) = reference(dollar);
        match lookup(name).filter(|_| !name.is_empty()) {
            Some(value) => {
                out.text.push_str(value);
                if !braced {
                    out.bare.push(name.to_owned());
                }
            }
            None => {
                out.text.push_str(reference);
                if braced && !name.is_empty() {
                    out.unset.push(reference.to_owned());
                }
            }
        }
        rest = &dollar[reference.len()..];
    }
    out.text.push_str(rest);
    out
}

/// The reference that a text begins with, the name in it, and whether it is in curly brackets:
/// `$` and letters, digits and underscores of ASCII, or `${` and anything up to `}`.
fn reference(dollar: &str) -> (&str, &str, bool) {
    let after = &dollar[1..];
    if let Some(inner) = after.strip_prefix('{') {
        return match inner.split_once('}') {
            Some((name, _)) => (&dollar[..name.len() + 3], name, true),
            None => (&dollar[..1], "", false),
        };
    }
    let length = after.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    (&dollar[..=length], &after[..length], false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, surroundings};

    fn expanded(text: &str) -> String {
        let lookup = |name: &str| match name {
            "HOME" => Some("/root"),
            "A" => Some("$HOME"),
            "EMPTY" => Some(""),
            "a b" => Some("spaced"),
            _ => None,
        };
        expand_text(text, lookup).text
    }

    /// Results of Python 3.11's `os.path.expandvars` with the same variables.
    #[test]
    fn expands_as_python_does() {
        for (given, wanted) in [
            ("$HOME/x", "/root/x"),
            ("${HOME}x", "/rootx"),
            ("$HOMEx", "$HOMEx"),
            ("$A", "$HOME"),
            ("${a b}", "spaced"),
            ("$$HOME", "$/root"),
            ("a$", "a$"),
            ("${", "${"),
            ("${}", "${}"),
            ("${HOME", "${HOME"),
            ("${UNSET}$HOME", "${UNSET}/root"),
            ("$é$HOME", "$é/root"),
            ("${EMPTY}|$EMPTY|", "||"),
            ("$pbkdf2-sha512$19000$bG1N", "$pbkdf2-sha512$19000$bG1N"),
        ] {
            assert_eq!(expanded(given), wanted, "{given}");
        }
    }

    #[test]
    fn strings_at_any_depth_are_expanded_but_not_keys() {
        let mut document = document(r#"{"a.b": "$HOME", "logger": {"$HOME": ["${HOME}/log", 1]}}"#);
        assert_eq!(expand(&mut document, &surroundings()), []);
        assert_eq!(document.entries[0].value, "/root");
        assert_eq!(document.entries[1].value.to_string(), r#"{"$HOME":["/root/log",1]}"#);
    }

    #[test]
    fn secrets_come_from_files_where_secrets_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        std::fs::write(&path, "s3cret\r\n").expect("written");
        let text = r#"{
            "ftp.banner": "file:PATH",
            "logger": {"class": "file:PATH", "kwargs": {"handlers": {"w": {"class": "x", "headers": {"k": "file:PATH"}}}}},
            "ftp.honeycreds": [{"username": "file:PATH", "password": "file:PATH"}],
            "outputs": {"w": {"class": "file:PATH", "auth": ["user", "file:PATH"]}}
        }"#;
        let mut document = document(&text.replace("PATH", path.to_str().expect("UTF-8")));
        assert_eq!(expand(&mut document, &surroundings()), []);
        let [banner, logger, creds, outputs] = &document.entries[..] else { panic!("four entries") };
        assert_eq!(outputs.value.pointer("/w/auth/1").and_then(Value::as_str), Some("s3cret"));
        assert_ne!(outputs.value.pointer("/w/class").and_then(Value::as_str), Some("s3cret"));
        assert!(banner.value.as_str().is_some_and(|text| text.starts_with("file:")));
        assert_eq!(logger.value.pointer("/kwargs/handlers/w/headers/k").and_then(Value::as_str), Some("s3cret"));
        assert!(logger.value["class"].as_str().is_some_and(|text| text.starts_with("file:")));
        assert_eq!(creds.value.pointer("/0/password").and_then(Value::as_str), Some("s3cret"));
        assert_ne!(creds.value.pointer("/0/username").and_then(Value::as_str), Some("s3cret"));
    }

    #[test]
    fn a_secret_too_long_or_missing_is_an_error_at_its_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("long");
        std::fs::write(&path, vec![b'x'; LONGEST_SECRET + 1]).expect("written");
        let text = format!(
            "{{\"ftp.honeycreds\": [\n{{\"password\": \"file:{}\"}},\n{{\"password\": \"file:/nowhere/at/all\"}}]}}",
            path.display()
        );
        let problems = expand(&mut document(&text), &surroundings());
        assert_eq!(problems.iter().map(|problem| problem.location.line).collect::<Vec<_>>(), [2, 3]);
        assert!(problems.iter().all(Problem::is_error));
        assert!(problems[0].message.ends_with("which holds more than 65536 bytes"), "{}", problems[0]);
    }

    #[test]
    fn warns_of_unset_variables_and_of_passwords_that_changed() {
        let mut document = document(r#"{"ftp.banner": "${NOPE}", "ftp.honeycreds": [{"password": "pa$HOME"}]}"#);
        let problems = expand(&mut document, &surroundings());
        assert_eq!(problems.len(), 2);
        assert!(problems[0].message.contains("${NOPE}"));
        assert!(problems[1].message.contains("$HOME"));
        assert!(!problems.iter().any(Problem::is_error));
    }
}
