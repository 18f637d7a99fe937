"""MongoDB's steps: by raw messages, since drivers of today give up on OpenCanary's answers."""

from __future__ import annotations

import struct
from typing import Any

from bson import encode

from canary import Canary
from differential_steps import raw, step
from expected_differences import Difference

SERVICES = ["mongodb"]
SETTINGS: dict[str, Any] = {}


def msg(command: dict[str, Any]) -> bytes:
    body = b"\0\0\0\0\0" + encode(command)
    return struct.pack("<iiii", 16 + len(body), 1, 0, 2013) + body


def query(collection: bytes, command: dict[str, Any]) -> bytes:
    body = b"\0\0\0\0" + collection + b"\0" + struct.pack("<ii", 0, -1) + encode(command)
    return struct.pack("<iiii", 16 + len(body), 1, 0, 2004) + body


@step("mongodb", "connect and leave")
def _(_canary: Canary, port: int) -> None:
    raw(port)


@step("mongodb", "commands without a login")
def _(_canary: Canary, port: int) -> None:
    raw(
        port,
        msg({"hello": 1, "$db": "admin"}),
        msg({"listDatabases": 1, "nameOnly": True, "$db": "admin"}),
        msg({"find": "it's \\ \u00e9\n", "comment": b"by\x00te's", "$db": "shop"}),
        msg({}),
    )


@step("mongodb", "legacy queries")
def _(_canary: Canary, port: int) -> None:
    raw(port, query(b"admin.$cmd", {"isMaster": 1}), query(b"shop.orders", {"a": "b"}))


@step("mongodb", "SCRAM")
def _(_canary: Canary, port: int) -> None:
    start = {"saslStart": 1, "mechanism": "SCRAM-SHA-256", "payload": b"n,,n=alice,r=abcdefgh", "$db": "admin"}
    raw(port, msg(start))


@step("mongodb", "certificate")
def _(_canary: Canary, port: int) -> None:
    raw(port, msg({"authenticate": 1, "mechanism": "MONGODB-X509", "user": "CN=x", "$db": "$external"}))


@step("mongodb", "a login by query")
def _(_canary: Canary, port: int) -> None:
    raw(port, query(b"admin.$cmd", {"saslStart": 1, "mechanism": "SCRAM-SHA-1", "payload": b"n,,n=bob,r=abcdefgh"}))


@step("mongodb", "a length that no message has")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"\x05\0\0\0" * 4)


@step("mongodb", "a browser")
def _(_canary: Canary, port: int) -> None:
    raw(port, b"GET / HTTP/1.0\r\n\r\n")


@step("mongodb", "a number with a fraction")
def _(_canary: Canary, port: int) -> None:
    raw(port, msg({"ping": 1.0, "$db": "admin"}))


@step("mongodb", "a document inside")
def _(_canary: Canary, port: int) -> None:
    raw(port, msg({"find": "a", "filter": {"b": 1}, "$db": "shop"}))


DIFFERENCES = [
    Difference(
        "mongodb: a number with a fraction",
        "OpenCanary's parser stops at the first double",
        event=1,
        key="command",
        opencanary="unknown",
        aviary="ping",
    ),
    Difference(
        "mongodb: a number with a fraction",
        "as above",
        event=1,
        key="query",
        opencanary="{}",
        aviary="{'ping': 1.0, '$db': 'admin'}",
    ),
    Difference(
        "mongodb: a document inside",
        "OpenCanary's parser skips documents inside",
        event=1,
        key="query",
        opencanary="{'find': 'a', '$db': 'shop'}",
        aviary="{'find': 'a', 'filter': {'b': 1}, '$db': 'shop'}",
    ),
    Difference(
        "mongodb: a login by query",
        "the command as the server reads it names its database",
        event=2,
        key="auth_data",
        opencanary="{'saslStart': 1, 'mechanism': 'SCRAM-SHA-1', 'payload': '6e2c2c6e3d626f622c723d6162636465666768'}",
        aviary="{'saslStart': 1, 'mechanism': 'SCRAM-SHA-1', 'payload': '6e2c2c6e3d626f622c723d6162636465666768', "
        "'$db': 'admin'}",
    ),
]
