//! Problems: what is wrong where, and what to do about it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The canary does not start with it.
    Error,
    /// Worth telling; the canary starts.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The file.
    pub file: Arc<Path>,
    /// Line, from 1; 0 when the file as a whole is meant.
    pub line: u32,
    /// Column in characters, from 1; 0 when the file as a whole is meant.
    pub column: u32,
}

impl Location {
    /// A file as a whole.
    #[must_use]
    pub fn whole(file: &Arc<Path>) -> Self {
        Self { file: Arc::clone(file), line: 0, column: 0 }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = printable(&self.file.to_string_lossy(), usize::MAX);
        match self.line {
            0 => f.write_str(&file),
            line => write!(f, "{file}:{line}:{}", self.column),
        }
    }
}

/// Something wrong with a configuration. `Display` is one line, `file:line:column: error: ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where.
    pub location: Location,
    /// The key at fault, if one is.
    pub key: Option<String>,
    /// What is wrong and what is accepted.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The offending line, for errors of syntax.
    pub line_text: Option<String>,
}

impl Problem {
    /// An error.
    #[must_use]
    pub fn error(location: Location, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, location, key: None, message: message.into(), hint: None, line_text: None }
    }

    /// A warning.
    #[must_use]
    pub fn warning(location: Location, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(location, message) }
    }

    /// With the key at fault.
    #[must_use]
    pub fn of_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether it stops the start.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The one-line form, and below it the offending line with a mark under the column.
    #[must_use]
    pub fn detailed(&self) -> String {
        let Some(line) = self.line_text.as_ref().filter(|line| !line.is_empty()) else { return self.to_string() };
        let lead = usize::try_from(self.location.column).unwrap_or(1).saturating_sub(1);
        // Tabs stay tabs, so that the mark stands below the column whatever the terminal's tab width is.
        let pad: String = line.chars().take(lead).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let line: String = line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
        format!("{self}\n    {line}\n    {pad}^")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.location, self.severity, printable(&self.message, usize::MAX))?;
        match &self.hint {
            Some(hint) => write!(f, "; {}", printable(hint, usize::MAX)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

/// Text on one line: control characters escaped, cut after `limit` characters.
pub(crate) fn printable(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for (at, c) in text.chars().enumerate() {
        if at == limit {
            out.push_str("...");
            break;
        }
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// The name nearest to `wanted`, if one is near enough to be what was meant.
#[must_use]
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = wanted.chars().count();
    let limit = (length / 4).clamp(1, 4);
    let lower = wanted.to_lowercase();
    names
        .into_iter()
        .filter(|name| name.chars().count().abs_diff(length) <= limit)
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u32, column: u32) -> Location {
        Location { file: Path::new("/etc/a.conf").into(), line, column }
    }

    #[test]
    fn a_problem_is_one_line_whatever_it_quotes() {
        let problem = Problem::error(at(3, 7), "`a\nb` is \u{1b}[31m").hint("do\rthis");
        assert_eq!(problem.to_string(), "/etc/a.conf:3:7: error: `a\\nb` is \\u{1b}[31m; do\\rthis");
        assert_eq!(Problem::warning(at(0, 0), "x").to_string(), "/etc/a.conf: warning: x");
    }

    #[test]
    fn the_mark_stands_below_the_column() {
        let mut problem = Problem::error(at(1, 4), "x");
        problem.line_text = Some("\tä, }".into());
        assert_eq!(problem.detailed(), "/etc/a.conf:1:4: error: x\n    \tä, }\n    \t  ^");
    }

    #[test]
    fn nearest_name_must_be_near() {
        let names = ["ftp.port", "ftp.banner", "git.port"];
        assert_eq!(nearest("ftp.prot", names), Some("ftp.port"));
        assert_eq!(nearest("FTP.Banner", names), Some("ftp.banner"));
        assert_eq!(nearest("webserver", names), None);
        assert_eq!(nearest("", names), None);
    }
}
