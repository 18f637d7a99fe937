//! `docs/modules.md`: each module in it compiles, and does what the transcript after it says.

use aviary_script::{Emitter, Module, is_output, limits, rehearse, rehearse_output};

const MANUAL: &str = include_str!("../../../docs/modules.md");

/// The blocks of the manual that are in these languages, in order.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let parts = MANUAL.split("```").skip(1).step_by(2);
    let blocks = parts.filter_map(|part| part.split_once('\n'));
    blocks.filter(|(language, _)| matches!(*language, "rhai" | "transcript")).collect()
}

#[test]
fn what_the_manual_shows_is_true() {
    let blocks = blocks();
    let mut tested = 0;
    for pair in blocks.windows(2) {
        let [("rhai", script), ("transcript", transcript)] = pair else { continue };
        if is_output(script) {
            let output = Emitter::compile("manual.rhai", script).unwrap_or_else(|fault| panic!("{fault}"));
            let settings = output.settings(&serde_json::Map::new()).expect("defaults");
            let rehearsal = rehearse_output(&output, &settings, transcript).expect("a transcript");
            assert_eq!(rehearsal.difference(), None, "{:#?}", rehearsal.lines);
            tested += 1;
            continue;
        }
        let module = Module::compile("manual.rhai", script).unwrap_or_else(|fault| panic!("{fault}"));
        let rehearsal = rehearse(module, transcript).expect("a transcript");
        assert_eq!(rehearsal.difference(), None, "{:#?}", rehearsal.lines);
        assert!(script.lines().count() < 30);
        tested += 1;
    }
    assert_eq!((tested, blocks.len()), (3, 7));
    let alone = Emitter::compile("alone.rhai", blocks[6].1).expect("an output");
    assert_eq!(alone.declared.destinations, ["api"]);
}

#[test]
fn the_bounds_in_the_manual_are_those_of_the_code() {
    let text = MANUAL.replace('\n', " ");
    for bound in [
        format!("after {},000 operations", limits::OPERATIONS / 1000),
        format!("or {} ms on the processor", limits::TIME.as_millis()),
        format!("A text has at most {} KiB", limits::TEXT / 1024),
        format!("an array or blob {} items, a map {}", limits::ITEMS, limits::MAP),
        format!("a session keeps {} KiB under {} names", limits::KEPT.0 / 1024, limits::KEPT.1),
        format!("a call sends {} KiB, reports {} events", limits::SENT / 1024, limits::REPORTS),
        format!("pauses {} times for a minute", limits::PAUSES.0),
        format!("at most {} MiB in a connection, and {} are open", limits::RECEIVED >> 20, limits::CONNECTIONS),
        format!("over {} bytes it comes in pieces", limits::LINE),
        format!("all that wait, up to {}", limits::WINDOW),
        format!("a text has at most {} MiB and a map {} entries", limits::EMITTED >> 20, limits::EMITTED_MAP),
        format!("an event sends {} messages of {} MiB together", limits::SENDS, limits::EMITTED >> 20),
        format!("deeper than {} levels is text", limits::EVENT_DEPTH),
    ] {
        assert!(text.contains(&bound), "{bound}");
    }
}
