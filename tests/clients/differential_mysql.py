"""MySQL: the dialogues that OpenCanary and Aviary are both put through, and where they differ."""

from __future__ import annotations

import struct
from typing import Any

import pymysql

from canary import LOOPBACK, Canary, connect, read_quiet
from client_programs import run
from differential_steps import raw, step
from expected_differences import Difference

SERVICES = ["mysql"]
# The greeting of 5.5 is what OpenCanary sends for every version.
SETTINGS: dict[str, Any] = {"mysql.banner": "5.5.62-0ubuntu0.14.04.1", "mysql.log_connection_made": True}

RESPONSE = bytes(range(20))
HEX = RESPONSE.hex()


def answer(user: bytes, response: bytes, sequence: int = 1) -> bytes:
    """A handshake whose response does not depend on the salt."""
    fixed = struct.pack("<IIB23x", 0x000FA685, 1 << 24, 0x21)
    payload = fixed + user + b"\0" + bytes([len(response)]) + response + b"mysql_native_password\0"
    return struct.pack("<I", len(payload))[:3] + bytes([sequence]) + payload


@step("mysql", "login with a response")
def _(_canary: Canary, port: int) -> None:
    raw(port, answer(b"root", RESPONSE))


@step("mysql", "login without a password")
def _(_canary: Canary, port: int) -> None:
    raw(port, answer(b"backup", b""))


@step("mysql", "PyMySQL without a password")
def _(_canary: Canary, port: int) -> None:
    try:
        pymysql.connect(host=LOOPBACK, port=port, user="app", password="", connect_timeout=5)
    except pymysql.err.OperationalError:
        pass


@step("mysql", "mariadb without a password")
def _(_canary: Canary, port: int) -> None:
    run("mariadb", "-h", LOOPBACK, "-P", str(port), "-u", "cli", "--skip-password", "-e", "SELECT 1")


@step("mysql", "byte by byte")
def _(_canary: Canary, port: int) -> None:
    with connect(port) as peer:
        read_quiet(peer)
        for byte in answer(b"slow", RESPONSE):
            peer.sendall(bytes([byte]))
        read_quiet(peer)


@step("mysql", "packet out of order")
def _(_canary: Canary, port: int) -> None:
    raw(port, answer(b"root", RESPONSE, sequence=7))


@step("mysql", "user name in UTF-8")
def _(_canary: Canary, port: int) -> None:
    raw(port, answer("jörg".encode(), RESPONSE))


@step("mysql", "user name that is not UTF-8")
def _(_canary: Canary, port: int) -> None:
    raw(port, answer(b"j\xf6rg", RESPONSE))


@step("mysql", "user name at the very end")
def _(_canary: Canary, port: int) -> None:
    fixed = struct.pack("<IIB23x", 0x000FA685, 1 << 24, 0x21)
    raw(port, struct.pack("<I", len(fixed) + 5)[:3] + b"\x01" + fixed + b"root\0")


@step("mysql", "request for TLS")
def _(_canary: Canary, port: int) -> None:
    raw(port, struct.pack("<I", 32)[:3] + b"\x01" + struct.pack("<IIB23x", 0x000FAE85, 1 << 24, 0x21))


DIFFERENCES = [
    Difference(
        "mysql: user name in UTF-8",
        "OpenCanary logs how Python would write the bytes",
        event=1,
        key="USERNAME",
        opencanary="j\\xc3\\xb6rg",
        aviary="jörg",
    ),
    Difference(
        "mysql: user name at the very end",
        "OpenCanary reads the length of a password that is not there and loses the event",
        adds=((8001, {"PASSWORD": None, "USERNAME": "root"}),),
    ),
    Difference(
        "mysql: request for TLS",
        "OpenCanary takes it for a login of the user `n`, which is a part of the word `None`",
        event=1,
        missing=True,
    ),
]
