"""SIP next to OpenCanary, which hears UDP only and never answers."""

from __future__ import annotations

import socket
from typing import Any

from canary import LOOPBACK, Canary
from differential_steps import step
from expected_differences import Difference

SERVICES = ["sip"]
SETTINGS: dict[str, Any] = {}

HEAD = "REGISTER sip:pbx SIP/2.0\r\nCall-ID: 1@a\r\nCSeq: 1 REGISTER\r\nf: <sip:a@b>\r\nt: <sip:a@b>\r\n"
HEADERS: dict[str, list[str]] = {"call-id": ["1@a"], "cseq": ["1 REGISTER"], "from": ["<sip:a@b>"], "to": ["<sip:a@b>"]}


def send(port: int, datagram: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((LOOPBACK, 46759))
        peer.sendto(datagram, (LOOPBACK, port))


VIAS = {
    "from another address": "SIP/2.0/UDP 10.0.2.15:46759",
    "from another address and port": "SIP/2.0/UDP 10.0.2.15:5060;branch=z9hG4bK1",
    "that asks for the port": f"SIP/2.0/UDP {LOOPBACK}:5062;z=1;rport;branch=z9hG4bK1;a",
    "from this address": f"SIP/2.0/UDP {LOOPBACK}:46759;branch=z9hG4bK1",
    "of several hops": "SIP/2.0/UDP h;rport\r\nVia: SIP/2.0/UDP second;branch=2",
    "with a port that was given": "SIP/2.0/TCP h:1;rport=7;hidden;ttl=3;maddr=x",
}

for _what, _via in VIAS.items():

    @step("sip", f"Via {_what}")
    def _(_canary: Canary, port: int, via: str = _via) -> None:
        send(port, f"{HEAD}Via: {via}\r\nContent-Length: 0\r\n\r\n".encode())


@step("sip", "folded, repeated and short headers, and a body")
def _(_canary: Canary, port: int) -> None:
    more = "v: SIP/2.0/UDP h\r\nSubject: one\r\n  two\r\nX-A:  1 \r\nx-a: 2\r\nX-A:\r\nl: 3\r\n\r\nabc"
    send(port, f"{HEAD}{more}".encode())


@step("sip", "no Content-Length")
def _(_canary: Canary, port: int) -> None:
    send(port, f"{HEAD}Via: SIP/2.0/UDP h\r\n\r\nbody".encode())


@step("sip", "an answer, a line that is none, and nothing")
def _(_canary: Canary, port: int) -> None:
    send(port, f"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP {LOOPBACK}:5060\r\nContent-Length: 0\r\n\r\n".encode())
    send(port, b"HELLO\r\n\r\n")
    send(port, b"")


@step("sip", "header that is not UTF-8")
def _(_canary: Canary, port: int) -> None:
    send(port, HEAD.encode() + b"Via: SIP/2.0/UDP h\r\nX: caf\xe9\r\nContent-Length: 0\r\n\r\n")


@step("sip", "no Via")
def _(_canary: Canary, port: int) -> None:
    send(port, f"{HEAD}Content-Length: 0\r\n\r\n".encode())


DIFFERENCES = [
    Difference(
        "sip: header that is not UTF-8",
        "OpenCanary fails to decode the line and loses the event",
        adds=(
            (
                15001,
                {
                    "HEADERS": HEADERS
                    | {
                        "content-length": ["0"],
                        "via": [f"SIP/2.0/UDP h:5060;received={LOOPBACK};rport=46759"],
                        "x": ["caf\\xe9"],
                    }
                },
            ),
        ),
    ),
    Difference(
        "sip: no Via",
        "OpenCanary fails where it looks for the header and loses the event",
        adds=((15001, {"HEADERS": HEADERS | {"content-length": ["0"]}}),),
    ),
]
