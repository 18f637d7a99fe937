//! Handlers: the entries of `logger.kwargs.handlers` and of `outputs`, each one destination of events.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::document::below;
use crate::problem::{Location, Problem, nearest};
use crate::shape::show;

/// Python's default: the event's line alone.
pub const DEFAULT_FORMAT: &str = "%(message)s";

/// One destination of events.
#[derive(Clone, Debug, PartialEq)]
pub struct Handler {
    /// Its name in the file.
    pub name: String,
    /// The Python class, `logging.FileHandler`.
    pub class: String,
    /// Its keys, `class` included.
    pub options: Map<String, Value>,
    /// The format text of the formatter that it names, if it names one.
    pub formatter: Option<String>,
    /// Where it stands; `None` for the built-in default.
    pub location: Option<Location>,
    /// The key that it is a part of: `logger` or `outputs`.
    pub key: &'static str,
    /// Where its keys stand.
    places: BTreeMap<String, Location>,
}

impl Handler {
    /// A destination that stands in no file.
    #[must_use]
    pub fn beside(name: &str, class: &str, mut options: Map<String, Value>) -> Self {
        options.insert("class".to_owned(), class.into());
        Self {
            name: name.to_owned(),
            class: class.to_owned(),
            options,
            formatter: None,
            location: None,
            key: OUTPUTS.key,
            places: BTreeMap::new(),
        }
    }

    /// The format text: the formatter's, or the event's line alone.
    #[must_use]
    pub fn format(&self) -> &str {
        self.formatter.as_deref().unwrap_or(DEFAULT_FORMAT)
    }

    /// What the file calls one of its kind: `handler` in `logger`, `output` in `outputs`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        if self.key == OUTPUTS.key { OUTPUTS.word } else { LOGGER.word }
    }

    /// Where one of its keys stands; where it stands itself if there is no such key.
    #[must_use]
    pub fn place_of(&self, option: &str) -> Option<&Location> {
        self.places.get(option).or(self.location.as_ref())
    }
}

/// The values that handlers stand in.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a> {
    /// `logger`, or its default.
    pub logger: Option<&'a Value>,
    /// `outputs`.
    pub outputs: Option<&'a Value>,
    /// Whether `logger` stands in the file. Whoever names outputs and no logger wants those outputs, so that the
    /// handlers of the default do not count then; its formatters do.
    pub logger_is_set: bool,
}

/// Where a part of a key's value stands, by key and JSON pointer.
pub(crate) type Locate<'a> = dyn Fn(&str, &str) -> Option<Location> + 'a;

/// The handlers of a file, those of `logger` first, and everything wrong with them.
pub(crate) fn read(given: Given<'_>, locate: &Locate<'_>, report: &mut dyn FnMut(Problem)) -> Vec<Handler> {
    let outputs = given.outputs.and_then(Value::as_object).filter(|outputs| !outputs.is_empty());
    let mut reader = Reader { locate, report, place: LOGGER };
    let (mut handlers, formats) = match given.logger {
        Some(logger) if given.logger_is_set || outputs.is_none() => reader.logger(logger, outputs.is_some()),
        Some(default) => (Vec::new(), reader.formats(&default["kwargs"])),
        None => (Vec::new(), Vec::new()),
    };
    reader.place = OUTPUTS;
    for (name, value) in outputs.into_iter().flatten() {
        let Some(handler) = reader.handler(name, value, &formats) else { continue };
        match handlers.iter().find(|earlier| earlier.name == *name) {
            None => handlers.push(handler),
            Some(earlier) => reader.twice(earlier, &handler),
        }
    }
    handlers
}

/// A place where handlers stand.
#[derive(Clone, Copy)]
struct Place {
    key: &'static str,
    /// The pointer to the object that holds them.
    base: &'static str,
    /// What one is called.
    word: &'static str,
}

const LOGGER: Place = Place { key: "logger", base: "/kwargs/handlers", word: "handler" };
const OUTPUTS: Place = Place { key: "outputs", base: "", word: "output" };

struct Reader<'a> {
    locate: &'a Locate<'a>,
    report: &'a mut dyn FnMut(Problem),
    place: Place,
}

/// Names and texts of formatters.
type Formats<'a> = Vec<(&'a str, &'a str)>;

impl Reader<'_> {
    /// The handlers of a `logger`, which needs none if there are other destinations, and its formatters.
    fn logger<'a>(&mut self, logger: &'a Value, others: bool) -> (Vec<Handler>, Formats<'a>) {
        match logger.get("class") {
            None => {}
            Some(Value::String(class)) if class == "PyLogger" => {}
            Some(class) => {
                self.error("/class", format!("`class` of `logger` is {}; accepted: \"PyLogger\"", show(class)));
            }
        }
        if others && logger.get("kwargs").is_none() {
            return (Vec::new(), Vec::new());
        }
        let Some(kwargs) = self.object(logger, "", "kwargs", "logger") else { return (Vec::new(), Vec::new()) };
        let known = ["handlers", "formatters", "extended"];
        for name in kwargs.keys().filter(|name| !known.contains(&name.as_str())) {
            let message = format!("unknown key `{name}` in `logger.kwargs`");
            let meant = nearest(name, known).map(|known| format!("did you mean `{known}`?"));
            self.warning(&below("/kwargs", name), message, meant);
        }
        match kwargs.get("extended") {
            None | Some(Value::Bool(_)) => {}
            Some(value) => {
                let message = format!("`extended` of `logger.kwargs` is {}; accepted: true or false", show(value));
                self.error("/kwargs/extended", message);
            }
        }
        let formats = self.formats(&logger["kwargs"]);
        if others && kwargs.get("handlers").is_none() {
            return (Vec::new(), formats);
        }
        let Some(handlers) = self.object(&logger["kwargs"], "/kwargs", "handlers", "logger.kwargs") else {
            return (Vec::new(), formats);
        };
        if handlers.is_empty() && !others {
            let hint = Some("add one, such as {\"class\": \"logging.FileHandler\", \"filename\": \"...\"}".to_owned());
            let message = "`logger.kwargs.handlers` names no destination: no event leaves";
            self.warning("/kwargs/handlers", message.into(), hint);
        }
        (handlers.iter().filter_map(|(name, value)| self.handler(name, value, &formats)).collect(), formats)
    }

    /// A name that stands in both places; the later of the two is at fault.
    fn twice(&mut self, earlier: &Handler, handler: &Handler) {
        let line = |handler: &Handler| handler.location.as_ref().map_or(0, |location| location.line);
        let message = format!(
            "the name `{}` is given twice: in `logger.kwargs.handlers`, line {}, and in `outputs`, line {}",
            handler.name,
            line(earlier),
            line(handler)
        );
        if let Some(location) = earlier.location.clone().max(handler.location.clone()) {
            let problem = Problem::error(location, message).of_key("outputs");
            (self.report)(problem.hint("give one of them another name"));
        }
    }

    fn handler(&mut self, name: &str, value: &Value, formats: &[(&str, &str)]) -> Option<Handler> {
        let Place { key, base, word } = self.place;
        let pointer = below(base, name);
        let Value::Object(options) = value else {
            let message = format!("{word} `{name}` is {}; accepted: an object with a `class`", show(value));
            self.error(&pointer, message);
            return None;
        };
        let class = match options.get("class") {
            Some(Value::String(class)) if !class.is_empty() => class.clone(),
            Some(class) => {
                let message = format!("`class` of {word} `{name}` is {}; accepted: text in double quotes", show(class));
                self.error(&below(&pointer, "class"), message);
                return None;
            }
            None => {
                let meant = nearest("class", options.keys().map(String::as_str));
                let meant = meant.map(|key| format!("; is `{key}` meant to be it?")).unwrap_or_default();
                let example = if key == OUTPUTS.key { "file" } else { "logging.FileHandler" };
                let message =
                    format!("{word} `{name}` has no `class`, which says what it is, such as \"{example}\"{meant}");
                self.error(&pointer, message);
                return None;
            }
        };
        let formatter = match options.get("formatter") {
            None | Some(Value::Null) => None,
            Some(Value::String(wanted)) => {
                let found = formats.iter().find(|(known, _)| known == wanted);
                if found.is_none() {
                    let names = formats.iter().map(|(known, _)| *known);
                    let meant = match nearest(wanted, names.clone()) {
                        Some(known) => format!("did you mean \"{known}\"?"),
                        None if formats.is_empty() => "there are none".to_owned(),
                        None => format!(
                            "known: {}",
                            names.map(|known| format!("\"{known}\"")).collect::<Vec<_>>().join(", ")
                        ),
                    };
                    let message =
                        format!("{word} `{name}` names a `formatter` \"{wanted}\" that `formatters` lacks; {meant}");
                    self.error(&below(&pointer, "formatter"), message);
                }
                found.map(|(_, format)| (*format).to_owned())
            }
            Some(other) => {
                let message = format!(
                    "`formatter` of {word} `{name}` is {}; accepted: the name of one of `formatters`",
                    show(other)
                );
                self.error(&below(&pointer, "formatter"), message);
                None
            }
        };
        let location = (self.locate)(key, &pointer);
        let place = |option: &String| Some((option.clone(), (self.locate)(key, &below(&pointer, option))?));
        let places = options.keys().filter_map(place).collect();
        Some(Handler { name: name.to_owned(), class, options: options.clone(), formatter, location, key, places })
    }

    /// Names and texts of the formatters.
    fn formats<'a>(&mut self, kwargs: &'a Value) -> Formats<'a> {
        if kwargs.get("formatters").is_none() {
            return Vec::new();
        }
        let Some(formatters) = self.object(kwargs, "/kwargs", "formatters", "logger.kwargs") else { return Vec::new() };
        let mut formats = Vec::new();
        for (name, value) in formatters {
            let pointer = below("/kwargs/formatters", name);
            let format = match value {
                Value::Object(fields) => match fields.get("format") {
                    None | Some(Value::Null) => Some(DEFAULT_FORMAT),
                    Some(format) => format.as_str(),
                },
                _ => None,
            };
            match format {
                Some(format) => formats.push((name.as_str(), format)),
                None => {
                    let message = format!("formatter `{name}` has no text `format`; accepted: {{\"format\": \"...\"}}");
                    self.error(&pointer, message);
                }
            }
            if value.get("style").is_some_and(|style| style != "%") {
                let message = format!("formatter `{name}` has a `style` other than \"%\", which is not played");
                self.warning(&below(&pointer, "style"), message, Some("write the format with %(name)s".into()));
            }
        }
        formats
    }

    fn object<'a>(&mut self, parent: &'a Value, pointer: &str, name: &str, of: &str) -> Option<&'a Map<String, Value>> {
        match parent.get(name) {
            Some(Value::Object(object)) => Some(object),
            Some(other) => {
                self.error(
                    &below(pointer, name),
                    format!("`{name}` of `{of}` is {}; accepted: an object", show(other)),
                );
                None
            }
            None => {
                let meant = parent.as_object().and_then(|object| nearest(name, object.keys().map(String::as_str)));
                let meant = meant.map(|key| format!("; is `{key}` meant to be it?")).unwrap_or_default();
                self.error(pointer, format!("`{of}` has no `{name}`{meant}"));
                None
            }
        }
    }

    fn error(&mut self, pointer: &str, message: String) {
        if let Some(location) = (self.locate)(self.place.key, pointer) {
            (self.report)(Problem::error(location, message).of_key(self.place.key));
        }
    }

    fn warning(&mut self, pointer: &str, message: String, hint: Option<String>) {
        if let Some(location) = (self.locate)(self.place.key, pointer) {
            let mut problem = Problem::warning(location, message).of_key(self.place.key);
            problem.hint = hint;
            (self.report)(problem);
        }
    }
}
