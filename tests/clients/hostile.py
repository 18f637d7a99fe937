"""Sends what an attacker, a scanner or a broken client sends, and looks whether the canary bears it.

After each input every service must still answer, and the log must tell of the connection. The
numbers T1, T3 ... are the robustness bugs that users met in other honeypots.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import random
import re
import resource
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko

from canary import (
    LIFECYCLE,
    LOOPBACK,
    OURS,
    Canary,
    Event,
    Report,
    arguments,
    chosen_bin_dir,
    connect,
    pkt_line,
    read_quiet,
    read_until,
    unverified_tls,
)

logging.getLogger("paramiko").setLevel(logging.CRITICAL)

FLOODER, IDLER, HOARDER = "127.0.0.2", "127.0.0.3", "127.0.0.4"
"""Sources of the load, so that limits for each source do not hit the probes from 127.0.0.1."""


# -- what a sound service answers ----------------------------------------------------------------


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


# -- T1, T3, T13, T29, T35: bytes that are not UTF-8 ---------------------------------------------

CHECKS: list[tuple[str, Callable[[Canary], None]]] = []


def check(name: str) -> Callable[[Callable[[Canary], None]], Callable[[Canary], None]]:
    def add(body: Callable[[Canary], None]) -> Callable[[Canary], None]:
        CHECKS.append((name, body))
        return body

    return add


def escaped(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


@check("ftp: credentials that are not UTF-8 (T1, T3)")
def _(canary: Canary) -> None:
    mark = canary.mark()
    say(canary, "ftp", b"USER a\xff\r\n", b"PASS \xfe\xc3 x\r\n")
    event = canary.logged(mark, 2000, {"USERNAME": escaped(b"a\xff")})
    kept_whole(event, "USERNAME", b"a\xff")
    kept_whole(event, "PASSWORD", b"\xfe\xc3 x")


def http_form(body: bytes, content_type: bytes = b"application/x-www-form-urlencoded") -> bytes:
    head = (
        b"POST /index.html HTTP/1.1\r\nHost: nas\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
    )
    return head % (content_type, len(body)) + body


for _scheme in ("http", "https"):

    def _form(canary: Canary, scheme: str = _scheme) -> None:
        mark = canary.mark()
        tls = scheme == "https"
        say(canary, scheme, http_form(b"username=b%ff%fe%00&password=%80x"), tls=tls)
        event = canary.logged(mark, 3001, {"USERNAME": escaped(b"b\xff\xfe\x00")})
        kept_whole(event, "USERNAME", b"b\xff\xfe\x00")
        kept_whole(event, "PASSWORD", b"\x80x")

    def _agent(canary: Canary, scheme: str = _scheme) -> None:
        mark = canary.mark()
        tls = scheme == "https"
        say(canary, scheme, b"GET /index.html HTTP/1.0\r\nUser-Agent: \xff\xfeagent\r\n\r\n", tls=tls)
        kept_whole(canary.logged(mark, 3000, {"USERAGENT": escaped(b"\xff\xfeagent")}), "USERAGENT", b"\xff\xfeagent")

    check(f"{_scheme}: form that is not UTF-8 (T1, T29)")(_form)
    check(f"{_scheme}: user agent that is not UTF-8 (T1)")(_agent)


@check("ssh: user name and password that are not UTF-8 (T1, T13)")
def _(canary: Canary) -> None:
    mark = canary.mark()
    user, password = b"r\xffot", b"\xff\xfe\x00 pw"
    with ssh(canary) as transport:
        try:
            transport.auth_password(user, password)
        except paramiko.AuthenticationException:
            pass
    event = canary.logged(mark, 4002, {"USERNAME": escaped(user)})
    kept_whole(event, "USERNAME", user)
    kept_whole(event, "PASSWORD", password)
    all_answer(canary)


@check("ssh: version line that is not UTF-8 (T1)")
def _(canary: Canary) -> None:
    say(canary, "ssh", b"SSH-2.0-\xff\xfeclient\r\n")


@check("telnet: credentials that are not UTF-8 (T1)")
def _(canary: Canary) -> None:
    mark = canary.mark()
    # IAC stands for itself when it is doubled.
    say(canary, "telnet", b"us\xff\xffer\r\n", b"p\xfe\xfdw\r\n")
    event = canary.logged(mark, 6001, {"USERNAME": escaped(b"us\xffer")})
    kept_whole(event, "USERNAME", b"us\xffer")
    kept_whole(event, "PASSWORD", b"p\xfe\xfdw")


@check("redis: password that is not UTF-8 (T1, T25)")
def _(canary: Canary) -> None:
    mark = canary.mark()
    secret = b"\xff\xfe\x00pw"
    say(canary, "redis", b"*2\r\n$4\r\nAUTH\r\n$5\r\n" + secret + b"\r\n")
    kept_whole(canary.logged(mark, 17001, {"CMD": "AUTH", "ARGS": escaped(secret)}), "ARGS", secret)


@check("git: path and host that are not UTF-8 (T1, T35)")
def _(canary: Canary) -> None:
    mark = canary.mark()
    say(canary, "git", pkt_line(b"git-upload-pack /caf\xe9.git\0host=h\xff\0"))
    event = canary.logged(mark, 16001, {"REPO": escaped(b"caf\xe9.git")})
    kept_whole(event, "REPO", b"caf\xe9.git")
    kept_whole(event, "HOST", b"h\xff")


@check("tcpbanner: data that is not UTF-8 (T1, T51)")
def _(canary: Canary) -> None:
    mark = canary.mark()
    data = b"\xff\xfe\x00 SECRET-WORD"
    say(canary, "tcpbanner_2", data)
    kept_whole(canary.logged(mark, 18005, {"DATA": escaped(data)}), "DATA", data)
    mark = canary.mark()
    say(canary, "tcpbanner_3", b"\x80\x81keep")
    kept_whole(canary.logged(mark, 18004, {"DATA": escaped(b"\x80\x81keep")}), "DATA", b"\x80\x81keep")


# -- segments: how bytes are cut must change nothing ---------------------------------------------

DIALOGUES: dict[str, list[bytes]] = {
    "ftp": [b"USER seg\r\n", b"PASS mented\r\n", b"QUIT\r\n"],
    "http": [http_form(b"username=seg&password=mented").replace(b"Connection: close\r\n", b""), HTTP_REQUEST],
    "https": [http_form(b"username=seg&password=mented").replace(b"Connection: close\r\n", b""), HTTP_REQUEST],
    "telnet": [b"seg\r\n", b"mented\r\n"],
    "redis": [
        b"*2\r\n$4\r\nAUTH\r\n$9\r\nsegmented\r\n",
        b"INFO server\r\n",
        b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$2\r\nab\r\n",
        b"QUIT\r\n",
    ],
    "git": [pkt_line(b"git-upload-pack /seg.git\0host=git.example.org\0\0version=2\0")],
}
"""A whole dialogue a service. SSH has its own check. `tcpbanner` is not here: OpenCanary answers and
logs each piece that arrives, so how the bytes are cut matters there by definition."""

VOLATILE_KEYS = {"SESSION", "DURATION_MS", "COOKIE"}
VOLATILE_LINES = re.compile(rb"(?im)^(date|set-cookie|expires|last-modified|etag):.*\r\n")


def comparable_events(canary: Canary, mark: int, port: int) -> list[tuple[int, str]]:
    """Log type and data of the connection's events, without what no two connections share."""
    found = []
    for event in canary.settle(mark, at_least=1, quiet=0.5):
        if event["src_port"] == port and event["src_host"] == LOOPBACK:
            data = event["logdata"]
            if isinstance(data, dict):
                data = {key: value for key, value in data.items() if key not in VOLATILE_KEYS}
            found.append((event["logtype"], json.dumps(data, sort_keys=True)))
    return found


def dialogue(canary: Canary, service: str, pieces: list[bytes], pause: float) -> tuple[list[tuple[int, str]], bytes]:
    """Plays the pieces and returns the events and the whole answer.

    `pause` is the wait between two pieces: with 0 the answer to each piece is awaited.
    """
    mark = canary.mark()
    with relay(canary.ports[service]) as (port, sources, hand_over):
        with socket.create_connection((LOOPBACK, port), 10) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            hand_over(pause)
            peer = unverified_tls().wrap_socket(plain) if service == "https" else plain
            answer = read_until(peer, b"\n", 1.0) if service in ("ftp", "telnet") else b""
            answer += read_quiet(peer, 0.2) if service == "telnet" else b""
            for piece in pieces:
                send(peer, piece)
                if not pause:
                    answer += read_quiet(peer, 0.3)
            # A failed login may be answered late, as the product does it.
            answer += read_quiet(peer, 4.0, timeout=12.0)
        source = sources[0]
    return comparable_events(canary, mark, source), VOLATILE_LINES.sub(b"", answer)


@contextmanager
def relay(target: int) -> Iterator[tuple[int, list[int], Callable[[float], None]]]:
    """A port that passes one connection on to the target.

    Yields the port, the source port it uses towards the target, and a function that sets the pause:
    above 0, every byte goes alone and is followed by that pause.
    """
    pause = 0.0
    sources: list[int] = []

    def set_pause(seconds: float) -> None:
        nonlocal pause
        pause = seconds

    def forward(source: socket.socket, sink: socket.socket, cut: bool) -> None:
        try:
            while data := source.recv(65536):
                if cut and pause:
                    for n in range(len(data)):
                        sink.sendall(data[n : n + 1])
                        time.sleep(pause)
                else:
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            sink.close()

    with socket.create_server((LOOPBACK, 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            server = connect(target, timeout=30)
            client.settimeout(30)
            sources.append(server.getsockname()[1])
            back = threading.Thread(target=forward, args=(server, client, False), daemon=True)
            back.start()
            forward(client, server, True)
            back.join(30)
            client.close()
            server.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], sources, set_pause
        thread.join(15)


for _service, _messages in DIALOGUES.items():

    def _bytewise(canary: Canary, service: str = _service, messages: list[bytes] = _messages) -> None:
        whole, answer = dialogue(canary, service, [b"".join(messages)], 0)
        single, single_answer = dialogue(canary, service, messages, 0.0005)
        assert whole, "no event at all"
        assert single_answer == answer, f"answers differ:\none segment  {answer!r}\nbyte by byte {single_answer!r}"
        assert single == whole, f"events differ:\none segment  {whole}\nbyte by byte {single}"

    def _coalesced(canary: Canary, service: str = _service, messages: list[bytes] = _messages) -> None:
        turns, answer = dialogue(canary, service, messages, 0)
        whole, whole_answer = dialogue(canary, service, [b"".join(messages)], 0)
        assert turns, "no event at all"
        assert whole_answer == answer, f"answers differ:\nturn by turn {answer!r}\none segment  {whole_answer!r}"
        assert whole == turns, f"events differ:\nturn by turn {turns}\none segment  {whole}"

    check(f"{_service}: byte by byte is as one segment")(_bytewise)
    if len(_messages) > 1:
        check(f"{_service}: coalesced is as turn by turn")(_coalesced)


@contextmanager
def ssh(canary: Canary, port: int | None = None) -> Iterator[paramiko.Transport]:
    """A client after key exchange."""
    transport = paramiko.Transport((LOOPBACK, port or canary.ports["ssh"]))
    try:
        transport.start_client(timeout=15)
        yield transport
    finally:
        transport.close()


@check("ssh: byte by byte is as one segment")
def _(canary: Canary) -> None:
    results = []
    for pause in (0.0, 0.0003):
        mark = canary.mark()
        with relay(canary.ports["ssh"]) as (port, sources, set_pause):
            set_pause(pause)
            with ssh(canary, port) as transport:
                try:
                    transport.auth_password("seg", "mented")
                except paramiko.AuthenticationException:
                    pass
        results.append(comparable_events(canary, mark, sources[0]))
    assert any(logtype == 4002 for logtype, _ in results[0]), f"no login logged: {results[0]}"
    assert results[0] == results[1], f"events differ:\none segment  {results[0]}\nbyte by byte {results[1]}"


# -- cut off, too long, silent, garbage ----------------------------------------------------------

FIRST_WORDS: dict[str, bytes] = {
    "ftp": b"USER someone\r\nPASS secret\r\n",
    "http": http_form(b"username=cut&password=off"),
    "https": client_hello(),
    "ssh": b"SSH-2.0-x\r\n" + bytes.fromhex("0000001c0a14") + bytes(26),
    "telnet": b"someone\r\nsecret\r\n",
    "redis": b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n",
    "git": GIT_REQUEST,
    "tcpbanner_1": b"hello there\r\n",
    "tcpbanner_2": b"a SECRET-WORD\r\n",
    "tcpbanner_3": b"open-sesame\r\n",
}

TOO_LONG: dict[str, tuple[bytes, bytes]] = {
    "ftp": (b"USER ", b"\r\n"),
    "http": (b"GET /", b" HTTP/1.1\r\nHost: nas\r\n\r\n"),
    "https": (b"GET /", b" HTTP/1.1\r\nHost: nas\r\n\r\n"),
    "ssh": (b"SSH-2.0-", b"\r\n"),
    "telnet": (b"", b"\r\n"),
    "redis": (b"GET ", b"\r\n"),
    "git": (b"fff0git-upload-pack /", b"\0"),
    "tcpbanner_1": (b"", b"\r\n"),
    "tcpbanner_2": (b"SECRET-WORD", b"\r\n"),
    "tcpbanner_3": (b"", b"\r\n"),
}

GARBAGE: dict[str, bytes] = {
    "every byte": bytes(range(256)) * 4,
    "4,096 random bytes": random.Random(1).randbytes(4096),
    "zeros": bytes(2048),
    "a TLS hello": client_hello(),
    "an HTTP request": HTTP_REQUEST,
    "an SMB negotiation": bytes.fromhex("00000054ff534d4272000000001843c8000000000000000000000000fffe") + bytes(50),
    "an RDP request": bytes.fromhex(
        "0300002a25e00000000000436f6f6b69653a206d737473686173683d61646d696e0d0a0100080003000000"
    ),
    "control bytes and a line end": b"\x00\x01garbage\r\n\r\n",
    "telnet options": b"\xff\xfd\x01\xff\xfb\x18\xff\xfa\x18\x00xterm\xff\xf0\xff\xff\xff\xf4\r\n",
    "format strings and quotes": b"%s%n%x ${jndi:ldap://x/} '\"`;|$(id) \\x00 {{7*7}}\r\n",
}

for _service in FIRST_WORDS:

    def _truncated(canary: Canary, service: str = _service) -> None:
        words = FIRST_WORDS[service]
        for length in (1, len(words) // 2, len(words) - 1):
            for abrupt in (False, True):
                mark = canary.mark()
                with connect(canary.ports[service]) as peer:
                    port = peer.getsockname()[1]
                    peer.sendall(words[:length])
                    time.sleep(0.05)
                    if abrupt:  # closing then sends a reset
                        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                try:
                    heard(canary, port, mark)
                except AssertionError as error:
                    end = "a reset" if abrupt else "closing"
                    raise AssertionError(f"{error}, which sent {words[:length]!r} before {end}") from None
        all_answer(canary)

    def _too_long(canary: Canary, service: str = _service) -> None:
        before = canary.memory()
        start, end = TOO_LONG[service]
        say(canary, service, start + b"A" * 1_000_000 + end, tls=service == "https")
        grown = canary.memory() - before
        assert grown < 16 * 1024, f"memory grew by {grown} KiB"

    def _silent(canary: Canary, service: str = _service) -> None:
        with connect(canary.ports[service]):
            time.sleep(0.5)
            all_answer(canary)

    check(f"{_service}: cut off, then closed or reset")(_truncated)
    check(f"{_service}: a line of 1 MB")(_too_long)
    check(f"{_service}: a silent peer")(_silent)
    for _what, _bytes in GARBAGE.items():

        def _garbage(canary: Canary, service: str = _service, data: bytes = _bytes) -> None:
            say(canary, service, data)

        check(f"{_service}: {_what}")(_garbage)


@check("https: garbage inside TLS")
def _(canary: Canary) -> None:
    for data in (b"\x00\x01garbage\r\n\r\n", bytes(range(256)), b"GET\r\n\r\n"):
        say(canary, "https", data, tls=True)


# -- one service each ----------------------------------------------------------------------------


@check("ftp: PASS without an argument (T3)")
def _(canary: Canary) -> None:
    mark = canary.mark()
    say(canary, "ftp", b"USER t3\r\n", b"PASS\r\n")
    canary.logged(mark, 2000, {"USERNAME": "t3", "PASSWORD": ""})


@check("telnet: lines that end in CR NUL (T5)")
def _(canary: Canary) -> None:
    mark = canary.mark()
    say(canary, "telnet", b"charmode\r\0", b"charpass\r\0")
    canary.logged(mark, 6001, {"USERNAME": "charmode", "PASSWORD": "charpass"})
    mark = canary.mark()
    say(canary, "telnet", b"together\r\0twopass\r\0")
    canary.logged(mark, 6001, {"USERNAME": "together", "PASSWORD": "twopass"})


@check("telnet: subnegotiation without an end")
def _(canary: Canary) -> None:
    mark = canary.mark()
    say(canary, "telnet", b"\xff\xfa\x18" + b"A" * 100_000)
    canary.logged(mark, 6001, {"ERROR": "Telnet subnegotiation buffer limit reached"})


@check("telnet: 10,000 option requests")
def _(canary: Canary) -> None:
    answer = say(canary, "telnet", b"\xff\xfd\x63\xff\xfb\x63" * 5_000)
    assert len(answer) < 100_000, f"{len(answer)} bytes of answer"


@check("ssh: truncated KEXINIT (T9)")
def _(canary: Canary) -> None:
    # A packet of 12 bytes: padding length 4, message 20, and 6 bytes of a cookie of 16.
    say(canary, "ssh", b"SSH-2.0-x\r\n" + bytes.fromhex("0000000c0414") + bytes(10))


@check("ssh: two KEXINITs (T13)")
def _(canary: Canary) -> None:
    names = (
        b"curve25519-sha256", b"ssh-ed25519", b"aes128-ctr", b"aes128-ctr",
        b"hmac-sha2-256", b"hmac-sha2-256", b"none", b"none", b"", b"",
    )  # fmt: skip
    payload = b"\x14" + bytes(16) + b"".join(len(n).to_bytes(4, "big") + n for n in names) + bytes(5)
    padding = 4 + (-(5 + len(payload) + 4)) % 8
    packet = (1 + len(payload) + padding).to_bytes(4, "big") + bytes([padding]) + payload + bytes(padding)
    say(canary, "ssh", b"SSH-2.0-x\r\n" + packet + packet)


@check("ssh: packet length past every limit")
def _(canary: Canary) -> None:
    say(canary, "ssh", b"SSH-2.0-x\r\n\xff\xff\xff\xff" + bytes(64))


@check("ssh: truncated USERAUTH (T13)")
def _(canary: Canary) -> None:
    mark = canary.mark()
    with ssh(canary) as transport:
        port = transport.sock.getsockname()[1]
        request = paramiko.Message()
        request.add_byte(b"\x05")  # SSH_MSG_SERVICE_REQUEST
        request.add_string("ssh-userauth")
        transport._send_message(request)
        cut = paramiko.Message()
        cut.add_byte(b"\x32")  # SSH_MSG_USERAUTH_REQUEST, whose user name claims more than there is
        cut.add_int(1000)
        cut.add_bytes(b"root")
        transport._send_message(cut)
        transport.join(3)
    heard(canary, port, mark)
    all_answer(canary)


@check("ssh: client with ed25519 and curve25519 only (T11)")
def _(canary: Canary) -> None:
    mark = canary.mark()
    transport = paramiko.Transport((LOOPBACK, canary.ports["ssh"]))
    options = transport.get_security_options()
    options.key_types = ("ssh-ed25519",)
    options.kex = ("curve25519-sha256@libssh.org",)
    try:
        transport.start_client(timeout=10)
        transport.auth_password("t11", "only ed25519")
    except paramiko.AuthenticationException:
        pass
    finally:
        transport.close()
    canary.logged(mark, 4002, {"USERNAME": "t11", "PASSWORD": "only ed25519"})


REDIS_REPLIES: dict[str, tuple[bytes, bytes, bool]] = {
    # name: request, reply, whether the server then closes; as every server since 6.0.16 does it
    "GET without arguments (T25)": (
        b"*1\r\n$3\r\nGET\r\n", b"-ERR wrong number of arguments for 'get' command\r\n", False,
    ),
    "QUIT (T25)": (b"*1\r\n$4\r\nQUIT\r\n", b"+OK\r\n", True),
    "*0 and then PING (T25)": (b"*0\r\nPING\r\n", b"-NOAUTH Authentication required.\r\n", False),
    "quotes not closed (T25)": (b'SET "a\r\n', b"-ERR Protocol error: unbalanced quotes in request\r\n", True),
    # 512 MB is the limit for all, 16 KiB for those who have not logged in.
    "bulk of 1 GB (T27)": (b"*1\r\n$1000000000\r\n", b"-ERR Protocol error: invalid bulk length\r\n", True),
    "bulk of 100 MB (T27)": (
        b"*1\r\n$100000000\r\n", b"-ERR Protocol error: unauthenticated bulk length\r\n", True,
    ),
    "negative bulk (T27)": (b"*1\r\n$-5\r\n", b"-ERR Protocol error: invalid bulk length\r\n", True),
    "11 elements (T27)": (b"*11\r\n", b"-ERR Protocol error: unauthenticated multibulk length\r\n", True),
    "inline of 65 KB (T27)": (b"A" * 66_000, b"-ERR Protocol error: too big inline request\r\n", True),
    "no dollar sign": (b"*1\r\nPING\r\n", b"-ERR Protocol error: expected '$', got 'P'\r\n", True),
    "multibulk that is no number": (b"*x\r\n", b"-ERR Protocol error: invalid multibulk length\r\n", True),
}  # fmt: skip

for _what, (_request, _reply, _closes) in REDIS_REPLIES.items():

    def _redis(canary: Canary, request: bytes = _request, reply: bytes = _reply, closes: bool = _closes) -> None:
        mark = canary.mark()
        with connect(canary.ports["redis"]) as peer:
            port = peer.getsockname()[1]
            peer.sendall(request)
            answer = read_quiet(peer, 0.5)
            assert answer == reply, f"the answer is {answer!r}"
            send(peer, b"PING\r\n")
            after = read_quiet(peer, 0.5)
            assert (after == b"") == closes, f"a PING after it is answered by {after!r}"
        heard(canary, port, mark)
        all_answer(canary)

    check(f"redis: {_what}")(_redis)


HTTP_REQUESTS: dict[str, tuple[bytes, dict[str, str]]] = {
    "POST to /login.php (T31)": (
        http_form(b"username=u31&password=p31").replace(b"/index.html", b"/login.php"),
        {"USERNAME": "u31", "PASSWORD": "p31"},
    ),
    "POST of JSON (T31)": (
        http_form(b'{"username": "ju", "password": "jp31"}', b"application/json"),
        {"USERNAME": "ju", "PASSWORD": "jp31"},
    ),
    "multipart (T31)": (
        http_form(
            b'--X\r\nContent-Disposition: form-data; name="username"\r\n\r\nmu\r\n'
            b'--X\r\nContent-Disposition: form-data; name="password"\r\n\r\nmp31\r\n--X--\r\n',
            b"multipart/form-data; boundary=X",
        ),
        {"USERNAME": "mu", "PASSWORD": "mp31"},
    ),
    "Basic credentials (T31)": (
        b"GET /index.html HTTP/1.1\r\nHost: nas\r\nConnection: close\r\nAuthorization: Basic "
        + base64.b64encode(b"basicuser:basic:pass")
        + b"\r\n\r\n",
        {"USERNAME": "basicuser", "PASSWORD": "basic:pass"},
    ),
    "HEAD (T31)": (b"HEAD /index.html HTTP/1.0\r\n\r\n", {}),
    "PUT (T31)": (b"PUT /x HTTP/1.1\r\nHost: nas\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx", {}),
    "PROPFIND (T31)": (b"PROPFIND / HTTP/1.1\r\nHost: nas\r\nDepth: 1\r\nConnection: close\r\n\r\n", {}),
    "OPTIONS": (b"OPTIONS * HTTP/1.1\r\nHost: nas\r\nConnection: close\r\n\r\n", {}),
    "traversal": (b"GET /../../etc/passwd HTTP/1.1\r\nHost: nas\r\nConnection: close\r\n\r\n", {}),
    "two lengths": (b"POST / HTTP/1.1\r\nHost: nas\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", {}),
    "length and chunks": (
        b"POST /index.html HTTP/1.1\r\nHost: nas\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        {},
    ),
    "chunk of 2^64 bytes": (
        b"POST /index.html HTTP/1.1\r\nHost: nas\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nab",
        {},
    ),
    "length of 2^63": (
        b"POST /index.html HTTP/1.1\r\nHost: nas\r\nContent-Length: 9223372036854775808\r\n\r\nusername=a",
        {},
    ),
    "10,000 headers": (b"GET / HTTP/1.1\r\nHost: nas\r\n" + b"X-A: b\r\n" * 10_000 + b"\r\n", {}),
    "header without a colon": (b"GET / HTTP/1.1\r\nHost nas\r\n\r\n", {}),
    "HTTP/9.9": (b"GET / HTTP/9.9\r\n\r\n", {}),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {}),
}

for _scheme in ("http", "https"):
    for _what, (_request, _data) in HTTP_REQUESTS.items():

        def _http(
            canary: Canary, scheme: str = _scheme, request: bytes = _request, data: dict[str, str] = _data
        ) -> None:
            mark = canary.mark()
            answer = say(canary, scheme, request, tls=scheme == "https")
            assert answer, "no answer"
            if data:
                canary.logged(mark, None, data)

        check(f"{_scheme}: {_what}")(_http)


GIT_REQUESTS: dict[str, tuple[bytes, str]] = {
    "declared length one too long (T35)": (b"002f" + GIT_REQUEST[4:], ""),
    "declared length one too short (T35)": (b"%04x" % (len(GIT_REQUEST) - 1) + GIT_REQUEST[4:], ""),
    "push (T35)": (pkt_line(b"git-receive-pack /t35.git\0host=h\0"), "t35.git"),
    "archive": (pkt_line(b"git-upload-archive /t35a.git\0host=h\0"), "t35a.git"),
    "length 0, 1, 2, 3": (b"0000000100020003", ""),
    "length fff5": (b"fff5" + b"A" * 65_530, ""),
    "length that is no number": (b"zzzzgit-upload-pack /x\0", ""),
    "path of dots": (pkt_line(b"git-upload-pack /../../../etc/shadow\0host=h\0"), ""),
    "protocol 2 (T35)": (pkt_line(b"git-upload-pack /v2.git\0host=h.example\0\0version=2\0"), "v2.git"),
}

for _what, (_request, _repo) in GIT_REQUESTS.items():

    def _git(canary: Canary, request: bytes = _request, repo: str = _repo) -> None:
        mark = canary.mark()
        answer = say(canary, "git", request)
        assert b"\0" not in answer, f"the answer carries a NUL: {answer!r}"
        if repo:
            assert re.match(rb"[0-9a-f]{4}ERR .*%s" % re.escape(repo.encode()), answer), f"the answer is {answer!r}"
            canary.mentioned(mark, repo, request[4:].split()[0].decode())
        if b"upload-pack" in request and repo:
            event = canary.logged(mark, 16001, {"REPO": repo})
            assert "\0" not in event["logdata"]["HOST"], f"HOST is {event['logdata']['HOST']!r}"

    check(f"git: {_what}")(_git)


@check("git: request in two segments (T35)")
def _(canary: Canary) -> None:
    mark = canary.mark()
    say(canary, "git", GIT_REQUEST[:20], GIT_REQUEST[20:])
    canary.logged(mark, 16001, {"REPO": "probe.git", "HOST": "git.example.org"})


@check("tcpbanner: data without any alert string (T51)")
def _(canary: Canary) -> None:
    mark = canary.mark()
    say(canary, "tcpbanner_1", b"\x16\x03\x01plain data")
    event = canary.wait_for(lambda e: "plain data" in str(e["logdata"]), mark)
    assert event is not None, "no event tells of the data"


# -- load ----------------------------------------------------------------------------------------


def watch(canary: Canary, seconds: float, busy: str) -> tuple[dict[str, float], list[str]]:
    """Probes all services but the busy one, over and over, for that long: worst answer times, failures."""
    worst: dict[str, float] = {}
    failures: list[str] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for service in canary.ports:
            if service != busy:
                try:
                    worst[service] = max(worst.get(service, 0.0), probe(canary, service))
                except AssertionError as error:
                    failures.append(str(error))
        time.sleep(0.1)
    return worst, failures


@check("redis: 2,000 connections a second for 2 s from one source")
def _(canary: Canary) -> None:
    mark = canary.mark()
    sent = refused = 0

    def flood() -> None:
        nonlocal sent, refused
        start = time.monotonic()
        for n in range(4_000):
            time.sleep(max(0.0, start + n / 2_000 - time.monotonic()))
            try:
                with socket.create_connection((LOOPBACK, canary.ports["redis"]), 2, (FLOODER, 0)) as peer:
                    peer.sendall(b"PING\r\n")
                    sent += 1
            except OSError:
                refused += 1
        print(f"     4,000 connections in {time.monotonic() - start:.1f} s, {refused} refused", flush=True)

    thread = threading.Thread(target=flood)
    thread.start()
    worst, failures = watch(canary, 2.0, "redis")
    thread.join()
    assert not failures, "\n".join(failures[:5])
    slowest = max(worst, key=lambda service: worst[service])
    print(f"     slowest answer meanwhile: {slowest}, {worst[slowest] * 1000:.0f} ms", flush=True)
    all_answer(canary)
    deadline = time.monotonic() + 20
    while (told := pings(canary, mark)) < sent and time.monotonic() < deadline:
        time.sleep(0.2)
    print(f"     {told} of {sent} connections have an event of their own", flush=True)
    counted = limit_events(canary, mark, FLOODER)
    assert told == sent or (told < sent and counted), f"{told} events of {sent} connections, and no count of the rest"


def pings(canary: Canary, mark: int) -> int:
    """Commands of the flood that were logged; source ports are used again, so they are no measure."""
    return sum(e["logtype"] == 17001 and e["src_host"] == FLOODER for e in canary.events(mark))


def limit_events(canary: Canary, mark: int, source: str) -> list[Event]:
    """Events that count what was refused: of that source, ours, and about a limit."""
    return [
        e
        for e in canary.events(mark)
        if e["src_host"] == source
        and isinstance(e["logtype"], int)
        and e["logtype"] >= OURS
        and re.search(r"(?i)refus|limit|drop|evict", json.dumps([e["logdata"], e.get("aviary", {}).get("kind", "")]))
    ]


@check("telnet: 5,000 idle connections from one source")
def _(canary: Canary) -> None:
    before = canary.memory()
    peers: list[socket.socket] = []
    refused = 0
    try:
        for _ in range(5_000):
            try:
                peers.append(connect(canary.ports["telnet"], IDLER, timeout=1.0))
            except OSError:
                refused += 1
                if refused > 20:
                    break
        held = canary.memory() - before
        still = sum(map(is_open, peers))
        print(f"     {len(peers)} made, {refused} refused, {still} still open; memory grew by {held} KiB", flush=True)
        all_answer(canary)
        assert held < 64 * 1024, f"memory grew by {held} KiB"
    finally:
        for peer in peers:
            peer.close()
    all_answer(canary)


def is_open(peer: socket.socket) -> bool:
    """Whether the server has left the connection open; what it said is read away."""
    peer.setblocking(False)
    try:
        while peer.recv(4096):
            pass
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def open_file_limit(bin_dir: Path | None) -> None:
    """A canary of its own that may open 256 files, and 400 connections to one service."""
    with Canary(bin_dir, open_files=256) as canary:
        peers: list[socket.socket] = []
        try:
            for _ in range(400):
                try:
                    peers.append(connect(canary.ports["redis"], HOARDER, timeout=0.5))
                except OSError:
                    break
            time.sleep(0.5)
            assert canary.alive(), f"the process ended:\n{canary.last_output()}"
            for service in canary.ports:
                if service != "redis":
                    probe(canary, service)
        finally:
            for peer in peers:
                peer.close()
        time.sleep(0.5)
        all_answer(canary)
        output = canary.output.read_text(errors="replace")
        assert len(output) < 200_000, f"{len(output)} bytes of complaints"


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", metavar="TEXT", help="only checks whose name contains the text")
    options = parser.parse_args()
    bin_dir = chosen_bin_dir(parser, options)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    report = Report()
    chosen = [(name, body) for name, body in CHECKS if not options.only or options.only in name]
    if chosen:
        with Canary(bin_dir) as canary:
            for name, body in chosen:
                if not canary.alive():
                    report.fail(name, "the process had ended; it is started again")
                    canary.start()
                    continue
                report.check(name, lambda body=body: body(canary))  # type: ignore[misc]
            output = canary.output.read_text(errors="replace")
            if bin_dir:
                report.check("no panic in the output", lambda: no_panic(output))
    name = "open-file limit: 256 files, 400 connections to one service"
    if not options.only or options.only in name:
        report.check(name, lambda: open_file_limit(bin_dir))
    return report.finish()


def no_panic(output: str) -> None:
    found = re.search(r"(?m)^.*panicked.*(\n.*){0,3}", output)
    assert not found, found and found[0]


if __name__ == "__main__":
    sys.exit(main())
