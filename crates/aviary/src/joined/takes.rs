//! A config that the hub gave: taken whole, or not at all.

use std::fs;
use std::path::{Path, PathBuf};

use aviary_hub::sensors::ConfigOrder;
use aviary_sensor::Reload;

use super::identity::replace;

/// Where configs of the hub lie: the file, and beside it which of the hub's it is.
#[derive(Clone, Debug)]
pub(super) struct Pushed {
    folder: PathBuf,
}

/// What lay there before.
struct Before {
    id: String,
    file: Option<(PathBuf, String)>,
}

impl Pushed {
    pub(super) fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The file, if there is one.
    pub(super) fn file(&self) -> Option<PathBuf> {
        // The name says how to read it.
        ["config.toml", "config.json"].map(|name| self.folder.join(name)).into_iter().find(|path| path.exists())
    }

    /// Which of the hub's configs it is; empty for none.
    pub(super) fn id(&self) -> String {
        let id = fs::read_to_string(self.folder.join("config.id")).unwrap_or_default();
        if self.file().is_some() { id.trim().to_owned() } else { String::new() }
    }

    /// Takes a config: writes it, and has the canary run on it. Blocks for as long as ports take to become free.
    ///
    /// # Errors
    /// Says why not; then everything is as it was.
    pub(super) fn take(&self, order: &ConfigOrder, reload: &Reload) -> Result<Vec<String>, String> {
        let before = Before {
            id: self.id(),
            file: self.file().and_then(|path| fs::read_to_string(&path).ok().map(|text| (path, text))),
        };
        let taken = self.put(order).and_then(|()| {
            let changes = reload()?;
            // Applied, but not as it was asked for.
            match changes.iter().find(|change| change.contains(" did not start: ")) {
                Some(failed) => Err(failed.clone()),
                None => Ok(changes),
            }
        });
        taken.inspect_err(|_| {
            if let Err(error) = self.put_back(&before).and_then(|()| reload()) {
                tracing::error!(error, "the config of before cannot be taken up again");
            }
        })
    }

    fn put(&self, order: &ConfigOrder) -> Result<(), String> {
        self.clear()?;
        if order.id.is_empty() {
            return Ok(());
        }
        let is_json = order.text.trim_start().starts_with('{') || order.text.trim_start().starts_with("//");
        self.write(&self.folder.join(if is_json { "config.json" } else { "config.toml" }), &order.text)?;
        self.write(&self.folder.join("config.id"), &order.id)
    }

    fn put_back(&self, before: &Before) -> Result<(), String> {
        self.clear()?;
        if let Some((path, text)) = &before.file {
            self.write(path, text)?;
            self.write(&self.folder.join("config.id"), &before.id)?;
        }
        Ok(())
    }

    fn clear(&self) -> Result<(), String> {
        while let Some(path) = self.file() {
            fs::remove_file(&path).map_err(|error| format!("`{}` cannot be removed: {error}", path.display()))?;
        }
        Ok(())
    }

    #[expect(clippy::unused_self, reason = "reads as what it belongs to")]
    fn write(&self, path: &Path, text: &str) -> Result<(), String> {
        replace(path, text).map_err(|error| format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn order(id: &str, text: &str) -> ConfigOrder {
        ConfigOrder { id: id.to_owned(), text: text.to_owned() }
    }

    /// A canary that refuses whatever holds `bad`, and notes what it was asked to run on.
    fn canary(pushed: &Pushed) -> (Reload, Arc<Mutex<Vec<String>>>) {
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let (pushed, noted) = (pushed.clone(), Arc::clone(&seen));
        let reload: Reload = Arc::new(move || {
            let text = pushed.file().map_or_else(|| "own".to_owned(), |path| fs::read_to_string(path).unwrap());
            noted.lock().unwrap().push(text.clone());
            match text.as_str() {
                text if text.contains("bad") => Err("line 1: bad".to_owned()),
                text if text.contains("port") => Ok(vec!["ftp did not start: port 21 is taken".to_owned()]),
                _ => Ok(Vec::new()),
            }
        });
        (reload, seen)
    }

    #[test]
    fn what_is_not_taken_leaves_all_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let pushed = Pushed::at(folder.path());
        let (reload, seen) = canary(&pushed);
        assert_eq!(pushed.take(&order("a/1", "bad"), &reload), Err("line 1: bad".to_owned()));
        assert_eq!((pushed.id().as_str(), pushed.file()), ("", None));
        assert!(pushed.take(&order("a/2", "{\"one\": 1}"), &reload).is_ok());
        assert!(pushed.file().is_some_and(|path| path.ends_with("config.json")));
        assert_eq!(
            pushed.take(&order("a/3", "port = 21"), &reload),
            Err("ftp did not start: port 21 is taken".to_owned())
        );
        assert_eq!(pushed.id(), "a/2");
        assert!(pushed.take(&order("a/4", "two = 2"), &reload).is_ok());
        assert!(pushed.file().is_some_and(|path| path.ends_with("config.toml")), "one file, not two");
        assert!(pushed.take(&order("", ""), &reload).is_ok());
        assert_eq!((pushed.id().as_str(), pushed.file()), ("", None));
        let seen = seen.lock().unwrap();
        assert_eq!(*seen, ["bad", "own", "{\"one\": 1}", "port = 21", "{\"one\": 1}", "two = 2", "own"]);
    }
}
