//! The OpenAPI document: what is served, what is kept in `schema/`, and that it says all that a client needs.

use std::path::Path;

use serde_json::Value;

use crate::people::Stand;

#[tokio::test]
async fn what_is_served_is_what_is_kept() {
    let stand = Stand::new(Vec::new()).await;
    let served: Value = stand.get("/api/v1/openapi.json").await.json().await.expect("JSON");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schema/openapi.json");
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("the file")).expect("JSON");
    assert!(served == kept, "schema/openapi.json is stale: run `cargo xtask docs`");
}

#[test]
fn every_operation_says_what_it_does_takes_and_answers() {
    let document = serde_json::to_value(aviary_api::document()).expect("JSON");
    let mut names = Vec::new();
    for (path, method, operation) in operations(&document) {
        let at = format!("{method} {path}");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{at}: no summary");
        assert!(operation["security"].is_array(), "{at}: does not say who may");
        let answers = operation["responses"].as_object().expect("answers");
        assert!(answers.keys().any(|status| status.starts_with('2')), "{at}: no good answer");
        let open = operation["security"] == serde_json::json!([{}]);
        assert!(open || answers.contains_key("403"), "{at}: refusals");
        names.push(operation["operationId"].as_str().expect("a name").to_owned());
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "each has a name of its own: {names:?}");
}

/// Of two types with the same name the document would have one.
#[test]
fn every_type_on_the_wire_has_a_name_of_its_own() {
    let mut names = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(path).expect("a file");
            for part in text.split("ToSchema)]").skip(1) {
                let mut words = part.split([' ', '\n', '<', '(']).skip_while(|word| !["struct", "enum"].contains(word));
                names.push(words.nth(1).expect("a name").to_owned());
            }
        }
    }
    let document = serde_json::to_value(aviary_api::document()).expect("JSON");
    let there = document["components"]["schemas"].as_object().expect("schemas");
    names.sort_unstable();
    let twice: Vec<&[String]> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert_eq!(there.keys().collect::<Vec<_>>(), names.iter().collect::<Vec<_>>());
}

#[test]
fn every_reference_leads_somewhere() {
    fn look(value: &Value, document: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(target) = members.get("$ref").and_then(Value::as_str) {
                    assert!(document.pointer(target.trim_start_matches('#')).is_some(), "{target}");
                }
                members.values().for_each(|value| look(value, document));
            }
            Value::Array(values) => values.iter().for_each(|value| look(value, document)),
            _ => {}
        }
    }
    let document = serde_json::to_value(aviary_api::document()).expect("JSON");
    look(&document, &document);
}

/// Path, method and description of all operations.
pub(crate) fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            all.push((path.clone(), method.to_uppercase(), operation));
        }
    }
    all
}
