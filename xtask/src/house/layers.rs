//! Arrows point down: a crate knows only crates of lower layers.

use serde_json::Value;

/// What stands beside the layers: everything may be known to it, and it to no crate but in tests.
const DEVELOPMENT: u8 = u8::MAX;

/// Package and layer; the table of ARCHITECTURE.md.
const LAYERS: [(&str, u8); 22] = [
    ("aviary", 5),
    ("aviary-api", 4),
    ("aviary-console", 4),
    ("aviary-sensor", 3),
    ("aviary-hub", 3),
    ("aviary-simulate", 3),
    ("aviary-services", 2),
    ("aviary-scan", 2),
    ("aviary-script", 2),
    ("aviary-outputs", 2),
    ("aviary-service", 1),
    ("aviary-output", 1),
    ("aviary-journal", 1),
    ("aviary-store", 2),
    ("aviary-insight", 1),
    ("aviary-event", 0),
    ("aviary-config", 0),
    ("aviary-wire", 0),
    ("aviary-proto", 0),
    ("aviary-bench", DEVELOPMENT),
    ("aviary-testkit", DEVELOPMENT),
    ("xtask", DEVELOPMENT),
];

fn layer(package: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == package).map(|(_, layer)| *layer)
}

/// Checks what `cargo metadata --no-deps` says of the workspace.
#[must_use]
pub fn arrows_point_down(metadata: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let empty = Vec::new();
    let packages = metadata["packages"].as_array().unwrap_or(&empty);
    if packages.is_empty() {
        problems.push("there are no packages".to_owned());
    }
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(own) = layer(name) else {
            problems.push(format!("`{name}` has no layer"));
            continue;
        };
        for dependency in package["dependencies"].as_array().unwrap_or(&empty) {
            if dependency["path"].is_null() {
                continue;
            }
            let other = dependency["name"].as_str().unwrap_or_default();
            let for_tests = dependency["kind"] == "dev";
            match layer(other) {
                None => problems.push(format!("`{name}` depends on `{other}`, which has no layer")),
                Some(DEVELOPMENT) if !for_tests && own != DEVELOPMENT => {
                    problems.push(format!("`{name}` depends on `{other}`, which is for tests alone"));
                }
                Some(DEVELOPMENT) => {}
                Some(theirs) if theirs >= own => {
                    problems.push(format!("`{name}` (layer {own}) depends on `{other}` (layer {theirs})"));
                }
                Some(_) => {}
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(name: &str, other: &str, kind: &Value) -> Vec<String> {
        arrows_point_down(&json!({"packages": [{"name": name, "dependencies": [
            {"name": "tokio", "kind": null, "path": null},
            {"name": other, "kind": kind, "path": "/somewhere"},
        ]}]}))
    }

    #[test]
    fn an_arrow_down_is_right() {
        assert_eq!(problems("aviary-service", "aviary-event", &Value::Null), [""; 0]);
        assert_eq!(problems("aviary-services", "aviary-testkit", &json!("dev")), [""; 0]);
        assert_eq!(problems("xtask", "aviary-services", &Value::Null), [""; 0]);
    }

    #[test]
    fn an_arrow_up_or_aside_is_found() {
        for (name, other, kind) in [
            ("aviary-event", "aviary-service", Value::Null),
            ("aviary-services", "aviary-outputs", Value::Null),
            ("aviary-services", "aviary-outputs", json!("dev")),
            ("aviary-event", "aviary-testkit", Value::Null),
            ("aviary-event", "aviary-unheard-of", Value::Null),
            ("aviary-unheard-of", "aviary-event", Value::Null),
        ] {
            assert_eq!(problems(name, other, &kind).len(), 1, "{name} to {other}");
        }
        assert_eq!(arrows_point_down(&json!({})).len(), 1, "nothing at all");
    }
}
