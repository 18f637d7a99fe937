//! Statements: what a login that was let in may ask, read as far as it can be answered.

/// Most statements of a batch, and most words of one; what is beyond is not read.
const MOST: usize = 64;
const MOST_WORDS: usize = 512;
/// Deepest nesting of an expression.
const DEEPEST: usize = 16;

/// A word of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// A name, keyword or variable; brackets and double quotes are gone, dots stay.
    Name(String),
    /// A text in single quotes.
    Text(String),
    /// A number.
    Number(i32),
    /// Anything else, one character.
    Sign(char),
}

impl Word {
    /// Whether it is this keyword, given in lower case.
    pub(super) fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Name(name) if name.eq_ignore_ascii_case(keyword))
    }

    /// As it is shown in an error.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Name(text) | Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Sign(sign) => sign.to_string(),
        }
    }
}

/// The statements of a batch, each in words. Comments are none; a semicolon ends a statement, and so does
/// a keyword that begins one.
pub(super) fn statements(batch: &str) -> Vec<Vec<Word>> {
    const BEGINS: [&str; 8] = ["select", "use", "exec", "execute", "set", "reconfigure", "waitfor", "print"];
    let mut statements: Vec<Vec<Word>> = vec![Vec::new()];
    let mut depth = 0_usize;
    for word in words(batch) {
        let Some(last) = statements.last_mut() else { break };
        match word {
            Word::Sign('(') => depth = depth.saturating_add(1),
            Word::Sign(')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        let begins = depth == 0 && BEGINS.iter().any(|keyword| word.is(keyword));
        // `INSERT ... SELECT` and `INSERT ... EXEC` are one.
        let goes_on = last.first().is_some_and(|first| first.is("insert") || first.is("declare"));
        if word == Word::Sign(';') || begins && !last.is_empty() && !goes_on {
            if statements.len() >= MOST {
                break;
            }
            statements.push(if word == Word::Sign(';') { Vec::new() } else { vec![word] });
        } else if last.len() < MOST_WORDS {
            last.push(word);
        }
    }
    statements.retain(|words| !words.is_empty());
    statements
}

fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(first) = rest.next() {
        match first {
            _ if first.is_whitespace() || first == '\0' => {}
            '-' if rest.peek() == Some(&'-') => while rest.next().is_some_and(|c| c != '\n') {},
            '/' if rest.peek() == Some(&'*') => {
                let mut before = ' ';
                rest.next();
                for c in rest.by_ref() {
                    if before == '*' && c == '/' {
                        break;
                    }
                    before = c;
                }
            }
            '\'' => words.push(Word::Text(quoted(&mut rest, '\''))),
            'N' | 'n' if rest.peek() == Some(&'\'') => {
                rest.next();
                words.push(Word::Text(quoted(&mut rest, '\'')));
            }
            '0'..='9' => {
                let mut digits = String::from(first);
                while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                    digits.push(digit);
                }
                words.push(digits.parse().map_or(Word::Name(digits), Word::Number));
            }
            _ if is_name(first) || matches!(first, '[' | '"') => {
                let mut name = String::new();
                let mut next = Some(first);
                while let Some(c) = next {
                    match c {
                        '[' => name.push_str(&quoted(&mut rest, ']')),
                        '"' => name.push_str(&quoted(&mut rest, '"')),
                        _ => name.push(c),
                    }
                    // A bracket goes on with a name behind a dot only.
                    let dotted = name.ends_with('.');
                    next = rest.next_if(|c| is_name(*c) || *c == '.' || dotted && matches!(c, '[' | '"'));
                }
                words.push(Word::Name(name));
            }
            sign => words.push(Word::Sign(sign)),
        }
    }
    words
}

const fn is_name(c: char) -> bool {
    c.is_ascii_alphabetic() || matches!(c, '_' | '@' | '#' | '$' | '0'..='9') || !c.is_ascii()
}

/// Text up to an unescaped end; an end that is doubled stands for itself.
fn quoted(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, end: char) -> String {
    let mut text = String::new();
    while let Some(c) = rest.next() {
        if c != end {
            text.push(c);
        } else if rest.next_if_eq(&end).is_some() {
            text.push(end);
        } else {
            break;
        }
    }
    text
}

/// What a `SELECT` shows: an expression and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) expression: Expression,
    pub(super) name: String,
}

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    Text(String),
    Number(i32),
    /// A name, in lower case, without brackets.
    Name(String),
    /// A function, in lower case, and its arguments.
    Call(String, Vec<Expression>),
    /// Several, added up.
    Sum(Vec<Expression>),
    /// Every column.
    All,
}

/// `SELECT [TOP n] expression [[AS] name], ... [FROM table]`: what is shown, and the table. `None` when it
/// is more than that.
pub(super) fn select(words: &[Word]) -> Option<(Vec<Shown>, Option<String>)> {
    let mut parser = Parser { words, at: 1, depth: 0 };
    if parser.take("top") {
        parser.take_sign('(');
        parser.next();
        parser.take_sign(')');
    }
    parser.take("distinct");
    let mut shown = Vec::new();
    loop {
        let expression = parser.sum()?;
        parser.take("as");
        let name = match parser.peek() {
            Some(Word::Name(name)) if !name.eq_ignore_ascii_case("from") => name.clone(),
            Some(Word::Text(name)) => name.clone(),
            _ => String::new(),
        };
        if !name.is_empty() {
            parser.next();
        }
        shown.push(Shown { expression, name });
        if !parser.take_sign(',') {
            break;
        }
    }
    match parser.next() {
        None => Some((shown, None)),
        Some(word) if word.is("from") => match parser.next() {
            Some(Word::Name(table)) => Some((shown, Some(table.clone()))),
            _ => None,
        },
        Some(_) => None,
    }
}

struct Parser<'a> {
    words: &'a [Word],
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Word> {
        self.words.get(self.at)
    }

    fn next(&mut self) -> Option<&'a Word> {
        let word = self.peek();
        self.at = self.at.saturating_add(1);
        word
    }

    fn take(&mut self, keyword: &str) -> bool {
        let found = self.peek().is_some_and(|word| word.is(keyword));
        self.at = self.at.saturating_add(usize::from(found));
        found
    }

    fn take_sign(&mut self, sign: char) -> bool {
        let found = self.peek() == Some(&Word::Sign(sign));
        self.at = self.at.saturating_add(usize::from(found));
        found
    }

    fn sum(&mut self) -> Option<Expression> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > DEEPEST {
            return None;
        }
        let first = self.term()?;
        let mut parts = vec![first];
        while self.take_sign('+') {
            parts.push(self.term()?);
        }
        self.depth = self.depth.saturating_sub(1);
        if parts.len() == 1 { parts.pop() } else { Some(Expression::Sum(parts)) }
    }

    fn term(&mut self) -> Option<Expression> {
        match self.next()? {
            Word::Text(text) => Some(Expression::Text(text.clone())),
            Word::Number(number) => Some(Expression::Number(*number)),
            Word::Sign('*') => Some(Expression::All),
            Word::Sign('(') => {
                let inner = self.sum()?;
                self.take_sign(')').then_some(inner)
            }
            Word::Sign(_) => None,
            Word::Name(name) if name.eq_ignore_ascii_case("from") => None,
            Word::Name(name) => {
                let name = name.to_ascii_lowercase();
                if !self.take_sign('(') {
                    return Some(Expression::Name(name));
                }
                let mut arguments = Vec::new();
                while !self.take_sign(')') {
                    arguments.push(self.sum()?);
                    if !self.take_sign(',') && self.peek() != Some(&Word::Sign(')')) {
                        return None;
                    }
                }
                Some(Expression::Call(name, arguments))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(text: &str) -> Vec<Word> {
        statements(text).remove(0)
    }

    #[test]
    fn statements_end_where_another_begins() {
        let of = |text| statements(text).len();
        assert_eq!(of("select 1; select 2"), 2);
        assert_eq!(of("exec sp_configure 'show advanced options', 1 RECONFIGURE"), 2);
        assert_eq!(of("-- nothing\n/* at all; */ ;;"), 0);
        assert_eq!(of("select ';' , (select 1)"), 1);
        assert_eq!(of("insert into t exec xp_cmdshell 'dir'"), 1);
        assert_eq!(of(&"select 1;".repeat(1000)), MOST);
    }

    #[test]
    fn names_lose_their_brackets_and_texts_their_quotes() {
        let words = first("select [master].dbo.[sys databases], N'it''s', \"a\" --x");
        let names: Vec<String> = words.iter().map(Word::shown).collect();
        assert_eq!(names, ["select", "master.dbo.sys databases", ",", "it's", ",", "a"]);
    }

    #[test]
    fn a_select_shows_expressions_under_names() {
        let (shown, table) = select(&first("select system_user + SPACE(2) + current_user as \"username\"")).unwrap();
        assert_eq!((shown.len(), shown[0].name.as_str(), table), (1, "username", None));
        let (shown, table) = select(&first("SELECT TOP (5) name, database_id id FROM master..sysdatabases x")).unwrap();
        assert_eq!((shown[1].name.as_str(), table.as_deref()), ("id", Some("master..sysdatabases")));
        for wrong in ["select", "select from", "select f(", "select 1 2 3", "select (1"] {
            assert_eq!(select(&first(wrong)), None, "{wrong}");
        }
        assert_eq!(select(&first(&format!("select {}", "(".repeat(100)))), None);
    }
}
