//! A module: its script compiled, its declaration read, its functions called.

use std::fmt;

use rhai::{AST, Dynamic, Engine, FuncArgs, Map};

use crate::engine::{self, ENGINE};
use crate::manifest::{Manifest, Transport};

/// Why a script is no module.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("module `{file}` cannot be used: {reason}")]
pub struct Fault {
    /// Its file's name.
    pub file: String,
    /// What is wrong, with line and position where there is one.
    pub reason: String,
}

/// A module that can serve.
pub struct Module {
    /// What it declares.
    pub manifest: Manifest,
    script: AST,
    /// Where it prints to, when that is wanted.
    own: Option<Engine>,
    /// Whether it takes lines, not bytes as they come.
    pub(crate) takes_lines: bool,
    on_connect: bool,
    on_close: bool,
}

/// The functions that are called, and with how many values.
const CALLED: [(&str, usize); 6] =
    [("about", 0), ("on_connect", 1), ("on_line", 2), ("on_data", 2), ("on_datagram", 2), ("on_close", 1)];

impl Module {
    /// Compiles a script and reads its declaration.
    ///
    /// # Errors
    /// When it is no Rhai, lacks what a module has, or declares what cannot be. `file` is for the text.
    pub fn compile(file: &str, script: &str) -> Result<Self, Fault> {
        Self::read(file, script, None)
    }

    /// The same; what the script prints goes to `print`.
    ///
    /// # Errors
    /// The same.
    pub fn compile_with(
        file: &str,
        script: &str,
        print: impl Fn(&str) + Send + Sync + Clone + 'static,
    ) -> Result<Self, Fault> {
        Self::read(file, script, Some(engine::engine(print)))
    }

    fn read(file: &str, script: &str, own: Option<Engine>) -> Result<Self, Fault> {
        let fault = |reason: String| Fault { file: file.to_owned(), reason };
        let engine = own.as_ref().unwrap_or(&ENGINE);
        let script = engine.compile(script).map_err(|error| fault(error.to_string()))?;
        let has = |name: &str| script.iter_functions().any(|function| function.name == name);
        check_functions(&script).map_err(fault)?;
        let declared = engine::call(engine, &script, "about", (), Dynamic::UNIT).map_err(fault)?;
        let Some(declared) = declared.try_cast::<Map>() else {
            return Err(fault("`about` gives no map `#{ name: ..., port: ... }`".to_owned()));
        };
        let manifest = Manifest::read(&declared).map_err(fault)?;
        let (lines, data, datagrams) = (has("on_line"), has("on_data"), has("on_datagram"));
        match manifest.transport {
            Transport::Udp if !datagrams || lines || data || has("on_connect") || has("on_close") => {
                return Err(fault("over UDP there is `on_datagram(session, data)`, and no other `on_`".to_owned()));
            }
            Transport::Tcp | Transport::Tls if lines == data || datagrams => {
                let wanted = "a stream needs `on_line(session, line)` or `on_data(session, data)`, one of them";
                return Err(fault(wanted.to_owned()));
            }
            _ => {}
        }
        let (on_connect, on_close) = (has("on_connect"), has("on_close"));
        Ok(Self { manifest, script, own, takes_lines: lines, on_connect, on_close })
    }

    /// Whether it has a function for this.
    pub(crate) fn has(&self, function: &str) -> bool {
        match function {
            "on_connect" => self.on_connect,
            "on_close" => self.on_close,
            _ => true,
        }
    }

    /// Calls a function; the error is its name and Rhai's text.
    pub(crate) fn call(&self, function: &str, values: impl FuncArgs) -> Result<Dynamic, String> {
        let engine = self.own.as_ref().unwrap_or(&ENGINE);
        engine::call(engine, &self.script, function, values, Dynamic::UNIT)
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

/// Functions whose names say that they are to be called, and that nobody would call.
fn check_functions(script: &AST) -> Result<(), String> {
    if script.iter_functions().any(|function| function.name == "emit") {
        return Err("it has `emit`, which makes it an output; a handler of class `aviary.script` names it".to_owned());
    }
    if !script.iter_functions().any(|function| function.name == "about") {
        return Err("it has no function `about`, which says what it is: `fn about() { #{ name: ..., port: ... } }`; \
             nor `emit(event)`, which an output has"
            .to_owned());
    }
    for function in script.iter_functions() {
        let known = CALLED.iter().find(|(name, _)| *name == function.name);
        let count = function.params.len();
        match known {
            Some((name, wanted)) if *wanted != count => {
                return Err(format!("`{name}` takes {count} values; accepted: {wanted}"));
            }
            None if function.name.starts_with("on_") => {
                let names: Vec<&str> = CALLED.iter().map(|(name, _)| *name).collect();
                return Err(format!("nothing calls `{}`; there are {}", function.name, names.join(", ")));
            }
            _ => {}
        }
    }
    Ok(())
}
