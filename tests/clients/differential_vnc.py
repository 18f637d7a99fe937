"""VNC as OpenCanary and Aviary log it.

OpenCanary takes each segment for a message, so every message goes in a segment of its own but where a
step is about that.
"""

from __future__ import annotations

import time
from typing import Any

from canary import Canary, connect, read_quiet
from differential_steps import step
from expected_differences import Difference
from service_vnc import V8, encrypt, exactly, login

SERVICES = ["vnc"]
# All steps come from one source.
SETTINGS: dict[str, Any] = {"vnc.blacklist": 0}

BYTES = "<16 bytes in hex>"
UNKNOWN = {
    "VNC Client Response": BYTES,
    "VNC Password": "<Password was not in the common list>",
    "VNC Server Challenge": BYTES,
}

DIFFERENCES: list[Difference] = [
    Difference(
        "vnc: version in two segments",
        "OpenCanary takes each segment for a message and closes",
        adds=((12001, UNKNOWN),),
    ),
    Difference(
        "vnc: macOS, version 003.889",
        "OpenCanary knows three versions and closes at any other; TigerVNC takes it for 3.8",
        adds=((12001, UNKNOWN),),
    ),
    Difference(
        "vnc: a password that OpenCanary has not in its list",
        "the list here holds the common passwords that reports name",
        key="VNC Password",
        opencanary="<Password was not in the common list>",
        aviary="letmein",
    ),
    Difference(
        "vnc: security type that was not offered",
        "OpenCanary takes any byte for VNC authentication; TigerVNC closes, and so the response is never asked for",
        missing=True,
    ),
]


@step("vnc", "a password of nobody's list, 3.8")
def _(canary: Canary, _port: int) -> None:
    login(canary, b"zq-81-xv")


@step("vnc", "a password of nobody's list, 3.7")
def _(canary: Canary, _port: int) -> None:
    login(canary, b"zq-81-xv", b"RFB 003.007\n")


@step("vnc", "common passwords")
def _(canary: Canary, _port: int) -> None:
    for password in (b"111111", b"password", b"administrator", b"root", b"passw0rd", b"1234", b"123456"):
        login(canary, password)


@step("vnc", "a password that OpenCanary has not in its list")
def _(canary: Canary, _port: int) -> None:
    login(canary, b"letmein")


@step("vnc", "version in two segments")
def _(_canary: Canary, port: int) -> None:
    by_hand(port, V8[:5], V8[5:], b"\2")


@step("vnc", "macOS, version 003.889")
def _(_canary: Canary, port: int) -> None:
    by_hand(port, b"RFB 003.889\n", b"\2")


@step("vnc", "security type that was not offered")
def _(_canary: Canary, port: int) -> None:
    by_hand(port, V8, b"\1")


@step("vnc", "a connection without a word")
def _(_canary: Canary, port: int) -> None:
    with connect(port) as peer:
        exactly(peer, 12)


def by_hand(port: int, *segments: bytes) -> None:
    with connect(port) as peer:
        exactly(peer, 12)
        answer = b""
        for segment in segments:
            peer.sendall(segment)
            time.sleep(0.05)
            answer += read_quiet(peer, 0.2)
        peer.sendall(encrypt(b"zq-81-xv", answer[-16:].ljust(16, b"?")))
        read_quiet(peer, 0.3)
