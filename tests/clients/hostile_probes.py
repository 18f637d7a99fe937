"""What a sound service answers, and how the hostile checks ask it and read the log."""

from __future__ import annotations

import base64
import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager

import paramiko

from canary import LIFECYCLE, LOOPBACK, Canary, Event, connect, pkt_line, read_quiet, unverified_tls


def client_hello() -> bytes:
    """The first flight of a TLS client."""
    outgoing = ssl.MemoryBIO()
    client = unverified_tls().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="nas.example")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


GIT_REQUEST = pkt_line(b"git-upload-pack /probe.git\0host=git.example.org\0")
HTTP_REQUEST = b"GET /index.html HTTP/1.1\r\nHost: nas\r\nConnection: close\r\n\r\n"

PROBES: dict[str, tuple[bytes, bytes]] = {
    "ftp": (b"", rb"220[ -]"),
    "http": (HTTP_REQUEST, rb"HTTP/1\.1 200 "),
    "https": (HTTP_REQUEST, rb"HTTP/1\.1 200 "),
    "ssh": (b"", rb"SSH-2\.0-\S+"),
    "telnet": (b"", rb"(?s).*(sername|ogin): ?"),
    "redis": (b"PING\r\n", rb"(-NOAUTH|\+PONG)"),
    "git": (GIT_REQUEST, rb"00..ERR "),
    "tcpbanner_1": (b"", rb"220 plain ready\r\n"),
    "tcpbanner_2": (b"", rb"220 alert ready\r\n"),
    "tcpbanner_3": (b"", rb"220 keep-alive ready\r\n"),
}
"""What to send, and what the first bytes of the answer must look like."""


def probe(canary: Canary, service: str, timeout: float = 5.0) -> float:
    """Asserts that the service answers, and says after how many seconds."""
    request, wanted = PROBES[service]
    start = time.monotonic()
    data = b""
    try:
        with connect(canary.ports[service], timeout=timeout) as plain:
            peer = unverified_tls().wrap_socket(plain) if service == "https" else plain
            peer.sendall(request)
            while not re.match(wanted, data):
                peer.settimeout(max(0.001, start + timeout - time.monotonic()))
                chunk = peer.recv(65536)
                if not chunk:
                    break
                data += chunk
    except OSError as error:
        raise AssertionError(f"{service} does not answer: {error!r} after {data!r}") from None
    assert re.match(wanted, data), f"{service} answers {data[:200]!r}"
    return time.monotonic() - start


def all_answer(canary: Canary) -> None:
    assert canary.alive(), f"the process ended:\n{canary.last_output()}"
    for service in canary.ports:
        probe(canary, service)


def heard(canary: Canary, port: int, since: int, timeout: float = 5.0, source: str = LOOPBACK) -> Event:
    """An event of the connection that came from the port; its absence is a failure."""
    event = canary.wait_for(
        lambda e: e["src_port"] == port and e["src_host"] == source and e["logtype"] != LIFECYCLE, since, timeout
    )
    assert event is not None, f"no event tells of the connection from port {port}"
    return event


def send(peer: socket.socket, data: bytes) -> None:
    """Sends, and takes it as an answer when the server has closed."""
    try:
        peer.sendall(data)
    except OSError:
        pass


def say(canary: Canary, service: str, *parts: bytes, quiet: float = 0.3, tls: bool = False) -> bytes:
    """One connection: sends the parts, reads after each, closes; every service must then answer.

    Checks that an event tells of it.
    """
    mark = canary.mark()
    answer = b""
    with connect(canary.ports[service]) as plain:
        port = plain.getsockname()[1]
        peer = unverified_tls().wrap_socket(plain) if tls else plain
        for part in parts:
            send(peer, part)
            answer += read_quiet(peer, quiet)
    if any(parts):
        heard(canary, port, mark)
    for trace in (b"Traceback", b"panicked", b"RUST_BACKTRACE"):
        assert trace not in answer, f"the answer shows our insides: {answer[:400]!r}"
    all_answer(canary)
    return answer


def kept_whole(event: Event, key: str, sent: bytes) -> None:
    """Text with escapes in `logdata`, the whole bytes in `aviary.raw`."""
    text = event["logdata"][key]
    assert text == sent.decode("utf-8", "backslashreplace"), f"{key} is {text!r}"
    raw = event.get("aviary", {}).get("raw", {})
    assert key in raw, f"aviary.raw has no {key}, but {list(raw)}"
    assert base64.b64decode(raw[key], validate=True) == sent, f"aviary.raw.{key} is {raw[key]!r}"


def http_form(body: bytes, content_type: bytes = b"application/x-www-form-urlencoded") -> bytes:
    head = (
        b"POST /index.html HTTP/1.1\r\nHost: nas\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
    )
    return head % (content_type, len(body)) + body


@contextmanager
def ssh(canary: Canary, port: int | None = None) -> Iterator[paramiko.Transport]:
    """A client after key exchange."""
    transport = paramiko.Transport((LOOPBACK, port or canary.ports["ssh"]))
    try:
        transport.start_client(timeout=15)
        yield transport
    finally:
        transport.close()
