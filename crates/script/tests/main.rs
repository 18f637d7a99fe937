//! Modules from outside: the example, the templates, and scripts that misbehave.

mod emitting;
mod examples;
mod folder;
mod manual;
mod misbehaviour;

use aviary_script::{Module, rehearse};

/// What a module does with a transcript, a line each.
fn play(script: &str, transcript: &str) -> Vec<String> {
    let module = Module::compile("test.rhai", script).expect("a module");
    rehearse(module, transcript).expect("a transcript").lines
}

/// A module over TCP with these functions.
fn tcp(functions: &str) -> String {
    format!("fn about() {{ #{{ name: \"test\", port: 7000 }} }}\n{functions}")
}
