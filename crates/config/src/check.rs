//! The check: a document against the key space. Pure, and all problems at once.

mod hosts;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use crate::Shape;
use crate::document::{Document, Entry, Format, below};
use crate::handlers;
use crate::honeycreds::{HoneyCreds, is_foreign_hash};
use crate::hosts::is_of_the_whole;
use crate::ignore;
use crate::key::numbered;
use crate::keys::UDP;
use crate::metrics::MetricsPlace;
use crate::persona::Persona;
use crate::problem::{Location, Problem, nearest};
use crate::settings::Settings;
use crate::shape::{Fit, read, show};
use crate::shipped;
use crate::space::KeySpace;

/// Checks a document. The settings hold what is good; with an error among the problems nothing starts.
#[must_use]
pub fn check(document: &Document, space: &KeySpace) -> (Settings, Vec<Problem>) {
    let mut check = Check::new(document, space, Location::whole(&document.file));
    let settings = check.keys();
    check.missing();
    let hosts = hosts::check(document, space, &settings, &mut check.problems);
    check.services(&settings, hosts.is_empty());
    check.ports(&settings);
    let mut problems = check.problems;
    problems.sort_by(|a, b| a.location.cmp(&b.location));
    (settings.with_hosts(hosts), problems)
}

struct Check<'a> {
    document: &'a Document,
    space: &'a KeySpace,
    /// Where the file, or the part for a host, begins.
    place: Location,
    values: BTreeMap<String, Value>,
    problems: Vec<Problem>,
}

impl<'a> Check<'a> {
    fn new(document: &'a Document, space: &'a KeySpace, place: Location) -> Self {
        Self { document, space, place, values: BTreeMap::new(), problems: document.problems.clone() }
    }

    /// Looks at each key by itself.
    fn keys(&mut self) -> Settings {
        for entry in &self.document.entries {
            self.entry(entry);
        }
        let persona = self.persona();
        if persona.is_some() {
            self.values.retain(|key, value| !shipped::is_default(key, value));
        }
        let document = self.document;
        let locate = |key: &str, pointer: &str| document.entry(key).map(|entry| entry.locate(pointer).clone());
        let settings = Settings::located(self.space.keys().copied(), self.values.clone(), &locate);
        handlers::read(settings.given(), &locate, &mut |problem| self.problems.push(problem));
        match persona {
            Some(persona) => settings.playing(persona),
            None => settings,
        }
    }
}

impl Check<'_> {
    fn entry(&mut self, entry: &Entry) {
        let Entry { key, value, location, .. } = entry;
        let path = &self.document.path(key);
        let Some(known) = self.space.find(key) else { return self.unknown(entry) };
        if self.document.is_host() && is_of_the_whole(key) {
            let problem =
                Problem::error(location.clone(), format!("`{path}` stands in a host; it is of the whole canary"));
            return self.problems.push(problem.of_key(path).hint(format!("write `{key}` outside `hosts`")));
        }
        if value.is_null() {
            let problem = Problem::warning(location.clone(), format!("`{path}` is null, which counts as not given"));
            return self.problems.push(problem.of_key(path));
        }
        match read(known.shape, value, key.ends_with(".enabled")) {
            Ok(Fit::Same) => drop(self.values.insert(key.clone(), value.clone())),
            Ok(Fit::Read(value, said)) => {
                self.problems.push(Problem::warning(location.clone(), format!("`{path}` {said}")).of_key(path));
                self.values.insert(key.clone(), value);
            }
            Err(fault) => {
                let mut problem = Problem::error(location.clone(), format!("`{path}` {fault}")).of_key(path);
                if known.shape == Shape::Flag && value.as_str().is_some_and(|text| matches!(text, "true" | "false")) {
                    problem = problem.hint("take the quotes away");
                }
                return self.problems.push(problem);
            }
        }
        match key.as_str() {
            "ip.ignorelist" | "portscan.ignore_sources" => self.items(entry, ignore::sources(list(value)).1),
            "logtype.ignorelist" => self.items(entry, ignore::kinds(list(value)).1),
            "device.listen_addr" => self.listen_addr(entry),
            "aviary.metrics.listen" => {
                if let Err(fault) = MetricsPlace::read(value.as_str().unwrap_or_default()) {
                    let message = format!("{} in `{path}` {fault}", show(value));
                    self.problems.push(Problem::error(location.clone(), message).of_key(path));
                }
            }
            key if key.ends_with(".honeycreds") => self.honeycreds(entry),
            _ => {}
        }
    }

    /// The machine that `device.persona` names.
    fn persona(&mut self) -> Option<&'static Persona> {
        let entry = self.document.entry("device.persona")?;
        let name = entry.value.as_str().filter(|name| !name.is_empty())?;
        let personas = self.space.personas();
        let found = personas.iter().find(|persona| persona.name == name);
        if found.is_none() {
            let names: Vec<&str> = personas.iter().map(|persona| persona.name).collect();
            let path = self.document.path("device.persona");
            let message = format!("`{path}` \"{name}\" is not known; accepted: {}", names.join(", "));
            let mut problem = Problem::error(entry.location.clone(), message).of_key(path);
            problem.hint = nearest(name, names).map(|near| format!("did you mean \"{near}\"?"));
            self.problems.push(problem);
        }
        found
    }

    fn unknown(&mut self, entry: &Entry) {
        let Entry { key, value, location, .. } = entry;
        let path = self.document.path(key);
        let message = format!("unknown key `{path}` has no effect");
        let mut problem = Problem::warning(location.clone(), message).of_key(path);
        let first = value.as_object().and_then(|object| object.keys().next());
        let output = key.strip_prefix("outputs.").filter(|_| self.document.format == Format::Json);
        problem.hint = match first {
            _ if output.is_some_and(|name| !name.contains('.')) => {
                Some(format!("write `\"outputs\": {{\"{}\": ...}}`", output.unwrap_or_default()))
            }
            Some(first)
                if self.document.format == Format::Json && self.space.services().any(|service| service == key) =>
            {
                Some(format!("this file is flat: write `\"{key}.{first}\": ...`"))
            }
            _ => self.space.suggestion(key),
        };
        self.problems.push(problem);
    }

    /// Reports faults of a list's items.
    fn items(&mut self, entry: &Entry, faults: Vec<(usize, String)>) {
        let path = self.document.path(&entry.key);
        for (at, fault) in faults {
            let shown = list(&entry.value).get(at).map(show).unwrap_or_default();
            let location = entry.locate(&below("", &at.to_string())).clone();
            let message = format!("{shown} in `{path}` {fault}");
            self.problems.push(Problem::error(location, message).of_key(&path));
        }
    }

    fn listen_addr(&mut self, entry: &Entry) {
        let path = self.document.path(&entry.key);
        let one = std::slice::from_ref(&entry.value);
        let many = entry.value.as_array().map(Vec::as_slice);
        for (at, item) in many.unwrap_or(one).iter().enumerate() {
            let text = item.as_str().unwrap_or_default().trim();
            if text.parse::<IpAddr>().is_ok() || (text.is_empty() && many.is_none()) {
                continue;
            }
            let location = entry.locate(&below("", &at.to_string())).clone();
            let message = format!("{} in `{path}` is not an address of IPv4 or IPv6", show(item));
            let mut problem = Problem::error(location, message).of_key(&path);
            if text == "localhost" {
                problem = problem.hint("write \"127.0.0.1\"");
            } else if text.contains([',', ' ']) {
                problem = problem.hint("write several as a list: [\"10.0.0.5\", \"10.0.0.6\"]");
            } else if text.contains('/') {
                problem = problem.hint("an address stands here without a prefix");
            }
            self.problems.push(problem);
        }
    }

    fn honeycreds(&mut self, entry: &Entry) {
        let key = &self.document.path(&entry.key);
        let (_, faults) = HoneyCreds::parse(list(&entry.value));
        for (at, fault) in faults {
            let location = entry.locate(&below("", &at.to_string())).clone();
            self.problems.push(Problem::error(location, format!("entry {} of `{key}` {fault}", at + 1)).of_key(key));
        }
        for (at, item) in list(&entry.value).iter().enumerate() {
            if item.get("password").and_then(Value::as_str).is_some_and(is_foreign_hash) {
                let location = entry.locate(&format!("/{at}/password")).clone();
                let message = format!(
                    "the password of entry {} of `{key}` looks like a hash, and is compared as it stands",
                    at + 1
                );
                let problem = Problem::warning(location, message).of_key(key);
                self.problems.push(problem.hint("hashes are $pbkdf2-sha512$, $2b$, $6$ and $5$"));
            }
        }
    }

    fn missing(&mut self) {
        for (key, message, hint) in [
            (
                "device.node_id",
                "`device.node_id` is not given: events will say \"opencanary-1\"",
                "give each canary its own",
            ),
            (
                "logger",
                "`logger` is not given: events go to the console and to /var/tmp/opencanary.log",
                "OpenCanary itself does not start without it",
            ),
        ] {
            // Whoever names outputs needs no logger.
            let named = self.document.entry("outputs").and_then(|entry| entry.value.as_object());
            let spared = key == "logger" && named.is_some_and(|outputs| !outputs.is_empty());
            if self.document.entry(key).is_none() && !spared {
                self.problems.push(Problem::warning(self.place.clone(), message).of_key(key).hint(hint));
            }
        }
    }

    /// What is switched on: values that give it away, numbered services whose main switch is off.
    /// `alone` is whether there is nothing else that could be touched.
    fn services(&mut self, settings: &Settings, alone: bool) {
        let on = |service: &str| settings.flag(&format!("{service}.enabled"));
        let answers = !settings.list("portscan.answer").is_empty();
        if alone && !answers && !self.space.services().any(on) {
            let whom = if self.document.is_host() { "host" } else { "canary" };
            let message = format!("no service is on: nobody can touch this {whom}");
            let problem = Problem::warning(self.place.clone(), message);
            self.problems.push(problem.hint("set one, such as `ftp.enabled`, to true"));
        }
        if let Some(persona) = settings.persona() {
            self.unfit(persona, settings);
        }
        for entry in &self.document.entries {
            let Entry { key, value, location, .. } = entry;
            let Some((family, rest)) = key.split_once('.') else { continue };
            let (document, path) = (self.document, self.document.path(key));
            let mut warn = |message: String, hint: &str| {
                self.problems.push(Problem::warning(location.clone(), message).of_key(&path).hint(hint));
            };
            if rest == "enabled"
                && on(family)
                && let Some((pattern, number)) = numbered(family)
            {
                let main = pattern.trim_end_matches("_#");
                let most = format!("{main}.maxnum");
                if self.space.find(&format!("{main}.enabled")).is_some() && !on(main) {
                    let switch = document.path(&format!("{main}.enabled"));
                    warn(format!("`{path}` has no effect while `{switch}` is false"), "switch both on");
                } else if self.space.find(&most).is_some() && i64::from(number) > settings.int(&most) {
                    let (count, most) = (settings.int(&most), document.path(&most));
                    warn(format!("`{path}` has no effect: `{most}` is {count}"), "raise it");
                }
            }
            // One setting may serve two services, as `http.banner` does `https`.
            let shown = on(family) || (family == "http" && on("https"));
            if let Some(found) = shipped::find(key, value).filter(|_| shown && settings.is_set(key)) {
                let message =
                    format!("{} in `{path}` is {}, which scanners know as a honeypot's", show(value), found.whose);
                warn(message, found.cure);
            }
        }
    }

    /// Services that are on and that a machine of this kind does not have.
    fn unfit(&mut self, persona: &str, settings: &Settings) {
        /// What any machine may have.
        const NEUTRAL: [&str; 5] = ["https", "llmnr", "ntp", "portscan", "tcpbanner"];
        let known = self.space.personas().iter().find(|known| known.name == persona);
        let fits = |service: &str| {
            let prefix = format!("{service}.");
            let named = known.is_some_and(|known| known.defaults.iter().any(|(key, _)| key.starts_with(&prefix)));
            NEUTRAL.contains(&service) || named
        };
        let services: Vec<&str> = self.space.services().collect();
        for service in services {
            let switch = format!("{service}.enabled");
            if settings.flag(&switch) && !fits(service) {
                let location = self.document.entry(&switch).map(|entry| entry.location.clone());
                let location = location.unwrap_or_else(|| self.place.clone());
                let path = self.document.path(service);
                let message = format!("`{path}` is switched on, which no {persona} has: it plays its own default");
                let problem = Problem::warning(location, message).of_key(self.document.path(&switch));
                self.problems.push(problem.hint("switch it off, or say what it plays with its own keys"));
            }
        }
    }

    /// Ports that two services want at once. OpenCanary does not start then either.
    fn ports(&mut self, settings: &Settings) {
        let mut wanted: BTreeMap<(bool, u16), Vec<String>> = BTreeMap::new();
        let declared = self.space.keys().filter(|key| key.shape == Shape::Port && !key.name.contains('#'));
        let given = self.document.entries.iter().map(|entry| entry.key.as_str());
        let given = given
            .filter(|name| self.space.find(name).is_some_and(|key| key.shape == Shape::Port && key.name.contains('#')));
        for name in declared.map(|key| key.name).chain(given) {
            let Some((family, _)) = name.split_once('.') else { continue };
            if self.is_on(family, settings) && settings.port(name) != 0 {
                let place = (UDP.contains(&family), settings.port(name));
                wanted.entry(place).or_default().push(name.to_owned());
            }
        }
        for ((_, port), names) in wanted.into_iter().filter(|(_, names)| names.len() > 1) {
            let place = |name: &String| {
                let switch = format!("{}.enabled", name.split('.').next().unwrap_or_default());
                let entry = self.document.entry(name).or_else(|| self.document.entry(&switch));
                entry.map(|entry| entry.location.clone())
            };
            let last = names.iter().filter_map(place).max();
            let location = last.unwrap_or_else(|| self.place.clone());
            let paths: Vec<String> = names.iter().map(|name| self.document.path(name)).collect();
            let message = format!("port {port} is wanted by `{}` at once", paths.join("` and `"));
            let problem = Problem::error(location, message).of_key(paths.last().map_or("", String::as_str));
            self.problems.push(problem.hint("give one of them another port, or switch it off"));
        }
    }

    /// Whether a service, or a numbered one of a service, really listens.
    fn is_on(&self, family: &str, settings: &Settings) -> bool {
        let on = |service: &str| settings.flag(&format!("{service}.enabled"));
        match numbered(family) {
            Some((pattern, number)) => {
                let main = pattern.trim_end_matches("_#");
                let most = format!("{main}.maxnum");
                let counted = self.space.find(&most).is_none() || i64::from(number) <= settings.int(&most);
                on(family) && counted && (self.space.find(&format!("{main}.enabled")).is_none() || on(main))
            }
            None => on(family),
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests;
