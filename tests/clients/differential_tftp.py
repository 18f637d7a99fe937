"""TFTP as OpenCanary and Aviary log it. OpenCanary never answers."""

from __future__ import annotations

import socket
import time
from typing import Any

from canary import LOOPBACK, Canary
from differential_steps import step
from expected_differences import Difference
from service_tftp import request

SERVICES = ["tftp"]
SETTINGS: dict[str, Any] = {}

DIFFERENCES: list[Difference] = [
    Difference(
        "tftp: file name that is not UTF-8",
        "OpenCanary fails to write the event",
        adds=((10001, {"FILENAME": "caf\\xe9", "MODE": "octet", "OPCODE": "READ"}),),
    ),
]


def say(port: int, *datagrams: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        for datagram in datagrams:
            peer.sendto(datagram, (LOOPBACK, port))
            time.sleep(0.05)


@step("tftp", "read and write")
def _(_canary: Canary, port: int) -> None:
    say(port, request(1, b"nofile.bin", b"octet"), request(2, b"up.bin", b"NetASCII"))


@step("tftp", "options")
def _(_canary: Canary, port: int) -> None:
    say(port, request(1, b"startup-config", b"octet", b"blksize", b"1428", b"tsize", b"0"))


@step("tftp", "strange requests")
def _(_canary: Canary, port: int) -> None:
    say(port, b"\0\1file\0octet", b"\0\1file\0", b"\0\1\0octet\0", request(1, b"f", b"foo"), b"\0\1noterm")


@step("tftp", "no requests")
def _(_canary: Canary, port: int) -> None:
    say(port, b"\0\3\0\1data", b"\0\4\0\1", b"\0\5\0\1text\0", b"\0\x09x\0y\0", b"\0\1a\0", b"x")


@step("tftp", "file name in UTF-8")
def _(_canary: Canary, port: int) -> None:
    say(port, request(1, "grün.cfg".encode(), b"octet"))


@step("tftp", "file name that is not UTF-8")
def _(_canary: Canary, port: int) -> None:
    say(port, request(1, b"caf\xe9", b"octet"))
