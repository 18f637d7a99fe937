"""The hub tells people: real receivers, which are killed and come back, and a hub that is killed in between.

One hub, two sensors that post events, and four channels: an HTTP receiver that knows repetitions, aiosmtpd, a syslog
daemon over TCP, and one that is never there. A hundred thousand guesses are one message, a second sensor is one more.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from canary import LOOPBACK, Report, arguments, chosen_bin_dir, free_ports
from outputs_receivers import until

GUESSES = 100_000
BATCH = 10_000
SECRET = "Bearer very-secret-of-the-hook"
TOKENS = {"north": "avt_" + "1" * 64, "south": "avt_" + "2" * 64, "people": "avt_" + "3" * 64}

Body = dict[str, Any]


class Hub:
    """`aviary hub` with a state folder of its own, and tokens for two sensors and for people."""

    def __init__(self, bin_dir: Path) -> None:
        self.program = bin_dir / "aviary"
        self.folder = Path(tempfile.mkdtemp(prefix="hub-"))
        self.port = free_ports(1)[0]
        self.process: subprocess.Popen[bytes] | None = None
        self.start()
        self.stop()
        scopes = {"people": ["read", "act", "administer"]}
        with sqlite3.connect(self.folder / "hub.db") as store:
            for name, token in TOKENS.items():
                body = {"name": name, "scopes": scopes.get(name, ["ingest"]), "sensor": name}
                key = hashlib.sha256(token.encode()).hexdigest()
                store.execute("INSERT INTO documents VALUES ('token', ?, 1, ?)", (key, json.dumps(body)))
        store.close()
        self.start()

    def start(self) -> None:
        log = (self.folder / "output.txt").open("ab")
        command = [str(self.program), "hub", "--listen", f"{LOOPBACK}:{self.port}", "--state", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        log.close()
        until("the hub", self.answers, timeout=30)

    def answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.output()
        try:
            return self.ask("GET", "/health")[0] == 200
        except OSError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(timeout=30) == 0, self.output()

    def output(self) -> str:
        return (self.folder / "output.txt").read_text()

    def ask(self, method: str, path: str, body: Any = None, who: str = "people") -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {TOKENS[who]}"}
        data = None
        if isinstance(body, bytes):
            data, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
        elif body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        url = f"https://{LOOPBACK}:{self.port}{path}"
        request = urllib.request.Request(url, data, headers, method=method)
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        try:
            with urllib.request.urlopen(request, timeout=60, context=context) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, text = error.code, error.read()
        try:
            return status, json.loads(text) if text else None
        except json.JSONDecodeError:
            return status, text.decode()

    def get(self, path: str) -> Any:
        status, answer = self.ask("GET", f"/api/v1{path}")
        assert status == 200, answer
        return answer

    def make(self, kind: str, **body: Any) -> Any:
        status, answer = self.ask("POST", f"/api/v1/{kind}", body)
        assert status == 201, answer
        return answer

    def post(self, sensor: str, lines: list[str]) -> None:
        status, answer = self.ask("POST", "/api/v1/events", "\n".join(lines).encode(), who=sensor)
        assert status == 200 and answer["accepted"] == len(lines), answer

    def incident(self, source: str) -> Body:
        found = [one for one in self.get("/incidents?limit=500")["incidents"] if one["source"] == source]
        assert len(found) == 1, (source, found)
        return found[0]

    def ledger(self, channel: str, source: str) -> list[Body]:
        return self.get(f"/deliveries?channel={channel}&incident={self.incident(source)['number']}")["deliveries"]


def line(source: str, user: str, logtype: int = 4002, more: str = "") -> str:
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    return (
        f'{{"dst_host": "10.9.0.1", "dst_port": 22, "local_time": "{now}", "logdata": {{"PASSWORD": "x", '
        f'"USERNAME": "{user}"}}, "logtype": {logtype}, "src_host": "{source}", "src_port": 4444, "utc_time": "{now}"{more}}}'
    )


# -- receivers -----------------------------------------------------------------------------------


class Hook:
    """An HTTP receiver that knows its sender, and knows repetitions by their key."""

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        self.messages: dict[str, Body] = {}
        self.repeated = 0
        self.status = 200
        self.complaints: list[str] = []
        self.start()

    def start(self) -> None:
        hook = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 30

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers["Authorization"] != SECRET:
                    hook.complaints.append(f"authorization {self.headers['Authorization']}")
                if hook.status == 200:
                    key = self.headers["Idempotency-Key"]
                    hook.repeated += key in hook.messages
                    hook.messages[key] = json.loads(json.loads(body)["message"])
                self.send_response(hook.status)
                answer = f"{SECRET} is known".encode()
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

        self.server = Server((LOOPBACK, self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def kill(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def about(self, source: str) -> list[Body]:
        return [body for body in self.messages.values() if body["src_host"] == source]


class Mailbox:
    """A mail server that keeps what comes."""

    def __init__(self) -> None:
        self.mails: list[str] = []
        self.controller = Controller(self, hostname=LOOPBACK, port=free_ports(1)[0])
        self.controller.start()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(envelope.content.decode())
        return "250 taken"

    @property
    def port(self) -> int:
        return int(self.controller.port)

    def about(self, text: str) -> list[str]:
        return [mail for mail in self.mails if text in mail]


class Syslog:
    """A daemon that takes octet-counted messages over TCP."""

    def __init__(self) -> None:
        self.listener = socket.create_server((LOOPBACK, 0))
        self.port = self.listener.getsockname()[1]
        self.text = b""
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            peer, _ = self.listener.accept()
            threading.Thread(target=self.read, args=(peer,), daemon=True).start()

    def read(self, peer: socket.socket) -> None:
        while piece := peer.recv(65_536):
            self.text += piece

    def about(self, source: str) -> list[bytes]:
        messages = re.split(rb"(?:^|(?<=\}))\d+ (?=<\d+>1 )", self.text)
        return [one for one in messages if f'"src_host": "{source}"'.encode() in one]


# -- checks --------------------------------------------------------------------------------------


def steady(wanted: int, **counts: Callable[[], int]) -> None:
    """Waits for so many of each, and sees that no more come."""
    for what, count in counts.items():
        until(f"{wanted} of {what}", lambda count=count: count() >= wanted, timeout=40)
    time.sleep(4)
    for what, count in counts.items():
        assert count() == wanted, f"{count()} of {what}, not {wanted}"


def severity(message: Body) -> str:
    return str(message["aviary"]["severity"])


def main() -> int:
    parser = arguments(__doc__ or "")
    bin_dir = chosen_bin_dir(parser, parser.parse_args())
    report = Report()
    if bin_dir is None:
        report.skip("alerts of a hub", "OpenCanary has none")
        return 0
    hub, hook, mailbox, syslog = Hub(bin_dir), Hook(), Mailbox(), Syslog()

    def channels() -> None:
        headers = {"Authorization": SECRET, "Content-Type": "application/json"}
        url = f"http://{LOOPBACK}:{hook.port}/x"
        options = {"url": url, "headers": headers, "timeout": 5}
        made = hub.make("channels", name="hook", options=options, **{"class": "webhook"})
        assert made["options"]["headers"] == made["options"]["url"] == "***", made
        mail = {
            "mailhost": [LOOPBACK, mailbox.port],
            "fromaddr": "hub@example.org",
            "toaddrs": ["team@example.org"],
            "timeout": 5,
        }
        hub.make("channels", name="mail", options=mail, **{"class": "email"})
        address = {"address": [LOOPBACK, syslog.port], "transport": "tcp"}
        hub.make("channels", name="syslog", options=address, **{"class": "syslog"})
        gone = {"address": [LOOPBACK, free_ports(1)[0]], "transport": "tcp"}
        hub.make("channels", name="gone", options=gone, **{"class": "syslog"})
        hub.make("policies", name="all", channels=["hook", "mail", "syslog"])
        for name, says in [("hook", True), ("mail", True), ("syslog", True), ("gone", False)]:
            status, answer = hub.ask("POST", f"/api/v1/channels/{name}/test")
            assert status == 200 and answer["delivered"] is says, (name, answer)
        assert len(hook.messages) == 1 and len(mailbox.about("test of channel mail")) == 1
        hook.messages.clear()

    report.check("alerts: channels are made, show no secrets, and are tested", channels)
    # It takes some time until the hub says that this one is dead.
    hub.make("policies", name="nowhere", channels=["gone"], kinds=["decoy_used"])
    hub.post("north", [line("10.1.0.4", "planted", more=', "honeycred": true')])

    def refused() -> None:
        for body, words in [
            ({"name": "x", "class": "nonsense"}, "`class` is `nonsense`"),
            ({"name": "x", "class": "ntfy"}, "`topic`: is missing"),
            ({"name": "x", "class": "ntfy", "options": {"topc": "y"}}, "`topc` is no option"),
            ({"name": "x", "class": "exec", "options": {"command": ["/bin/true"]}}, "--local-channels"),
            ({"name": "../x", "class": "ntfy", "options": {"topic": "y"}}, "`name` takes"),
            ({"name": "x", "class": "ntfy", "options": {"topic": "***"}}, "stands for a secret"),
        ]:
            status, answer = hub.ask("POST", "/api/v1/channels", body)
            assert status == 400 and words in answer["detail"], answer
        status, answer = hub.ask("POST", "/api/v1/policies", {"name": "p", "channels": ["nowhere"]})
        assert status == 400 and "`nowhere`, which is not there" in answer["detail"], answer
        status, answer = hub.ask("DELETE", "/api/v1/channels/hook")
        assert status == 409 and "the policy `all` sends to it" in answer["detail"], answer
        for method, path in [("POST", "/api/v1/channels"), ("GET", "/api/v1/deliveries")]:
            status, answer = hub.ask(method, path, {"name": "x", "class": "ntfy"}, who="north")
            assert status == 403, answer

    report.check("alerts: what cannot work is refused with words", refused)

    def guesses() -> None:
        source = "10.1.0.1"
        begun = time.monotonic()
        for first in range(0, GUESSES, BATCH):
            hub.post("north", [line(source, f"user{n}") for n in range(first, first + BATCH)])
        print(f"     {GUESSES} guesses in {time.monotonic() - begun:.0f} s")
        counts: dict[str, Callable[[], int]] = {
            "requests": lambda: len(hook.about(source)),
            "mails": lambda: len(mailbox.about(source)),
            "messages": lambda: len(syslog.about(source)),
        }
        steady(1, **counts)
        assert hub.incident(source)["events"] == GUESSES
        hub.post("south", [line(source, "root")])
        steady(2, **counts)
        first, second = hook.about(source)
        assert severity(first) == severity(second) == "high", (first, second)
        assert second["logdata"]["NEW"] == "sensor south", second
        rows = hub.ledger("hook", source)
        assert [(row["state"], row["attempts"]) for row in rows] == [("delivered", 1)] * 2, rows
        assert rows[0]["about"] == ["sensor south"] and rows[1]["about"] == ["sensor north", "login attempt"], rows

    report.check("alerts: a hundred thousand guesses are one message each, a second sensor one more", guesses)

    def restart() -> None:
        source = "10.1.0.2"
        # Messages go in order: what is still to be told of the channel that never worked must not stand before this one.
        until("the end of what went before", lambda: hook.about("channel gone"), timeout=60)
        hook.kill()
        hub.post("north", [line(source, "root")])
        until("a failed try", lambda: hub.ledger("hook", source)[0]["attempts"] > 0)
        hub.kill()
        hub.start()
        row = hub.ledger("hook", source)[0]
        assert row["state"] == "waiting" and row["attempts"] > 0 and row["due"], row
        hub.post("south", [line(source, "root")])
        # Killed right after an event is stored, before anything is decided.
        hub.post("north", [line("10.1.0.3", "root")])
        hub.kill()
        hub.start()
        state = {one["name"]: one for one in hub.get("/channels")["channels"]}
        assert state["hook"]["state"] == "failing" and state["hook"]["last_error"], state
        assert state["syslog"]["state"] == "ok", state
        hook.start()
        steady(1, requests=lambda: len(hook.about("10.1.0.3")))
        assert {row["state"] for row in hub.ledger("hook", source)} == {"delivered"}
        told = " ".join(body["logdata"]["NEW"] for body in hook.about(source))
        assert "sensor north" in told and "sensor south" in told and hook.repeated == 0, told
        until("the channel to be well", lambda: hub.get("/channels")["channels"][1]["state"] == "ok")
        assert not hook.complaints, hook.complaints

    report.check("alerts: the receiver dies, the hub dies, and everything arrives once", restart)

    def undeliverable() -> None:
        until("a request about the dead channel", lambda: hook.about("channel gone"), timeout=40)
        trouble = hook.about("channel gone")[0]
        assert "alerts to channel gone cannot be delivered" in trouble["logdata"]["TEXT"], trouble
        assert severity(trouble) == "high", trouble
        incident = hub.incident("channel gone")
        assert incident["severity"] == "high" and incident["reasons"][0]["reason"] == "trouble", incident
        assert hub.ledger("gone", "10.1.0.4")[0]["state"] == "waiting"
        assert severity(hook.about("10.1.0.4")[0]) == "critical"

    report.check("alerts: a channel that does not deliver is an incident, of which the others tell", undeliverable)

    def refusal() -> None:
        hook.status = 400
        hub.post("north", [line("10.1.0.5", "root")])
        row = until("a refusal", lambda: [r for r in hub.ledger("hook", "10.1.0.5") if r["state"] == "failed"])[0]
        hook.status = 200
        assert row["attempts"] == 1 and row["answer"], row
        until("a mail about the hook", lambda: mailbox.about("channel hook"))

    report.check("alerts: what a receiver refuses has failed, and others are told", refusal)

    def budget() -> None:
        policy = {"name": "all", "channels": ["mail"], "digest": "5s"}
        assert hub.ask("PUT", "/api/v1/policies/all", policy)[0] == 200
        headers = {"Authorization": SECRET, "Content-Type": "application/json"}
        options = {"url": f"http://{LOOPBACK}:{hook.port}/y", "headers": headers, "timeout": 5}
        hub.make("channels", name="few", options=options, **{"class": "webhook"})
        hub.make("policies", name="few", channels=["few"], severity="high", budget={"messages": 1, "per": "8s"})
        before, mails = len(hook.messages), len(mailbox.mails)
        hub.post("north", [line(f"10.2.0.{n}", "root") for n in range(1, 6)])
        until("the rest in one message", lambda: len(hook.messages) >= before + 2, timeout=60)
        states = [hub.ledger("few", f"10.2.0.{n}")[0]["state"] for n in range(1, 6)]
        assert sorted(states) == ["delivered", "digested", "digested", "digested", "digested"], states
        assert "News of 4 incidents" in list(hook.messages.values())[-1]["logdata"]["TEXT"], hook.messages
        until("the digest", lambda: len(mailbox.mails) > mails)
        assert len(mailbox.mails) <= mails + 2, "five mails were not gathered into one"
        assert hub.ledger("mail", "10.2.0.1")[0]["state"] == "digested"

    report.check("alerts: a budget and a digest make one message of many", budget)

    def suppressions() -> None:
        hub.post("north", [line("10.3.0.1", f"u{n}", 5001) for n in range(7)] + [line("10.3.0.12", "x", 5001)])
        match = {"sources": ["10.3.0.1"], "kinds": ["scan"]}
        status, seen = hub.ask("POST", "/api/v1/suppressions/preview", {"match": match})
        number = hub.incident("10.3.0.1")["number"]
        assert status == 200 and seen["events"] == 7 and seen["complete"] and seen["incidents"] == [number], seen
        rule = {"name": "scanner", "reason": "ours", "match": match}
        status, answer = hub.ask("POST", "/api/v1/suppressions", rule)
        assert status == 400 and "`expires` is empty" in answer["detail"], answer
        soon = (datetime.now(UTC) + timedelta(seconds=6)).strftime("%Y-%m-%dT%H:%M:%SZ")
        hub.make("suppressions", expires=soon, **rule)
        hub.post("north", [line("10.3.0.1", f"v{n}", 5001) for n in range(3)] + [line("10.3.0.12", "w", 5001)])
        shown = hub.get("/suppressions")["suppressions"][0]
        assert (shown["hits"], shown["owner"], shown["over"]) == (3, "people", False) and shown["last_hit"], shown
        assert hub.incident("10.3.0.1")["events"] == 7 and hub.incident("10.3.0.12")["events"] == 2
        assert len(hub.get("/events?source=10.3.0.1&hidden=true")["events"]) == 3
        until("the rule to end", lambda: hub.get("/suppressions")["suppressions"][0]["over"])
        hub.post("north", [line("10.3.0.1", "late", 5001)])
        assert hub.incident("10.3.0.1")["events"] == 8 and hub.get("/suppressions")["suppressions"][0]["hits"] == 3
        status, _ = hub.ask("DELETE", "/api/v1/suppressions/scanner")
        assert status == 204 and hub.get("/suppressions")["suppressions"] == []

    report.check("suppressions: previewed, counted, ended, and nothing is lost", suppressions)

    def secrets() -> None:
        known = hub.get("/channels")["channels"]
        options = next(one for one in known if one["name"] == "hook")["options"]
        change = {"name": "hook", "class": "webhook", "options": options | {"timeout": 6}}
        status, answer = hub.ask("PUT", "/api/v1/channels/hook", change)
        assert status == 200 and answer["options"]["headers"] == "***", answer
        status, answer = hub.ask("POST", "/api/v1/channels/hook/test")
        assert answer == {"delivered": True, "answer": "taken"}, answer
        assert not hook.complaints, "the secret was lost"
        hub.stop()
        stored = b"".join(path.read_bytes() for path in hub.folder.glob("hub.db*"))
        assert b"very-secret" not in stored and "very-secret" not in hub.output()

    report.check("alerts: secrets are neither in the store nor in the log, and survive a change", secrets)

    if hub.process is not None and hub.process.poll() is None:
        hub.kill()
    if report.failed:
        print(hub.output()[-3000:])
    mailbox.controller.stop()
    hook.kill()
    shutil.rmtree(hub.folder, ignore_errors=True)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
