//! Tests of skins: what pages may hold, folders in OpenCanary's layout, lookups.

use super::*;

#[test]
fn built_in_pages_hold_no_word_that_betrays() {
    const WORDS: [&str; 13] = [
        "canary",
        "honeypot",
        "opencanary",
        "twisted",
        "demosite",
        "synology",
        "thinkst",
        "rust",
        "aviary",
        "qnap",
        "conch",
        "python",
        "decoy",
    ];
    for name in names() {
        let skin = Skin::built_in(name, Family::Nginx, b"").unwrap();
        let mut pages: Vec<&[u8]> = skin.files.values().map(|f| &*f.body).collect();
        pages.push(&skin.refused);
        pages.extend(skin.routes.iter().filter_map(|r| r.body.as_deref()));
        for page in pages {
            let text = page.to_ascii_lowercase();
            for word in WORDS {
                assert!(memchr::memmem::find(&text, word.as_bytes()).is_none(), "{name}: {word}");
            }
        }
    }
}

#[test]
fn built_in_pages_link_only_to_what_is_there() {
    for name in names() {
        let skin = Skin::built_in(name, Family::Nginx, b"").unwrap();
        let text = String::from_utf8(skin.refused.clone()).unwrap();
        for mark in ["href=\"/", "src=\"/", "action=\"/"] {
            for piece in text.split(mark).skip(1) {
                let path = format!("/{}", piece.split('"').next().unwrap());
                assert!(matches!(skin.find(path.as_bytes()), Resource::File(_)), "{name}: {path}");
            }
        }
        assert!(text.contains("name=\"username\"") && text.contains("name=\"password\""));
        assert!(!text.contains("STARTERR") && skin.refused.len() > skin.files["/index.html"].body.len());
    }
}

#[test]
fn file_times_differ_between_installations_and_stay_in_the_past() {
    let times = |seed: &[u8]| {
        let skin = Skin::built_in("nasLogin", Family::Apache, seed).unwrap();
        skin.files.values().map(|f| f.modified).collect::<Vec<_>>()
    };
    assert_eq!(times(b"a"), times(b"a"));
    assert_ne!(times(b"a"), times(b"b"));
    assert!(times(b"c").iter().all(|t| *t < 1_773_200_000_000_000));
}

#[test]
fn finds_files_folders_and_nothing() {
    let skin = Skin::built_in("nasLogin", Family::Apache, b"").unwrap();
    assert!(matches!(skin.find(b"/"), Resource::File(_)));
    assert!(matches!(skin.find(b"/ui/console.css"), Resource::File(_)));
    assert!(matches!(skin.find(b"/ui"), Resource::Unslashed));
    assert!(matches!(skin.find(b"/ui/"), Resource::Folder));
    assert!(matches!(skin.find(b"/u"), Resource::Missing));
    assert!(matches!(skin.find(b"/index.html/"), Resource::Missing));
    assert!(matches!(skin.find(b"/\xff"), Resource::Missing));
    assert_eq!(skin.route(b"POST", b"/api/v2/session").unwrap().status, 401);
    assert_eq!(skin.route(b"PUT", b"/api/v2/session").unwrap().status, 403);
}

#[test]
fn cuts_the_error_text_out_as_the_old_layout_has_it() {
    let (page, refused) = split_error("a<!--STARTERR-->b<!--ENDERR-->c");
    assert_eq!((page.as_str(), refused.as_str()), ("ac", "abc"));
    assert_eq!(split_error("plain").0, "plain");
}

fn folder(name: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("http-skin-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(path.join("static/css")).unwrap();
    path
}

#[test]
fn reads_a_folder_and_leaves_links_out() {
    let path = folder("good");
    std::fs::write(path.join("index.html"), "x<!--STARTERR-->no<!--ENDERR-->").unwrap();
    std::fs::write(path.join("404.html"), "[[URL]] [[BANNER]]").unwrap();
    std::fs::write(path.join("redirect.html"), "go").unwrap();
    std::fs::write(path.join("static/css/a.css"), "a").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", path.join("static/passwd")).unwrap();
    let skin = Skin::from_folder("own", Family::Nginx, &path).unwrap();
    assert_eq!(skin.files.keys().collect::<Vec<_>>(), ["/css/a.css", "/index.html"]);
    assert_eq!((skin.refused.as_slice(), skin.redirect.as_deref()), (b"xno".as_slice(), Some(b"go".as_slice())));
    assert!(!skin.is_login(b"/") && skin.is_login(b"/index.html"));
    assert!(skin.errors.contains_key(&404));
    std::fs::remove_dir_all(path).unwrap();
}

#[test]
fn refuses_a_folder_without_a_page_or_with_a_linked_one() {
    let path = folder("bad");
    assert!(Skin::from_folder("own", Family::Nginx, &path).unwrap_err().contains("index.html"));
    std::os::unix::fs::symlink("/etc/passwd", path.join("index.html")).unwrap();
    assert!(Skin::from_folder("own", Family::Nginx, &path).unwrap_err().contains("not a regular file"));
    std::fs::remove_dir_all(path).unwrap();
}
