//! Text in a vendor's markup, within its limit, with nothing in it that a peer could format.

use aviary_output::visible;

/// What a vendor takes for formatting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Markup {
    /// Nothing at all.
    Plain,
    /// Slack's mrkdwn: `&`, `<` and `>` are escaped, which also takes the power from `<!channel>`.
    Mrkdwn,
    /// Markdown with a backslash before whatever formats, as Discord and Adaptive Cards read it.
    Backslash,
    /// Markdown in which values stand in code spans, the only place where Mattermost looks for no
    /// mention (`@channel`) and no link.
    CodeSpan,
    /// Telegram's HTML.
    Html,
}

/// What a vendor counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Bytes of UTF-8.
    Bytes,
    /// UTF-16 code units, which is never less than characters.
    Utf16,
}

impl Unit {
    pub(super) fn of(self, text: &str) -> usize {
        match self {
            Self::Bytes => text.len(),
            Self::Utf16 => text.encode_utf16().count(),
        }
    }
}

/// Shown where something was cut off.
const CUT: &str = "…";

/// Text in the making that never becomes longer than its limit.
pub(super) struct Page {
    text: String,
    markup: Markup,
    unit: Unit,
    left: usize,
}

impl Page {
    pub(super) const fn new(markup: Markup, unit: Unit, limit: usize) -> Self {
        Self { text: String::new(), markup, unit, left: limit }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    /// Units that are left.
    pub(super) const fn left(&self) -> usize {
        self.left
    }

    /// Text of our own or of the file's, as it is; all of it or nothing.
    pub(super) fn raw(&mut self, text: &str) -> bool {
        let size = self.unit.of(text);
        let fits = size <= self.left;
        if fits {
            self.left -= size;
            self.text.push_str(text);
        }
        fits
    }

    /// Text that means nothing but itself, cut where the page or `most` units end.
    pub(super) fn value(&mut self, value: &str, most: usize) {
        if self.markup == Markup::CodeSpan {
            let inside = visible(value);
            let fence = fence(&inside);
            return self.between(&format!("{fence} "), &inside, &format!(" {fence}"), most);
        }
        self.fill(&visible(value), most);
    }

    /// A heading or name, in bold where the markup has it.
    pub(super) fn bold(&mut self, value: &str, most: usize) {
        match self.markup {
            Markup::Plain => self.value(value, most),
            Markup::Mrkdwn => self.between("*", &visible(value), "*", most),
            Markup::Backslash => self.between("**", &visible(value), "**", most),
            // Bold and a code span exclude each other.
            Markup::CodeSpan => self.value(value, most),
            Markup::Html => self.between("<b>", &visible(value), "</b>", most),
        }
    }

    fn between(&mut self, open: &str, inside: &str, close: &str, most: usize) {
        let around = self.unit.of(open) + self.unit.of(close);
        if inside.is_empty() || self.left < around + self.unit.of(CUT) {
            return;
        }
        self.raw(open);
        let end = self.unit.of(close);
        self.left -= end;
        self.fill(inside, most);
        self.left += end;
        self.raw(close);
    }

    /// Appends escaped characters while they fit; where they do not, the last of them give way to
    /// the sign that something is missing.
    fn fill(&mut self, inside: &str, most: usize) {
        let mut left = most.min(self.left);
        // Where to cut so that the sign still fits.
        let mut cut = None;
        let start = self.text.len();
        for c in inside.chars() {
            if cut.is_none() && left < self.unit.of(CUT) + 16 {
                cut = Some(self.text.len());
            }
            let before = self.text.len();
            self.markup.put(c, &mut self.text);
            let size = self.unit.of(self.text.get(before..).unwrap_or_default());
            if size > left {
                self.text.truncate(cut.unwrap_or(before));
                let room = most.min(self.left).saturating_sub(self.unit.of(self.text.get(start..).unwrap_or_default()));
                if room >= self.unit.of(CUT) {
                    self.text.push_str(CUT);
                }
                break;
            }
            left -= size;
        }
        self.left = self.left.saturating_sub(self.unit.of(self.text.get(start..).unwrap_or_default()));
    }
}

impl Markup {
    /// Appends a character that is to be seen as it is.
    fn put(self, c: char, out: &mut String) {
        match (self, c) {
            (Self::Mrkdwn | Self::Html, '&') => out.push_str("&amp;"),
            (Self::Mrkdwn | Self::Html, '<') => out.push_str("&lt;"),
            (Self::Mrkdwn | Self::Html, '>') => out.push_str("&gt;"),
            // `:` keeps an address from becoming a link and a word from becoming an emoji.
            (
                Self::Backslash,
                '\\' | '`' | '*' | '_' | '~' | '|' | '<' | '>' | '[' | ']' | '(' | ')' | '#' | '@' | ':',
            ) => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }

    /// All of a text in this markup.
    pub(super) fn escaped(self, text: &str, unit: Unit, most: usize) -> String {
        let mut page = Page::new(self, unit, most);
        page.value(text, most);
        page.finish()
    }
}

/// Backticks, one more than any run of them inside.
fn fence(inside: &str) -> String {
    let (mut longest, mut run) = (0, 0);
    for c in inside.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    "`".repeat(longest + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "<!channel> @everyone *b* `c` [l](http://h) & \n\u{202e}x";

    fn value(markup: Markup) -> String {
        markup.escaped(HOSTILE, Unit::Utf16, 1000)
    }

    #[test]
    fn lets_no_peer_format_mention_or_link() {
        assert_eq!(value(Markup::Plain), "<!channel> @everyone *b* `c` [l](http://h) & \\n\\u{202e}x");
        assert_eq!(value(Markup::Mrkdwn), "&lt;!channel&gt; @everyone *b* `c` [l](http://h) &amp; \\n\\u{202e}x");
        assert_eq!(value(Markup::Html), "&lt;!channel&gt; @everyone *b* `c` [l](http://h) &amp; \\n\\u{202e}x");
        assert_eq!(value(Markup::Backslash), r"\<!channel\> \@everyone \*b\* \`c\` \[l\]\(http\://h\) & \\n\\u{202e}x");
        assert_eq!(value(Markup::CodeSpan), "`` <!channel> @everyone *b* `c` [l](http://h) & \\n\\u{202e}x ``");
    }

    #[test]
    fn fences_are_longer_than_what_they_hold() {
        assert_eq!(Markup::CodeSpan.escaped("a``` b", Unit::Bytes, 100), "```` a``` b ````");
        assert_eq!(Markup::CodeSpan.escaped("", Unit::Bytes, 100), "");
    }

    #[test]
    fn never_exceeds_its_limit_and_says_when_it_cut() {
        for markup in [Markup::Plain, Markup::Mrkdwn, Markup::Backslash, Markup::CodeSpan, Markup::Html] {
            for unit in [Unit::Bytes, Unit::Utf16] {
                for text in [HOSTILE.repeat(9), "ä🎈".repeat(99), "<".repeat(200), "a".repeat(300)] {
                    for limit in 0..120 {
                        let mut page = Page::new(markup, unit, limit);
                        page.bold(&text, 40);
                        page.value(&text, limit);
                        page.value(&text, limit);
                        let left = page.left();
                        let made = page.finish();
                        assert!(unit.of(&made) <= limit, "{markup:?} {unit:?} {limit}: {made}");
                        assert_eq!(unit.of(&made) + left, limit, "{markup:?} {unit:?}: {made}");
                        assert!(limit < 30 || made.contains(CUT), "{markup:?} {unit:?} {limit}: {made}");
                    }
                }
            }
        }
    }

    #[test]
    fn cuts_between_escapes() {
        let text = Markup::Html.escaped(&"<".repeat(50), Unit::Utf16, 40);
        assert!(text.ends_with("&lt;…"), "{text}");
        assert_eq!(Markup::Plain.escaped("whole", Unit::Bytes, 5), "whole");
    }
}
