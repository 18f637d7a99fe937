//! Scripts as outputs: what they make of events, and that nothing is lost or doubled on the way.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aviary_event::Event;
use aviary_output::{Blueprint, Body, Delivery, DeliveryError, Destination, Failure, Message, Output, Rejection};
use aviary_script::{Emitted, Emitter, TemplateShape, output, rehearse_output, template};
use rhai::Map;
use serde_json::{Value as Json, json};

const ALLOWED: &str = include_str!("../../../docs/modules/allowed_ports.rhai");
const ALLOWED_TRANSCRIPT: &str = include_str!("../../../docs/modules/allowed_ports.txt");

fn event(port: u16) -> Arc<Event> {
    event_with(port, &json!({"PASSWORD": "a\u{10ffff}", "USERNAME": "root"}))
}

fn event_with(port: u16, logdata: &Json) -> Arc<Event> {
    let line = json!({
        "dst_host": "10.0.0.7", "dst_port": port, "logdata": logdata, "logtype": 4002, "node_id": "n", "src_host": "10.0.0.66",
        "src_port": 40000, "aviary": {"id": format!("01a2104a-506e-77e5-a548-{port:012}"), "kind": "login", "seq": port,
        "service": "ssh", "time": "2026-11-25T01:20:35Z"},
    });
    Arc::new(Event::parse(&line.to_string()).expect("an event"))
}

/// What `emit` with this body makes of an event.
fn emit(body: &str, event: &Event) -> Result<Emitted, String> {
    let script = format!("fn f(n) {{ f(n + 1) }}\nfn emit(event) {{ {body} }}");
    Emitter::compile("t.rhai", &script).unwrap_or_else(|fault| panic!("{fault}")).emit(event, &Map::new(), None)
}

fn sent(body: &str) -> Vec<(String, Body)> {
    match emit(body, &event(22)) {
        Ok(Emitted::Sent(sent)) => sent,
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn the_articles_handler_passes_only_allowed_ports() {
    let script = Emitter::compile("allowed_ports.rhai", ALLOWED).expect("an output");
    assert_eq!(script.declared.destinations, ["api"]);
    let settings = script.settings(&serde_json::Map::new()).expect("defaults");
    let rehearsal = rehearse_output(&script, &settings, ALLOWED_TRANSCRIPT).expect("a transcript");
    assert!(rehearsal.expects_something());
    assert_eq!(rehearsal.difference(), None, "{:#?}", rehearsal.lines);
    assert!(ALLOWED.lines().count() < 30);
    let given = json!({"ports": [80]});
    let settings = script.settings(given.as_object().expect("an object")).expect("settings");
    let other = rehearse_output(&script, &settings, ALLOWED_TRANSCRIPT).expect("a transcript");
    assert!(other.difference().is_some(), "another port, another result");
}

#[test]
fn the_template_passes_its_own_test() {
    let (script, transcript) = template("siem", TemplateShape::Output).expect("a name");
    let script = Emitter::compile("siem.rhai", &script).expect("an output");
    let settings = script.settings(&serde_json::Map::new()).expect("defaults");
    let rehearsal = rehearse_output(&script, &settings, &transcript).expect("a transcript");
    assert!(rehearsal.expects_something());
    assert_eq!(rehearsal.difference(), None, "{:#?}", rehearsal.lines);
}

#[test]
fn texts_maps_and_bytes_are_sent_as_what_they_are() {
    let text = |text: &str| Body::Text(text.to_owned());
    assert_eq!(sent("send(\"a\", \"ä\\r\\n\")"), [("a".to_owned(), text("ä\r\n"))]);
    assert_eq!(sent("send(\"a\", be_bytes(255, 1))"), [("a".to_owned(), Body::Bytes(vec![255]))]);
    let json = Body::Json("{\"a\": [1, true, null, \"\\u00e4\"]}".to_owned());
    assert_eq!(sent("send(\"x\", #{ a: [1, true, (), \"ä\"] })"), [("x".to_owned(), json)]);
    assert_eq!(sent("send(\"x\", json([event.dst_port]))"), [("x".to_owned(), text("[22]"))]);
    assert_eq!(sent("if event.dst_port == 23 { send(\"x\", \"y\") }"), []);
}

#[test]
fn an_event_arrives_as_its_line_was() {
    let Body::Json(text) = &sent("send(\"x\", event)")[0].1 else { panic!("no JSON") };
    let (again, first) = (serde_json::from_str::<Json>(text), serde_json::from_str::<Json>(&event(22).to_line(true)));
    assert_eq!(again.expect("JSON"), first.expect("JSON"));
    // A peer's own character of the private block is no byte.
    let body = &sent("send(\"x\", event.logdata.PASSWORD)")[0].1;
    assert_eq!(body, &Body::Text("a\u{10ffff}".to_owned()));
}

#[test]
fn what_a_peer_nests_becomes_text_and_can_be_wrapped() {
    let deep = (0..40).fold(json!("x"), |inner, _| json!([inner]));
    let event = event_with(22, &json!({ "D": deep }));
    let Ok(Emitted::Sent(sent)) = emit("send(\"x\", #{ a: #{ b: event } })", &event) else { panic!("not sent") };
    let text = String::from_utf8_lossy(sent[0].1.as_bytes()).into_owned();
    assert!(text.contains("\"[[["), "{text}");
    let large = event_with(22, &json!({"DATA": "x".repeat(500_000)}));
    let Ok(Emitted::Sent(sent)) = emit("send(\"x\", event)", &large) else { panic!("not sent") };
    assert!(sent[0].1.as_bytes().len() > 500_000);
}

#[test]
fn what_runs_away_or_is_too_much_is_the_events_end_and_says_where() {
    for (body, why) in [
        ("while true {}", "Too many operations"),
        ("f(1)", "Stack overflow"),
        ("let s = \"ab\"; loop { s += s; }", "Length of string too large"),
        ("let a = [1]; loop { a = [a, a]; }", "too large"),
        ("let s = \"\"; s.pad(600000, 'x'); send(\"x\", s); send(\"x\", s);", "more than 1048576 bytes are sent"),
        ("for i in 0..17 { send(\"x\", \"y\"); }", "more than 16 messages are sent"),
        ("throw \"no such \" + event.dst_port", "no such 22"),
        ("event.nothing.at.all", "(line 2, position"),
        ("send(\"x\", 1.to_string)", "t.rhai"),
        ("send(\"x\")", "Function not found"),
        ("sleep(1)", "Function not found"),
        ("open_file(\"/etc/passwd\")", "Function not found"),
    ] {
        let error = emit(&format!("send(\"x\", \"before\"); {body}"), &event(22)).expect_err(body);
        assert!(error.starts_with("`t.rhai`: `emit`: ") && error.contains(why), "{body}: {error}");
    }
}

#[test]
fn a_deep_map_does_not_end_the_process() {
    for body in ["let a = #{}; loop { a = #{ a: a }; }", "let a = []; loop { a = [a]; }"] {
        let ended = small_thread(move || emit(body, &event(22)).expect_err(body));
        assert!(ended.contains("too large") || ended.contains("operations"), "{ended}");
    }
}

/// On a thread as large as those of the canary.
fn small_thread(work: impl FnOnce() -> String + Send + 'static) -> String {
    std::thread::Builder::new().stack_size(2 << 20).spawn(work).expect("a thread").join().expect("no panic")
}

#[test]
fn a_refusal_cannot_be_caught_and_takes_back_what_was_sent() {
    let refused =
        emit("send(\"x\", \"y\"); try { refuse(\"too \" + \"old\") } catch {} send(\"x\", \"z\");", &event(22));
    assert_eq!(refused, Ok(Emitted::Refused("too old".to_owned())));
}

#[test]
fn scripts_that_are_no_outputs_say_why() {
    for (script, why) in [
        ("fn emit() {}", "`emit` takes 0 values; accepted: 1 or 2"),
        ("fn emti(event) {}", "it has no function `emit(event)`"),
        ("fn emit(event) { let x = ; }", "line 1"),
        ("fn emit(event) {}\nfn on_line(session, line) {}", "it has `on_line`, which is a module's"),
        ("fn emit(event) {}\nfn about() { 1 }", "`about` gives no map"),
        ("fn emit(event) {}\nfn about() { #{ port: 1 } }", "`about` says `port`, which is not known to an output"),
        ("fn emit(event) {}\nfn about() { #{ destinations: [1] } }", "`destinations` is no array of names"),
        ("fn emit(event) {}\nfn about() { #{ settings: #{ a: () } } }", "the default of `a` in `settings`"),
        ("fn emit(event) {}\nfn about() { send(\"x\", \"y\"); #{} }", "no event here"),
    ] {
        let fault = Emitter::compile("t.rhai", script).expect_err(script).to_string();
        assert!(fault.contains(why), "{script}: {fault}");
    }
}

// -- As an output -------------------------------------------------------------------------------

type Arrived = Arc<Mutex<Vec<String>>>;

thread_local! {
    /// What arrived at destinations of this test, and what they answer next.
    static ARRIVED: Arrived = Arrived::default();
    static ANSWERS: Arc<Mutex<Vec<&'static str>>> = Arc::default();
}

/// Takes two messages at once, and does what is next among the answers.
struct Fake {
    name: String,
    arrived: Arrived,
    answers: Arc<Mutex<Vec<&'static str>>>,
}

impl Destination for Fake {
    fn send<'a>(&'a mut self, messages: &'a [Message]) -> Delivery<'a> {
        Box::pin(async move {
            for (delivered, message) in messages.iter().enumerate() {
                let answer = self.answers.lock().expect("answers").pop().unwrap_or("ok");
                let error = match answer {
                    "later" => DeliveryError::Temporary { reason: "busy".to_owned(), retry_after: None },
                    "no" => DeliveryError::Refused { reason: "400".to_owned() },
                    "hang" => std::future::pending().await,
                    _ => {
                        let body = String::from_utf8_lossy(message.body.as_bytes()).into_owned();
                        let number =
                            message.id().expect("an id").split_once('/').map_or(1, |(_, n)| n.parse().expect("n"));
                        self.arrived.lock().expect("arrived").push(format!("{} {body} {number}", self.name));
                        continue;
                    }
                };
                return Err(Failure { delivered, error });
            }
            Ok(())
        })
    }

    fn batch_limit(&self) -> usize {
        2
    }

    fn time_limit(&self) -> Duration {
        Duration::from_secs(5)
    }
}

fn open(_: &Blueprint<'_>, name: &str, options: &Json) -> Result<Box<dyn Destination>, Rejection> {
    if options != &json!({}) {
        return Err(Rejection::new(format!("{name}.url"), "is no address"));
    }
    let (arrived, answers) = (ARRIVED.with(Arc::clone), ANSWERS.with(Arc::clone));
    Ok(Box::new(Fake { name: name.to_owned(), arrived, answers }))
}

fn try_build(script: &str, mut options: Json) -> Result<Box<dyn Output>, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("t.rhai");
    std::fs::write(&file, script).expect("written");
    options["file"] = json!(file);
    let options = options.as_object().expect("an object");
    let blueprint = Blueprint { name: "s", options, format: "%(message)s", extended: true, node_id: "n" };
    output(&blueprint, open).map_err(|rejection| rejection.to_string())
}

/// An output with destinations `a` and `b`, and this as the body of `emit`.
fn built(body: &str) -> Box<dyn Output> {
    try_build(&format!("fn emit(event) {{ {body} }}"), json!({"destinations": {"a": {}, "b": {}}})).expect("builds")
}

/// Answers of the destinations, the first one first.
fn answer(answers: &[&'static str]) {
    ANSWERS.with(|next| *next.lock().expect("answers") = answers.iter().rev().copied().collect());
}

fn arrived() -> Vec<String> {
    ARRIVED.with(|arrived| std::mem::take(&mut *arrived.lock().expect("arrived")))
}

/// How far a delivery came, and its error.
async fn deliver(output: &mut Box<dyn Output>, batch: &[Arc<Event>]) -> (usize, String) {
    match output.deliver(batch).await {
        Ok(()) => (batch.len(), String::new()),
        Err(failure) => (failure.delivered, failure.error.to_string()),
    }
}

#[tokio::test]
async fn messages_go_in_order_and_are_numbered_for_each_receiver() {
    let mut output = built("send(\"b\", `${event.dst_port}`); send(\"a\", \"x\"); send(\"b\", \"y\");");
    assert_eq!(deliver(&mut output, &[event(1), event(2)]).await, (2, String::new()));
    assert_eq!(arrived(), ["b 1 1", "a x 1", "b y 2", "b 2 1", "a x 1", "b y 2"]);
}

#[tokio::test]
async fn what_has_arrived_is_not_sent_again() {
    let mut output = built("send(\"a\", `${event.dst_port}`); send(\"b\", `${event.dst_port}`);");
    let batch = [event(1), event(2), event(3)];
    answer(&["ok", "later"]);
    assert_eq!(deliver(&mut output, &batch).await, (0, "`b`: busy".to_owned()));
    answer(&["ok", "ok", "later"]);
    assert_eq!(deliver(&mut output, &batch).await, (1, "`b`: busy".to_owned()));
    assert_eq!(deliver(&mut output, &batch[1..]).await, (2, String::new()));
    assert_eq!(arrived(), ["a 1 1", "b 1 1", "a 2 1", "b 2 1", "a 3 1", "b 3 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_is_given_up_and_a_delivery_that_is_given_up_repeats_nothing() {
    let mut output = built("send(\"a\", `${event.dst_port}`); send(\"b\", `${event.dst_port}`);");
    let batch = [event(1), event(2)];
    answer(&["ok", "hang"]);
    assert_eq!(deliver(&mut output, &batch).await, (0, "`b`: no answer within 5 s".to_owned()));
    assert!(output.time_limit() > Duration::from_secs(5) * 16);
    answer(&["ok", "ok", "hang"]);
    let given_up = tokio::time::timeout(Duration::from_secs(1), deliver(&mut output, &batch)).await;
    assert!(given_up.is_err());
    assert_eq!(deliver(&mut output, &batch).await, (2, String::new()));
    assert_eq!(arrived(), ["a 1 1", "b 1 1", "a 2 1", "b 2 1"]);
}

#[tokio::test]
async fn a_refusal_costs_one_event_and_the_other_receivers_get_theirs() {
    let mut output = built("send(\"a\", `${event.dst_port}`); send(\"b\", `${event.dst_port}`);");
    let batch = [event(1), event(2)];
    answer(&["no"]);
    assert_eq!(deliver(&mut output, &batch).await, (0, "refused: `a`: 400".to_owned()));
    assert_eq!(deliver(&mut output, &batch[1..]).await, (1, String::new()));
    assert_eq!(arrived(), ["b 1 1", "a 2 1", "b 2 1"]);
    // Sent again as a dead letter it is another object, and all of it is made anew.
    assert_eq!(deliver(&mut output, &[event(1)]).await, (1, String::new()));
    assert_eq!(arrived(), ["a 1 1", "b 1 1"]);
}

#[tokio::test]
async fn one_receiver_gets_messages_of_several_events_at_once_and_a_refusal_hits_the_right_one() {
    let mut output = built("send(\"a\", `${event.dst_port}`);");
    let batch = [event(1), event(2), event(3)];
    answer(&["ok", "no", "ok"]);
    assert_eq!(deliver(&mut output, &batch).await, (1, "refused: `a`: 400".to_owned()));
    assert_eq!(deliver(&mut output, &batch[2..]).await, (1, String::new()));
    assert_eq!(arrived(), ["a 1 1", "a 3 1"]);
}

#[tokio::test]
async fn a_script_that_errs_costs_one_event_and_says_where() {
    let mut output = built(
        "send(\"a\", `${event.dst_port}`);\nif event.dst_port == 1 { throw \"odd\" }\nif event.dst_port == 2 { refuse(\"dull\") }",
    );
    let batch = [event(1), event(2), event(3)];
    let (delivered, error) = deliver(&mut output, &batch).await;
    assert_eq!(delivered, 0);
    assert!(error.starts_with("refused: the script failed: `t.rhai`: `emit`: "), "{error}");
    assert!(error.contains("odd") && error.contains("line 2, position"), "{error}");
    assert_eq!(deliver(&mut output, &batch[1..]).await, (0, "refused: the script refused it: dull".to_owned()));
    assert_eq!(deliver(&mut output, &batch[2..]).await, (1, String::new()));
    assert_eq!(arrived(), ["a 3 1"]);
}

#[tokio::test]
async fn what_is_passed_over_is_told_apart_from_what_arrived() {
    let mut output = built("if event.dst_port > 1 { send(\"a\", \"x\") } if event.dst_port == 3 { throw 1 }");
    let batch = [event(1), event(2), event(1), event(3)];
    assert_eq!(deliver(&mut output, &batch).await.0, 3);
    assert_eq!((output.take_passed_over(), output.take_passed_over()), (2, 0));
    assert_eq!(deliver(&mut output, &[event(1)]).await, (1, String::new()));
    assert_eq!(output.take_passed_over(), 1);
    arrived();
}

#[tokio::test]
async fn only_destinations_of_the_handler_are_reached() {
    let mut output = built("send(\"c\", \"x\")");
    let (_, error) = deliver(&mut output, &[event(1)]).await;
    assert!(error.contains("there is no destination `c`; there are a, b"), "{error}");
    assert_eq!(arrived(), [""; 0]);
}

#[test]
fn handlers_say_what_is_wrong_with_them() {
    let about = "fn about() { #{ settings: #{ ports: [22], word: \"x\" }, destinations: [\"a\"] } }\nfn emit(event, settings) {}";
    for (options, why) in [
        (json!({}), "`destinations`: is missing; it takes an object such as"),
        (json!({"destinations": {}}), "`destinations`: is {}"),
        (json!({"destinations": []}), "`destinations`: is []"),
        (json!({"destinations": {"b": {}}}), "`destinations`: lack `a`, which the script sends to"),
        (json!({"destinations": {"a": {"url": "x"}}}), "`destinations.a.url`: is no address"),
        (json!({"destinations": {"a": {}}, "settings": []}), "`settings`: is []; it takes an object"),
        (json!({"destinations": {"a": {}}, "settings": {"port": 1}}), "`settings.port`: is not known to the script"),
        (
            json!({"destinations": {"a": {}}, "settings": {"ports": 1}}),
            "`settings.ports`: is 1; it takes what is like [22]",
        ),
        (json!({"destinations": {"a": {}}, "lifecycle": "x"}), "`lifecycle`: is \"x\"; it takes true or false"),
    ] {
        let error = try_build(about, options.clone()).err().unwrap_or_default();
        assert!(error.starts_with(why), "{options}: {error}");
    }
    let good = json!({"destinations": {"a": {}}});
    assert!(
        try_build("fn emit(event) {", good.clone()).is_err_and(|e| e.starts_with("`file`: module `t.rhai` cannot"))
    );
    let long = format!("// {}\nfn emit(event) {{}}", "x".repeat(300_000));
    assert!(try_build(&long, good.clone()).is_err_and(|e| e.contains("it is longer than 256 KiB")));
    let output = try_build(about, good).expect("builds");
    assert_eq!((output.source(), output.takes_lifecycle()), (about, false));
}
