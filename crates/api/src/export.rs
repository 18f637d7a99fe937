//! `/api/v1/events/export`: all events of a search, as NDJSON or CSV.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use aviary_event::{Event, Origin, Port};
use aviary_hub::{Hub, Scope};
use aviary_insight::{Credential, Stage};
use aviary_store::{EventQuery, EventRow, Page, StoreError};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse as _, Response};
use futures_core::Stream;
use utoipa::IntoParams;

use crate::Problem;
use crate::access::Caller;
use crate::credentials::shown;
use crate::events;
use crate::wire::{time, word};

/// Events that are read at once.
const ROWS: usize = 1000;

/// The first line of a CSV file.
const COLUMNS: &str = "time,received,id,sensor,stage,source,source_port,destination,destination_port,service,kind,\
    logtype,node_id,username,password,hidden,logdata\r\n";

/// What a spreadsheet takes for the beginning of a formula, in the widths that East Asian ones take, too.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Ndjson,
    Csv,
}

impl Format {
    fn from_word(word: &str) -> Option<Self> {
        match word {
            "ndjson" => Some(Self::Ndjson),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }
}

/// How it is written.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read from the address, with the filters apart; this describes it")]
pub(crate) struct Written {
    /// `ndjson`: events as `GET /api/v1/events` gives them, one a line; `csv`: a table for spreadsheets, in which no cell
    /// is a formula and each event is one line.
    format: Option<String>,
}

/// Exports all events of a search, the newest first
///
/// Takes the filters of `GET /api/v1/events`; with `limit`, so many events at most. An answer that breaks off is not
/// whole.
#[utoipa::path(
    get, path = "/api/v1/events/export", tag = "events", params(Written, events::Query),
    security(("token" = ["read"])),
    responses(
        (status = 200, content_type = "application/x-ndjson", body = String),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 504, body = Problem, description = "The search took too long"),
    ),
)]
pub(crate) async fn export(State(hub): State<Arc<Hub>>, caller: Caller, uri: Uri) -> Result<Response, Problem> {
    caller.may(Scope::Read)?;
    let (mut format, mut rest) = (None, Vec::new());
    for pair in uri.query().unwrap_or_default().split('&') {
        match pair.strip_prefix("format=") {
            Some(value) => format = Some(value),
            None => rest.push(pair),
        }
    }
    let format = word("format", format, Format::from_word, "ndjson, csv")?.unwrap_or(Format::Ndjson);
    let (query, most) = events::read_whole(&rest.join("&"))?;
    let query = EventQuery { limit: ROWS, ..query };
    // The first page is read before anything is answered, so that a search that fails says so.
    let first = hub.store().events(query.clone()).await?;
    let mut begin = String::new();
    if format == Format::Csv {
        begin.push_str(COLUMNS);
    }
    let pages = Pages { hub, query, format, left: most, ready: VecDeque::from([begin]), next: None };
    let body = Body::from_stream(pages.beginning_with(first));
    let (kind, name) = match format {
        Format::Ndjson => ("application/x-ndjson", "attachment; filename=\"events.ndjson\""),
        Format::Csv => ("text/csv; charset=utf-8", "attachment; filename=\"events.csv\""),
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static(name)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    Ok((headers, body).into_response())
}

type Next = Pin<Box<dyn Future<Output = Result<Page<EventRow>, StoreError>> + Send>>;

/// The pages of a search, one after the other; the next is read when the one before was sent.
struct Pages {
    hub: Arc<Hub>,
    query: EventQuery,
    format: Format,
    left: usize,
    ready: VecDeque<String>,
    next: Option<Next>,
}

impl Pages {
    fn beginning_with(mut self, page: Page<EventRow>) -> Self {
        self.take(page);
        self
    }

    fn take(&mut self, page: Page<EventRow>) {
        let mut text = String::new();
        for row in page.rows.into_iter().take(self.left) {
            self.left -= 1;
            match self.format {
                Format::Ndjson => write_line(&mut text, row),
                Format::Csv => write_record(&mut text, &row),
            }
        }
        self.ready.push_back(text);
        self.next = None;
        if let Some(after) = page.next.filter(|_| self.left > 0) {
            self.query.after = Some(after);
            let (hub, query) = (Arc::clone(&self.hub), self.query.clone());
            self.next = Some(Box::pin(async move { hub.store().events(query).await }));
        }
    }
}

impl Stream for Pages {
    type Item = Result<String, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(text) = self.ready.pop_front() {
                if text.is_empty() {
                    continue;
                }
                return Poll::Ready(Some(Ok(text)));
            }
            let Some(next) = self.next.as_mut() else { return Poll::Ready(None) };
            match next.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(page)) => self.take(page),
                Poll::Ready(Err(error)) => {
                    self.next = None;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

fn write_line(out: &mut String, row: EventRow) {
    let event = events::Event::from(row);
    if let Ok(text) = serde_json::to_string(&event) {
        out.push_str(&text);
        out.push('\n');
    }
}

fn write_record(out: &mut String, row: &EventRow) {
    let event = Event::parse(&row.line).ok();
    let event = event.as_ref();
    let host = |origin: Option<&Origin>| origin.map(|origin| origin.host.clone()).unwrap_or_default();
    let port = |origin: Option<&Origin>| match origin.map(|origin| &origin.port) {
        Some(Port::Number(number)) if *number >= 0 => number.to_string(),
        Some(Port::Text(text)) if text != "-1" => text.clone(),
        _ => String::new(),
    };
    let (src, dst) = (event.and_then(|event| event.src.as_ref()), event.and_then(|event| event.dst.as_ref()));
    let tried = event.and_then(Credential::of);
    let mut logdata = String::new();
    if let Some(event) = event {
        aviary_event::write_json_value(&mut logdata, &event.logdata);
    }
    let cells = [
        time(row.at),
        time(row.received),
        row.id.to_string(),
        row.sensor.clone(),
        row.stage.map(Stage::word).unwrap_or_default().to_owned(),
        host(src),
        port(src),
        host(dst),
        port(dst),
        event.and_then(Event::service).unwrap_or_default().to_owned(),
        event.map(|event| event.class().word()).unwrap_or_default().to_owned(),
        event.and_then(|event| event.logtype).map(|number| number.to_string()).unwrap_or_default(),
        event.and_then(|event| event.node_id.clone()).unwrap_or_default(),
        tried.as_ref().map(|tried| shown(&tried.username)).unwrap_or_default(),
        tried.as_ref().map(|tried| shown(&tried.password)).unwrap_or_default(),
        row.hidden.clone().unwrap_or_default(),
        logdata,
    ];
    for (number, cell) in cells.iter().enumerate() {
        if number > 0 {
            out.push(',');
        }
        write_cell(out, cell);
    }
    out.push_str("\r\n");
}

/// A cell that no spreadsheet takes for a formula and no terminal obeys. What begins like a formula, be it after blanks,
/// gets an apostrophe before it, which spreadsheets take for the mark of a text.
fn write_cell(out: &mut String, text: &str) {
    out.push('"');
    if text.trim_start_matches([' ', '\u{a0}', '\u{3000}', '\u{feff}', '"', '\'']).starts_with(FORMULA) {
        out.push('\'');
    }
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\"\""),
            _ if letter.is_control() || turns(letter) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(letter));
            }
            _ => out.push(letter),
        }
    }
    out.push('"');
}

/// Marks that turn the direction of what follows, end a line, or show nothing.
const fn turns(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str) -> String {
        let mut out = String::new();
        write_cell(&mut out, text);
        out
    }

    #[test]
    fn no_cell_is_a_formula() {
        for text in ["=cmd()", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\u{a0}=1", "＝1", "\"=1", "'=1"]
        {
            assert!(cell(text).starts_with("\"'"), "{text}: {}", cell(text));
        }
        assert_eq!(cell("root"), "\"root\"");
        assert_eq!(cell("a=b"), "\"a=b\"");
        assert_eq!(cell(""), "\"\"");
    }

    #[test]
    fn a_cell_stays_a_cell_and_a_line() {
        assert_eq!(cell("a\",\"b"), "\"a\"\",\"\"b\"");
        assert_eq!(cell("a\r\nb"), "\"a\\u{d}\\u{a}b\"");
        assert_eq!(cell("\u{1b}[31mred"), "\"\\u{1b}[31mred\"");
        assert_eq!(cell("exe\u{202e}fdp.x"), "\"exe\\u{202e}fdp.x\"");
        assert_eq!(cell("密码"), "\"密码\"");
    }
}
