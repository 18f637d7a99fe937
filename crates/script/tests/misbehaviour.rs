//! Scripts that run away, grow, recurse or reach out: each costs its own session, and the event says so.

use std::time::{Duration, Instant};

use aviary_script::{Module, from_text};

use crate::{play, tcp};

/// The error of a module whose `on_line` does this, from its event.
fn error_of(body: &str) -> String {
    let lines = play(&tcp(&format!("fn f(n) {{ f(n + 1) }}\nfn on_line(session, line) {{ {body} }}")), "> x\\n");
    let failed: Vec<&String> = lines.iter().filter(|line| line.starts_with("! 32100 ")).collect();
    assert_eq!(failed.len(), 1, "{body}: {lines:?}");
    assert!(failed[0].contains("\"DATA\": \"x\""), "{lines:?}");
    assert_eq!(lines.last().map(String::as_str), Some("."), "{lines:?}");
    failed[0].clone()
}

#[test]
fn what_runs_away_is_stopped() {
    let begun = Instant::now();
    for (body, why) in [
        ("while true {}", "Too many operations"),
        ("loop { let x = \"a\".to_upper(); }", "Too many operations"),
        ("f(1)", "Stack overflow"),
        ("let s = \"ab\"; loop { s += s; }", "Length of string too large"),
        ("let b = blob(2048, 1); loop { b += b; }", "Size of array/BLOB too large"),
        ("let a = []; loop { a.push(\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"); }", "too large"),
        ("let m = #{}; let i = 0; loop { m[i.to_string()] = i; i += 1; }", "Too many operations"),
        ("let b = blob(1000000000, 1);", "too large"),
        ("let s = \"\"; s.pad(1000000000, 'x');", "too large"),
        ("let a = []; a.pad(1000000000, 1);", "too large"),
        ("let a = [1]; loop { a = [a, a]; }", "too large"),
        ("session.big = 1; let s = \"0123456789abcdef\"; loop { s += s; session.big = s; }", "a session keeps at most"),
        ("let i = 0; loop { session[\"k\" + i] = i; i += 1; }", "a session keeps at most"),
        ("let s = \"\"; s.pad(60000, 'x'); loop { session.send(s); }", "bytes are sent in one call"),
        ("loop { session.report(#{ A: 1 }); }", "events are reported in one call"),
        ("loop { session.pause(1); }", "may pause"),
        ("session.pause(60001)", "may pause"),
        ("session.me = session;", "no plain value"),
        ("session.report(2000, #{ A: 1 });", "none of a module's"),
        ("session.report(#{ A: session });", "no plain value"),
        ("let a = [1]; let i = 0; while i < 20 { a = [a]; i += 1; } session.report(#{ A: a });", "deeper than 16"),
        ("throw \"own words\"", "own words"),
        ("1 / 0", "Division by zero"),
        ("let x = 9223372036854775807; x + 1", "overflow"),
        ("no_such_function()", "Function not found"),
        ("session.peer = 1;", "is not to be changed"),
    ] {
        let error = error_of(body);
        assert!(error.contains(why), "{body}: {error}");
    }
    // Thousands of times what it takes; without bounds it would never end.
    assert!(begun.elapsed().as_secs() < 60);
}

#[test]
fn what_takes_long_is_stopped_where_there_is_a_clock() {
    thread_local!(static PASSED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) });
    // Each look at the clock finds it six milliseconds later: the fifth is beyond the twenty.
    aviary_script::lend_clock(|| Duration::from_millis(PASSED.replace(PASSED.get() + 6)));
    for _ in 0..2 {
        let error = error_of("while true {}");
        assert!(error.contains("takes longer than 20 ms"), "{error}");
    }
    let lines = play(&tcp("fn on_line(session, line) { session.send(line); }"), "> x\\n");
    assert_eq!(lines[1..], ["< x"]);
}

#[test]
fn nothing_reaches_out() {
    for body in ["import \"x\" as y;", "eval(\"1\");", "let f = Fn(\"f\"); f.curry(1);", "curry(Fn(\"f\"), 1)"] {
        let script = tcp(&format!("fn on_line(session, line) {{ {body} }}"));
        assert!(Module::compile("test.rhai", &script).is_err(), "{body}");
    }
    for name in ["sleep(1)", "open_file(\"x\")", "timestamp()", "exit()", "parse_json(\"{}\")"] {
        assert!(error_of(name).contains("Function not found"), "{name}");
    }
}

#[test]
fn a_deep_value_does_not_end_the_process() {
    // As deep as an array's bound permits, on a thread as large as those of the canary.
    let small = std::thread::Builder::new().stack_size(2 << 20);
    let body = "let a = []; let i = 0; while i < 9000 { a = [a]; i += 1; } session.kept = a;";
    let ended = small.spawn(move || error_of(body)).expect("a thread").join();
    let error = ended.expect("no panic");
    assert!(error.contains("too large") || error.contains("deeper than") || error.contains("operations"), "{error}");
}

#[test]
fn an_expression_too_deep_does_not_compile() {
    let script = tcp(&format!("fn on_line(session, line) {{ {}1{} }}", "(".repeat(5000), ")".repeat(5000)));
    assert!(Module::compile("test.rhai", &script).is_err());
}

#[test]
fn what_was_reported_before_a_failure_stays_and_what_was_sent_does_not() {
    let script = tcp("fn on_line(session, line) { session.report(#{ A: line }); session.send(\"x\"); throw 1; }");
    let lines = play(&script, "> one\\n\n> two\\n");
    assert_eq!(lines[..2], ["> one\\n", "! 99000 {\"A\": \"one\"}"]);
    assert!(lines[2].starts_with("! 32100"));
    assert_eq!(lines[3..], ["."]);
}

#[test]
fn functions_that_nobody_calls_are_told_of() {
    for (functions, why) in [
        ("fn on_lines(session, line) {}", "nothing calls `on_lines`"),
        ("fn on_line(line) {}", "`on_line` takes 1 values"),
        ("fn on_connect(session) {}", "a stream needs"),
        ("fn on_line(session, line) {}\nfn on_data(session, data) {}", "one of them"),
        ("fn on_datagram(session, data) {}", "a stream needs"),
        ("fn on_line(session, line) { let x = ; }", "line 2"),
    ] {
        let fault = Module::compile("test.rhai", &tcp(functions)).expect_err(functions);
        assert!(fault.to_string().contains(why), "{functions}: {fault}");
    }
}

#[test]
fn declarations_say_what_is_wrong_with_them() {
    for (declared, why) in [
        ("name: \"a\"", "does not say `port`"),
        ("port: 1", "does not say `name`"),
        ("name: \"A\", port: 1", "`name` is \"A\""),
        ("name: \"a_1\", port: 1", "`name` is"),
        ("name: \"a\", port: 0", "`port` is 0; accepted: 1 to 65535"),
        ("name: \"a\", port: \"x\"", "`port` is of type"),
        ("name: \"a\", port: 1, transport: \"sctp\"", "`transport` is \"sctp\""),
        ("name: \"a\", port: 1, logtype: 2000", "`logtype` is 2000"),
        ("name: \"a\", port: 1, prot: 1", "`prot`, which is not known"),
        ("name: \"a\", port: 1, config: #{ enabled: 1 }", "`enabled` in `config`"),
        ("name: \"a\", port: 1, config: #{ x: () }", "the default of `x`"),
    ] {
        let script = format!("fn about() {{ #{{ {declared} }} }}\nfn on_line(session, line) {{}}");
        let fault = Module::compile("a.rhai", &script).expect_err(declared).to_string();
        assert!(fault.starts_with("module `a.rhai` cannot be used: ") && fault.contains(why), "{declared}: {fault}");
    }
}

#[test]
fn bytes_that_are_no_text_go_through_a_script_whole() {
    let script =
        tcp("fn on_line(session, line) { session.send(line.to_upper()); session.report(#{ L: line, N: line.len }); }");
    let lines = play(&script, "> a\\xff\\xfe\\n");
    assert_eq!(lines[1..], ["< A\\xff\\xfe", "! 99000 {\"L\": \"a\\\\xff\\\\xfe\", \"N\": 3}"]);
    assert_eq!(from_text("a\u{10ffff}"), b"a\xff");
}

#[test]
fn a_session_keeps_what_it_is_given_and_shares_nothing() {
    let script = tcp("fn on_connect(session) { session.list = []; session.n = 0; }
         fn on_line(session, line) { session.n += 1; session.list.push(line); session.map = #{ a: #{ b: 1 } };
             session.map.a.b += 1; session.send(session.n.to_string() + session.list + session.map.a.b); }
         fn on_close(session) { session.report(99009, #{ LINES: session.n, NONE: session.other }); }");
    for _ in 0..2 {
        let lines = play(&script, "> x\\n\n> y");
        let last = "! 99009 {\"LINES\": 2, \"NONE\": null}";
        assert_eq!(lines, ["> x\\n", "< 1[\"x\"]2", "> y", "< 2[\"x\", \"y\"]2", last]);
    }
}

#[test]
fn a_long_line_comes_in_pieces_and_nothing_of_it_is_lost() {
    let script = tcp("fn on_line(session, line) { session.report(#{ N: line.len }); }");
    let lines = play(&script, &format!("> {}\\r\\n", "x".repeat(10_000)));
    assert_eq!(lines[1..], ["! 99000 {\"N\": 4096}", "! 99000 {\"N\": 4096}", "! 99000 {\"N\": 1808}"]);
}

#[test]
fn who_uses_none_of_a_full_window_is_ended() {
    let script = tcp("fn on_data(session, data) { 0 }");
    let lines = play(&script, &format!("> {}", "x".repeat(2048)));
    assert!(lines[1].contains("uses none of 2048 bytes"), "{lines:?}");
    let lines = play(&tcp("fn on_data(session, data) { data.len + 1 }"), "> x");
    assert!(lines[1].contains("gives 2; accepted"), "{lines:?}");
}

#[test]
fn what_a_session_says_of_itself_can_be_looked_at_and_not_changed() {
    let script = "fn about() { #{ name: \"test\", port: 7000, config: #{ tare: 1250, words: [\"a\"] } } }
        fn on_line(session, line) { session.send(session.config.tare.to_string() + session.config.words.len()
            + session.peer.to_upper() + session.local_port.to_string() + session.random.len()); }";
    assert_eq!(play(script, "> \\n")[1], "< 12501192.0.2.66700032");
    for change in
        ["session.config.tare = 1", "session.config.words.push(2)", "session.peer = \"x\"", "session.now += 1"]
    {
        let script = script.replace("session.send(", &format!("{change}; session.send("));
        assert!(play(&script, "> \\n")[1].contains("is not to be changed"), "{change}");
    }
}

#[test]
fn a_module_sees_whom_it_talks_to_and_the_same_each_time() {
    let script =
        tcp("fn on_line(session, line) { session.send(`${session.peer} ${session.peer_port} ${session.local} \
         ${session.local_port} ${session.id} ${session.host_name} ${session.now} ${session.random.len}`); }");
    let lines = play(&script, "> \\n");
    assert_eq!(lines[1], "< 192.0.2.66 40000 192.0.2.7 7000 0000000000000001 srv01 1795384800 32");
}
