"""GELF, Splunk's collector, Elasticsearch's bulk interface and ClickHouse.

One canary sends to all of them at once; each is killed and started again while events come. Nothing
may be lost, and nothing stored twice under one id. GELF is read by a decoder written from its
specification, Splunk and Elasticsearch are doubles that hold the requests to the references, ClickHouse
is its own engine behind `fake_clickhouse.py`.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import re
import shutil
import socket
import ssl
import sys
import tempfile
import threading
import urllib.request
import uuid
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from canary import LOOPBACK, Canary, Report, Skip, arguments, chosen_bin_dir, free_ports
from outputs_receivers import Daemon, Web, arrived, certificate, logins, touch

TOKEN = "0f0f0f0f-1111-2222-3333-444444444444"

# -- GELF --------------------------------------------------------------------------------------


def gelf(message: bytes) -> dict[str, Any]:
    """A message without its compression, held to what GELF 1.1 demands."""
    if message[:2] == b"\x1f\x8b":
        message = gzip.decompress(message)
    elif message[:1] == b"\x78":
        message = zlib.decompress(message)
    fields: dict[str, Any] = json.loads(message)
    assert fields["version"] == "1.1" and fields["host"] and fields["short_message"], fields
    assert isinstance(fields["timestamp"], float) and 0 <= fields["level"] <= 7, fields
    for name, value in fields.items():
        assert isinstance(value, (str, int, float)) and not isinstance(value, bool), name
        if name not in ("version", "host", "short_message", "full_message", "timestamp", "level"):
            assert re.fullmatch(r"_[\w.\-]+", name) and name != "_id", name
    return fields


class GelfDatagrams:
    """The UDP input: chunks are put together by their message id."""

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        self.messages: list[dict[str, Any]] = []
        self.most_chunks = 0
        self.start()

    def start(self) -> None:
        self.dead = threading.Event()
        peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        peer.bind((LOOPBACK, self.port))
        # A socket that is read from lives on when another thread closes it.
        peer.settimeout(0.02)
        self.thread = threading.Thread(target=self.read, args=(peer,), daemon=True)
        self.thread.start()

    def read(self, peer: socket.socket) -> None:
        parts: dict[bytes, dict[int, bytes]] = {}
        while not self.dead.is_set():
            try:
                datagram = peer.recv(65536)
            except TimeoutError:
                continue
            if datagram[:2] == b"\x1e\x0f":
                number, count = datagram[10], datagram[11]
                known = parts.setdefault(datagram[2:10], {})
                known[number] = datagram[12:]
                if len(known) < count:
                    continue
                self.most_chunks = max(self.most_chunks, count)
                datagram = b"".join(known[n] for n in range(count))
            self.messages.append(gelf(datagram))
        peer.close()

    def kill(self) -> None:
        self.dead.set()
        self.thread.join()

    def ids(self) -> list[str]:
        return [message["_event_id"] for message in self.messages if "_event_id" in message]


class GelfStream:
    """The TCP input, with TLS or without: a NUL ends each message."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.port = free_ports(1)[0]
        self.messages: list[dict[str, Any]] = []
        self.sockets: list[socket.socket] = []
        self.start()

    def start(self) -> None:
        listener = socket.create_server((LOOPBACK, self.port))
        self.sockets = [listener]
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    def accept(self, listener: socket.socket) -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            if self.tls:
                peer = self.tls.wrap_socket(peer, server_side=True)
            self.sockets.append(peer)
            threading.Thread(target=self.read, args=(peer,), daemon=True).start()

    def read(self, peer: socket.socket) -> None:
        rest = b""
        while True:
            try:
                piece = peer.recv(65536)
            except OSError:
                return
            if not piece:
                return
            *whole, rest = (rest + piece).split(b"\0")
            self.messages.extend(gelf(message) for message in whole)

    def kill(self) -> None:
        for one in self.sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    ids = GelfDatagrams.ids


class GelfWeb(Web):
    """The HTTP input."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        super().__init__()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        assert path == "/gelf", path
        assert headers.get("content-encoding") == "gzip", headers
        self.messages.append(gelf(body))
        return 202, b""

    ids = GelfDatagrams.ids


# -- Splunk ------------------------------------------------------------------------------------


class Splunk(Web):
    """A collector with acknowledgement: what it took counts as stored when the second question is answered."""

    def __init__(self) -> None:
        self.stored: list[dict[str, Any]] = []
        self.waiting: dict[tuple[str, int], list[dict[str, Any]]] = {}
        self.asked: dict[tuple[str, int], int] = {}
        self.next = 0
        super().__init__()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if headers.get("authorization") != f"Splunk {TOKEN}":
            return 403, b'{"text":"Invalid token","code":4}'
        url = urlsplit(path)
        if url.path == "/services/collector/ack":
            channel = parse_qs(url.query)["channel"][0]
            answers = {}
            for ack in json.loads(body)["acks"]:
                key = (channel, ack)
                self.asked[key] = self.asked.get(key, 0) + 1
                done = key in self.waiting and self.asked[key] > 1
                if done:
                    self.stored += self.waiting.pop(key)
                answers[str(ack)] = done
            return 200, json.dumps({"acks": answers}).encode()
        assert url.path == "/services/collector/event", path
        channel = headers.get("x-splunk-request-channel", "")
        if not channel:
            return 400, b'{"text":"Data channel is missing","code":10}'
        uuid.UUID(channel)
        objects, text = [], body.decode()
        while text:
            one, end = json.JSONDecoder().raw_decode(text)
            assert isinstance(one["event"], dict) and isinstance(one["time"], float), one
            assert (one["sourcetype"], one["index"], one["host"]) == ("aviary:event", "canary", "canary-under-test")
            objects.append(one)
            text = text[end:].lstrip()
        self.next += 1
        self.waiting[channel, self.next] = objects
        return 200, json.dumps({"text": "Success", "code": 0, "ackId": self.next}).encode()

    def kill(self) -> None:
        super().kill()
        # What was not indexed dies with it.
        self.waiting.clear()

    def ids(self) -> list[str]:
        return [one["event"]["aviary"]["id"] for one in self.stored if "aviary" in one["event"]]


# -- Elasticsearch -----------------------------------------------------------------------------


class Elasticsearch(Web):
    """A data stream: `create` only, an id once, a time in every document. Some items are put off at first."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Any]] = {}
        self.put_off: set[str] = set()
        self.conflicts = 0
        super().__init__()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        assert path == "/logs-aviary-default/_bulk", path
        assert headers["content-type"] == "application/x-ndjson" and body.endswith(b"\n"), headers
        lines = body.decode().split("\n")[:-1]
        assert len(lines) % 2 == 0, lines
        items = [self.item(*map(json.loads, pair)) for pair in zip(lines[::2], lines[1::2], strict=True)]
        errors = any(item["create"]["status"] > 299 for item in items)
        return 200, json.dumps({"took": 1, "errors": errors, "items": items}).encode()

    def item(self, action: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
        one = action["create"]["_id"]
        assert document["@timestamp"] and document["event"]["id"] == one, document

        def answer(status: int, kind: str = "") -> dict[str, Any]:
            error = {"error": {"type": kind, "reason": kind}} if kind else {}
            return {"create": {"_id": one, "status": status} | error}

        if one in self.documents:
            self.conflicts += 1
            return answer(409, "version_conflict_engine_exception")
        if one not in self.put_off and len(self.put_off) < 3:
            self.put_off.add(one)
            return answer(429, "es_rejected_execution_exception")
        self.documents[one] = document
        return answer(201)

    def ids(self) -> list[str]:
        return list(self.documents)


# -- ClickHouse --------------------------------------------------------------------------------


class ClickHouse:
    """The engine in a process of its own, with the table that the documentation gives."""

    def __init__(self, folder: Path) -> None:
        self.port = free_ports(1)[0]
        here = Path(__file__).parent
        program = [sys.executable, str(here / "fake_clickhouse.py"), str(self.port), str(folder / "clickhouse")]
        self.daemon = Daemon(*program, port=self.port)
        page = (here.parent.parent / "docs/outputs/siem.md").read_text()
        table = re.search(r"```sql\n(CREATE TABLE .*?);\n```", page, re.S)
        assert table, "no table in the documentation"
        self.ask(table[1])

    def ask(self, query: str, path: str = "/") -> str:
        headers = {"X-ClickHouse-User": "canary", "X-ClickHouse-Key": "secret"}
        request = urllib.request.Request(f"http://{LOOPBACK}:{self.port}{path}", query.encode(), headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            text: str = answer.read().decode()
        return text

    def start(self) -> None:
        self.daemon.start()

    def kill(self) -> None:
        self.daemon.kill()

    def ids(self) -> list[str]:
        return self.ask("SELECT id FROM aviary_events ORDER BY seq").split()


def main() -> int:
    parser = arguments(__doc__ or "")
    options = parser.parse_args()
    bin_dir = chosen_bin_dir(parser, options)
    report = Report()
    if bin_dir is None:
        report.skip("siem", "OpenCanary has no such classes")
        return report.finish()
    folder = Path(tempfile.mkdtemp(prefix="outputs-siem-"))
    certificate(folder)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    receivers: dict[str, Any] = {
        "gelf over UDP": GelfDatagrams(),
        "gelf over TCP": GelfStream(),
        "gelf over TLS": GelfStream(tls),
        "gelf over HTTP": GelfWeb(),
        "splunk": Splunk(),
        "elasticsearch": Elasticsearch(),
    }
    if importlib.util.find_spec("chdb"):
        receivers["clickhouse"] = ClickHouse(folder)
    ports = {name: receiver.port for name, receiver in receivers.items()}

    def url(name: str) -> str:
        return f"http://{LOOPBACK}:{ports.get(name, 9)}"

    def address(name: str) -> list[Any]:
        return [LOOPBACK, ports[name]]

    plain = {"formatter": "plain"}
    handlers: dict[str, Any] = {
        "gelf-udp": {"class": "aviary.gelf", "address": address("gelf over UDP"), "chunk_size": 400} | plain,
        "gelf-tcp": {"class": "aviary.gelf", "address": address("gelf over TCP"), "transport": "tcp"} | plain,
        "gelf-tls": {
            "class": "aviary.gelf",
            "address": ["localhost", ports["gelf over TLS"]],
            "transport": "tls",
            "verify": str(folder / "cert.pem"),
        },
        "gelf-http": {"class": "aviary.gelf", "url": url("gelf over HTTP") + "/gelf", "compression": "gzip"} | plain,
        "splunk": {"class": "aviary.splunk", "url": url("splunk"), "token": TOKEN, "index": "canary", "ack": True},
        "elasticsearch": {"class": "aviary.elasticsearch", "url": url("elasticsearch")},
    }
    if "clickhouse" in receivers:
        handlers["clickhouse"] = {
            "class": "aviary.clickhouse",
            "url": url("clickhouse"),
            "user": "canary",
            "password": "secret",
        }

    with Canary(bin_dir, handlers=handlers, services=("ftp",)) as canary:
        touch(canary, "before-1", "before-2")
        failed: dict[str, str] = {}
        for name, receiver in receivers.items():
            try:
                arrived(canary, receiver.ids)
            except AssertionError as error:
                failed[name] = str(error)
            receiver.kill()
        touch(canary, "during-1", "during-2", "during-3")
        for receiver in receivers.values():
            receiver.start()
        touch(canary, "after-1")

        def tried(name: str) -> None:
            if name not in receivers:
                raise Skip("`chdb` is not installed")
            assert name not in failed, failed[name]
            receiver = receivers[name]
            assert not getattr(receiver, "complaints", []), receiver.complaints
            # A stream gives no answers: what was under way when it broke comes again.
            arrived(canary, receiver.ids, twice=name in ("gelf over TCP", "gelf over TLS"))
            print(f"     {len(logins(canary))} logins, {len(receiver.ids()) - len(set(receiver.ids()))} twice")
            whole(name, receiver)

        def whole(name: str, receiver: Any) -> None:
            # That an output works again is an event, too, and may be in a receiver before it is in the file.
            events = {event["aviary"]["id"]: event for event in canary.settle()}
            if name.startswith("gelf"):
                for message in receiver.messages:
                    event = events[message["_event_id"]]
                    assert json.loads(message["full_message"]) == event, message
                    if event["logtype"] == 2000:
                        assert message["_logdata_PASSWORD"] == "a\\b|=\"]'", message
                        assert message["_src_ip"] == LOOPBACK and message["_dst_port"] == canary.ports["ftp"]
                if name.endswith("UDP"):
                    assert receiver.most_chunks > 1, "nothing came in chunks"
            elif name == "splunk":
                assert all(one["event"] == events[one["event"]["aviary"]["id"]] for one in receiver.stored)
            elif name == "elasticsearch":
                assert receiver.put_off <= set(receiver.documents), "put off and never again"
                for one, document in receiver.documents.items():
                    assert document["aviary"]["logdata"] == events[one]["logdata"], document
            else:
                rows = receiver.ask("SELECT id, event, toString(time), src_port FROM aviary_events FINAL")
                for row in rows.splitlines():
                    one, line, time, port = row.split("\t")
                    assert json.loads(line) == events[one], line
                    assert time == events[one]["utc_time"], (time, events[one]["utc_time"])
                    assert int(port) == max(events[one]["src_port"], 0), port
                asked = "SELECT JSONExtractString(logdata, 'PASSWORD') FROM aviary_events WHERE kind = 'login' LIMIT 1"
                assert receiver.ask(asked).strip() == "a\\b|=\"]'"
                first = receiver.ask("", "/tokens").splitlines()[0]
                assert re.fullmatch(r"[0-9a-f-]{36}-[0-9a-f-]{36}", first), first

        for name in [*receivers, *([] if "clickhouse" in receivers else ["clickhouse"])]:
            report.check(f"siem: {name}, killed and started again", lambda name=name: tried(name))

        def same_id_twice() -> None:
            if "clickhouse" not in receivers:
                raise Skip("`chdb` is not installed")
            house = receivers["clickhouse"]
            count = "SELECT count() FROM aviary_events FINAL"
            before = house.ask(count)
            house.ask("INSERT INTO aviary_events SELECT * FROM aviary_events")
            assert house.ask(count) == before

        report.check("siem: clickhouse's table shows an id once", same_id_twice)
    for receiver in receivers.values():
        receiver.kill()
    shutil.rmtree(folder, ignore_errors=True)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
