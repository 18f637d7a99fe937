//! Python's `%`-style log formats, as `logging.Formatter` understands them.
//!
//! A format is read once, when the output is built, so that a mistake in it is a configuration
//! error and not one more exception for each event. References:
//! <https://docs.python.org/3/library/logging.html#logrecord-attributes> and
//! <https://docs.python.org/3/library/stdtypes.html#printf-style-string-formatting>.

use std::fmt::Write as _;

use aviary_event::{Event, Timestamp};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::{Blueprint, Rejection, Template};

/// Greatest width or precision that a format may ask for.
const WIDEST: usize = 1000;

/// Fields that a format may name, for messages.
const FIELDS: &str = "message, asctime, name, levelname, levelno, process, processName, thread, threadName, created, \
    msecs, relativeCreated, pathname, filename, module, funcName, lineno";

/// A format that was read, and everything but the event that goes into its lines.
#[derive(Clone, Debug)]
pub struct LineFormat {
    pieces: Vec<Piece>,
    node_id: String,
    extended: bool,
    template: Option<Template>,
}

#[derive(Clone, Debug)]
enum Piece {
    Literal(String),
    Field(Field, Spec),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Message,
    Asctime,
    Name,
    Process,
    Created,
    Msecs,
    /// The same for every event.
    Text(&'static str),
    /// The same for every event.
    Whole(i64),
}

/// A field's value before it is padded.
enum Datum {
    Text(String),
    Whole(i64),
    Real(f64),
}

/// `-`, `0`, `+`, space, width, precision and conversion of one field.
#[derive(Clone, Copy, Debug, Default)]
struct Spec {
    left: bool,
    zero: bool,
    plus: bool,
    space: bool,
    width: usize,
    precision: Option<usize>,
    conversion: Conversion,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Conversion {
    /// `s`
    #[default]
    Text,
    /// `d`, `i`, `u`
    Whole,
    /// `f`, `F`
    Fixed,
}

impl LineFormat {
    /// Reads the format of a handler.
    ///
    /// # Errors
    /// Names the key `formatter` when the format names an unknown field, converts a field to
    /// something that it is not, or is not a format at all.
    pub fn new(blueprint: &Blueprint<'_>) -> Result<Self, Rejection> {
        let pieces = parse(blueprint.format).map_err(|reason| {
            Rejection::new("formatter", format!("format `{}`: {reason}", blueprint.format.escape_debug()))
        })?;
        Ok(Self { pieces, node_id: blueprint.node_id.to_owned(), extended: blueprint.extended, template: None })
    }

    /// The same for an output that takes `template`, whose text is then each event's line. Such an output names
    /// `template` among its options.
    ///
    /// # Errors
    /// As [`LineFormat::new`], and names the key `template` when that is not one line of text with known fields.
    pub fn with_template(blueprint: &Blueprint<'_>) -> Result<Self, Rejection> {
        let lines = Self::with_text(blueprint)?;
        if lines.template.as_ref().is_some_and(|template| !template.is_line()) {
            return Err(Rejection::new("template", "holds a line break; it takes text on one line"));
        }
        Ok(lines)
    }

    /// The same for an output whose text may have several lines.
    ///
    /// # Errors
    /// As [`LineFormat::new`], and names the key `template` when that is no text with known fields.
    pub fn with_text(blueprint: &Blueprint<'_>) -> Result<Self, Rejection> {
        Ok(Self { template: Template::of(blueprint.options)?, ..Self::new(blueprint)? })
    }

    /// Whether a template says the line, so that nothing but its own fields is in there.
    #[must_use]
    pub const fn has_template(&self) -> bool {
        self.template.is_some()
    }

    /// The event's line in the formatter's format, whatever the template says.
    #[must_use]
    pub fn format_line(&self, event: &Event) -> String {
        let mut line = String::with_capacity(512);
        self.write_format(event, &mut line);
        line
    }

    /// The template's text, if there is one.
    #[must_use]
    pub fn template_text(&self, event: &Event) -> Option<String> {
        let template = self.template.as_ref()?;
        Some(template.text(event, self.format_line(event), self.extended))
    }

    /// The template's text, or else the event's JSON: for outputs that take no formatter.
    #[must_use]
    pub fn text_or_json(&self, event: &Event) -> String {
        self.template_text(event).unwrap_or_else(|| event.to_line(self.extended))
    }

    /// Whether lines carry the `aviary` object.
    #[must_use]
    pub const fn extended(&self) -> bool {
        self.extended
    }

    /// The same format for lines without the `aviary` object, and without a template.
    #[must_use]
    pub fn plain(&self) -> Self {
        Self { extended: false, template: None, ..self.clone() }
    }

    /// The event's text, without a newline.
    #[must_use]
    pub fn line(&self, event: &Event) -> String {
        let mut line = String::with_capacity(512);
        self.write(event, &mut line);
        line
    }

    /// Appends the event's text, without a newline.
    pub fn write(&self, event: &Event, out: &mut String) {
        match self.template_text(event) {
            Some(text) => out.push_str(&text),
            None => self.write_format(event, out),
        }
    }

    /// The event in the formatter's format.
    fn write_format(&self, event: &Event, out: &mut String) {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Field(Field::Message, spec) if spec.width == 0 && spec.precision.is_none() => {
                    event.write_line(out, self.extended);
                }
                Piece::Field(field, spec) => spec.write(&self.datum(*field, event), out),
            }
        }
    }

    fn datum(&self, field: Field, event: &Event) -> Datum {
        let micros = || moment(event).map_or(0, Timestamp::as_micros);
        match field {
            Field::Message => Datum::Text(event.to_line(self.extended)),
            Field::Asctime => Datum::Text(asctime(event)),
            Field::Name => Datum::Text(self.node_id.clone()),
            Field::Process => Datum::Whole(i64::from(std::process::id())),
            Field::Created => Datum::Real(micros() as f64 / 1e6),
            Field::Msecs => Datum::Real((micros().rem_euclid(1_000_000) / 1000) as f64),
            Field::Text(text) => Datum::Text(text.to_owned()),
            Field::Whole(number) => Datum::Whole(number),
        }
    }
}

/// When the event happened: what `aviary.time` says, or else its UTC time.
#[must_use]
pub fn moment(event: &Event) -> Option<Timestamp> {
    let spelled = |text: &Option<String>| {
        let time = text.as_deref()?.replacen(' ', "T", 1).parse::<DateTime>().ok()?;
        let time = time.to_zoned(TimeZone::UTC).ok()?;
        Some(Timestamp::from_micros(time.timestamp().as_microsecond()))
    };
    event
        .aviary
        .as_ref()
        .map(|ours| ours.time)
        .or_else(|| spelled(&event.utc_time))
        .or_else(|| spelled(&event.local_time))
}

/// `2026-11-22 22:00:00,123` in local time.
pub(crate) fn asctime(event: &Event) -> String {
    let local = event.local_time_adjusted.as_deref().and_then(|text| text.get(..23));
    let text = match local {
        Some(local) => local.to_owned(),
        None => moment(event).map(|time| time.to_opencanary(&TimeZone::UTC)).unwrap_or_default(),
    };
    text.chars().take(23).map(|c| if c == '.' { ',' } else { c }).collect()
}

impl Field {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "message" => Self::Message,
            "asctime" => Self::Asctime,
            "name" => Self::Name,
            // Python's main thread has a number that only its own process can use; ours is the process's.
            "process" | "thread" => Self::Process,
            "created" => Self::Created,
            "msecs" => Self::Msecs,
            "levelname" => Self::Text("WARNING"),
            "levelno" => Self::Whole(30),
            "processName" => Self::Text("MainProcess"),
            "threadName" => Self::Text("MainThread"),
            "pathname" | "filename" => Self::Text("logger.py"),
            "module" => Self::Text("logger"),
            "funcName" => Self::Text("log"),
            "lineno" | "relativeCreated" => Self::Whole(0),
            _ => return None,
        })
    }

    const fn is_text(self) -> bool {
        matches!(self, Self::Message | Self::Asctime | Self::Name | Self::Text(_))
    }
}

/// Reads a format; the error is a fragment for people.
fn parse(format: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = format;
    let mut fields = 0;
    while let Some((before, after)) = rest.split_once('%') {
        literal.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            literal.push('%');
            rest = after;
            continue;
        }
        let Some((name, after)) = after.strip_prefix('(').and_then(|after| after.split_once(')')) else {
            return Err("`%` starts no `%(field)s`; a percent sign is written `%%`".to_owned());
        };
        let field = Field::named(name).ok_or_else(|| format!("no field `{name}`; there are {FIELDS}"))?;
        let (spec, after) = Spec::parse(after).map_err(|reason| format!("`%({name})`: {reason}"))?;
        if field.is_text() && spec.conversion != Conversion::Text {
            return Err(format!("`%({name})` is text and takes `s`, not a number's conversion"));
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Field(field, spec));
        fields += 1;
        rest = after;
    }
    if fields == 0 {
        return Err("names no field, so all its lines would be the same; `%(message)s` is the event".to_owned());
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

impl Spec {
    fn parse(text: &str) -> Result<(Self, &str), String> {
        let mut spec = Self::default();
        let flags = text.len() - text.trim_start_matches(['-', '0', '+', ' ', '#']).len();
        let (flags, rest) = text.split_at(flags);
        for flag in flags.chars() {
            match flag {
                '-' => spec.left = true,
                '0' => spec.zero = true,
                '+' => spec.plus = true,
                ' ' => spec.space = true,
                _ => {}
            }
        }
        let (width, rest) = number(rest)?;
        spec.width = width.unwrap_or(0);
        let rest = match rest.strip_prefix('.') {
            Some(rest) => {
                let (precision, rest) = number(rest)?;
                spec.precision = Some(precision.unwrap_or(0));
                rest
            }
            None => rest,
        };
        let rest = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest);
        let mut rest = rest.chars();
        spec.conversion = match rest.next() {
            Some('s') => Conversion::Text,
            Some('d' | 'i' | 'u') => Conversion::Whole,
            Some('f' | 'F') => Conversion::Fixed,
            Some(other) => return Err(format!("conversion `{other}` is not one of s, d, i, u, f, F")),
            None => return Err("ends before its conversion, such as `s`".to_owned()),
        };
        Ok((spec, rest.as_str()))
    }

    fn write(&self, datum: &Datum, out: &mut String) {
        let digits = self.precision.unwrap_or(6);
        let text = match (datum, self.conversion) {
            (Datum::Text(text), _) => text.clone(),
            (Datum::Whole(number), Conversion::Text) => number.to_string(),
            (Datum::Real(number), Conversion::Text) => format!("{number:?}"),
            (Datum::Whole(number), Conversion::Whole) => self.whole(&number.to_string()),
            (Datum::Real(number), Conversion::Whole) => self.whole(&format!("{}", number.trunc())),
            (Datum::Whole(number), Conversion::Fixed) => format!("{:.digits$}", *number as f64),
            (Datum::Real(number), Conversion::Fixed) => format!("{number:.digits$}"),
        };
        if self.conversion == Conversion::Text {
            // A precision cuts text.
            let text: String = text.chars().take(self.precision.unwrap_or(usize::MAX)).collect();
            self.pad(&text, false, out);
        } else {
            let sign = if self.plus { "+" } else { " " };
            let signed =
                if (self.plus || self.space) && !text.starts_with('-') { format!("{sign}{text}") } else { text };
            self.pad(&signed, self.zero && !self.left, out);
        }
    }

    /// A precision gives a whole number's least number of digits.
    fn whole(&self, digits: &str) -> String {
        let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
        format!("{sign}{digits:0>least$}", least = self.precision.unwrap_or(0))
    }

    fn pad(&self, text: &str, zeros: bool, out: &mut String) {
        let width = self.width;
        let _ = if self.left {
            write!(out, "{text:<width$}")
        } else if zeros {
            let sign = text.len() - text.trim_start_matches(['-', '+', ' ']).len();
            let (sign, digits) = text.split_at(sign);
            write!(out, "{sign}{digits:0>rest$}", rest = width.saturating_sub(sign.len()))
        } else {
            write!(out, "{text:>width$}")
        };
    }
}

/// A number at the start of `text`, if there is one, and what follows.
fn number(text: &str) -> Result<(Option<usize>, &str), String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (digits, rest) = text.split_at(digits);
    if digits.is_empty() {
        return Ok((None, rest));
    }
    match digits.parse::<usize>() {
        Ok(number) if number <= WIDEST => Ok((Some(number), rest)),
        _ => Err(format!("width `{digits}` is above {WIDEST}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Map;

    fn event() -> Event {
        let line = r#"{"dst_host": "192.0.2.1", "dst_port": 21, "local_time": "2026-11-22 22:00:00.123456", "local_time_adjusted": "2026-11-22 23:00:00.123456", "logdata": {"USERNAME": "100%"}, "logtype": 2000, "node_id": "n", "src_host": "192.0.2.7", "src_port": 40000, "utc_time": "2026-11-22 22:00:00.123456"}"#;
        Event::parse(line).expect("the line is an event")
    }

    fn read(format: &str) -> Result<LineFormat, Rejection> {
        let options = Map::new();
        LineFormat::new(&Blueprint { name: "t", options: &options, format, extended: true, node_id: "opencanary-1" })
    }

    fn line(format: &str) -> String {
        read(format).unwrap_or_else(|rejection| panic!("{rejection}")).line(&event())
    }

    #[test]
    fn writes_the_syslog_line_of_opencanarys_example() {
        let pid = std::process::id();
        let expected = format!("opencanaryd[{pid:<5}:{pid}]: opencanary-1 WARNING {}", event().to_line(true));
        let format = "opencanaryd[%(process)-5s:%(thread)d]: %(name)s %(levelname)-5s %(message)s";
        assert_eq!(line(format), expected);
    }

    #[test]
    fn pads_cuts_and_signs_as_python_does() {
        for (format, expected) in [
            ("%(asctime)s", "2026-11-22 23:00:00,123"),
            ("%(created)f", "1795384800.123456"),
            ("%(created).1f|", "1795384800.1|"),
            ("%(msecs)03d", "123"),
            ("%(msecs)s", "123.0"),
            ("[%(levelno)6d]", "[    30]"),
            ("[%(levelno)06d]", "[000030]"),
            ("[%(levelno)-6d]", "[30    ]"),
            ("[%(levelno)+d]", "[+30]"),
            ("[%(levelno) d]", "[ 30]"),
            ("[%(levelno).4d]", "[0030]"),
            ("[%(levelno)+06d]", "[+00030]"),
            ("[%(levelname)10s]", "[   WARNING]"),
            ("[%(levelname)-10s]", "[WARNING   ]"),
            ("[%(levelname).4s]", "[WARN]"),
            ("100%% %(levelname)s %%", "100% WARNING %"),
            ("%(filename)s:%(funcName)s", "logger.py:log"),
        ] {
            assert_eq!(line(format), expected, "{format}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_format() {
        for (format, part) in [
            ("%(massage)s", "no field `massage`; there are message,"),
            ("%(message)d", "`%(message)` is text"),
            ("%(message)", "ends before its conversion"),
            ("%(levelno)x", "conversion `x`"),
            ("%(levelno)99999d", "above 1000"),
            ("%s %(message)s", "`%` starts no"),
            ("100% %(message)s", "`%` starts no"),
            ("plain", "names no field"),
            ("%(message", "`%` starts no"),
        ] {
            let rejection = read(format).map(|_| ()).expect_err(format);
            assert_eq!(rejection.option, "formatter");
            assert!(rejection.reason.contains(part), "{format}: {rejection}");
        }
    }

    #[test]
    fn leaves_out_our_object_when_told_to() {
        let format = read("%(message)s").expect("a good format");
        assert!(format.extended() && !format.plain().extended());
    }
}
