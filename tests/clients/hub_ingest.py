"""What comes into a hub, from programs that are not ours.

A stock OpenCanary through each of its own handlers, rsyslog in every framing, curl with packed bodies, and grpcio
with code that its own compiler made. Then the hub is killed 50 times while both transports send, and its disk runs
full: what it answered for must be there, once.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests
from canary import LOOPBACK, Canary, Report, Skip, arguments, chosen_bin_dir, needs
from hub_process import Hub, line
from outputs_receivers import touch, until

KILLS = 50
BATCH = 20
KINDS = ("aviary/ingest/v1/ingest.proto", "aviary/hub/v1/hub.proto")

# -- OpenCanary ----------------------------------------------------------------------------------


def handlers(hub: Hub) -> dict[str, dict[str, Any]]:
    """OpenCanary's own handlers, as somebody would set them for a hub."""
    bearer = {"Authorization": f"Bearer {hub.token}"}
    webhook = {"class": "opencanary.logger.WebhookHandler", "verify": str(hub.certificate)}
    syslog = {"class": "logging.handlers.SysLogHandler", "formatter": "plain"}
    return {
        "webhook": webhook | {"url": f"{hub.url}/api/v1/opencanary", "headers": bearer},
        "webhook-json": webhook
        | {
            "url": f"{hub.url}/api/v1/opencanary",
            "headers": bearer | {"Content-Type": "application/json"},
            "data": {"text": "OpenCanary: %(message)s", "channel": ["#alerts"]},
        },
        "log": webhook | {"url": f"https://canary:{hub.token}@localhost:{hub.port}/log/"},
        "socket": {"class": "opencanary.logger.SocketJSONHandler", "host": LOOPBACK, "port": hub.ways["lines"]},
        "syslog-udp": syslog | {"address": [LOOPBACK, hub.ways["syslog-udp"]]},
        "syslog-tcp": syslog
        | {"address": [LOOPBACK, hub.ways["syslog-tcp"]], "socktype": "ext://socket.SOCK_STREAM"},
    }


def stock(hub: Hub, way: str) -> None:
    """One OpenCanary with one handler beside its log file: the hub has each line of the file, as it stands there."""
    node = f"stock-{way}"
    settings = {"device.node_id": node}
    with Canary(None, settings=settings, handlers={way: handlers(hub)[way]}, services=("ftp",)) as canary:
        touch(canary, "one", "<img src=x onerror=alert(1)>", "=cmd()", "\x1b[31mred")
        written = sorted(json.dumps(event, sort_keys=True) for event in canary.events())

        def stored() -> list[str]:
            return sorted(json.dumps(row["event"], sort_keys=True) for row in hub.of_node(node))

        try:
            until("every line", lambda: len(stored()) >= len(written))
        except AssertionError as error:
            sent = hub.get("/api/v1/intake")
            raise AssertionError(f"{error}: {len(stored())} of {len(written)}; {sent}\n{canary.last_output()}") from None
        assert stored() == written, f"other lines: {stored()}\n{written}"
        sensor = "first" if way in ("webhook", "webhook-json", "log") else "stock"
        assert {row["sensor"] for row in hub.of_node(node)} == {sensor}


def ours(hub: Hub, bin_dir: Path) -> None:
    """A canary of ours over both of its transports, with the hub killed in between: each event is there once."""
    common = {"class": "aviary.hub", "url": hub.url, "token": hub.token, "verify": str(hub.certificate), "timeout": 10}
    both = {name: common | {"transport": name} for name in ("http", "grpc")}
    settings = {"device.node_id": "ours"}
    with Canary(bin_dir, settings=settings, handlers=both, services=("ftp",)) as canary:
        touch(canary, *(f"first-{number}" for number in range(5)))
        hub.kill()
        touch(canary, *(f"away-{number}" for number in range(5)))
        hub.start()
        touch(canary, *(f"last-{number}" for number in range(5)))

        def wanted() -> list[str]:
            return sorted(event["aviary"]["id"] for event in canary.events())

        def seen() -> tuple[list[str], int]:
            counted = next((one for one in hub.get("/api/v1/intake")["sensors"] if one["name"] == "first"), None)
            ids = sorted(row["event"]["aviary"]["id"] for row in hub.of_node("ours"))
            return ids, counted["duplicate"] if counted else 0

        try:
            # What each transport sends, the other has sent as well.
            until("every event, twice", lambda: seen()[0] == wanted() and seen()[1] >= 10, timeout=60)
        except AssertionError as error:
            raise AssertionError(f"{error}: {len(seen()[0])} of {len(wanted())}, {seen()[1]} again") from None


# -- rsyslog and curl ----------------------------------------------------------------------------


def rsyslog(hub: Hub, folder: Path) -> None:
    """rsyslog reads files and forwards them in each of its forms."""
    needs("rsyslogd")
    secure = bool(list(Path("/usr/lib").glob("*/rsyslog/lmnsd_gtls.so")))
    udp, tcp, tls = (hub.ways[way] for way in ("syslog-udp", "syslog-tcp", "syslog-tls"))
    driver = 'StreamDriver="gtls" StreamDriverMode="1" StreamDriverAuthMode="x509/name"'
    old, new = "RSYSLOG_ForwardFormat", "RSYSLOG_SyslogProtocol23Format"
    forms = {
        "udp-3164": f'port="{udp}" protocol="udp" template="{old}"',
        "tcp-3164": f'port="{tcp}" protocol="tcp" template="{old}"',
        "tcp-5424": f'port="{tcp}" protocol="tcp" template="{new}"',
        "tcp-counted": f'port="{tcp}" protocol="tcp" TCP_Framing="octet-counted" template="{new}"',
        "tcp-token": f'port="{tcp}" protocol="tcp" TCP_Framing="octet-counted" template="token"',
    }
    if secure:
        forms["tls-counted"] = (
            f'port="{tls}" protocol="tcp" TCP_Framing="octet-counted" template="{new}" {driver}'
            ' StreamDriverPermittedPeers="localhost"'
        )
    header = "<%PRI%>1 %TIMESTAMP:::date-rfc3339% %HOSTNAME% %APP-NAME% - -"
    lines = [
        f'global(workDirectory="{folder}" maxMessageSize="256k" defaultNetstreamDriverCAFile="{hub.certificate}")',
        'module(load="imfile")',
        f'template(name="token" type="string" string="{header} [aviary token=\\"{hub.token}\\"] %msg%")',
    ]
    for name, form in forms.items():
        lines += [
            f'input(type="imfile" file="{folder}/{name}.log" tag="opencanary:" ruleset="{name}")',
            f'ruleset(name="{name}") {{ action(type="omfwd" target="{LOOPBACK}" {form}) }}',
        ]
        node = f"rsyslog-{name}"
        written = b"".join(line(node, number, 'ü"\\ ]') + b"\n" for number in range(20))
        (folder / f"{name}.log").write_bytes(written)
    config = folder / "forward.conf"
    config.write_text("\n".join(lines) + "\n")
    output = (folder / "rsyslog.txt").open("wb")
    daemon = subprocess.Popen(
        ["rsyslogd", "-n", "-f", str(config), "-i", str(folder / "rsyslog.pid")],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
    )
    try:
        for name in forms:
            node = f"rsyslog-{name}"
            wanted = [json.loads(one) for one in (folder / f"{name}.log").read_bytes().splitlines()]

            def stored(node: str = node) -> list[dict[str, Any]]:
                return [row for row in hub.of_node(node)]

            try:
                until(name, lambda stored=stored: len(stored()) >= 20, timeout=30)
            except AssertionError as error:
                said = (folder / "rsyslog.txt").read_text()[-2000:]
                raise AssertionError(f"{error}: {len(stored())} of 20\n{said}\n{hub.get('/api/v1/intake')}") from None
            events = sorted((row["event"] for row in stored()), key=lambda event: event["logdata"]["PASSWORD"])
            assert events == sorted(wanted, key=lambda event: event["logdata"]["PASSWORD"]), name
            assert {row["sensor"] for row in stored()} == {"first" if name == "tcp-token" else "stock"}, name
    finally:
        daemon.terminate()
        daemon.wait(20)
        output.close()
    if not secure:
        raise Skip("all but TLS: `rsyslog-gnutls` is not installed")


def curl(hub: Hub, folder: Path) -> None:
    """Packed bodies, an answer that names what was wrong, and the same body again."""
    needs("curl", "gzip", "zstd")
    for name in ("gzip", "zstd"):
        good = [line(f"curl-{name}", number) for number in range(200)]
        bad = [b"nonsense", b'{"logtype": "x"}', b'{"logdata": ' + b"[" * 5000 + b"]" * 5000 + b"}"]
        ahead = good[0].replace(time.strftime("%Y-").encode(), b"2199-")
        body = folder / f"body-{name}"
        body.write_bytes(b"\n".join([good[0], *bad, ahead, *good[1:]]) + b"\n")
        packed = subprocess.run([name, "-c", str(body)], check=True, capture_output=True).stdout

        def post(packed: bytes = packed, name: str = name) -> dict[str, Any]:
            command = ["curl", "-sS", "--cacert", str(hub.certificate), "--data-binary", "@-"]
            command += ["-H", f"Authorization: Bearer {hub.token}", "-H", f"Content-Encoding: {name}"]
            command += ["-H", "Content-Type: application/x-ndjson", f"{hub.url}/api/v1/events"]
            done = subprocess.run(command, input=packed, check=True, capture_output=True)
            answer: dict[str, Any] = json.loads(done.stdout)
            return answer

        answer = post()
        assert (answer["accepted"], answer["duplicate"]) == (200, 0), answer
        assert [one["index"] for one in answer["rejected"]] == [1, 2, 3, 4], answer
        assert "clock" in answer["rejected"][3]["reason"], answer
        again = post()
        assert (again["accepted"], again["duplicate"]) == (0, 200), again


# -- gRPC ----------------------------------------------------------------------------------------


def compiled(folder: Path) -> dict[str, Any]:
    """What grpcio's compiler makes of our files."""
    protos = Path(__file__).parents[2] / "crates/proto/proto"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{protos}", f"--python_out={folder}"]
    subprocess.run([*command, f"--grpc_python_out={folder}", *KINDS], check=True)
    sys.path.insert(0, str(folder))
    names = ("ingest.v1.ingest_pb2", "ingest.v1.ingest_pb2_grpc", "hub.v1.hub_pb2", "hub.v1.hub_pb2_grpc")
    return {name.rpartition(".")[2]: importlib.import_module(f"aviary.{name}") for name in names}


class Grpc:
    """A channel to a hub, over TLS, with its token."""

    def __init__(self, hub: Hub, modules: dict[str, Any]) -> None:
        self.modules = modules
        self.grpc = importlib.import_module("grpc")
        trust = self.grpc.ssl_channel_credentials(hub.certificate.read_bytes())
        self.channel = self.grpc.secure_channel(f"localhost:{hub.port}", trust)
        self.metadata = [("authorization", f"Bearer {hub.token}")]

    def deliver(self, batches: Iterator[list[bytes]]) -> Iterator[Any]:
        messages = self.modules["ingest_pb2"]
        numbered = (messages.Batch(sequence=number, events=events) for number, events in enumerate(batches, 1))
        stub = self.modules["ingest_pb2_grpc"].IngestStub(self.channel)
        answers: Iterator[Any] = stub.Deliver(numbered, metadata=self.metadata, wait_for_ready=True, timeout=60)
        return answers


def questions(hub: Hub, modules: dict[str, Any]) -> None:
    """Events go in while somebody watches; they are found again, and what they come to."""
    grpc, messages = Grpc(hub, modules), modules["hub_pb2"]
    stub = modules["hub_pb2_grpc"].HubStub(grpc.channel)
    heard: list[Any] = []
    wish = messages.WatchRequest(source="10.20.0.0/16")
    stream = stub.Watch(wish, metadata=grpc.metadata, timeout=120)
    next(stream)

    def listen() -> None:
        with contextlib.suppress(grpc.grpc.RpcError):
            heard.extend(stream)

    threading.Thread(target=listen, daemon=True).start()
    events = [line("grpc", number) for number in range(30)]
    answers = list(grpc.deliver(iter([events[:10], events[10:]])))
    assert [answer.taken.accepted for answer in answers] == [10, 20], answers
    until("the news", lambda: sum(one.WhichOneof("news") == "event" for one in heard) >= 30)
    stream.cancel()
    query = messages.QueryRequest(source="10.20.0.1", limit=500, fields={"USERNAME": "root"})
    found = stub.Query(query, metadata=grpc.metadata, timeout=60)
    assert events[0].decode() in [event.line for event in found.events], found
    asked = messages.IncidentsRequest(limit=500)
    incidents = stub.Incidents(asked, metadata=grpc.metadata, timeout=60).incidents
    mine = [one for one in incidents if one.source == "10.20.0.1"]
    assert mine and any(fact.fact == "user" and fact.value == "root" for fact in mine[0].facts), incidents
    try:
        stub.Query(messages.QueryRequest(source="nowhere"), metadata=grpc.metadata, timeout=60)
    except grpc.grpc.RpcError as error:
        assert "`source`" in error.details(), error
    else:
        raise AssertionError("a bad question was answered")
    grpc.channel.close()


# -- kills, and a disk that is full ---------------------------------------------------------------


class Sender:
    """Sends batches until each is answered for; a batch without an answer is sent again."""

    def __init__(self, name: str, send: Callable[[list[bytes]], str]) -> None:
        self.name, self.send = name, send
        self.why = ""
        self.acknowledged: list[bytes] = []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self) -> None:
        number = 0
        while not self.ended.is_set():
            batch = [line(self.name, number + place) for place in range(BATCH)]
            number += BATCH
            while why := self.send(batch):
                self.why = why
                time.sleep(0.01)
            self.acknowledged += batch

    def end(self) -> list[bytes]:
        self.ended.set()
        self.thread.join(60)
        assert not self.thread.is_alive(), f"{self.name} gets no good answer any more: {self.why}"
        return self.acknowledged


def over_http(hub: Hub) -> Callable[[list[bytes]], str]:
    session = requests.Session()
    # Else a bundle that the environment names goes before `verify`.
    session.trust_env = False
    session.verify = str(hub.certificate)
    session.headers["Authorization"] = f"Bearer {hub.token}"

    def send(batch: list[bytes]) -> str:
        try:
            answer = session.post(f"{hub.url}/api/v1/events", data=b"\n".join(batch), timeout=30)
            said = answer.json()
        except requests.RequestException as error:
            return str(error)
        good = answer.status_code == 200 and said["accepted"] + said["duplicate"] == len(batch)
        return "" if good else answer.text

    return send


def over_grpc(hub: Hub, modules: dict[str, Any]) -> Callable[[list[bytes]], str]:
    grpc = Grpc(hub, modules)

    def send(batch: list[bytes]) -> str:
        try:
            answers = list(grpc.deliver(iter([batch])))
        except grpc.grpc.RpcError as error:
            return str(error)
        good = [answer.taken.accepted + answer.taken.duplicate for answer in answers] == [len(batch)]
        return "" if good else str(answers)

    return send


def once(hub: Hub, sent: dict[str, list[bytes]]) -> None:
    """Everything that was answered for is there, once, and counted once in the incidents."""
    rows = hub.all("events")
    for name, lines in sent.items():
        stored = [json.dumps(row["event"], sort_keys=True).encode() for row in rows if row["event"]["node_id"] == name]
        lost, doubled = set(lines) - set(stored), len(stored) - len(set(stored))
        assert not lost and not doubled, f"{name}: {len(lost)} of {len(lines)} lost, {doubled} doubled"
    counted = sum(incident["events"] for incident in hub.all("incidents"))
    assert counted == len(rows), f"{len(rows)} events, and {counted} in incidents"


def kills(bin_dir: Path, modules: dict[str, Any] | None) -> None:
    with Hub(bin_dir) as hub:
        ways = {"http": over_http(hub), "http again": over_http(hub)}
        if modules:
            ways["grpc"] = over_grpc(hub, modules)
        senders = [Sender(name, send) for name, send in ways.items()]
        for _ in range(KILLS):
            time.sleep(random.uniform(0.05, 0.6))
            hub.kill()
            hub.start()
        sent = {sender.name: sender.end() for sender in senders}
        print("     " + ", ".join(f"{name}: {len(lines)}" for name, lines in sent.items()))
        assert all(sent.values()), "nothing was sent"
        once(hub, sent)
        shutil.rmtree(hub.folder, ignore_errors=True)


def full(bin_dir: Path, folder: Path) -> None:
    """A disk that runs full: 503, nothing that was answered for is lost, and with room again it goes on."""
    state = folder / "small"
    state.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "hub", state]).returncode:
        raise Skip("a small file system cannot be mounted")
    try:
        filler = state / "filler"
        filler.write_bytes(bytes(12 << 20))
        with Hub(bin_dir, state / "state") as hub:
            sent: list[bytes] = []
            while True:
                batch = [line("full", len(sent) + place) for place in range(500)]
                answer = hub.ask("POST", "/api/v1/events", data=b"\n".join(batch))
                if answer.status_code != 200:
                    break
                sent += batch
            assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0, answer.text
            assert sent and hub.get("/api/v1/events?limit=1")["events"], "it does not read any more"
            hub.kill()
            filler.unlink()
            hub.start()
            once(hub, {"full": sent})
            answer = hub.ask("POST", "/api/v1/events", data=b"\n".join(batch))
            assert answer.status_code == 200 and answer.json()["accepted"] == len(batch), answer.text
            print(f"     {len(sent)} events before it was full")
    finally:
        subprocess.run(["umount", state], check=True)


def strangers(hub: Hub) -> None:
    """Lines of somebody whom nobody named are not taken, and shown."""
    with socket.create_connection((LOOPBACK, hub.ways["lines"]), timeout=20) as peer:
        peer.sendall(line("stranger", 1) + b"\n")
        peer.settimeout(20)
        try:
            rest = peer.recv(1)
        except ConnectionResetError:
            rest = b""
        assert rest == b"", "a stranger is answered"
    shown = until("the stranger", lambda: hub.get("/api/v1/intake")["strangers"])
    assert shown[0]["address"] == LOOPBACK and shown[0]["way"] == "lines", shown
    assert not hub.of_node("stranger")


def main() -> int:
    parser = arguments(__doc__ or "")
    options = parser.parse_args()
    bin_dir = chosen_bin_dir(parser, options)
    report = Report()
    if bin_dir is None:
        report.skip("hub", "OpenCanary has none")
        return report.finish()
    folder = Path(tempfile.mkdtemp(prefix="hub-ingest-"))
    modules = compiled(folder) if importlib.util.find_spec("grpc_tools") else None
    with Hub(bin_dir) as hub:
        report.check("ingest: a stranger's lines are not taken, and shown", lambda: strangers(hub))
        hub.know("stock", LOOPBACK)
        for way in handlers(hub):
            if importlib.util.find_spec("opencanary"):
                report.check(f"ingest: stock OpenCanary, {way}", lambda way=way: stock(hub, way))
            else:
                report.skip(f"ingest: stock OpenCanary, {way}", "`opencanary` is not installed")
        report.check("ingest: our canary over HTTP and gRPC, the hub killed in between", lambda: ours(hub, bin_dir))
        report.check("ingest: rsyslog in every form", lambda: rsyslog(hub, folder))
        report.check("ingest: curl, packed with gzip and zstd", lambda: curl(hub, folder))
        if modules:
            report.check("ingest: grpcio sends, watches and asks", lambda: questions(hub, modules))
        else:
            report.skip("ingest: grpcio", "`grpcio-tools` is not installed")
    report.check(f"ingest: killed {KILLS} times under load, nothing lost or doubled", lambda: kills(bin_dir, modules))
    report.check("ingest: a full disk is 503, nothing lost", lambda: full(bin_dir, folder))
    shutil.rmtree(hub.folder, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
