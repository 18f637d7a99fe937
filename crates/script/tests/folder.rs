//! A folder of modules as entries.

use std::fs;
use std::path::Path;

use aviary_config::{KeySpace, Settings};
use aviary_script::{TemplateShape, entries, template};
use aviary_service::{Entry, Materials, MemoryVault, Protocol, Security};
use aviary_testkit::battery::{self, Subject};
use serde_json::json;

use crate::tcp;

fn settings(path: &Path, more: &[(&str, serde_json::Value)]) -> Settings {
    let mut values = vec![("usermodule.path".to_owned(), json!(path.to_str().expect("UTF-8")))];
    values.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    Settings::new([], values.into_iter().collect())
}

fn refusal(entry: &Entry) -> String {
    let (settings, vault) = (Settings::default(), MemoryVault::default());
    let built = (entry.build)(&Materials { settings: &settings, vault: &vault, host_name: "srv01" });
    built.err().map(|rejection| rejection.to_string()).unwrap_or_default()
}

#[test]
fn modules_are_services_with_keys_and_a_bad_one_stops_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    write("example0.rhai", include_str!("../../../docs/modules/example0.rhai"));
    write("broken.rhai", "fn about() {");
    write("ssh.rhai", &tcp("fn on_line(session, line) {}"));
    write("other.rhai", &tcp("fn on_line(session, line) {}"));
    write("notes.txt", "no module");
    let settings = settings(folder.path(), &[("example0.port", json!(8008)), ("example0.greeting", json!("Hi"))]);
    let found = entries(&settings, &|name| name == "ssh");
    let names: Vec<&str> = found.iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["broken", "example0", "other", "usermodule/ssh.rhai"]);
    assert!(refusal(found[0]).starts_with("`usermodule.path`: module `broken.rhai` cannot be used: "));
    assert!(refusal(found[2]).contains("its name is `test`; name the file test.rhai"));
    assert!(refusal(found[3]).contains("another service's"));
    let example = found[1];
    let keys: Vec<&str> = example.keys.iter().map(|key| key.name).collect();
    assert_eq!(keys, ["example0.enabled", "example0.port", "example0.attempts", "example0.greeting"]);
    let space = KeySpace::new([example.keys]);
    assert!(space.find("example0.honeycreds").is_some());
    let vault = MemoryVault::default();
    let materials = Materials { settings: &settings, vault: &vault, host_name: "srv01" };
    let service = (example.build)(&materials).expect("builds");
    let endpoint = service.endpoints().remove(0);
    assert_eq!((endpoint.port, endpoint.protocol, endpoint.security), (8008, Protocol::Tcp, Security::Plain));
    let said = aviary_testkit::exchange(&mut *service.dialogue(0, &aviary_testkit::facts(8008)), &[b"a\r\n"]);
    assert!(said.replies().starts_with(b"Hi\r\npassword: "));
    assert_eq!(said.events().len(), 1);
}

#[test]
fn an_unchanged_module_has_the_entry_it_had() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("test.rhai");
    fs::write(&file, tcp("fn on_line(session, line) {}")).expect("written");
    let settings = settings(&file, &[]);
    let first = entries(&settings, &|_| false);
    assert!(std::ptr::eq(first[0], entries(&settings, &|_| false)[0]));
    fs::write(&file, tcp("fn on_line(session, line) { 1 }")).expect("written");
    assert!(!std::ptr::eq(first[0], entries(&settings, &|_| false)[0]));
}

#[test]
fn a_folder_that_is_not_there_is_told_of() {
    let found = entries(&settings(Path::new("/nowhere/at/all"), &[]), &|_| false);
    assert_eq!(found.len(), 1);
    assert!(refusal(found[0]).contains("the folder cannot be read: "));
    assert!(entries(&Settings::default(), &|_| false).is_empty());
}

/// Everything that the batteries ask of a built-in service and that a module can answer for.
#[test]
fn modules_stand_the_batteries() {
    let folder = tempfile::tempdir().expect("a folder");
    let example = ("example0", include_str!("../../../docs/modules/example0.rhai").to_owned());
    let shapes =
        [("lines", TemplateShape::Lines), ("bytes", TemplateShape::Bytes), ("packets", TemplateShape::Datagrams)];
    let templates = shapes.map(|(name, shape)| (name, template(name, shape).expect("a name").0));
    for (name, script) in [example].into_iter().chain(templates) {
        fs::write(folder.path().join(format!("{name}.rhai")), script).expect("written");
    }
    let found = entries(&settings(folder.path(), &[]), &|_| false);
    assert_eq!(found.len(), 4);
    for entry in found {
        let subject = Subject::plain(entry);
        for check in [
            battery::declaration_is_whole,
            battery::reports_what_it_declares,
            battery::chunk_size_changes_nothing,
            battery::ends_whatever_comes,
            battery::silence_loses_nothing,
            battery::answers_are_bounded,
            battery::names_nothing_of_ours,
            battery::same_facts_same_answers,
        ] {
            assert_eq!(check(&subject), Ok(()), "{}", entry.name);
        }
        if entry.name == "packets" {
            assert_eq!(battery::strangers_get_no_more_than_they_send(&subject), Ok(()));
        }
    }
}
