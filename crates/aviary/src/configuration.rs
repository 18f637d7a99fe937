//! The configuration of this process: the key space of all services, and the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::bail;
use aviary_config::{Document, Format, KeySpace, LoadError, Loaded, Problem, Settings, Shape, Surroundings};
use serde_json::Value;

/// A configuration that a canary can run on.
pub(crate) struct Usable {
    pub(crate) path: PathBuf,
    pub(crate) settings: Settings,
    pub(crate) problems: Vec<Problem>,
}

impl Usable {
    /// Writes warnings to the log.
    pub(crate) fn log_warnings(&self) {
        for problem in &self.problems {
            tracing::warn!("{problem}");
        }
    }
}

/// Every key that a file may hold that names no modules.
pub(crate) fn key_space() -> KeySpace {
    space_of(&aviary_sensor::entries(&Settings::default()))
}

fn space_of(entries: &[&'static aviary_service::Entry]) -> KeySpace {
    KeySpace::new(entries.iter().map(|entry| entry.keys).chain([aviary_scan::KEYS, aviary_script::KEYS]))
        .with_personas(&aviary_services::PERSONAS)
}

/// Reads the named file, or the first of the usual places, with every problem, and gives the keys that it may
/// hold: those of the modules that it names are among them.
pub(crate) fn read(named: Option<&Path>) -> Result<(Loaded, KeySpace), LoadError> {
    let surroundings = Surroundings::of_this_process();
    let space = key_space();
    let loaded = aviary_config::load(named, &surroundings, &space)?;
    let mut entries = aviary_sensor::entries(&loaded.settings);
    for host in loaded.settings.hosts() {
        let of_host = aviary_sensor::entries(&host.settings);
        entries.extend(of_host.into_iter().skip(aviary_services::ALL.len()));
    }
    if entries.len() == aviary_services::ALL.len() {
        return Ok((with_outputs(loaded), space));
    }
    let space = space_of(&entries);
    Ok((with_outputs(aviary_config::load(named, &surroundings, &space)?), space))
}

/// The same with what the outputs find odd in their handlers.
fn with_outputs(mut loaded: Loaded) -> Loaded {
    loaded.problems.extend(aviary_sensor::odd_options(&loaded.settings));
    loaded.problems.sort_by(|a, b| a.location.cmp(&b.location));
    loaded
}

/// Loads the named file, or the first of the usual places.
pub(crate) fn load(named: Option<&Path>) -> anyhow::Result<Usable> {
    let (loaded, _) = read(named)?;
    if !loaded.is_usable() {
        let errors: Vec<String> =
            loaded.problems.iter().filter(|problem| problem.is_error()).map(Problem::detailed).collect();
        bail!("the configuration cannot be used, and nothing was started\n{}", errors.join("\n"));
    }
    Ok(Usable { path: loaded.path, settings: loaded.settings, problems: loaded.problems })
}

/// The same with nothing but users' modules switched on: `opencanaryd --usermodule`.
pub(crate) fn only_modules(settings: &Settings) -> anyhow::Result<Settings> {
    let entries = aviary_sensor::entries(settings);
    if entries.len() == aviary_services::ALL.len() {
        bail!(
            "there are no modules to run: `usermodule.path` names no folder with files `*.rhai`; see docs/modules.md\n\
            modules for OpenCanary are Python, which nothing here runs; `aviary module new` begins one in Rhai"
        );
    }
    let mut values: BTreeMap<String, Value> =
        settings.iter().map(|(key, value)| (key.to_owned(), value.clone())).collect();
    values.insert("portscan.enabled".to_owned(), Value::Bool(false));
    for entry in aviary_services::ALL {
        values.insert(format!("{}.enabled", entry.name), Value::Bool(false));
        for key in entry.keys.iter().filter(|key| key.shape == Shape::List && !has_switch(entry)) {
            values.remove(key.name);
        }
    }
    Ok(Settings::new(space_of(&entries).keys().copied(), values))
}

/// Services that speak first: what goes out on somebody's network is for the operator to switch on.
const SPEAKING_FIRST: [&str; 1] = ["llmnr"];

/// Whether a service is switched on by a word, and not by naming its ports.
fn has_switch(entry: &aviary_service::Entry) -> bool {
    entry.keys.iter().any(|key| key.name == format!("{}.enabled", entry.name))
}

/// What `aviary up` runs on without a file: every service that waits to be touched, and a log file in the
/// state folder. Ports are the services' own.
pub(crate) fn without_file(state_dir: &Path) -> Settings {
    let mut text = String::from("[logger.kwargs.handlers.file]\nclass = \"logging.FileHandler\"\n");
    let log = state_dir.join("events.jsonl");
    text.push_str(&format!("filename = {:?}\n", log.display().to_string()));
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    text.push_str(&format!("[device]\nnode_id = {:?}\n", name.unwrap_or_else(|| "aviary".to_owned())));
    for entry in aviary_services::ALL {
        if entry.name != "tcpbanner" && !SPEAKING_FIRST.contains(&entry.name) && has_switch(entry) {
            text.push_str(&format!("[{}]\nenabled = true\n", entry.name));
        }
    }
    text.push_str(
        "[tcpbanner]\nenabled = true\n[tcpbanner_1]\nenabled = true\ninitbanner = \"220 mail relay ready\\r\\n\"\n",
    );
    let space = key_space();
    let document = Document::parse(Path::new("built-in"), &text, Format::Toml, &space);
    document.map(|document| aviary_config::check(&document, &space).0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_configuration_enables_every_service_that_waits() {
        let settings = without_file(Path::new("/state"));
        for entry in aviary_services::ALL {
            let waits = !SPEAKING_FIRST.contains(&entry.name) && has_switch(entry);
            assert_eq!(entry.is_enabled(&settings), waits, "{}", entry.name);
        }
        assert_eq!(settings.handlers().len(), 1);
    }

    /// Code blocks of a document, by language.
    fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
        let begin = format!("```{language}\n");
        text.split(&begin).skip(1).filter_map(|rest| rest.split("```").next()).collect()
    }

    /// What is said of a file with these outputs.
    fn said_of(text: &str, format: Format) -> (Settings, Vec<String>) {
        let document = Document::parse(Path::new("outputs.md"), text, format, &key_space()).unwrap();
        let (settings, problems) = aviary_config::check(&document, &key_space());
        let plan = aviary_sensor::Plan::build(&settings, &aviary_service::MemoryVault::default());
        let faults = plan.outputs.iter().filter_map(|output| output.output.as_ref().err().map(ToString::to_string));
        let odd = aviary_sensor::odd_options(&settings);
        let said = problems.iter().chain(&odd).map(ToString::to_string).chain(faults);
        // The examples leave out everything but outputs, and a script's file is elsewhere.
        let said = said.filter(|said| {
            !said.contains("`device.node_id` is not given")
                && !said.contains("no service is on")
                && !said.contains(".rhai`: it cannot be read")
        });
        (settings, said.collect())
    }

    #[test]
    fn every_example_of_an_output_has_no_key_that_means_nothing() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        let mut pages = vec![docs.join("outputs.md")];
        pages.extend(std::fs::read_dir(docs.join("outputs")).unwrap().map(|page| page.unwrap().path()));
        let mut seen = 0;
        for page in pages {
            let text = std::fs::read_to_string(&page).unwrap();
            // The script of the example lies beside the page.
            let text = text
                .replace("/etc/aviary/allowed_ports.rhai", docs.join("modules/allowed_ports.rhai").to_str().unwrap());
            let json = blocks(&text, "json").into_iter().map(|block| match block.contains("\"outputs\":") {
                true => (block.to_owned(), Format::Json),
                false => (format!("{{\"outputs\": {block}}}"), Format::Json),
            });
            let toml =
                blocks(&text, "toml").into_iter().map(|block| (block.replace("file:/", "https://"), Format::Toml));
            for (block, format) in json.chain(toml) {
                let (settings, said) = said_of(&block, format);
                assert_eq!(said, Vec::<String>::new(), "{}: {block}", page.display());
                seen += settings.handlers().len();
            }
        }
        assert!(seen > 20, "{seen}");
    }

    #[test]
    fn both_files_of_the_document_about_hosts_say_the_same_without_a_fault() {
        let text = include_str!("../../../docs/hosts.md");
        let space = key_space();
        let mut seen = Vec::new();
        for (language, format) in [("toml", Format::Toml), ("json", Format::Json)] {
            let [block] = blocks(text, language)[..] else { panic!("one file in {language}") };
            let document = Document::parse(Path::new("hosts.md"), block, format, &space).unwrap();
            let (settings, problems) = aviary_config::check(&document, &space);
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            // The document leaves out where events go.
            assert!(matches!(&problems[..], [one] if one.contains("`logger` is not given")), "{problems:?}");
            let of_hosts = settings.hosts().iter().map(|host| {
                let values: Vec<String> = host.settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
                (host.node_id(&settings.node_id()), host.host_name(), host.settings.flag("smb.enabled"), values)
            });
            seen.push(of_hosts.collect::<Vec<_>>());
        }
        assert_eq!(seen[0], seen[1]);
        assert_eq!((seen[0][0].0.as_str(), seen[0][1].1.as_str()), ("rack-3/printer", "FS01"));
        assert!(seen[0][1].2 && !seen[0][0].2);
    }
}
