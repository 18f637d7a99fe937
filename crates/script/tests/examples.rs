//! The example of the manual, and what `aviary module new` begins with.

use aviary_script::{Module, TemplateShape, rehearse, template};

const SCRIPT: &str = include_str!("../../../docs/modules/example0.rhai");
const TRANSCRIPT: &str = include_str!("../../../docs/modules/example0.txt");

#[test]
fn the_articles_example_does_what_the_article_shows() {
    let module = Module::compile("example0.rhai", SCRIPT).expect("a module");
    assert_eq!((module.manifest.port, module.manifest.logtype), (8007, 1006));
    let rehearsal = rehearse(module, TRANSCRIPT).expect("a transcript");
    assert!(rehearsal.expects_something());
    assert_eq!(rehearsal.difference(), None);
    assert!(SCRIPT.lines().count() < 30);
}

#[test]
fn each_template_passes_its_own_test() {
    for shape in [TemplateShape::Lines, TemplateShape::Bytes, TemplateShape::Datagrams] {
        let (script, transcript) = template("door", shape).expect("a name");
        let module = Module::compile("door.rhai", &script).expect("a module");
        let rehearsal = rehearse(module, &transcript).expect("a transcript");
        assert!(rehearsal.expects_something());
        assert_eq!(rehearsal.difference(), None, "{shape:?}: {:#?}", rehearsal.lines);
    }
    assert!(template("Door 1", TemplateShape::Lines).is_none());
}

#[test]
fn a_difference_is_found_and_shown() {
    let module = || Module::compile("example0.rhai", SCRIPT).expect("a module");
    let wrong = TRANSCRIPT.replace("wrong1\"", "wrong9\"");
    let rehearsal = rehearse(module(), &wrong).expect("a transcript");
    let (at, expected, happened) = rehearsal.difference().expect("a difference");
    assert_eq!((at, expected), (6, Some("! 1006 {\"PASSWORD\": \"wrong9\"}")));
    assert_eq!(happened, Some("! 1006 {\"PASSWORD\": \"wrong1\"}"));
    let longer = format!("{TRANSCRIPT}> more\\r\\n\n");
    assert!(rehearse(module(), &longer).expect("a transcript").difference().is_some());
    assert!(rehearse(module(), "> \\q").is_err_and(|why| why.starts_with("line 1: ")));
}
