//! The folder of modules, as a list of entries.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aviary_config::{Key, Settings, Shape};
use aviary_service::{Build, Entry, Materials, Rejection, Service};
use serde_json::Value as Json;

use crate::emitter::is_output;
use crate::manifest::{Manifest, is_name};
use crate::module::{Fault, Module};
use crate::service::{Running, ScriptService};
use crate::{KINDS, limits};

const PATH: &str = "usermodule.path";

/// The key of the folder.
pub static KEYS: &[Key] = &[Key {
    name: PATH,
    shape: Shape::Path,
    default: "\"\"",
    doc: "Folder of your own modules, files `*.rhai`, or one such file; each runs unless its `NAME.enabled` is false.",
}];

/// First parts of keys that belong to nobody's module.
const TAKEN: [&str; 10] =
    ["aviary", "device", "hosts", "httproxy", "ip", "logger", "logtype", "outputs", "portscan", "usermodule"];

/// Text and name of each module that this process has seen, with its entry.
type Seen = HashMap<(String, Result<Arc<str>, Fault>), &'static Entry>;

/// What was read before, so that an unchanged module has the entry that it had: entries are equal when they are
/// the same.
///
/// LIMIT: entries live as long as the process, as those of the built-in services do. A module that a reload
/// finds changed leaves its text and its keys behind.
static SEEN: Mutex<Option<Seen>> = Mutex::new(None);

/// The modules that the settings name, by name. What cannot be used is an entry that refuses to be built, so
/// that it is told of as a service is. `taken` says which names are services' already.
#[must_use]
pub fn entries(settings: &Settings, taken: &dyn Fn(&str) -> bool) -> Vec<&'static Entry> {
    let Some(path) = settings.path(PATH) else { return Vec::new() };
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let seen = seen.get_or_insert_default();
    let files = match files(&path) {
        Ok(files) => files,
        Err(reason) => {
            let fault = Fault { file: path.display().to_string(), reason };
            return vec![entry(seen, crate::NAME.to_owned(), Err(fault))];
        }
    };
    let mut entries = Vec::new();
    for file in files {
        let shown = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let fault = |reason: String| Fault { file: shown.clone(), reason };
        if !is_name(&name) || TAKEN.contains(&name.as_str()) || taken(&name) {
            let reason = "its file's name is no module's, or another service's; give it another".to_owned();
            entries.push(entry(seen, format!("{}/{shown}", crate::NAME), Err(fault(reason))));
            continue;
        }
        let text = read(&file).map_err(fault);
        // Outputs may lie beside; handlers name them.
        if text.as_deref().is_ok_and(is_output) {
            continue;
        }
        let text = text.map(Arc::from);
        entries.push(entry(seen, name, text));
    }
    entries
}

fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let cannot = |error: std::io::Error| format!("the folder cannot be read: {error}");
    let mut files = Vec::new();
    for found in std::fs::read_dir(path).map_err(cannot)? {
        let file = found.map_err(cannot)?.path();
        if file.extension().is_some_and(|extension| extension == "rhai") {
            files.push(file);
        }
    }
    if files.len() > limits::MODULES {
        return Err(format!("{} modules are in it; accepted: up to {}", files.len(), limits::MODULES));
    }
    files.sort();
    Ok(files)
}

/// A script's text.
pub(crate) fn read(file: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("it cannot be read: {error}");
    let mut text = String::new();
    let opened = std::fs::File::open(file).map_err(cannot)?;
    opened.take(limits::FILE.saturating_add(1)).read_to_string(&mut text).map_err(cannot)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > limits::FILE) {
        return Err(format!("it is longer than {} KiB", limits::FILE.div_euclid(1024)));
    }
    Ok(text)
}

fn entry(seen: &mut Seen, name: String, text: Result<Arc<str>, Fault>) -> &'static Entry {
    seen.entry((name, text)).or_insert_with_key(|(name, text)| make(name, text)).to_owned()
}

fn make(name: &str, text: &Result<Arc<str>, Fault>) -> &'static Entry {
    let name: &'static str = name.to_owned().leak();
    let compiled = text.clone().and_then(|text| compile(name, &text).map(|module| (text, module.manifest)));
    let (keys, summary, build): (_, String, Box<Build>) = match compiled {
        Ok((text, manifest)) => {
            let keys = keys(name, Some(&manifest));
            // Compiled again when it is built, so that a script ends with its service.
            (keys, manifest.summary, Box::new(move |materials| build(name, &text, materials)))
        }
        Err(fault) => {
            let refuse = move |_: &Materials<'_>| Err(Rejection::new(PATH, fault.to_string()));
            (keys(name, None), String::new(), Box::new(refuse))
        }
    };
    Box::leak(Box::new(Entry {
        name,
        summary: summary.leak(),
        opencanary: format!("{name} in {name}.rhai").leak(),
        keys,
        kinds: &KINDS,
        build: Box::leak(build),
    }))
}

/// Compiles the module of a file; its name must be the file's.
fn compile(name: &str, text: &str) -> Result<Module, Fault> {
    let file = format!("{name}.rhai");
    let module = Module::compile(&file, text)?;
    let own = &module.manifest.name;
    if own != name {
        let reason = format!("its name is `{own}`; name the file {own}.rhai");
        return Err(Fault { file, reason });
    }
    Ok(module)
}

fn build(name: &str, text: &str, materials: &Materials<'_>) -> Result<Box<dyn Service>, Rejection> {
    let module = compile(name, text).map_err(|fault| Rejection::new(PATH, fault.to_string()))?;
    Ok(Box::new(ScriptService(Arc::new(Running::new(module, materials.settings, materials.host_name)))))
}

/// The keys of a module: those of every module, and its own.
fn keys(name: &str, manifest: Option<&Manifest>) -> &'static [Key] {
    let key = |own: &str, shape, default: String, doc| Key {
        name: format!("{name}.{own}").leak(),
        shape,
        default: default.leak(),
        doc,
    };
    let port = manifest.map_or_else(String::new, |manifest| manifest.port.to_string());
    let mut keys = vec![
        key("enabled", Shape::Flag, "true".to_owned(), "Whether the module runs."),
        // No `Shape::Port`: which of two wants a port first is not for the file's check to say, since a module
        // over UDP may share its number with a service over TCP.
        key("port", Shape::Int { min: 1, max: 65_535 }, port, "The module's port."),
    ];
    for (own, default) in manifest.into_iter().flat_map(|manifest| &manifest.config) {
        let shape = match default {
            Json::Bool(_) => Shape::Flag,
            Json::Number(_) => Shape::Int { min: i64::MIN, max: i64::MAX },
            Json::Array(_) => Shape::List,
            _ => Shape::Text,
        };
        keys.push(key(own, shape, default.to_string(), "A key of the module's own."));
    }
    keys.leak()
}
