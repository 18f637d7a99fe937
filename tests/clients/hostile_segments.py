"""How bytes are cut into segments must change nothing: neither the answers nor the events."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import paramiko

from canary import LOOPBACK, Canary, connect, pkt_line, read_quiet, read_until, unverified_tls
from check_list import Checks
from hostile_probes import HTTP_REQUEST, http_form, send, ssh

CHECKS = Checks()
check = CHECKS.add

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
