"""`aviary.hub` against hubs that are not ours: Python's HTTP server, and grpcio with code that its own compiler made.

One canary sends to all of them, in clear and over TLS with certificates on both sides. Each is killed and
started again while events come, is full for a while, and rejects one kind of event for good: nothing may be
lost, nothing stored twice, and the rejected ones stand among the dead letters with the hub's words.
"""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from canary import LOOPBACK, Canary, Report, arguments, chosen_bin_dir, free_ports, needs
from outputs_receivers import LOGIN, arrived, logins, touch, until

TOKEN = "0f0f-hub-token"
BAD_USER = "bad-one"
REASON = "that user is not welcome"

# A canary is forked off from a process in which gRPC has threads, and is another program at once: gRPC's own
# handlers of that would end it before.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"

# -- what both transports share ------------------------------------------------------------------


class Store:
    """What a hub keeps, by id; it is full for the first batch after each start."""

    def __init__(self) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.order: list[str] = []
        self.duplicates = 0
        self.batches = 0
        self.full = True
        self.complaints: list[str] = []
        self.lock = threading.Lock()

    def take(self, lines: list[bytes]) -> tuple[int, int, list[dict[str, Any]]] | None:
        """Numbers of accepted and duplicate events, and rejections; nothing when it is full."""
        with self.lock:
            if self.full:
                self.full = False
                return None
            self.batches += 1
            accepted, duplicate, rejected = 0, 0, []
            for index, line in enumerate(lines):
                event = json.loads(line)
                one = event["aviary"]["id"]
                if event["logtype"] == LOGIN and event["logdata"]["USERNAME"] == BAD_USER:
                    rejected.append({"index": index, "id": one, "reason": REASON})
                elif one in self.events:
                    duplicate += 1
                else:
                    accepted += 1
                    self.events[one] = event
                    self.order.append(one)
            self.duplicates += duplicate
            return accepted, duplicate, rejected

    def ids(self) -> list[str]:
        return list(self.order)


class WebHub(Store):
    """`POST /api/v1/events`, with TLS when given."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__()
        self.tls, self.port = tls, free_ports(1)[0]
        self.start()

    def start(self) -> None:
        hub = self
        hub.full = True

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if hub.dead.is_set():
                    self.close_connection = True
                    return
                status, answer, headers = hub.answer(self.path, dict(self.headers.items()), body)
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(answer))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_: Any) -> None:
                pass

        self.dead = threading.Event()
        self.server = Server((LOOPBACK, self.port), Handler)
        if self.tls:
            self.server.socket = self.tls.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes, dict[str, str]]:
        low = {name.lower(): value for name, value in headers.items()}
        expected = {
            "authorization": f"Bearer {TOKEN}",
            "content-type": "application/x-ndjson",
            "content-encoding": "gzip",
        }
        if path != "/api/v1/events" or any(low.get(name) != value for name, value in expected.items()):
            self.complaints.append(f"{path} {low}")
            return 400, b"not as agreed", {}
        text = gzip.decompress(body)
        assert text.endswith(b"\n"), text[-80:]
        taken = self.take(text.split(b"\n")[:-1])
        if taken is None:
            return 503, b"full", {"Retry-After": "1"}
        accepted, duplicate, rejected = taken
        answer = {"accepted": accepted, "duplicate": duplicate, "rejected": rejected}
        return 200 if accepted or duplicate else 400, json.dumps(answer).encode(), {"Content-Type": "application/json"}

    def kill(self) -> None:
        self.dead.set()
        self.server.shutdown()
        self.server.server_close()


class GrpcHub(Store):
    """grpcio's server, with a certificate that it shows and an authority whose certificates it asks for."""

    def __init__(self, modules: tuple[Any, Any], tls: Path | None = None) -> None:
        super().__init__()
        self.messages, self.services = modules
        self.tls, self.port = tls, free_ports(1)[0]
        self.streams = 0
        self.peers: set[str] = set()
        self.start()

    def start(self) -> None:
        grpc = importlib.import_module("grpc")
        hub = self
        hub.full = True

        class Ingest(self.services.IngestServicer):  # type: ignore[misc, name-defined]
            def Deliver(self, batches: Iterator[Any], context: Any) -> Iterator[Any]:
                hub.streams += 1
                metadata = dict(context.invocation_metadata())
                if metadata.get("authorization") != f"Bearer {TOKEN}":
                    context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
                hub.peers |= {name.decode() for name in context.auth_context().get("x509_common_name", [])}
                for batch in batches:
                    yield hub.answer(batch)

        # Without it a server that starts again while the old one's port is still open would share that port.
        options = [("grpc.so_reuseport", 0)]
        self.server = grpc.server(futures.ThreadPoolExecutor(4), options=options)
        self.services.add_IngestServicer_to_server(Ingest(), self.server)
        address = f"{LOOPBACK}:{self.port}"
        if self.tls:
            read = {name: (self.tls / f"{name}.pem").read_bytes() for name in ("hub-key", "hub", "ca")}
            pair = [(read["hub-key"], read["hub"])]
            secure = grpc.ssl_server_credentials(pair, read["ca"], require_client_auth=True)
            bound = self.server.add_secure_port(address, secure)
        else:
            bound = self.server.add_insecure_port(address)
        assert bound == self.port, bound
        self.server.start()

    def answer(self, batch: Any) -> Any:
        answer = self.messages.Answer(sequence=batch.sequence)
        taken = self.take(list(batch.events))
        if taken is None:
            answer.not_now.retry_after_ms = 300
            answer.not_now.reason = "full"
            return answer
        answer.taken.accepted, answer.taken.duplicate, rejected = taken
        for one in rejected:
            answer.taken.rejected.add(**one)
        return answer

    def kill(self) -> None:
        self.server.stop(None).wait(5)


def compiled(folder: Path) -> tuple[Any, Any]:
    """What grpcio's compiler makes of the same file that the canary's side is made of."""
    protos = Path(__file__).parents[2] / "crates/proto/proto"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{protos}", f"--python_out={folder}"]
    file = "aviary/ingest/v1/ingest.proto"
    subprocess.run([*command, f"--grpc_python_out={folder}", file], check=True)
    sys.path.insert(0, str(folder))
    names = ("aviary.ingest.v1.ingest_pb2", "aviary.ingest.v1.ingest_pb2_grpc")
    messages, services = (importlib.import_module(name) for name in names)
    return messages, services


def authority(folder: Path) -> None:
    """An authority and what it signed: the hub as `localhost`, the canary as `canary-7`."""
    needs("openssl")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=folder)

    new = "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes".split()
    openssl(*new, "-x509", "-days", "2", "-subj", "/CN=a hub's own CA", "-keyout", "ca-key.pem", "-out", "ca.pem")
    for name, subject in (("hub", "localhost"), ("canary", "canary-7")):
        openssl(*new, "-subj", f"/CN={subject}", "-keyout", f"{name}-key.pem", "-out", f"{name}.csr")
        (folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{subject}\n")
        sign = f"x509 -req -days 2 -CA ca.pem -CAkey ca-key.pem -CAcreateserial -extfile {name}.ext"
        openssl(*sign.split(), "-in", f"{name}.csr", "-out", f"{name}.pem")


def main() -> int:
    parser = arguments(__doc__ or "")
    options = parser.parse_args()
    bin_dir = chosen_bin_dir(parser, options)
    report = Report()
    if bin_dir is None:
        report.skip("hub", "OpenCanary has no such class")
        return report.finish()
    folder = Path(tempfile.mkdtemp(prefix="outputs-hub-"))
    authority(folder)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "hub.pem", folder / "hub-key.pem")
    tls.load_verify_locations(folder / "ca.pem")
    tls.verify_mode = ssl.CERT_REQUIRED
    hubs: dict[str, Any] = {"http": WebHub(), "https": WebHub(tls)}
    if importlib.util.find_spec("grpc_tools"):
        modules = compiled(folder)
        hubs |= {"grpc": GrpcHub(modules), "grpcs": GrpcHub(modules, folder)}
    else:
        report.skip("hub over gRPC", "`grpcio-tools` is not installed")
    mutual = {
        "verify": str(folder / "ca.pem"),
        "cert": str(folder / "canary.pem"),
        "key": str(folder / "canary-key.pem"),
    }
    handlers: dict[str, Any] = {}
    for name, hub in hubs.items():
        secure = name.endswith("s")
        handlers[name] = {
            "class": "aviary.hub",
            "url": f"https://localhost:{hub.port}" if secure else f"http://{LOOPBACK}:{hub.port}",
            "transport": "grpc" if name.startswith("grpc") else "http",
            "token": TOKEN,
            "timeout": 5,
        } | (mutual if secure else {})
    # The port of a hub that speaks the other way.
    others = {"grpc to http": ("grpc", "http"), "http to grpc": ("http", "grpc")}
    for name, (transport, there) in others.items():
        if there in hubs:
            handlers[name] = {
                "class": "aviary.hub",
                "url": f"http://{LOOPBACK}:{hubs[there].port}",
                "transport": transport,
                "token": TOKEN,
                "timeout": 5,
            }

    with Canary(bin_dir, handlers=handlers, services=("ftp",)) as canary:

        def ask(*words: str) -> str:
            command = [str(bin_dir / "aviary"), "outputs", *words]
            environment = {"AVIARY_STATE_DIR": str(canary.directory / "state"), "HOME": str(canary.directory)}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20)
            assert done.returncode == 0, done.stderr
            return done.stdout

        touch(canary, "before-1", "before-2")
        failed: dict[str, str] = {}
        for name, hub in hubs.items():
            try:
                arrived(canary, hub.ids)
            except AssertionError as error:
                failed[name] = str(error)
            hub.kill()
        touch(canary, "during-1", "during-2", "during-3")
        for hub in hubs.values():
            hub.start()
        touch(canary, "after-1")

        def tried(name: str) -> None:
            assert name not in failed, failed[name]
            hub = hubs[name]
            arrived(canary, hub.ids)
            assert not hub.complaints, hub.complaints
            assert not hub.full, "never put off"

            def in_file() -> dict[str, Any]:
                return {event["aviary"]["id"]: event for event in canary.events()}

            # That an output works again is an event, too, and may be in a hub before it is in the file.
            until("everything in the file", lambda: hub.events.keys() <= in_file().keys())
            events = in_file()
            assert all(hub.events[one] == event for one, event in events.items() if one in hub.events), (
                "another event than in the file"
            )
            print(f"     {len(logins(canary))} logins in {hub.batches} batches, {hub.duplicates} sent twice")
            if name == "grpcs":
                assert hub.peers == {"canary-7"}, hub.peers

        for name in hubs:
            report.check(f"hub: {name}, killed and started again, and full in between", lambda name=name: tried(name))

        def rejected() -> None:
            # Between others, in one batch if they come fast enough.
            touch(canary, "good-1", BAD_USER, "good-2")
            wanted = [one for one, user in logins(canary).items() if user != BAD_USER]
            for name, hub in hubs.items():
                until(f"the others at {name}", lambda hub=hub: set(wanted) <= set(hub.ids()))
                assert [one for one in hub.ids() if one in wanted] == wanted, name
            bad = next(one for one, user in logins(canary).items() if user == BAD_USER)
            until("dead letters", lambda: ask("dead").count(REASON) == len(hubs))
            assert all(bad not in hub.events for hub in hubs.values())

        report.check("hub: one event is rejected, it is among the dead letters and the others arrive", rejected)

        def no_hub() -> None:
            def lines() -> dict[str, str]:
                return {name: line for line in ask().splitlines() for name in others if line.startswith(name)}

            said = {"grpc to http": "the connection to the hub broke", "http to grpc": "cannot send"}
            until("the errors", lambda: all(words in lines().get(name, "") for name, words in said.items()))
            shown = ask()
            print("\n".join(f"     {line}" for line in lines().values()))
            assert TOKEN not in shown and TOKEN not in canary.last_output(), "the token is told"

        if "grpc" in hubs:
            report.check("hub: what speaks another way is told as it is", no_hub)
    for hub in hubs.values():
        hub.kill()
    shutil.rmtree(folder, ignore_errors=True)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
