//! A handler's `template`: text of the vendor's own markup with fields of the event in it.

use aviary_output::Rejection;
use serde_json::Value;

use super::alert::Alert;
use super::markup::{Markup, Page, Unit};
use crate::options::Options;

/// Fields that a template may name, beside `logdata.KEY`.
const FIELDS: &[&str] = &[
    "message",
    "summary",
    "details",
    "time",
    "service",
    "kind",
    "severity",
    "logtype",
    "node_id",
    "src_host",
    "src_port",
    "src_name",
    "src_mac",
    "src_vendor",
    "dst_host",
    "dst_port",
    "username",
    "password",
    "id",
];

/// What a message says: the template, or else headline and facts.
#[derive(Clone, Debug, Default)]
pub(super) struct Words(Option<Vec<Piece>>);

#[derive(Clone, Debug)]
enum Piece {
    /// As it stands in the file.
    Literal(String),
    Field(String),
}

impl Words {
    /// Reads the handler's `template`.
    pub(super) fn new(options: Options<'_>) -> Result<Self, Rejection> {
        options.text("template")?.map_or(Ok(Self(None)), |text| Self::read("template", text))
    }

    /// Reads a key that takes the same.
    pub(super) fn read(key: &str, text: &str) -> Result<Self, Rejection> {
        if text.trim().is_empty() || text.contains('\0') {
            return Err(Rejection::new(key, "says nothing; it takes text such as `%(summary)s`"));
        }
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, from)) = rest.split_once('%') {
            literal.push_str(before);
            if let Some(after) = from.strip_prefix('%') {
                literal.push('%');
                rest = after;
            } else if let Some((name, after)) = from.strip_prefix('(').and_then(|from| from.split_once(")s")) {
                if !FIELDS.contains(&name) && !name.starts_with("logdata.") {
                    let known = FIELDS.join(", ");
                    let name = Value::from(name);
                    return Err(Rejection::new(key, format!("names {name}; there are {known} and logdata.KEY")));
                }
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                pieces.push(Piece::Field(name.to_owned()));
                rest = after;
            } else {
                literal.push('%');
                rest = from;
            }
        }
        literal.push_str(rest);
        pieces.push(Piece::Literal(literal));
        Ok(Self(Some(pieces)))
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
        let Some(pieces) = &self.0 else { return alert.text(markup, unit, limit, headline) };
        let mut page = Page::new(markup, unit, limit);
        for piece in pieces {
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
