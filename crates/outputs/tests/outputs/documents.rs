//! Every example of `docs/outputs.md` and `docs/outputs/` builds, and every class stands there.

use std::path::Path;

use aviary_output::{Blueprint, routed};
use aviary_outputs::{ALL, by_class, destination};
use serde_json::{Map, Value};

/// The pages, with their names.
fn pages() -> Vec<(String, String)> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let mut paths = vec![docs.join("outputs.md")];
    let more = std::fs::read_dir(docs.join("outputs")).into_iter().flatten().flatten();
    paths.extend(more.map(|file| file.path()).filter(|path| path.extension().is_some_and(|kind| kind == "md")));
    let read = |path: &std::path::PathBuf| (path.display().to_string(), std::fs::read_to_string(path).expect("a page"));
    paths.iter().map(read).collect()
}

/// Handlers of the examples: entries of `logger.kwargs.handlers`.
fn examples() -> Vec<(String, Map<String, Value>)> {
    let mut handlers = Vec::new();
    for (page, text) in pages() {
        for block in text.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            let block: Map<String, Value> =
                serde_json::from_str(block).unwrap_or_else(|error| panic!("{page}: {error}\n{block}"));
            // Either handlers, or a whole file with a table of them.
            let block = match block.get("outputs") {
                Some(Value::Object(outputs)) => outputs.clone(),
                _ => block,
            };
            for (name, handler) in block {
                let Value::Object(handler) = handler else { panic!("{page}: `{name}` is no handler") };
                handlers.push((format!("{page}: {name}"), handler));
            }
        }
    }
    handlers
}

#[test]
fn every_example_builds() {
    let examples = examples();
    assert!(examples.len() >= 6, "{}", examples.len());
    for (name, mut options) in examples {
        let class = options.get("class").and_then(Value::as_str).unwrap_or_default().to_owned();
        let class = class.as_str();
        // Scripts are another crate's; their destinations are ours.
        if matches!(class, "aviary.script" | "script") {
            let blueprint =
                Blueprint { name: "x", options: &options, format: "%(message)s", extended: true, node_id: "docs" };
            let named = options.get("destinations").and_then(Value::as_object).expect("destinations");
            assert!(!named.is_empty());
            for (to, options) in named {
                destination(&blueprint, to, options).map(|_| ()).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
            continue;
        }
        let (entry, full) = by_class(class).unwrap_or_else(|| panic!("{name}: no output plays `{class}`"));
        options.insert("class".to_owned(), full.into());
        let blueprint =
            Blueprint { name: "example", options: &options, format: "%(message)s", extended: true, node_id: "docs" };
        let built = (entry.build)(&blueprint).and_then(|output| routed(output, entry.options, &options));
        if let Err(error) = built {
            panic!("{name}: {error}");
        }
    }
}

#[test]
fn every_class_has_a_page() {
    let text: String = pages().into_iter().map(|(_, text)| text).collect();
    for class in ALL.iter().flat_map(|entry| entry.classes) {
        assert!(text.contains(&format!("`{class}`")), "no word of `{class}` in docs/outputs");
    }
}
