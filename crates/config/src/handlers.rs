//! Handlers: the entries of `logger.kwargs.handlers`, each one destination of events.

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
}

impl Handler {
    /// The format text: the formatter's, or the event's line alone.
    #[must_use]
    pub fn format(&self) -> &str {
        self.formatter.as_deref().unwrap_or(DEFAULT_FORMAT)
    }
}

/// The handlers of a `logger` value, and everything wrong with it. `locate` says where a part of it
/// stands, by JSON pointer.
pub(crate) fn read(
    logger: &Value,
    locate: &dyn Fn(&str) -> Option<Location>,
    report: &mut dyn FnMut(Problem),
) -> Vec<Handler> {
    let mut reader = Reader { locate, report };
    match logger.get("class") {
        None => {}
        Some(Value::String(class)) if class == "PyLogger" => {}
        Some(class) => {
            reader.error("/class", format!("`class` of `logger` is {}; accepted: \"PyLogger\"", show(class)))
        }
    }
    let Some(kwargs) = reader.object(logger, "", "kwargs", "logger") else { return Vec::new() };
    let known = ["handlers", "formatters", "extended"];
    for name in kwargs.keys().filter(|name| !known.contains(&name.as_str())) {
        let message = format!("unknown key `{name}` in `logger.kwargs`");
        let meant = nearest(name, known).map(|known| format!("did you mean `{known}`?"));
        reader.warning(&below("/kwargs", name), message, meant);
    }
    match kwargs.get("extended") {
        None | Some(Value::Bool(_)) => {}
        Some(value) => {
            let message = format!("`extended` of `logger.kwargs` is {}; accepted: true or false", show(value));
            reader.error("/kwargs/extended", message);
        }
    }
    let formats = reader.formats(&logger["kwargs"]);
    let Some(handlers) = reader.object(&logger["kwargs"], "/kwargs", "handlers", "logger.kwargs") else {
        return Vec::new();
    };
    if handlers.is_empty() {
        let hint = Some("add one, such as {\"class\": \"logging.FileHandler\", \"filename\": \"...\"}".to_owned());
        reader.warning(
            "/kwargs/handlers",
            "`logger.kwargs.handlers` names no destination: no event leaves".into(),
            hint,
        );
    }
    handlers.iter().filter_map(|(name, value)| reader.handler(name, value, &formats)).collect()
}

struct Reader<'a> {
    locate: &'a dyn Fn(&str) -> Option<Location>,
    report: &'a mut dyn FnMut(Problem),
}

impl Reader<'_> {
    fn handler(&mut self, name: &str, value: &Value, formats: &[(&str, &str)]) -> Option<Handler> {
        let pointer = below("/kwargs/handlers", name);
        let Value::Object(options) = value else {
            let message = format!("handler `{name}` is {}; accepted: an object with a `class`", show(value));
            self.error(&pointer, message);
            return None;
        };
        let class = match options.get("class") {
            Some(Value::String(class)) if !class.is_empty() => class.clone(),
            Some(class) => {
                let message =
                    format!("`class` of handler `{name}` is {}; accepted: text in double quotes", show(class));
                self.error(&below(&pointer, "class"), message);
                return None;
            }
            None => {
                let meant = nearest("class", options.keys().map(String::as_str));
                let meant = meant.map(|key| format!("; is `{key}` meant to be it?")).unwrap_or_default();
                let message = format!(
                    "handler `{name}` has no `class`, which says what it is, such as \"logging.FileHandler\"{meant}"
                );
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
                        None => format!(
                            "known: {}",
                            names.map(|known| format!("\"{known}\"")).collect::<Vec<_>>().join(", ")
                        ),
                    };
                    let message =
                        format!("handler `{name}` names a `formatter` \"{wanted}\" that `formatters` lacks; {meant}");
                    self.error(&below(&pointer, "formatter"), message);
                }
                found.map(|(_, format)| (*format).to_owned())
            }
            Some(other) => {
                let message = format!(
                    "`formatter` of handler `{name}` is {}; accepted: the name of one of `formatters`",
                    show(other)
                );
                self.error(&below(&pointer, "formatter"), message);
                None
            }
        };
        let location = (self.locate)(&pointer);
        Some(Handler { name: name.to_owned(), class, options: options.clone(), formatter, location })
    }

    /// Names and texts of the formatters.
    fn formats<'a>(&mut self, kwargs: &'a Value) -> Vec<(&'a str, &'a str)> {
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
        if let Some(location) = (self.locate)(pointer) {
            (self.report)(Problem::error(location, message).of_key("logger"));
        }
    }

    fn warning(&mut self, pointer: &str, message: String, hint: Option<String>) {
        if let Some(location) = (self.locate)(pointer) {
            let mut problem = Problem::warning(location, message).of_key("logger");
            problem.hint = hint;
            (self.report)(problem);
        }
    }
}
