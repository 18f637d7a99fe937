//! A handler's `template` in the vendor's own markup.

use aviary_output::{Piece, Rejection, Template};

use super::alert::{Alert, Shown as _};
use super::markup::{Markup, Page, Unit};
use crate::options::Options;

/// What a message says: the template, or else headline and facts.
#[derive(Clone, Debug, Default)]
pub(super) struct Words(Option<Template>);

impl Words {
    /// Reads the handler's `template`.
    pub(super) fn new(options: Options<'_>) -> Result<Self, Rejection> {
        Template::of(options.0).map(Self)
    }

    /// Reads a key that takes the same.
    pub(super) fn read(key: &str, text: &str) -> Result<Self, Rejection> {
        Template::read(key, text).map(|template| Self(Some(template)))
    }

    /// Whether the file says the words.
    pub(super) const fn are_given(&self) -> bool {
        self.0.is_some()
    }

    /// The text. Values are escaped, the template itself is not.
    pub(super) fn text(&self, alert: &Alert<'_>, markup: Markup, unit: Unit, limit: usize) -> String {
        self.text_with(alert, markup, unit, limit, true)
    }

    /// The text for a vendor that shows the headline by itself, unless there is a template.
    pub(super) fn body(&self, alert: &Alert<'_>, markup: Markup, unit: Unit, limit: usize) -> String {
        self.text_with(alert, markup, unit, limit, false)
    }

    fn text_with(&self, alert: &Alert<'_>, markup: Markup, unit: Unit, limit: usize, headline: bool) -> String {
        let Some(template) = &self.0 else { return alert.text(markup, unit, limit, headline) };
        let mut page = Page::new(markup, unit, limit);
        for piece in template.pieces() {
            match piece {
                Piece::Literal(text) => {
                    if !page.raw(text) {
                        page.raw("…");
                        break;
                    }
                }
                Piece::Field(name) if name == "details" => alert.write(&mut page, false),
                Piece::Field(name) => {
                    let left = page.left();
                    page.value(&alert.field(name), left);
                }
            }
        }
        page.finish()
    }
}
