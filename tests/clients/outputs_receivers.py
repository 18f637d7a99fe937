"""What the checks of outputs share: receivers that can be killed and started again, and what must have arrived."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from canary import LOOPBACK, Canary, connect, free_ports, needs, read_until

LOGIN = 2000
"""The log type of a login at the FTP service."""


def touch(canary: Canary, *users: str) -> None:
    """A login at the FTP service for each user; returns when all are in the log file."""
    since = canary.mark()
    for user in users:
        with connect(canary.ports["ftp"]) as peer:
            read_until(peer, b"\r\n")
            peer.sendall(f"USER {user}\r\n".encode())
            read_until(peer, b"\r\n")
            # The answer takes its time, the event does not.
            peer.sendall(b"PASS a\\b|=\"]'\r\n")
    for user in users:
        canary.logged(since, LOGIN, {"USERNAME": user})


def until(what: str, check: Callable[[], Any], timeout: float = 20.0) -> Any:
    """What the check gives once it gives something."""
    deadline = time.monotonic() + timeout
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.02)


def logins(canary: Canary) -> dict[str, str]:
    """Id and user of every login in the log file, in order."""
    return {e["aviary"]["id"]: e["logdata"]["USERNAME"] for e in canary.events() if e["logtype"] == LOGIN}


def arrived(canary: Canary, got: Callable[[], list[str]], twice: bool = False) -> None:
    """Every login's id has arrived, the first sights in order, and none twice unless that may be."""
    wanted = list(logins(canary))

    def all_there() -> bool:
        return set(wanted) <= set(got())

    try:
        until("every login", all_there)
    except AssertionError:
        missing = [logins(canary)[one] for one in wanted if one not in got()]
        raise AssertionError(f"lost: {missing}\n{canary.last_output()}") from None
    seen = [one for one in got() if one in wanted]
    assert list(dict.fromkeys(seen)) == wanted, f"another order: {[logins(canary)[one] for one in seen]}"
    assert twice or len(seen) == len(set(seen)), f"twice: {[logins(canary)[one] for one in seen]}"


def certificate(folder: Path) -> None:
    """A certificate for `localhost` that is its own authority, and its key."""
    needs("openssl")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    extension = ["-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*command.split(), *extension, *files], check=True, capture_output=True)


class Daemon:
    """A program that is killed with -9 and started again."""

    def __init__(self, *command: str, port: int, environment: dict[str, str] | None = None) -> None:
        self.command, self.port, self.environment = command, port, environment
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=self.environment
        )

        def listens() -> bool:
            assert self.process is not None and self.process.poll() is None, f"{self.command[0]} ended"
            try:
                connect(self.port, timeout=1).close()
            except OSError:
                return False
            return True

        until(f"{self.command[0]} to listen", listens)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Web:
    """An HTTP receiver in this process; a subclass's `take` answers. Killed, it keeps what it has stored."""

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        self.lock = threading.Lock()
        self.complaints: list[str] = []
        self.server: ThreadingHTTPServer | None = None
        self.start()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        raise NotImplementedError

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                headers = {name.lower(): value for name, value in self.headers.items()}
                if receiver.server is None or len(body) < length:
                    self.close_connection = True
                    return
                try:
                    with receiver.lock:
                        status, answer = receiver.take(self.path, headers, body)
                except (AssertionError, ValueError, KeyError) as error:
                    receiver.complaints.append(f"{self.path}: {error!r}")
                    status, answer = 400, b"complaint"
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_: Any) -> None:
                pass  # the sender went away in the middle

        self.server = Server((LOOPBACK, self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def kill(self) -> None:
        if self.server:
            server, self.server = self.server, None
            server.shutdown()
            server.server_close()
