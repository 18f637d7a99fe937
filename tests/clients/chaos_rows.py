"""The destinations that chaos is let loose on: one row each. Another is one more function with `@row`, here or in
`chaos_queues.py`.

A row makes its receiver, the way to it and the handler; it says what a full receiver of that kind answers, which
evils do not exist for it, and in which of them events may be lost because nobody could know.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from canary import LOOPBACK, Skip, needs
from chaos_ways import CUTS, DEAF, FULL, GARBAGE, HANGS, KILLED, PAGE, SWALLOWS, Datagrams, Program, Stream, mail, web
from outputs_python import Broker, Forms, Mailbox
from outputs_receivers import Web
from outputs_siem import TOKEN, ClickHouse, Elasticsearch, GelfDatagrams, GelfStream, GelfWeb, Splunk
from outputs_syslog import Rsyslog

NO_ANSWER = {PAGE: "any 2xx is success there, whatever the page says"}
"""For receivers of which only the status of the answer is known."""


@dataclass
class Row:
    """A destination."""

    handler: dict[str, Any]
    way: Any
    ids: Callable[[], Iterable[str]]
    """Ids of whole events that the receiver has, in the order in which it got them, repetitions too."""
    end: Callable[[], None] = lambda: None
    skips: dict[str, str] = field(default_factory=dict)
    """Evils that there are not, and why."""
    loses: dict[str, str] = field(default_factory=dict)
    """Evils in which what is sent may be lost, and why nobody can know."""
    silent: frozenset[str] = frozenset()
    """Evils of which the canary hears nothing, so that it has nothing to say."""
    words: dict[str, str] = field(default_factory=dict)
    """What must stand in the last error, where it is not what all say."""


Maker = Callable[[Path], Row]
ROWS: dict[str, Maker] = {}


def row(name: str) -> Callable[[Maker], Maker]:
    def add(make: Maker) -> Maker:
        ROWS[name] = make
        return make

    return add


def installed(module: str) -> None:
    if not importlib.util.find_spec(module):
        raise Skip(f"`{module}` is not installed")


# -- nobody answers --------------------------------------------------------------------------------

STREAM: dict[str, Any] = {
    # No answer is what is right there.
    "silent": frozenset({HANGS, SWALLOWS, DEAF, FULL}),
    "words": {GARBAGE: "it said|reset|broke|cannot|ended", PAGE: "it said `HTTP/1.1 200 OK"},
}
DATAGRAMS: dict[str, Any] = {
    "silent": frozenset({HANGS, SWALLOWS, GARBAGE, PAGE, CUTS, DEAF, FULL}),
    "loses": dict.fromkeys((HANGS, SWALLOWS, CUTS, FULL), "a datagram that nobody reads is gone, and nobody says so"),
}


class Lines(GelfStream):
    """Lines of JSON; half a line is none."""

    def read(self, peer: Any) -> None:
        rest = b""
        while True:
            try:
                piece = peer.recv(65536)
            except OSError:
                return
            if not piece:
                return
            *whole, rest = (rest + piece).split(b"\n")
            self.messages.extend(json.loads(line) for line in whole)

    def ids(self) -> list[str]:
        return [message["aviary"]["id"] for message in list(self.messages)]


class Syslog(Rsyslog):
    """What rsyslog has is looked at as whole events: when a connection ends within a message, it keeps the half."""

    def ids(self) -> list[str]:
        found = []
        for message in self.messages():
            try:
                found.append(json.loads(message["msg"])["aviary"]["id"])
            except ValueError:
                continue
        return found


def syslog(folder: Path, transport: str) -> Row:
    needs("rsyslogd")
    secure = transport == "tls"
    if secure and not list(Path("/usr/lib").glob("*/rsyslog/lmnsd_gtls.so")):
        raise Skip("`rsyslog-gnutls` is not installed")
    below = folder / transport
    below.mkdir()
    for name in ("cert.pem", "key.pem"):
        (below / name).write_bytes((folder / name).read_bytes())
    daemon = Syslog(below, secure)
    way = Datagrams(daemon.port) if transport == "udp" else Stream(daemon.port)
    handler = {"class": "aviary.syslog", "address": ["localhost", way.port], "transport": transport}
    if secure:
        handler["verify"] = str(folder / "cert.pem")
    return Row(handler, way, daemon.ids, daemon.daemon.kill, **(DATAGRAMS if transport == "udp" else STREAM))


@row("syslog over UDP")
def syslog_udp(folder: Path) -> Row:
    return syslog(folder, "udp")


@row("syslog over TCP")
def syslog_tcp(folder: Path) -> Row:
    return syslog(folder, "tcp")


@row("syslog over TLS")
def syslog_tls(folder: Path) -> Row:
    made = syslog(folder, "tls")
    # Here the receiver has to speak before it is believed.
    made.silent = frozenset({FULL})
    made.words = {}
    return made


@row("GELF over UDP")
def gelf_udp(folder: Path) -> Row:
    receiver = GelfDatagrams()
    way = Datagrams(receiver.port)
    return Row({"class": "aviary.gelf", "address": [LOOPBACK, way.port]}, way, receiver.ids, receiver.kill, **DATAGRAMS)


@row("GELF over TCP")
def gelf_tcp(folder: Path) -> Row:
    receiver = GelfStream()
    way = Stream(receiver.port)
    handler = {"class": "aviary.gelf", "address": [LOOPBACK, way.port], "transport": "tcp"}
    return Row(handler, way, receiver.ids, receiver.kill, **STREAM)


@row("SocketJSONHandler")
def socket_json(folder: Path) -> Row:
    receiver = Lines()
    way = Stream(receiver.port)
    handler = {"class": "opencanary.logger.SocketJSONHandler", "host": LOOPBACK, "port": way.port}
    return Row(handler, way, receiver.ids, receiver.kill, **STREAM)


# -- HTTP ------------------------------------------------------------------------------------------

BUSY = ((429, "Retry-After: 1\r\n", "slow down"), (503, "", "no workers"), (507, "", "no space left"))


class Hook(Web):
    """Takes a form or anything else with a key that says which event it is."""

    def __init__(self, answer: bytes) -> None:
        self.got: list[str] = []
        self.answer = answer
        super().__init__()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        one = headers["idempotency-key"]
        text = body.decode()
        if "x-www-form" in headers.get("content-type", ""):
            assert json.loads(parse_qs(text, strict_parsing=True)["message"][0])["aviary"]["id"] == one, text
        else:
            json.loads(text)
        self.got.append(one)
        return 200, self.answer


@row("GELF over HTTP")
def gelf_http(folder: Path) -> Row:
    receiver = GelfWeb()
    way = Stream(receiver.port, web(*BUSY))
    url = f"http://{LOOPBACK}:{way.port}/gelf"
    handler = {"class": "aviary.gelf", "url": url, "compression": "gzip", "timeout": 1}
    return Row(handler, way, receiver.ids, receiver.kill, NO_ANSWER)


@row("webhook")
def webhook(folder: Path) -> Row:
    receiver = Hook(b"")
    way = Stream(receiver.port, web(*BUSY))
    handler = {
        "class": "opencanary.logger.WebhookHandler",
        "url": f"http://{LOOPBACK}:{way.port}/",
        "method": "POST",
        "data": {"message": "%(message)s"},
        "timeout": 1,
    }
    return Row(handler, way, lambda: receiver.got, receiver.kill, NO_ANSWER)


@row("HTTPHandler")
def http_form(folder: Path) -> Row:
    receiver = Forms()
    receiver.start()
    way = Stream(receiver.port, web(*BUSY))
    handler = {
        "class": "logging.handlers.HTTPHandler",
        "host": f"{LOOPBACK}:{way.port}",
        "url": "/log",
        "method": "POST",
        "timeout": 1,
    }
    return Row(handler, way, receiver.came, receiver.kill, NO_ANSWER)


@row("Slack")
def slack(folder: Path) -> Row:
    receiver = Hook(b"ok")
    way = Stream(receiver.port, web((429, "Retry-After: 1\r\n", "rate_limited"), (503, "", "service_unavailable")))
    url = f"http://{LOOPBACK}:{way.port}/services/T0/B0/key"
    handler = {"class": "opencanary.logger.SlackHandler", "webhook_url": url, "timeout": 1}
    return Row(handler, way, lambda: receiver.got, receiver.kill)


@row("Splunk")
def splunk(folder: Path) -> Row:
    receiver = Splunk()
    way = Stream(receiver.port, web((503, "", '{"text":"Server is busy","code":9}'), *BUSY))
    handler = {
        "class": "aviary.splunk",
        "url": f"http://{LOOPBACK}:{way.port}",
        "token": TOKEN,
        "index": "canary",
        "ack": True,
        "ack_timeout": 2,
        "timeout": 1,
    }
    return Row(handler, way, receiver.ids, receiver.kill)


@row("Elasticsearch")
def elasticsearch(folder: Path) -> Row:
    receiver = Elasticsearch()
    # An item that is put off is overtaken by the others of its batch, which is tried in `outputs_siem.py`.
    receiver.put_off = {"one", "two", "three"}
    busy = '{"error":{"type":"es_rejected_execution_exception"},"status":429}'
    way = Stream(receiver.port, web((429, "Retry-After: 1\r\n", busy), (507, "", "no space left")))
    handler = {"class": "aviary.elasticsearch", "url": f"http://{LOOPBACK}:{way.port}", "timeout": 1}
    return Row(handler, way, receiver.ids, receiver.kill)


@row("ClickHouse")
def clickhouse(folder: Path) -> Row:
    installed("chdb")
    receiver = ClickHouse(folder)
    memory = (500, "X-ClickHouse-Exception-Code: 241\r\n", "Code: 241. DB::Exception: Memory limit exceeded")
    disk = (500, "X-ClickHouse-Exception-Code: 243\r\n", "Code: 243. DB::Exception: Cannot reserve 1.00 MiB")
    way = Stream(receiver.port, web(memory, disk, (503, "Retry-After: 1\r\n", "busy")))
    handler = {
        "class": "aviary.clickhouse",
        "url": f"http://{LOOPBACK}:{way.port}",
        "user": "canary",
        "password": "secret",
        "timeout": 2,
    }
    return Row(handler, way, lambda: receiver.ask("", "/arrived").split(), receiver.kill)


# -- mail, hpfeeds, a program ------------------------------------------------------------------------


@row("SMTPHandler")
def smtp(folder: Path) -> Row:
    installed("aiosmtpd")
    receiver = Mailbox("plain")
    receiver.start()
    way = Stream(receiver.port, mail)
    handler = {
        "class": "logging.handlers.SMTPHandler",
        "fromaddr": "canary@example.org",
        "toaddrs": ["admin@example.org"],
        "mailhost": [LOOPBACK, way.port],
        "timeout": 1,
    }
    return Row(handler, way, receiver.came, receiver.kill, words={FULL: "452.*Insufficient system storage"})


class OneChannel(Broker):
    def came(self) -> list[str]:
        lines = (line.split(" ", 1)[1] for line in list(self.got) if line.startswith("one "))
        return [json.loads(line)["aviary"]["id"] for line in lines]


@row("HpfeedsHandler")
def hpfeeds(folder: Path) -> Row:
    receiver = OneChannel()
    receiver.start()
    way = Stream(receiver.port)
    handler = {
        "class": "opencanary.logger.HpfeedsHandler",
        "host": LOOPBACK,
        "port": way.port,
        "ident": "canary",
        "secret": "s3cret",
        "channels": ["one"],
        "timeout": 1,
    }
    return Row(handler, way, receiver.came, receiver.kill)


@row("exec")
def program(folder: Path) -> Row:
    way = Program(folder)
    handler = {"class": "aviary.exec", "command": way.command, "acknowledge": True, "timeout": 1}

    def ids() -> list[str]:
        lines = way.got.read_text().splitlines() if way.got.exists() else []
        return [json.loads(line)["aviary"]["id"] for line in lines]

    return Row(handler, way, ids, words={KILLED: "not today", FULL: "no space left", DEAF: "no answer today"})
