//! Every vendor's exact request for one event, and what its answers mean.

use aviary_event::{Aviary, Event, PeerBytes, Timestamp, Value as Datum};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::alert::Alert;
use super::alertmanager::Alertmanager;
use super::dingtalk::DingTalk;
use super::discord::Discord;
use super::feishu::Feishu;
use super::mattermost::Mattermost;
use super::ntfy::Ntfy;
use super::pushover::Pushover;
use super::slack::Slack;
use super::teams::Teams;
use super::telegram::Telegram;
use super::template::Words;
use super::verdict::tests::{answer, word};
use super::wecom::WeCom;
use super::*;

/// A login with a password that would like to be markup.
fn event() -> Event {
    let line = r#"{"dst_host": "192.0.2.1", "dst_port": 21, "honeycred": false, "local_time": "2026-11-22 22:00:00.123456", "local_time_adjusted": "2026-11-22 23:00:00.123456", "logdata": {"CLIENT": "<ftp>"}, "logtype": 2000, "node_id": "opencanary-1", "src_host": "192.0.2.7", "src_port": 40000, "utc_time": "2026-11-22 22:00:00.123456"}"#;
    let mut event = Event::parse(line).expect("an event");
    let Datum::Map(data) = &mut event.logdata else { panic!("an object") };
    data.insert("USERNAME".to_owned(), Datum::from("root"));
    data.insert("PASSWORD".to_owned(), Datum::Bytes(PeerBytes::from(b"<!here> *x*\n`\xff")));
    event.aviary = Some(Aviary {
        id: Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0001),
        seq: 1,
        session: None,
        service: "ftp".to_owned(),
        time: Timestamp::from_micros(1_795_384_800_123_456),
        kind: "login".to_owned(),
        technique: Vec::new(),
        more: [("src_mac", "02:00:00:00:00:66"), ("src_vendor", "Raspberry Pi Trading Ltd"), ("src_name", "LAPTOP-7")]
            .map(|(key, value)| (key.to_owned(), Datum::from(value)))
            .into(),
    });
    event
}

fn words(template: Option<&str>) -> Words {
    let options = Map::from_iter(template.map(|text| ("template".to_owned(), Value::from(text))));
    Words::new(Options(&options)).expect("a good template")
}

/// The request at 2026-11-22 22:00:01.500 UTC.
fn post(vendor: &dyn Vendor) -> Post {
    let event = event();
    let alert = Alert::new(&event, event.to_line(true), false);
    vendor.encode(&alert, "2026-11-22T22:00:01.5Z".parse().expect("a moment"))
}

fn body(vendor: &dyn Vendor) -> Value {
    let post = post(vendor);
    assert_eq!(post.content_type, "application/json");
    serde_json::from_str(&post.body).expect("JSON")
}

fn url(text: &str) -> Url {
    Url::parse(text).expect("an address")
}

fn verdicts(vendor: &dyn Vendor, expected: &[(u16, &str, &str)]) {
    for (status, said, verdict) in expected {
        assert_eq!(word(&vendor.judge(&answer(*status, said))), *verdict, "{status} {said}");
    }
}

/// The facts in plain text, after the headline.
const FACTS: &str = "Source: 192.0.2.7:40000, LAPTOP-7, 02:00:00:00:00:66 Raspberry Pi Trading Ltd\n\
    Decoy: ftp, 192.0.2.1:21\n\
    User: root\n\
    Password: <!here> *x*\\n`\\xff\n\
    Time: 2026-11-22 22:00:00 UTC\n\
    Event: 2000, 01990000-0000-7000-8000-000000000001\n\
    CLIENT: <ftp>";
const TITLE: &str = "Login attempt on ftp of opencanary-1 from 192.0.2.7";

fn slack(template: Option<&str>) -> Slack {
    Slack { url: url("https://hooks.slack.com/services/T0/B0/0123456789abcdef"), words: words(template) }
}

#[test]
fn slack_gets_opencanarys_fields() {
    let expected = json!({"attachments": [{
        "pretext": "OpenCanary Alert",
        "fallback": TITLE,
        "fields": [
            {"title": "dst_host", "value": "192.0.2.1"},
            {"title": "dst_port", "value": "21"},
            {"title": "honeycred", "value": "false"},
            {"title": "local_time", "value": "2026-11-22 22:00:00.123456"},
            {"title": "local_time_adjusted", "value": "2026-11-22 23:00:00.123456"},
            {"title": "logdata", "value": r#"{"CLIENT": "&lt;ftp&gt;", "PASSWORD": "&lt;!here&gt; *x*\n`\\xff", "USERNAME": "root"}"#},
            {"title": "logtype", "value": "2000"},
            {"title": "node_id", "value": "opencanary-1"},
            {"title": "src_host", "value": "192.0.2.7"},
            {"title": "src_port", "value": "40000"},
            {"title": "utc_time", "value": "2026-11-22 22:00:00.123456"},
        ],
    }]});
    assert_eq!(body(&slack(None)), expected);
    let text = body(&slack(Some("<!here> %(username)s: %(password)s, 100%% %")));
    let shown = "<!here> root: &lt;!here&gt; *x*\\n`\\xff, 100% %";
    assert_eq!(text, json!({"text": shown, "unfurl_links": false, "unfurl_media": false}));
}

#[test]
fn slack_refuses_events_and_not_addresses() {
    verdicts(
        &slack(None),
        &[
            (200, "ok", "ok"),
            (400, "invalid_payload", "refused"),
            (400, "invalid_token", "later"),
            (403, "action_prohibited", "later"),
            (404, "no_service", "later"),
            (410, "channel_is_archived", "later"),
            (500, "rollup_error", "later"),
        ],
    );
}

fn teams(adaptive: bool, template: Option<&str>) -> Teams {
    Teams { url: url("https://x.logic.azure.com/workflows/w/triggers"), adaptive, words: words(template) }
}

#[test]
fn teams_gets_opencanarys_card() {
    let sent = body(&teams(true, None));
    assert_eq!(sent["type"], "message");
    assert_eq!(sent["attachments"][0]["contentType"], "application/vnd.microsoft.card.adaptive");
    let card = &sent["attachments"][0]["content"];
    assert_eq!((&card["type"], &card["version"]), (&json!("AdaptiveCard"), &json!("1.5")));
    assert_eq!(card["body"][0]["columns"][1]["items"][1]["text"], "OpenCanary Alert");
    let facts = card["body"][1]["facts"].as_array().expect("facts");
    let fact = |n: usize| (facts[n]["title"].as_str().expect("text"), facts[n]["value"].as_str().expect("text"));
    assert_eq!(fact(1), (r"dst\_port", "21"));
    assert_eq!(fact(2), ("honeycred", "False"));
    assert_eq!(fact(5), (r"logdata\_\_client", r"\<ftp\>"));
    assert_eq!(fact(6), (r"logdata\_\_password", r"\<!here\> \*x\*\\n\`\\xff"));
    assert_eq!(facts.len(), 13);
    let text = body(&teams(true, Some("**%(src_name)s**")));
    assert_eq!(text["attachments"][0]["content"]["body"][1]["text"], "**LAPTOP-7**");
}

#[test]
fn teams_connector_gets_a_message_card() {
    let sent = body(&teams(false, None));
    assert_eq!((&sent["@type"], &sent["@context"]), (&json!("MessageCard"), &json!("https://schema.org/extensions")));
    assert_eq!((&sent["summary"], &sent["title"]), (&json!(TITLE), &json!("OpenCanary Alert")));
    assert_eq!(sent["sections"][0]["facts"][1], json!({"name": r"dst\_port", "value": "21"}));
    verdicts(
        &teams(false, None),
        &[
            (200, "1", "ok"),
            (202, "", "ok"),
            (
                200,
                "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with ContextId x",
                "later 5",
            ),
            (200, "Microsoft Teams endpoint returned HTTP error 413 with ContextId", "refused"),
            (200, "Microsoft Teams endpoint returned HTTP error 403 with ContextId", "later"),
            (400, r#"{"error":{"code":"WorkflowTriggerIsNotEnabled","message":"off"}}"#, "later"),
            (400, "Summary or Text is required.", "refused"),
        ],
    );
}

#[test]
fn teams_keeps_below_28_kilobytes() {
    let mut event = event();
    let Datum::Map(data) = &mut event.logdata else { panic!("an object") };
    for n in 0..200 {
        data.insert(format!("KEY_{n:03}"), Datum::Bytes(PeerBytes::from("*\"ä\u{1}".repeat(200).as_str())));
    }
    let alert = Alert::new(&event, event.to_line(true), true);
    for vendor in
        [teams(true, None), teams(false, None), teams(true, Some("%(message)s")), teams(true, Some("%(details)s"))]
    {
        let size = vendor.encode(&alert, jiff::Timestamp::UNIX_EPOCH).body.len();
        assert!((10_000..28_000).contains(&size), "{size}");
    }
}

fn discord(template: Option<&str>) -> Discord {
    let url = url("https://discord.com/api/webhooks/1/0123456789abcdef");
    Discord { url, username: Some("canary".to_owned()), words: words(template) }
}

#[test]
fn discord_gets_an_embed_that_mentions_nobody() {
    let description = r"**Source**: 192.0.2.7\:40000, LAPTOP-7, 02\:00\:00\:00\:00\:66 Raspberry Pi Trading Ltd
**Decoy**: ftp, 192.0.2.1\:21
**User**: root
**Password**: \<!here\> \*x\*\\n\`\\xff
**Time**: 2026-11-22 22\:00\:00 UTC
**Event**: 2000, 01990000-0000-7000-8000-000000000001
**CLIENT**: \<ftp\>";
    let embed = json!({"title": TITLE, "description": description, "color": 0x00e0_7b00, "timestamp": "2026-11-22T22:00:00.123456+00:00"});
    let expected = json!({"allowed_mentions": {"parse": []}, "embeds": [embed], "username": "canary"});
    assert_eq!(body(&discord(None)), expected);
    let text = body(&discord(Some("%(username)s")));
    let expected = json!({"allowed_mentions": {"parse": []}, "content": "root", "flags": 4, "username": "canary"});
    assert_eq!(text, expected);
    verdicts(
        &discord(None),
        &[(204, "", "ok"), (400, r#"{"code": 50035}"#, "refused"), (404, r#"{"code": 10015}"#, "later")],
    );
}

#[test]
fn mattermost_gets_values_in_code_spans() {
    let vendor = Mattermost {
        url: url("https://mattermost.example/hooks/key"),
        channel: Some("alerts".to_owned()),
        username: None,
        words: words(None),
    };
    let sent = body(&vendor);
    let text = sent["text"].as_str().expect("text");
    assert!(text.starts_with(&format!("` {TITLE} `\n` Source `: ` 192.0.2.7:40000, LAPTOP-7")), "{text}");
    assert!(text.contains("\n` Password `: `` <!here> *x*\\n`\\xff ``\n"), "{text}");
    assert_eq!(sent["channel"], "alerts");
    verdicts(
        &vendor,
        &[(200, "ok", "ok"), (400, r#"{"id":"web.incoming_webhook.parse.app_error"}"#, "refused"), (403, "", "later")],
    );
}

#[test]
fn telegram_gets_html_without_a_preview() {
    let vendor = Telegram {
        url: url("https://api.telegram.org/bot1:abcdef/sendMessage"),
        token: "1:abcdef".to_owned(),
        chat: json!(-100_123),
        thread: Some(7),
        silent: true,
        words: words(None),
    };
    let text = "<b>Login attempt on ftp of opencanary-1 from 192.0.2.7</b>
<b>Source</b>: 192.0.2.7:40000, LAPTOP-7, 02:00:00:00:00:66 Raspberry Pi Trading Ltd
<b>Decoy</b>: ftp, 192.0.2.1:21
<b>User</b>: root
<b>Password</b>: &lt;!here&gt; *x*\\n`\\xff
<b>Time</b>: 2026-11-22 22:00:00 UTC
<b>Event</b>: 2000, 01990000-0000-7000-8000-000000000001
<b>CLIENT</b>: &lt;ftp&gt;";
    let expected = json!({
        "chat_id": -100_123,
        "text": text,
        "parse_mode": "HTML",
        "link_preview_options": {"is_disabled": true},
        "message_thread_id": 7,
        "disable_notification": true,
    });
    assert_eq!(body(&vendor), expected);
    verdicts(
        &vendor,
        &[
            (200, r#"{"ok":true,"result":{"message_id":1}}"#, "ok"),
            (200, r#"{"ok":false,"error_code":400,"description":"Bad Request: message is too long"}"#, "refused"),
            (400, r#"{"ok":false,"error_code":400,"description":"Bad Request: can't parse entities"}"#, "refused"),
            (400, r#"{"ok":false,"error_code":400,"description":"Bad Request: chat not found"}"#, "later"),
            (401, r#"{"ok":false,"error_code":401,"description":"Unauthorized"}"#, "later"),
            (429, r#"{"ok":false,"error_code":429,"parameters":{"retry_after":21}}"#, "later 21"),
            (200, "<html>log in to the network</html>", "later"),
            (502, "", "later"),
        ],
    );
}

#[test]
fn ntfy_gets_json_at_its_root() {
    let vendor = Ntfy {
        url: url("https://ntfy.sh/"),
        topic: "canary".to_owned(),
        priority: None,
        authorization: None,
        secret: String::new(),
        words: words(None),
    };
    let expected = json!({"topic": "canary", "title": TITLE, "message": FACTS, "priority": 4, "tags": ["warning"]});
    assert_eq!(body(&vendor), expected);
    verdicts(
        &vendor,
        &[(200, "{}", "ok"), (429, r#"{"code":42901,"http":429}"#, "later"), (403, r#"{"code":40301}"#, "later")],
    );
}

#[test]
fn pushover_gets_a_form() {
    let vendor = Pushover {
        url: url("https://api.pushover.net/1/messages.json"),
        token: "a".repeat(30),
        user: "u".repeat(30),
        priority: Some(2),
        retry: 60,
        expire: 3600,
        device: None,
        sound: Some("siren".to_owned()),
        words: words(Some("%(username)s & %(src_vendor)s")),
    };
    let sent = post(&vendor);
    assert_eq!(sent.content_type, "application/x-www-form-urlencoded");
    let (token, user) = (&vendor.token, &vendor.user);
    let expected = format!(
        "token={token}&user={user}&title=Login+attempt+on+ftp+of+opencanary-1+from+192.0.2.7\
         &message=root+%26+Raspberry+Pi+Trading+Ltd&priority=2&timestamp=1795384800&retry=60&expire=3600&sound=siren"
    );
    assert_eq!(sent.body, expected);
    verdicts(
        &vendor,
        &[
            (200, r#"{"status":1,"request":"r"}"#, "ok"),
            (400, r#"{"message":"cannot be blank","errors":["message cannot be blank"],"status":0}"#, "refused"),
            (400, r#"{"user":"invalid","errors":["user identifier is not a valid user"],"status":0}"#, "later"),
            (400, r#"{"token":"invalid","errors":["application token is invalid"],"status":0}"#, "later"),
            (429, r#"{"status":0}"#, "later 3600"),
            (200, "hello", "later"),
        ],
    );
}

#[test]
fn dingtalk_gets_plain_text_and_a_signature() {
    let vendor = DingTalk {
        url: url("https://oapi.dingtalk.com/robot/send?access_token=key"),
        secret: Some("SECthis".to_owned()),
        words: words(None),
    };
    let sent = post(&vendor);
    // printf '1795384801500\nSECthis' | openssl dgst -sha256 -hmac SECthis -binary | base64
    let query: Vec<(String, String)> = sent.url.query_pairs().into_owned().collect();
    let sign = "QXNaNPTzw27iWv19lufdCdRRbGkvaxB/0MEgWJpEaHg=";
    let expected = [("access_token", "key"), ("timestamp", "1795384801500"), ("sign", sign)];
    assert_eq!(query, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let text = format!("{TITLE}\n{FACTS}");
    assert_eq!(body(&vendor), json!({"msgtype": "text", "text": {"content": text}, "at": {"isAtAll": false}}));
    verdicts(
        &vendor,
        &[
            (200, r#"{"errcode":0,"errmsg":"ok"}"#, "ok"),
            (200, r#"{"errcode":"0","errmsg":"ok"}"#, "ok"),
            (200, r#"{"errcode":130101,"errmsg":"send too fast"}"#, "later 60"),
            (200, r#"{"errcode":310000,"errmsg":"sign not match"}"#, "later"),
            (200, r#"{"errcode":400101,"errmsg":"no such message"}"#, "refused"),
            (200, "hello", "later"),
            (404, "", "later"),
            (429, "", "later 60"),
        ],
    );
}

#[test]
fn feishu_gets_a_post_and_a_signature_in_its_body() {
    let vendor = Feishu {
        url: url("https://open.feishu.cn/open-apis/bot/v2/hook/key"),
        secret: Some("secret".to_owned()),
        words: words(None),
    };
    let sent = body(&vendor);
    let lines: Vec<Value> = FACTS.split('\n').map(|line| json!([{"tag": "text", "text": line}])).collect();
    let post = json!({"en_us": {"title": TITLE, "content": lines}});
    // printf '' | openssl dgst -sha256 -mac HMAC -macopt hexkey:(1795384801, line feed, secret) -binary | base64
    let expected = json!({
        "msg_type": "post", "content": {"post": post}, "timestamp": "1795384801", "sign": "anfpmq3qQuX6GLYKaalqx4PUiJVeMUJUloqCT/XmGFY=",
    });
    assert_eq!(sent, expected);
    verdicts(
        &vendor,
        &[
            (200, r#"{"StatusCode":0,"StatusMessage":"success","code":0,"data":{},"msg":"success"}"#, "ok"),
            (200, r#"{"code":11232,"data":{},"msg":"frequency limited psm"}"#, "later 10"),
            (200, r#"{"code":19021,"msg":"sign match fail"}"#, "later"),
            (400, r#"{"code":9499,"msg":"Bad Request","data":{}}"#, "refused"),
            (200, "", "later"),
        ],
    );
}

#[test]
fn wecom_gets_plain_text() {
    let vendor = WeCom { url: url("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=k"), words: words(None) };
    let text = format!("{TITLE}\n{FACTS}");
    assert_eq!(body(&vendor), json!({"msgtype": "text", "text": {"content": text}}));
    verdicts(
        &vendor,
        &[
            (200, r#"{"errcode":0,"errmsg":"ok"}"#, "ok"),
            (200, r#"{"errcode":45009,"errmsg":"api freq out of limit"}"#, "later 60"),
            (200, r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#, "later"),
            (200, r#"{"errcode":40058,"errmsg":"content exceed max length 2048"}"#, "refused"),
        ],
    );
}

#[test]
fn alertmanager_gets_an_alert_for_each_event() {
    let vendor = Alertmanager {
        url: url("http://alertmanager.example:9093/api/v2/alerts"),
        labels: Map::from_iter([("team".to_owned(), json!("blue"))]),
        resolve_after: Some(Duration::from_secs(60)),
        authorization: None,
        secret: String::new(),
        words: words(None),
    };
    let mut sent = body(&vendor);
    let line = sent[0]["annotations"]["event"].take();
    assert_eq!(line, event().to_line(true));
    let labels = json!({
        "alertname": "Canary", "severity": "high", "kind": "login", "service": "ftp", "logtype": "2000",
        "node_id": "opencanary-1", "src_host": "192.0.2.7", "dst_port": "21",
        "event_id": "01990000-0000-7000-8000-000000000001", "team": "blue",
    });
    let annotations = json!({"summary": TITLE, "description": FACTS, "event": null});
    assert_eq!((&sent[0]["labels"], &sent[0]["annotations"]), (&labels, &annotations));
    let time = |key: &str| sent[0][key].as_str().expect("a time").parse::<jiff::Timestamp>().expect("a time");
    assert_eq!(time("startsAt"), "2026-11-22T22:00:00.123456Z".parse().expect("a moment"));
    assert_eq!(time("endsAt"), "2026-11-22T22:01:00.123456Z".parse().expect("a moment"));
    verdicts(&vendor, &[(200, "", "ok"), (400, r#""bad""#, "refused"), (503, "", "later")]);
}

#[test]
fn headlines_say_what_happened() {
    let title = |change: &dyn Fn(&mut Event)| {
        let mut event = event();
        change(&mut event);
        Alert::new(&event, String::new(), true).title
    };
    assert_eq!(title(&|event| event.honeycred = Some(true)), TITLE.replace("Login attempt", "Planted credential used"));
    assert_eq!(title(&|event| event.aviary = None), TITLE.replace("on ftp", "on port 21"));
    let lifecycle = |event: &mut Event| {
        event.aviary.as_mut().expect("ours").kind = "lifecycle".to_owned();
        event.src = Some(aviary_event::Origin::none());
    };
    assert_eq!(title(&lifecycle), "Canary opencanary-1");
    let test = |event: &mut Event| {
        lifecycle(event);
        event.logtype = Some(aviary_output::TEST.number);
    };
    assert_eq!(title(&test), "Test of canary opencanary-1");
    let scan = |event: &mut Event| event.aviary.as_mut().expect("ours").kind = "scan".to_owned();
    assert!(title(&scan).starts_with("Port scan on "));
    let digest = |event: &mut Event| {
        event.logtype = Some(aviary_output::DIGEST.number);
        event.logdata = aviary_event::LogData::new().with("TEXT", "37 more of the same kind").into();
    };
    assert_eq!(title(&digest), TITLE.replace("Login attempt", "37 more of the same kind"));
}

#[test]
fn names_a_router_as_one() {
    let mut event = event();
    let ours = event.aviary.as_mut().expect("ours");
    ours.more.insert("src_mac_router".to_owned(), Datum::Bool(true));
    let alert = Alert::new(&event, String::new(), true);
    assert!(alert.facts[0].1.contains(", behind router 02:00:00:00:00:66 Raspberry"), "{:?}", alert.facts[0]);
}

#[test]
fn no_limit_is_passed_however_much_a_peer_sends() {
    let mut event = event();
    let Datum::Map(data) = &mut event.logdata else { panic!("an object") };
    for (key, text) in [("USERNAME", "<🎈\u{202e}`\"\\"), ("PASSWORD", "&ä\n"), ("DATA", "`@*")] {
        data.insert(key.to_owned(), Datum::Bytes(PeerBytes::from(text.repeat(5000).as_str())));
    }
    let alert = Alert::new(&event, event.to_line(true), true);
    let encode = |vendor: &dyn Vendor| {
        let post = vendor.encode(&alert, jiff::Timestamp::UNIX_EPOCH);
        serde_json::from_str::<Value>(&post.body).expect("JSON")
    };
    let length = |value: &Value| value.as_str().expect("text").encode_utf16().count();
    for template in [None, Some("%(message)s"), Some("%(password)s %(username)s"), Some("%(summary)s\n%(details)s")] {
        let words = || words(template);
        let slack = encode(&slack(template));
        assert!(template.is_none() || length(&slack["text"]) <= 4000);
        let discord = encode(&discord(template));
        let longest =
            if template.is_some() { (&discord["content"], 2000) } else { (&discord["embeds"][0]["description"], 4096) };
        assert!((longest.1 / 2..=longest.1).contains(&length(longest.0)), "{}", length(longest.0));
        let hook = || url("http://h/");
        let wecom = encode(&WeCom { url: hook(), words: words() });
        let text = wecom["text"]["content"].as_str().expect("text");
        assert!((1000..=2048).contains(&text.len()), "{}", text.len());
        let token = || "1:abc".to_owned();
        let telegram = encode(&Telegram {
            url: hook(),
            token: token(),
            chat: json!(1),
            thread: None,
            silent: false,
            words: words(),
        });
        assert!((2000..=4096).contains(&length(&telegram["text"])));
        let feishu = Feishu { url: hook(), secret: None, words: words() };
        let size = feishu.encode(&alert, jiff::Timestamp::UNIX_EPOCH).body.len();
        assert!(size < 20_000, "{size}");
        let dingtalk = DingTalk { url: hook(), secret: None, words: words() };
        let size = dingtalk.encode(&alert, jiff::Timestamp::UNIX_EPOCH).body.len();
        assert!(size < 20_000, "{size}");
    }
}

#[test]
fn templates_name_what_they_may() {
    let read = |text: &str| {
        let options = Map::from_iter([("template".to_owned(), Value::from(text))]);
        Words::new(Options(&options)).map(|_| ()).map_err(|rejection| rejection.to_string())
    };
    assert_eq!(read("%(summary)s %(logdata.USERNAME)s 5% %%"), Ok(()));
    assert!(read("%(sumary)s").expect_err("unknown").contains("names \"sumary\"; there are message, summary, details"));
    assert!(read(" ").is_err());
    let sent = body(&slack(Some("%(logdata.CLIENT)s %(logdata.NONE)s|%(severity)s|%(kind)s|%(dst_port)s|%(id)s")));
    assert_eq!(sent["text"], "&lt;ftp&gt; |high|login|21|01990000-0000-7000-8000-000000000001");
}
