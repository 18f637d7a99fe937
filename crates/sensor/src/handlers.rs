//! What is odd about handlers, beyond what keeps their outputs from being built.

use aviary_config::{Handler, Problem, Settings, nearest};
use aviary_output::Entry;
use serde_json::Value;

/// Keys that every handler has.
const OF_ALL: &[&str] = &["class", "formatter", "level", "rate", "template"];

/// Keys that Python's `dictConfig` gives a handler and that do nothing here.
const IDLE: &[(&str, &str)] = &[
    ("()", "`class` says what plays the handler"),
    (".", "attributes of a Python object are not played"),
    ("filters", "`when` says which events go there"),
];

/// Python's names of levels that let no event through: OpenCanary writes all of them as WARNING, 30.
const TOO_HIGH: &[&str] = &["CRITICAL", "ERROR", "FATAL"];
const LEVELS: &[&str] = &["DEBUG", "INFO", "NOTSET", "WARN", "WARNING"];

/// Users' outputs in Rhai: a script knows what to send, and the outputs' crate how to reach its destinations.
static SCRIPT: Entry = Entry {
    name: "script",
    classes: &["aviary.script"],
    summary: "what a script of your own makes of each event, over HTTP or to syslog",
    options: aviary_script::OUTPUT_OPTIONS,
    build: |blueprint| aviary_script::output(blueprint, aviary_outputs::destination),
};

/// The output that plays a handler class or its short form, and the full class.
pub(crate) fn by_class(class: &str) -> Option<(&'static Entry, &'static str)> {
    let script = || SCRIPT.classes.iter().copied().find(|full| *full == class || SCRIPT.name == class);
    aviary_outputs::by_class(class).or_else(|| Some((&SCRIPT, script()?)))
}

/// What to say of a handler class that no output plays.
#[must_use]
pub fn unknown_class(class: &str) -> String {
    if aviary_outputs::FORESEEN.contains(&class) {
        return "is known, but not built yet; the other outputs run".to_owned();
    }
    let classes = || aviary_outputs::ALL.iter().copied().chain([&SCRIPT]).flat_map(|entry| entry.classes).copied();
    let mut short = aviary_outputs::short_classes();
    short.push(SCRIPT.name);
    short.sort_unstable();
    match nearest(class, classes().chain(short.iter().copied())) {
        Some(known) => format!("\"{class}\" is not known; did you mean \"{known}\"?"),
        // Whoever writes a class with a dot means a class.
        None if class.contains('.') => {
            format!("\"{class}\" is not known; there are {}", classes().collect::<Vec<_>>().join(", "))
        }
        None => format!("\"{class}\" is not known; there are {}", short.join(", ")),
    }
}

/// The standard stream that a handler's output writes to, as Python names it, if it is a console's.
#[must_use]
pub fn console_of(handler: &Handler) -> Option<&str> {
    let (entry, _) = by_class(&handler.class)?;
    let stream = || handler.options.get("stream").and_then(Value::as_str).unwrap_or("ext://sys.stderr");
    (entry.name == "console").then(stream)
}

/// Keys of handlers that mean nothing, each with its place and the nearest one that does.
#[must_use]
pub fn odd_options(settings: &Settings) -> Vec<Problem> {
    settings.handlers().iter().flat_map(of_handler).collect()
}

fn of_handler(handler: &Handler) -> Vec<Problem> {
    let Some((entry, _)) = by_class(&handler.class) else { return Vec::new() };
    // Python's timed rotation has a `when` of its own.
    let route = if entry.options.contains(&"when") { "route" } else { "when" };
    let known = || OF_ALL.iter().chain(entry.options).copied().chain([route]);
    let mut problems = Vec::new();
    for (option, value) in &handler.options {
        let Some(place) = handler.place_of(option) else { continue };
        let (word, name) = (handler.word(), &handler.name);
        let mut warn = |said: String, hint: String| {
            let message = format!("`{option}` of {word} `{name}` {said}");
            problems.push(Problem::warning(place.clone(), message).of_key(handler.key).hint(hint));
        };
        if let Some((_, instead)) = IDLE.iter().find(|(idle, _)| idle == option) {
            warn("is Python's and has no effect".to_owned(), (*instead).to_owned());
        } else if !known().any(|known| known == option) {
            let hint = match nearest(option, known()) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("`{}` knows {}", handler.class, entry.options.join(", ")),
            };
            warn("is not known and has no effect".to_owned(), hint);
        } else if option == "level" {
            level(value, &mut warn);
        }
    }
    problems
}

/// Python's `level`: up to WARNING it changes nothing, as in OpenCanary; beyond it nothing would leave.
fn level(value: &Value, warn: &mut dyn FnMut(String, String)) {
    let instead = || "`when` with a `severity` says which events go there".to_owned();
    let high = match value {
        Value::Null => false,
        Value::Number(number) => number.as_i64().is_none_or(|level| level > 30),
        Value::String(level) if TOO_HIGH.contains(&level.as_str()) => true,
        Value::String(level) if LEVELS.contains(&level.as_str()) => false,
        other => return warn(format!("is {other}, which is no level and has no effect"), instead()),
    };
    if high {
        warn(format!("is {value}: every event is a WARNING, so OpenCanary would send none; they are sent"), instead());
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use aviary_config::{Document, Format, KeySpace};

    use super::*;

    fn said(handlers: &str) -> Vec<String> {
        let space = KeySpace::new([]);
        let text = format!("{{\n\"outputs\": {handlers}}}");
        let document = Document::parse(Path::new("a.conf"), &text, Format::Json, &space).expect("JSON");
        let (settings, _) = aviary_config::check(&document, &space);
        odd_options(&settings).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_key_that_no_output_of_the_class_knows_is_told_with_the_nearest() {
        let text = "{\"g\": {\"class\": \"gelf\", \"adress\": [\"a\", 1], \"When\": {}},\n \"f\": {\"class\": \"file\", \
             \"filename\": \"x\", \"mode\": \"a\", \"level\": \"INFO\", \"rate\": \"1/m\", \"colour\": 1}}";
        assert_eq!(
            said(text),
            [
                "a.conf:2:36: warning: `adress` of output `g` is not known and has no effect; did you mean `address`?",
                "a.conf:2:56: warning: `When` of output `g` is not known and has no effect; did you mean `when`?",
                "a.conf:3:87: warning: `colour` of output `f` is not known and has no effect; `file` knows filename, \
                 mode, encoding, delay, errors, template",
            ]
        );
        let timed = r#"{"t": {"class": "timed_file", "filename": "x", "when": "midnight", "route": {}}}"#;
        assert_eq!(said(timed), Vec::<String>::new());
        assert!(said(r#"{"g": {"class": "gelf", "route": {}}}"#)[0].contains("`route` of output `g` is not known"));
    }

    #[test]
    fn what_python_allows_is_known_and_said_where_it_does_nothing() {
        let text = |more: &str| said(&format!(r#"{{"f": {{"class": "file", "filename": "x", {more}}}}}"#));
        assert!(text(r#""filters": []"#)[0].contains("is Python's and has no effect; `when` says"));
        for level in ["\"WARNING\"", "\"NOTSET\"", "30", "10", "null"] {
            assert_eq!(text(&format!("\"level\": {level}")), Vec::<String>::new(), "{level}");
        }
        for (level, part) in [("\"ERROR\"", "would send none"), ("40", "would send none"), ("\"LOUD\"", "is no level")]
        {
            let said = text(&format!("\"level\": {level}"));
            assert!(matches!(&said[..], [one] if one.contains(part)), "{said:?}");
        }
    }

    #[test]
    fn an_unknown_class_names_the_nearest_or_all_of_its_sort() {
        assert_eq!(unknown_class("gelff"), "\"gelff\" is not known; did you mean \"gelf\"?");
        assert!(unknown_class("logging.FileHandlr").ends_with("did you mean \"logging.FileHandler\"?"));
        assert!(
            unknown_class("smoke.Signal").contains("there are ") && unknown_class("smoke.Signal").contains("logging.")
        );
        assert!(!unknown_class("pigeon").contains("logging.") && unknown_class("pigeon").contains("webhook"));
        assert!(unknown_class("logging.handlers.QueueHandler").contains("not built yet"));
    }
}
