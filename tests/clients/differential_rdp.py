"""Remote Desktop: what OpenCanary tells of a connection, and where it tells too much or too little."""

from __future__ import annotations

from typing import Any

from canary import Canary
from differential_steps import raw, step
from expected_differences import Difference
from service_rdp import request

SERVICES = ["rdp"]
SETTINGS: dict[str, Any] = {}

CLIENT_HELLO = bytes.fromhex("16030100310100002d0303") + b"A" * 32 + bytes.fromhex("0000041301002f010000")


@step("rdp", "a cookie")
def _(_canary: Canary, port: int) -> None:
    raw(port, request(b"alice", 3))


@step("rdp", "no cookie")
def _(_canary: Canary, port: int) -> None:
    raw(port, request(protocols=1))


@step("rdp", "a name with a domain")
def _(_canary: Canary, port: int) -> None:
    raw(port, request(b"CORP\\bob.smith", 3))


@step("rdp", "a client that begins TLS")
def _(_canary: Canary, port: int) -> None:
    raw(port, request(b"carol", 3), CLIENT_HELLO)


@step("rdp", "another protocol")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"GET / HTTP/1.0\r\n\r\n")


DIFFERENCES = [
    Difference(
        "rdp: a name with a domain",
        "OpenCanary's pattern ends the name at the first character beyond letters, digits, `-`, `_` and `@`",
        key="USERNAME",
        opencanary="CORP",
        aviary="CORP\\bob.smith",
    ),
    Difference(
        "rdp: a client that begins TLS",
        "OpenCanary tells each piece of data as another login, of nobody",
        event=1,
        missing=True,
    ),
    Difference(
        "rdp: another protocol",
        "what is no RDP is no login; ours is a 31003",
        missing=True,
    ),
]
