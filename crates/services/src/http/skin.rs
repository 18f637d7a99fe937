//! Skins: the pages of an imitated product, as data.
//!
//! A skin is a [`Manifest`] with its files embedded, or a folder in OpenCanary's layout:
//! `index.html` (the error text between `<!--STARTERR-->` and `<!--ENDERR-->`), `404.html` and
//! `403.html` (`[[URL]]` and `[[BANNER]]` are filled in), `redirect.html`, and `static/`, whose
//! content stands at `/`. A new embedded skin is a folder under `skins/` and an entry in [`SKINS`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use sha2::{Digest as _, Sha256};

use super::personas::Family;
use aviary_wire::gzip::gzip;

/// A skin that is built in.
#[derive(Debug)]
pub(super) struct Manifest {
    /// The name in `http.skin` and in events.
    name: &'static str,
    /// The login page, with its error text between the two marks.
    index: &'static str,
    /// Paths at which it stands; its form posts to one of them.
    login: &'static [&'static str],
    /// The form's own names for the user, best first.
    users: &'static [&'static str],
    /// The form's own names for the password.
    passwords: &'static [&'static str],
    /// The realm when `http.auth` asks for credentials.
    realm: &'static str,
    /// Static files by path.
    files: &'static [(&'static str, &'static [u8])],
    /// Replies of the application behind the pages.
    routes: &'static [RouteSpec],
}

/// A reply of the application.
#[derive(Debug)]
struct RouteSpec {
    /// The method; empty for any.
    method: &'static str,
    path: &'static str,
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    media: &'static str,
    body: &'static str,
}

/// The built-in skins.
const SKINS: &[Manifest] = &[
    Manifest {
        name: "basicLogin",
        index: include_str!("skins/basic/index.html"),
        login: &["/", "/index.html"],
        users: &["username"],
        passwords: &["password"],
        realm: "Restricted",
        files: &[
            ("/robots.txt", include_bytes!("skins/robots.txt")),
            ("/assets/site.css", include_bytes!("skins/basic/site.css")),
        ],
        routes: &[],
    },
    Manifest {
        name: "nasLogin",
        index: include_str!("skins/nas/index.html"),
        login: &["/", "/index.html"],
        users: &["username"],
        passwords: &["password"],
        realm: "Storage",
        files: &[
            ("/robots.txt", include_bytes!("skins/robots.txt")),
            ("/favicon.ico", include_bytes!("skins/nas/favicon.ico")),
            ("/ui/console.css", include_bytes!("skins/nas/console.css")),
            ("/ui/console.js", include_bytes!("skins/nas/console.js")),
            ("/ui/disk.svg", include_bytes!("skins/nas/disk.svg")),
        ],
        routes: &[
            RouteSpec {
                method: "POST",
                path: "/api/v2/session",
                status: 401,
                headers: &[("Cache-Control", "no-store")],
                media: "application/json",
                body: "{\"error\":{\"code\":401,\"message\":\"Invalid user name or password.\"}}\n",
            },
            RouteSpec {
                method: "",
                path: "/api/v2/session",
                status: 403,
                headers: &[("Cache-Control", "no-store")],
                media: "application/json",
                body: "{\"error\":{\"code\":403,\"message\":\"Not signed in.\"}}\n",
            },
            RouteSpec {
                method: "GET",
                path: "/api/v2/volumes",
                status: 403,
                headers: &[("Cache-Control", "no-store")],
                media: "application/json",
                body: "{\"error\":{\"code\":403,\"message\":\"Not signed in.\"}}\n",
            },
        ],
    },
];

/// Names of the built-in skins.
pub(super) fn names() -> Vec<&'static str> {
    SKINS.iter().map(|skin| skin.name).collect()
}

/// A skin ready to serve.
#[derive(Clone, Debug, Default)]
pub(super) struct Skin {
    /// The name in events.
    pub(super) name: String,
    /// Files by path, the login page among them.
    pub(super) files: BTreeMap<String, File>,
    /// Paths of the login page.
    pub(super) login: BTreeSet<String>,
    /// The login page after a failed login.
    pub(super) refused: Vec<u8>,
    /// The form's names for the user.
    pub(super) users: Vec<&'static str>,
    /// The form's names for the password.
    pub(super) passwords: Vec<&'static str>,
    /// The realm.
    pub(super) realm: String,
    /// Replies of the application.
    pub(super) routes: Vec<Route>,
    /// Body of the redirect from `/`; without one `/` is the login page.
    pub(super) redirect: Option<Vec<u8>>,
    /// Own error pages by status.
    pub(super) errors: BTreeMap<u16, String>,
}

/// A static file.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// `Content-Type`, if the product would name one.
    pub(super) media: Option<&'static str>,
    /// The content.
    pub(super) body: Arc<[u8]>,
    /// The content compressed, if the product would.
    pub(super) gzip: Option<Arc<[u8]>>,
    /// Last change, in microseconds since 1970.
    pub(super) modified: i64,
}

/// A reply of the application behind the pages.
#[derive(Clone, Debug)]
pub(super) struct Route {
    /// The method; empty for any.
    pub(super) method: String,
    /// The path.
    pub(super) path: String,
    /// The status.
    pub(super) status: u16,
    /// Further headers.
    pub(super) headers: Vec<(String, String)>,
    /// `Content-Type`.
    pub(super) media: String,
    /// The body; `None` for the product's own page.
    pub(super) body: Option<Vec<u8>>,
}

/// What stands at a path.
#[derive(Clone, Copy, Debug)]
pub(super) enum Resource<'a> {
    /// A file.
    File(&'a File),
    /// A folder without an index.
    Folder,
    /// A folder whose last slash is missing.
    Unslashed,
    /// Nothing.
    Missing,
}

impl Skin {
    /// A built-in skin. `seed` makes times of files this installation's own.
    pub(super) fn built_in(name: &str, family: Family, seed: &[u8]) -> Option<Self> {
        let manifest = SKINS.iter().find(|skin| skin.name == name)?;
        let mut skin = Self {
            name: name.to_owned(),
            users: manifest.users.to_vec(),
            passwords: manifest.passwords.to_vec(),
            realm: manifest.realm.to_owned(),
            login: manifest.login.iter().map(|path| (*path).to_owned()).collect(),
            ..Self::default()
        };
        skin.set_index(manifest.index, family, install_time(seed, "/index.html"));
        for (path, body) in manifest.files {
            skin.files.insert((*path).to_owned(), File::new(family, path, body.to_vec(), install_time(seed, path)));
        }
        skin.routes = manifest.routes.iter().map(Route::from).collect();
        Some(skin)
    }

    /// A skin from a folder in OpenCanary's layout.
    ///
    /// # Errors
    /// A sentence fragment: what cannot be read or is too much.
    pub(super) fn from_folder(name: &str, family: Family, folder: &Path) -> Result<Self, String> {
        let mut budget = Budget { files: MAX_FILES, bytes: MAX_BYTES };
        let mut skin = Self {
            name: name.to_owned(),
            users: vec!["username"],
            passwords: vec!["password"],
            realm: "Restricted".to_owned(),
            login: ["/", "/index.html"].map(str::to_owned).into(),
            ..Self::default()
        };
        let (index, modified) = budget.read(&folder.join("index.html"))?;
        let index = String::from_utf8(index).map_err(|_| "`index.html` is not UTF-8".to_owned())?;
        skin.set_index(&index, family, modified);
        for status in [403, 404] {
            let path = folder.join(format!("{status}.html"));
            if path.is_file() {
                let (page, _) = budget.read(&path)?;
                skin.errors.insert(status, String::from_utf8_lossy(&page).into_owned());
            }
        }
        let redirect = folder.join("redirect.html");
        if redirect.is_file() {
            skin.redirect = Some(budget.read(&redirect)?.0);
            skin.login.remove("/");
        }
        skin.add_folder(&mut budget, family, &folder.join("static"), "", 0)?;
        Ok(skin)
    }

    fn add_folder(
        &mut self,
        budget: &mut Budget,
        family: Family,
        at: &Path,
        prefix: &str,
        depth: u8,
    ) -> Result<(), String> {
        if !at.is_dir() || depth > MAX_DEPTH {
            return Ok(());
        }
        let entries = std::fs::read_dir(at).map_err(|error| format!("cannot list {}: {error}", at.display()))?;
        for entry in entries {
            let entry = entry.map_err(|error| format!("cannot list {}: {error}", at.display()))?;
            let kind = entry.file_type().map_err(|error| format!("cannot read {}: {error}", entry.path().display()))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let path = format!("{prefix}/{name}");
            // A link could lead out of the folder; it is not followed.
            if kind.is_dir() {
                self.add_folder(budget, family, &entry.path(), &path, depth.saturating_add(1))?;
            } else if kind.is_file() {
                let (body, modified) = budget.read(&entry.path())?;
                self.files.entry(path.clone()).or_insert_with(|| File::new(family, &path, body, modified));
            }
        }
        Ok(())
    }

    fn set_index(&mut self, text: &str, family: Family, modified: i64) {
        let (page, refused) = split_error(text);
        self.files.insert("/index.html".to_owned(), File::new(family, "/index.html", page.into_bytes(), modified));
        self.refused = refused.into_bytes();
    }

    /// What stands at a decoded path.
    pub(super) fn find(&self, path: &[u8]) -> Resource<'_> {
        let Ok(path) = std::str::from_utf8(path) else { return Resource::Missing };
        let name = if path == "/" { "/index.html" } else { path };
        if let Some(file) = self.files.get(name) {
            return Resource::File(file);
        }
        let folder = path.strip_suffix('/');
        let below = format!("{}/", folder.unwrap_or(path));
        let exists = self.files.range(below.clone()..).next().is_some_and(|(found, _)| found.starts_with(&below));
        match (exists, folder) {
            (true, Some(_)) => Resource::Folder,
            (true, None) => Resource::Unslashed,
            (false, _) => Resource::Missing,
        }
    }

    /// Whether a decoded path is the login page's.
    pub(super) fn is_login(&self, path: &[u8]) -> bool {
        std::str::from_utf8(path).is_ok_and(|path| self.login.contains(path))
    }

    /// The application's reply at a path.
    pub(super) fn route(&self, method: &[u8], path: &[u8]) -> Option<&Route> {
        self.routes.iter().find(|r| r.path.as_bytes() == path && (r.method.is_empty() || r.method.as_bytes() == method))
    }
}

impl File {
    /// A file with what the product makes of its name.
    pub(super) fn new(family: Family, path: &str, body: Vec<u8>, modified: i64) -> Self {
        let media = family.media(path);
        // mod_deflate leaves bodies below some 70 bytes alone (measured: 68 plain, 80 packed).
        let packs = body.len() > 68 && media.is_some_and(|media| family.compresses(media));
        Self { media, gzip: packs.then(|| gzip(&body).into()), body: body.into(), modified }
    }
}

impl From<&RouteSpec> for Route {
    fn from(spec: &RouteSpec) -> Self {
        Self {
            method: spec.method.to_owned(),
            path: spec.path.to_owned(),
            status: spec.status,
            headers: spec.headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            media: spec.media.to_owned(),
            body: (!spec.body.is_empty()).then(|| spec.body.as_bytes().to_vec()),
        }
    }
}

/// The page without and with its error text.
fn split_error(text: &str) -> (String, String) {
    const START: &str = "<!--STARTERR-->";
    const END: &str = "<!--ENDERR-->";
    let plain = text
        .split_once(START)
        .and_then(|(before, rest)| rest.rsplit_once(END).map(|(_, after)| format!("{before}{after}")));
    (plain.unwrap_or_else(|| text.to_owned()), text.replace(START, "").replace(END, ""))
}

/// Most files of a folder skin.
const MAX_FILES: usize = 2_000;
/// Most bytes of a folder skin, and of one file of it.
const MAX_BYTES: u64 = 32 * 1024 * 1024;
/// Deepest folder of a folder skin.
const MAX_DEPTH: u8 = 8;

/// What a folder skin may still hold.
struct Budget {
    files: usize,
    bytes: u64,
}

impl Budget {
    /// Content and time of last change of a regular file, within the budget.
    fn read(&mut self, path: &Path) -> Result<(Vec<u8>, i64), String> {
        let told = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
        let about = std::fs::symlink_metadata(path).map_err(told)?;
        if !about.is_file() {
            return Err(format!("{} is not a regular file", path.display()));
        }
        self.files = self.files.checked_sub(1).ok_or_else(|| format!("more than {MAX_FILES} files"))?;
        self.bytes = self.bytes.checked_sub(about.len()).ok_or_else(|| format!("more than {MAX_BYTES} bytes"))?;
        let modified = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let micros = modified.and_then(|since| i64::try_from(since.as_micros()).ok()).unwrap_or_default();
        Ok((std::fs::read(path).map_err(told)?, micros))
    }
}

/// When a built-in file was "installed": all files of one installation on one day between September
/// 2025 and March 2026, some seconds apart, as an unpacked archive leaves them.
fn install_time(seed: &[u8], path: &str) -> i64 {
    const FIRST: i64 = 1_756_700_000;
    const SPAN: i64 = 190 * 86_400;
    let number = |text: &str| {
        let hash = Sha256::new().chain_update(seed).chain_update(text).finalize();
        hash.first_chunk::<6>().map_or(0, |[a, b, c, d, e, f]| i64::from_be_bytes([0, 0, *a, *b, *c, *d, *e, *f]))
    };
    let day = FIRST.saturating_add(number("").rem_euclid(SPAN));
    let moment = number(path).rem_euclid(9_000_000);
    day.saturating_mul(1_000_000).saturating_add(moment)
}

#[cfg(test)]
#[path = "skin_tests.rs"]
mod tests;
