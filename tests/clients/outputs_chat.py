"""Chat and push services: a receiver that checks each request against the vendor's documentation, as the vendor would.

The receiver plays Slack, Teams (workflow and connector), Discord, Mattermost, Telegram, ntfy, Pushover, DingTalk,
Feishu, WeCom and Alertmanager at once: it knows their required members, limits, escapes and signatures, and answers
success, rate limits and errors in their words. Alertmanager itself runs too, when it is installed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html.parser
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from canary import LOOPBACK, Canary, Report, arguments, chosen_bin_dir, connect, free_ports, needs, read_until

USER = b"<!channel> @everyone [x](http://peer.example/)"
PASSWORD = b"`*_<b>&amp;</b>``\xfe\x1b[2J"
"""What a peer would write who wants to be heard by more than the canary."""

KEY = "0123456789abcdef0123456789"
DINGTALK_SECRET = "SEC" + "5" * 61
FEISHU_SECRET = "feishu-secret"
TELEGRAM_TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"

Answer = tuple[int, dict[str, str], str]


class Request:
    """A request as it came."""

    def __init__(self, path: str, headers: Any, body: bytes) -> None:
        self.url = urlsplit(path)
        self.query = {name: values[0] for name, values in parse_qs(self.url.query).items()}
        self.headers = headers
        self.body = body
        self.at = time.time()

    @property
    def id(self) -> str:
        return str(self.headers["Idempotency-Key"])

    def json(self) -> Any:
        assert self.headers["Content-Type"] == "application/json", self.headers["Content-Type"]
        return json.loads(self.body)


# -- what the vendors document -------------------------------------------------------------------


def only(value: dict[str, Any], needed: str, allowed: str = "") -> None:
    """The object has these members, perhaps those, and no others."""
    missing, unknown = set(needed.split()) - set(value), set(value) - set(needed.split()) - set(allowed.split())
    assert not missing and not unknown, f"missing {missing}, unknown {unknown}"


def text(value: Any, most: int, least: int = 1) -> str:
    """Text within a limit, counted as UTF-16."""
    assert isinstance(value, str), f"no text: {value!r}"
    size = len(value.encode("utf-16-le")) // 2
    assert least <= size <= most, f"{size} characters, limit {most}"
    hidden = [c for c in value if c != "\n" and not c.isprintable() and c != "\u00a0"]
    assert not hidden, f"control characters {hidden}"
    return value


def mrkdwn(value: str) -> None:
    """Slack: https://docs.slack.dev/messaging/formatting-message-text#escaping"""
    assert "<" not in value and ">" not in value, f"not escaped: {value}"
    assert not re.search(r"&(?!amp;|lt;|gt;)", value), f"a bare ampersand: {value}"


def backslashed(value: str) -> None:
    """Discord, Adaptive Cards: what formats stands behind a backslash, but for bold of our own."""
    rest = re.sub(r"\\[^A-Za-z0-9\s]", "", value)
    rest = re.sub(r"(?m)^\*\*[^*\n]+\*\*(: |$)", "", rest)
    assert not re.search(r"[*_`~<>\[\]|@#]", rest), f"would be formatted: {rest}"


def slack(request: Request) -> None:
    body = request.json()
    only(body, "attachments", "text")
    (attachment,) = body["attachments"]
    only(attachment, "pretext fallback fields")
    assert attachment["pretext"] == "OpenCanary Alert"
    for field in attachment["fields"]:
        only(field, "title value", "short")
        mrkdwn(text(field["title"], 3000))
        mrkdwn(text(field["value"].replace("\t", " "), 3000, 0))
    names = [field["title"] for field in attachment["fields"]]
    assert {"dst_host", "logdata", "logtype", "node_id", "src_host", "utc_time"} <= set(names), names
    mrkdwn(text(attachment["fallback"], 3000))


def facts_of(facts: list[dict[str, Any]], name: str) -> None:
    titles = []
    for fact in facts:
        only(fact, f"{name} value")
        titles.append(text(fact[name], 500).replace("\\", ""))
        backslashed(fact[name])
        backslashed(text(fact["value"], 4000, 0))
    assert {"logtype", "src_host"} <= set(titles) and any(title.startswith("logdata__") for title in titles), titles


def teams(request: Request) -> None:
    body = request.json()
    assert len(request.body) < 28 * 1024, len(request.body)
    only(body, "type attachments")
    assert body["type"] == "message"
    (attachment,) = body["attachments"]
    only(attachment, "contentType content", "contentUrl")
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    only(card, "type $schema version body")
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.5")
    columns, facts = card["body"]
    assert columns["columns"][1]["items"][1]["text"] == "OpenCanary Alert"
    assert facts["type"] == "FactSet"
    facts_of(facts["facts"], "title")


def connector(request: Request) -> None:
    body = request.json()
    assert len(request.body) < 28 * 1024, len(request.body)
    only(body, "@type @context summary title sections", "themeColor text")
    assert (body["@type"], body["@context"]) == ("MessageCard", "https://schema.org/extensions")
    text(body["summary"], 2000)
    facts_of(body["sections"][0]["facts"], "name")


def discord(request: Request) -> None:
    body = request.json()
    only(body, "allowed_mentions embeds", "username flags content")
    assert body["allowed_mentions"] == {"parse": []}
    (embed,) = body["embeds"]
    only(embed, "title description color timestamp")
    backslashed(text(embed["title"], 256))
    backslashed(text(embed["description"], 4096))
    assert 0 <= embed["color"] <= 0xFFFFFF and re.match(r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d", embed["timestamp"])


def mattermost(request: Request) -> None:
    body = request.json()
    only(body, "text", "channel username")
    shown = text(body["text"], 16383)
    # Code spans as CommonMark finds them: as many backticks at the end as at the beginning.
    rest = re.sub(r"(?<!`)(`+)(?!`) (.*?) (?<!`)\1(?!`)", "", shown)
    assert not re.search(r"[@\[<`]|http", rest), f"outside of code: {rest}"
    assert "@everyone" in shown


class Tags(html.parser.HTMLParser):
    """Telegram's HTML: balanced, and only tags that it knows."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.text = ""
        self.feed(source)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert tag == "b" and not attrs, f"<{tag} {attrs}>"
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.text += data


def telegram(request: Request) -> None:
    assert request.url.path == f"/telegram/bot{TELEGRAM_TOKEN}/sendMessage", request.url.path
    body = request.json()
    only(body, "chat_id text parse_mode link_preview_options", "message_thread_id disable_notification")
    assert body["chat_id"] == -1001234567890 and body["parse_mode"] == "HTML"
    assert body["link_preview_options"] == {"is_disabled": True}
    assert not re.search(r"&(?!amp;|lt;|gt;|quot;)", body["text"]), body["text"]
    shown = Tags(text(body["text"], 4096)).text
    assert "<!channel> @everyone [x]" in shown, shown


def ntfy(request: Request) -> None:
    assert request.url.path == "/ntfy", request.url.path
    assert request.headers["Authorization"] == "Bearer tk_0123456789"
    body = request.json()
    only(body, "topic message title priority tags", "markdown")
    assert re.fullmatch(r"[-_A-Za-z0-9]{1,64}", body["topic"]) and not body.get("markdown")
    assert body["priority"] in range(1, 6) and all(isinstance(tag, str) for tag in body["tags"])
    assert len(body["message"].encode()) <= 4096
    text(body["title"], 250)
    text(body["message"], 4096)


def pushover(request: Request) -> None:
    assert request.url.path == "/pushover/1/messages.json", request.url.path
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    form = {name: values[0] for name, values in parse_qs(request.body.decode("ascii"), strict_parsing=True).items()}
    only(form, "token user message title priority timestamp", "device sound retry expire html")
    assert all(re.fullmatch(r"[A-Za-z0-9]{30}", form[name]) for name in ("token", "user"))
    text(form["message"], 1024)
    text(form["title"], 250)
    assert form["priority"] in ("-2", "-1", "0", "1") and "html" not in form
    assert abs(int(form["timestamp"]) - request.at) < 120, form["timestamp"]


def plain(shown: str) -> None:
    assert "<!channel> @everyone [x](http://peer.example/)" in shown, shown


def dingtalk(request: Request) -> None:
    body = request.json()
    assert len(request.body) <= 20_000
    only(body, "msgtype text", "at")
    assert body["msgtype"] == "text" and not body["at"]["isAtAll"]
    only(body["text"], "content")
    plain(text(body["text"]["content"], 20_000))
    stamp = request.query["timestamp"]
    assert abs(int(stamp) / 1000 - request.at) < 3600 and len(stamp) == 13, stamp
    digest = hmac.new(DINGTALK_SECRET.encode(), f"{stamp}\n{DINGTALK_SECRET}".encode(), hashlib.sha256).digest()
    assert request.query["sign"] == base64.b64encode(digest).decode(), "sign not match"
    assert request.query["access_token"] == KEY


def feishu(request: Request) -> None:
    body = request.json()
    assert len(request.body) <= 20 * 1024
    only(body, "msg_type content timestamp sign")
    assert body["msg_type"] == "post" and isinstance(body["timestamp"], str)
    assert abs(int(body["timestamp"]) - request.at) < 3600, body["timestamp"]
    digest = hmac.new(f"{body['timestamp']}\n{FEISHU_SECRET}".encode(), b"", hashlib.sha256).digest()
    assert body["sign"] == base64.b64encode(digest).decode(), "sign match fail"
    (post,) = body["content"]["post"].values()
    only(post, "title content")
    lines = [element for line in post["content"] for element in line]
    for element in lines:
        only(element, "tag text")
        assert element["tag"] == "text" and text(element["text"], 20_000) == element["text"]
    plain("\n".join(element["text"] for element in lines))


def wecom(request: Request) -> None:
    body = request.json()
    only(body, "msgtype text")
    only(body["text"], "content", "mentioned_list mentioned_mobile_list")
    assert body["msgtype"] == "text" and "mentioned_list" not in body["text"]
    assert len(body["text"]["content"].encode()) <= 2048
    plain(text(body["text"]["content"], 2048))
    assert request.query == {"key": KEY}


def alertmanager(request: Request) -> None:
    assert request.url.path == "/alertmanager/api/v2/alerts", request.url.path
    (alert,) = request.json()
    only(alert, "labels annotations startsAt", "endsAt generatorURL")
    for name, value in alert["labels"].items():
        assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) and isinstance(value, str) and value, (name, value)
    assert alert["labels"]["alertname"] == "Canary" and alert["labels"]["event_id"] == request.id
    only(alert["annotations"], "summary description event")
    plain(alert["annotations"]["description"])
    assert re.match(r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d)$", alert["startsAt"]), alert["startsAt"]


CONNECTOR_FAILED = "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error"
JSON = {"Content-Type": "application/json"}
LATER = {"Content-Type": "application/json", "Retry-After": "1"}


class Vendor:
    """How one vendor checks and answers."""

    def __init__(
        self, check: Callable[[Request], None], taken: Answer, limited: Answer, refused: Answer, **handler: Any
    ) -> None:
        self.check = check
        self.taken = taken
        self.limited = limited
        self.refused = refused
        self.handler = handler


def said(status: int, body: Any = "", headers: dict[str, str] = JSON) -> Answer:
    return status, headers, body if isinstance(body, str) else json.dumps(body)


def vendors(base: str) -> dict[str, Vendor]:
    """The handlers for a receiver at that address, with what each vendor says to a message it takes, when there are too
    many, and when the message is bad. Where the vendor's rate limit makes the canary wait longer than this script may,
    "limited" is an error of the robot's settings, which is tried again as well."""

    def hook(name: str, end: str = f"/{KEY}") -> str:
        return f"{base}/{name}{end}"

    return {
        "slack": Vendor(
            slack,
            said(200, "ok"),
            said(429, "rate_limited", LATER),
            said(400, "invalid_attachments"),
            **{"class": "opencanary.logger.SlackHandler"},
            webhook_url=hook("slack"),
        ),
        "teams": Vendor(
            teams,
            said(202),
            said(429, {"error": {"code": "429"}}, LATER),
            said(400, {"error": {"code": "InvalidRequestContent"}}),
            **{"class": "opencanary.logger.TeamsHandler"},
            webhook_url=hook("teams"),
        ),
        "connector": Vendor(
            connector,
            said(200, "1"),
            said(
                200,
                f"{CONNECTOR_FAILED} 429 with ContextId x",
            ),
            said(
                200,
                f"{CONNECTOR_FAILED} 413 with ContextId x",
            ),
            **{"class": "opencanary.logger.TeamsHandler"},
            webhook_url=hook("connector"),
            card="message",
        ),
        "discord": Vendor(
            discord,
            said(204),
            said(429, {"message": "You are being rate limited.", "retry_after": 0.65, "global": False}, LATER),
            said(400, {"code": 50035, "message": "Invalid Form Body"}),
            **{"class": "aviary.discord"},
            webhook_url=hook("discord"),
            username="canary",
        ),
        "mattermost": Vendor(
            mattermost,
            said(200, "ok"),
            said(429, {"id": "api.context.rate_limited.app_error"}, LATER),
            said(400, {"id": "web.incoming_webhook.text.app_error", "status_code": 400}),
            **{"class": "aviary.mattermost"},
            webhook_url=hook("mattermost"),
        ),
        "telegram": Vendor(
            telegram,
            said(200, {"ok": True, "result": {"message_id": 1}}),
            said(
                429,
                {"ok": False, "error_code": 429, "description": "Too Many Requests", "parameters": {"retry_after": 1}},
            ),
            said(400, {"ok": False, "error_code": 400, "description": "Bad Request: can't parse entities"}),
            **{"class": "aviary.telegram"},
            server=f"{base}/telegram",
            token=TELEGRAM_TOKEN,
            chat_id=-1001234567890,
        ),
        "ntfy": Vendor(
            ntfy,
            said(200, {"id": "x", "event": "message"}),
            said(429, {"code": 42901, "http": 429}, LATER),
            said(400, {"code": 40024, "http": 400}),
            **{"class": "aviary.ntfy"},
            server=f"{base}/ntfy",
            topic="canary",
            token="tk_0123456789",
        ),
        "pushover": Vendor(
            pushover,
            said(200, {"status": 1, "request": "r"}),
            said(500, {"status": 0}),
            said(
                400, {"message": "cannot be blank", "errors": ["message cannot be blank"], "status": 0, "request": "r"}
            ),
            **{"class": "aviary.pushover"},
            server=f"{base}/pushover",
            token="a" * 30,
            user="u" * 30,
        ),
        "dingtalk": Vendor(
            dingtalk,
            said(200, {"errcode": 0, "errmsg": "ok"}),
            said(200, {"errcode": 310000, "errmsg": "keywords not in content"}),
            said(200, {"errcode": 400101, "errmsg": "bad message"}),
            **{"class": "aviary.dingtalk"},
            webhook_url=hook("dingtalk", f"?access_token={KEY}"),
            secret=DINGTALK_SECRET,
        ),
        "feishu": Vendor(
            feishu,
            said(200, {"StatusCode": 0, "StatusMessage": "success", "code": 0, "data": {}, "msg": "success"}),
            said(200, {"code": 19024, "msg": "Key Words Not Found"}),
            said(400, {"code": 9499, "msg": "Bad Request", "data": {}}),
            **{"class": "aviary.feishu"},
            webhook_url=hook("feishu"),
            secret=FEISHU_SECRET,
        ),
        "wecom": Vendor(
            wecom,
            said(200, {"errcode": 0, "errmsg": "ok"}),
            said(200, {"errcode": 93000, "errmsg": "invalid webhook url"}),
            said(200, {"errcode": 40058, "errmsg": "content exceed max length"}),
            **{"class": "aviary.wecom"},
            webhook_url=hook("wecom", f"?key={KEY}"),
        ),
        "alertmanager": Vendor(
            alertmanager,
            said(200),
            said(503, "", LATER),
            said(400, json.dumps("bad label")),
            **{"class": "aviary.alertmanager"},
            url=f"{base}/alertmanager",
        ),
    }


# -- the receiver --------------------------------------------------------------------------------


class Receiver:
    """All vendors on one port. `next` holds answers that come before success again."""

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        self.vendors = vendors(f"http://{LOOPBACK}:{self.port}")
        self.next: dict[str, list[Answer]] = defaultdict(list)
        self.requests: dict[str, list[Request]] = defaultdict(list)
        self.taken: dict[str, list[str]] = defaultdict(list)
        self.problems: dict[str, list[str]] = defaultdict(list)
        self.lock = threading.Lock()
        self.server: ThreadingHTTPServer | None = None
        self.open()

    def open(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if receiver.server is None:
                    # A connection that was open before nobody listened any more.
                    self.close_connection = True
                    return
                status, headers, answer = receiver.take(Request(self.path, self.headers, body))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", str(len(answer.encode())))
                self.end_headers()
                if status != 204:
                    self.wfile.write(answer.encode())

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

        self.server = Server((LOOPBACK, self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        server, self.server = self.server, None
        if server:
            server.shutdown()
            server.server_close()

    def take(self, request: Request) -> Answer:
        name = request.url.path.split("/")[1]
        vendor = self.vendors[name]
        try:
            vendor.check(request)
        except Exception as error:
            with self.lock:
                self.problems[name].append(
                    f"{type(error).__name__}: {error}\n{request.body.decode(errors='replace')[:1500]}"
                )
        with self.lock:
            self.requests[name].append(request)
            answer = self.next[name].pop(0) if self.next[name] else vendor.taken
            if answer == vendor.taken:
                self.taken[name].append(request.id)
            return answer

    def wait(self, name: str, wanted: list[str], timeout: float = 15) -> list[str]:
        """What the vendor took, once all that is wanted is among it."""
        deadline = time.monotonic() + timeout
        while missing := len(set(wanted) - set(self.taken[name])):
            assert time.monotonic() < deadline, f"{name}: {missing} missing; {self.problems[name][:1]}"
            time.sleep(0.02)
        return self.taken[name]


def log_in(canary: Canary, user: bytes = USER, password: bytes = PASSWORD) -> None:
    """A login at FTP, which is two events: the user's name and the login."""
    mark = canary.mark()
    with connect(canary.ports["ftp"]) as peer:
        read_until(peer, b"\n")
        peer.sendall(b"USER " + user + b"\r\n")
        read_until(peer, b"\n")
        peer.sendall(b"PASS " + password + b"\r\n")
        canary.logged(mark, 2000, {})


def peers_events(canary: Canary) -> list[str]:
    """Ids of all that peers did, in order."""
    ours = (event["aviary"] for event in canary.events())
    return list(dict.fromkeys(event["id"] for event in ours if event["kind"] != "lifecycle"))


@contextmanager
def real_alertmanager() -> Iterator[str]:
    """Prometheus's own, on loopback and alone."""
    port = free_ports(1)[0]
    with tempfile.TemporaryDirectory() as directory:
        config = f"{directory}/config.yml"
        with open(config, "w") as file:
            file.write("route: {receiver: none}\nreceivers: [{name: none}]\n")
        command = ["prometheus-alertmanager", f"--config.file={config}", f"--storage.path={directory}/data"]
        command += [f"--web.listen-address={LOOPBACK}:{port}", "--cluster.listen-address="]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        url = f"http://{LOOPBACK}:{port}"
        try:
            for _ in range(200):
                try:
                    urllib.request.urlopen(f"{url}/-/ready", timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield url
        finally:
            process.terminate()
            process.wait(10)


def main() -> int:
    parser = arguments(__doc__ or "")
    bin_dir = chosen_bin_dir(parser, parser.parse_args())
    report = Report()
    receiver = Receiver()
    names = list(receiver.vendors)
    handlers = {name: vendor.handler | {"timeout": 3} for name, vendor in receiver.vendors.items()}
    with Canary(bin_dir, {}, handlers, ["ftp"]) as canary:
        refused: list[str] = []

        def each(body: Callable[[str, list[str]], None], what: str) -> None:
            wanted = [known for known in peers_events(canary) if known not in refused]
            for name in names:
                report.check(f"{name}: {what}", lambda name=name: body(name, wanted))  # type: ignore[misc]

        def arrived(name: str, wanted: list[str]) -> None:
            taken = receiver.wait(name, wanted)
            assert taken == wanted, f"{len(taken)} of {len(wanted)}, in order: {sorted(taken) == taken}"
            assert not receiver.problems[name], receiver.problems[name][0]

        log_in(canary)
        each(arrived, "one request an event, as the vendor documents it")

        for name in names:
            receiver.next[name].append(receiver.vendors[name].limited)
        log_in(canary)

        def tried_again(name: str, wanted: list[str]) -> None:
            arrived(name, wanted)
            first, second = receiver.requests[name][2:4]
            assert first.id == second.id == wanted[2]
            _, headers, said_so = receiver.vendors[name].limited
            asked = 0.64 if "0.65" in said_so else 1.0 if "Retry-After" in headers or "retry_after" in said_so else 0.2
            assert second.at - first.at >= asked, f"came back after {second.at - first.at:.2f} s of {asked} s"

        each(tried_again, "limited, waits as long as it is told, and delivers")

        for name in names:
            receiver.next[name].append(receiver.vendors[name].refused)
        before = len(peers_events(canary))
        log_in(canary)
        refused.append(peers_events(canary)[before])

        def passed_over(name: str, wanted: list[str]) -> None:
            arrived(name, wanted)
            assert sum(request.id == refused[0] for request in receiver.requests[name]) == 1

        each(passed_over, "what the vendor refuses is passed over once, the next arrives")

        odd = "ä<@!channel> @everyone [x](http://peer.example/)`🎈\u202e".encode()
        log_in(canary, USER + odd * 4, b"`&*\xfe" * 60)
        each(arrived, "long and odd texts stay within limits and escapes")

        receiver.close()
        for _ in range(3):
            log_in(canary)
        time.sleep(1)
        canary.kill()
        canary.start()
        log_in(canary)
        receiver.open()

        def arrived_at_last(name: str, wanted: list[str]) -> None:
            # A position that a killed canary had not yet saved repeats what came before it; the id says so.
            taken = list(dict.fromkeys(receiver.wait(name, wanted, 25)))
            assert taken == wanted, f"{len(taken)} of {len(wanted)}, in order: {sorted(taken) == taken}"
            assert not receiver.problems[name], receiver.problems[name][0]

        each(arrived_at_last, "receiver down, canary killed: all arrive, in order, once by id")

        def no_secret_told() -> None:
            told = canary.output.read_text(errors="replace")
            for secret in (KEY, DINGTALK_SECRET, FEISHU_SECRET, TELEGRAM_TOKEN, "tk_0123456789", "a" * 30):
                assert secret not in told, f"{secret} is in the log"
            assert "failed to deliver" in told and "refused" in told, told[-1000:]

        report.check("no secret in the canary's own log", no_secret_told)

        receiver.next["dingtalk"].append(said(200, {"errcode": 130101, "errmsg": "send too fast"}))
        before = len(receiver.requests["dingtalk"])
        log_in(canary)

        def waits_a_minute() -> None:
            deadline = time.monotonic() + 10
            while len(receiver.requests["dingtalk"]) == before:
                assert time.monotonic() < deadline, "no request"
                time.sleep(0.02)
            time.sleep(3)
            assert len(receiver.requests["dingtalk"]) == before + 1, "came back at once"

        report.check("dingtalk: too many messages, silence for a while", waits_a_minute)

    def alertmanager_has_it() -> None:
        needs("prometheus-alertmanager")
        with real_alertmanager() as url:
            handler = {"class": "aviary.alertmanager", "url": url, "labels": {"team": "blue"}, "resolve_after": 600}
            with Canary(bin_dir, {}, {"real": handler}, ["ftp"]) as other:
                log_in(other)
                log_in(other)
                wanted = set(peers_events(other))
                assert len(wanted) == 4, wanted
                deadline = time.monotonic() + 10
                while True:
                    with urllib.request.urlopen(f"{url}/api/v2/alerts", timeout=5) as answer:
                        alerts = json.load(answer)
                    if {alert["labels"]["event_id"] for alert in alerts} == wanted:
                        break
                    assert time.monotonic() < deadline, alerts
                    time.sleep(0.1)
                for alert in alerts:
                    assert alert["labels"]["team"] == "blue" and alert["status"]["state"] in (
                        "active",
                        "unprocessed",
                    ), alert
                    plain(alert["annotations"]["description"])

    report.check("alertmanager: the real one lists each event as an alert", alertmanager_has_it)
    receiver.close()
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
