//! Scripts: their errors, and the simplest of results. Nothing is run.

use sha1::{Digest, Sha1};

use super::codec::integer;
use super::commands::Era;
use super::open::{NO_INTEGER, word};
use super::reply::Replies;
use super::server::Server;

/// EVAL and SCRIPT LOAD; whether it is one.
pub(super) fn answer(server: &Server, name: &str, words: &[Vec<u8>], to: &mut Replies) -> bool {
    match name {
        "eval" | "eval_ro" => match integer(word(words, 2)) {
            None => to.error(NO_INTEGER),
            Some(..=-1) => to.error("ERR Number of keys can't be negative"),
            Some(keys) if usize::try_from(keys).is_ok_and(|keys| keys <= words.len().saturating_sub(3)) => {
                result(server, word(words, 1), to);
            }
            Some(_) => to.error("ERR Number of keys can't be greater than number of args"),
        },
        "script|load" => to.bulk(sha1_hex(word(words, 2))),
        _ => return false,
    }
    true
}

/// Libraries and functions that the sandbox of all versions played lacks, and attacks ask for.
const OUTSIDE: [&str; 7] = ["package", "os", "io", "require", "dofile", "loadfile", "debug"];

/// What a script comes to: the error of the first name that the sandbox lacks, a literal that it
/// returns, or null. LIMIT: it is not run, so a script that computes something answers null.
fn result(server: &Server, script: &[u8], to: &mut Replies) {
    if let Some((line, global)) = outside(script) {
        let hash = sha1_hex(script);
        let what = format!("user_script:{line}: Script attempted to access nonexistent global variable '{global}'");
        return to.error(if server.persona.era >= Era::V7_0 {
            format!("ERR {what} script: {hash}, on @user_script:{line}.")
        } else {
            format!("ERR Error running script (call to f_{hash}): @enable_strict_lua:15: {what}")
        });
    }
    let returned = script.trim_ascii().strip_prefix(b"return");
    let value = returned.filter(|rest| !rest.first().is_some_and(u8::is_ascii_alphanumeric));
    let value = value.unwrap_or_default().trim_ascii();
    match value {
        [quote @ (b'\'' | b'"'), inner @ .., last] if quote == last && !inner.contains(quote) => to.bulk(inner),
        _ => match integer(value) {
            Some(number) => to.int(number),
            None => to.nil(),
        },
    }
}

/// The first line, from 1, in which a name from outside the sandbox is used, and that name.
fn outside(script: &[u8]) -> Option<(usize, &'static str)> {
    script.split(|byte| *byte == b'\n').zip(1_usize..).find_map(|(line, number)| {
        let mut words = line.split_inclusive(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
        words.find_map(|word| {
            let (end, name) = word.split_last()?;
            let used = matches!(end, b'.' | b'(');
            let found = OUTSIDE.iter().find(|global| used && name == global.as_bytes())?;
            Some((number, *found))
        })
    })
}

fn sha1_hex(text: &[u8]) -> String {
    Sha1::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_names_from_outside_the_sandbox() {
        assert_eq!(outside(b"local x = 1\nreturn package.path"), Some((2, "package")));
        assert_eq!(outside(b"return io.popen('id')"), Some((1, "io")));
        assert_eq!(outside(b"require('x')"), Some((1, "require")));
        assert_eq!(outside(b"local audio, function_io = 1, 2 return portfolio.x"), None);
    }
}
