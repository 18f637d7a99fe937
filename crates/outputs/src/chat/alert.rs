//! An event as a message in a vendor's markup.

pub(super) use aviary_output::Telling as Alert;

use super::markup::{Markup, Page, Unit};

/// Greatest share of a page that one value gets.
const SHARE: usize = 4;

/// What messages show of an event.
pub(super) trait Shown {
    /// Headline and facts, or the facts alone, within a vendor's limit.
    fn write(&self, page: &mut Page, headline: bool);

    /// The same as a text.
    fn text(&self, markup: Markup, unit: Unit, limit: usize, headline: bool) -> String;
}

impl Shown for Alert<'_> {
    fn write(&self, page: &mut Page, headline: bool) {
        let most = page.left() / SHARE;
        if headline {
            page.bold(&self.title, most);
        }
        for (n, (name, value)) in self.facts.iter().enumerate() {
            // A name needs room for itself and for the beginning of its value.
            if page.left() < name.len() * 3 + 48 {
                page.raw("\n…");
                break;
            }
            if headline || n > 0 {
                page.raw("\n");
            }
            page.bold(name, most);
            page.raw(": ");
            page.value(value, most);
        }
    }

    fn text(&self, markup: Markup, unit: Unit, limit: usize, headline: bool) -> String {
        let mut page = Page::new(markup, unit, limit);
        self.write(&mut page, headline);
        page.finish()
    }
}
