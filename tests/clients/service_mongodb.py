"""MongoDB by real clients: pymongo of today and of 2022, nmap, hydra, and raw bytes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import socket
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pymongo
from bson import encode
from pymongo.errors import OperationFailure

from canary import LOOPBACK, Canary, Event, Skip, connect, read_quiet
from check_list import Checks
from client_programs import run
from recorded import Recorded, recordings, replay

SERVICES = ("mongodb",)
SETTINGS: dict[str, Any] = {"mongodb.honeycreds": [{"username": "root", "password": "password"}]}
CHECKS = Checks()
check = CHECKS.add

OLDER = Path(sys.prefix) / "older"
"""Where the clients of `requirements-older.txt` are."""


def client(canary: Canary, **options: Any) -> pymongo.MongoClient[Any]:
    return pymongo.MongoClient(LOOPBACK, canary.ports["mongodb"], serverSelectionTimeoutMS=8000, **options)


def refused(error: OperationFailure, code: int, text: str) -> None:
    details = error.details or {}
    assert details.get("code") == code and text in str(details.get("errmsg")), details


def proof_of(data: dict[str, Any], password: str) -> str:
    """The proof that this password gives in the conversation of the event, by RFC 5802."""
    if data["MECHANISM"] == "SCRAM-SHA-1":
        name, secret = "sha1", hashlib.md5(f"{data['USERNAME']}:mongo:{password}".encode()).hexdigest()
    else:
        name, secret = "sha256", password
    salt = base64.b64decode(data["SALT"])
    salted = hashlib.pbkdf2_hmac(name, secret.encode(), salt, data["ITERATIONS"])
    key = hmac.digest(salted, b"Client Key", name)
    stored = hashlib.new(name, key).digest()
    signature = hmac.digest(stored, data["AUTH_MESSAGE"].encode(), name)
    return base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()


def credential(canary: Canary, mark: int, user: str, password: str, context: str = "") -> Event:
    """The credential event of a login whose proof is that of the password."""
    event = canary.logged(mark, 31300, {"USERNAME": user}, context)
    data = event["logdata"]
    assert proof_of(data, password) == data["PROOF"], data
    assert proof_of(data, password + "x") != data["PROOF"], "any password fits"
    assert event["aviary"]["kind"] == "login", event
    return event


for _mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-1", "DEFAULT"):

    @check(f"mongodb: pymongo, {_mechanism}: the proof is that of the password typed")
    def _(canary: Canary, mechanism: str = _mechanism) -> None:
        mark = canary.mark()
        user, password = f"dba {mechanism}", f"Tr0ub4dor & {mechanism}"
        options = {} if mechanism == "DEFAULT" else {"authMechanism": mechanism}
        with client(canary, username=user, password=password, **options) as mongo:
            try:
                mongo.admin.command("listDatabases")
            except OperationFailure as error:
                refused(error, 18, "Authentication failed.")
            else:
                raise AssertionError("the login was accepted")
        event = credential(canary, mark, user, password)
        assert "PASSWORD" not in event["logdata"], event
        assert event["logdata"]["MECHANISM"] == ("SCRAM-SHA-256" if mechanism == "DEFAULT" else mechanism)
        attempt = canary.logged(mark, 20001, {"action": "mongodb.auth_attempt", "username": user})
        assert set(attempt["logdata"]) == {"action", "auth_data", "mechanism", "username"}, attempt
        assert attempt["aviary"]["kind"] == "login", attempt


@check("mongodb: a common password is told in clear, and a planted one is marked")
def _(canary: Canary) -> None:
    mark = canary.mark()
    with client(canary, username="root", password="password", authSource="shop") as mongo:
        try:
            mongo.shop.command("dbStats")
        except OperationFailure as error:
            refused(error, 18, "Authentication failed.")
    event = canary.logged(mark, 31300, {"USERNAME": "root", "PASSWORD": "password", "DATABASE": "shop"})
    assert event["honeycred"] is True, event


@check("mongodb: classes tell logins from the rest, and keys are OpenCanary's")
def _(canary: Canary) -> None:
    mark = canary.mark()
    with connect(canary.ports["mongodb"]) as peer:
        own = peer.getsockname()[1]
        peer.sendall(message(2013, b"\0\0\0\0\0" + encode({"listDatabases": 1, "$db": "admin"})))
        read_quiet(peer)
        peer.sendall(b"\x05\0\0\0" * 4)
        read_quiet(peer)
    canary.wait_for(lambda e: e["src_port"] == own and e["logdata"].get("action") == "mongodb.disconnect", mark)
    # Clients of the checks before may still be leaving.
    events = [event for event in canary.events(mark) if event["src_port"] == own]
    told = [(e["logdata"]["action"], e["aviary"]["kind"], sorted(e["logdata"])) for e in events if e["logtype"] == 20001]
    assert told == [
        ("mongodb.connection", "connection", ["action"]),
        ("mongodb.command", "command", ["action", "command", "query"]),
        ("mongodb.error", "violation", ["action", "error"]),
        ("mongodb.disconnect", "connection", ["action"]),
    ], told
    assert events[1]["logdata"]["query"] == "{'listDatabases': 1, '$db': 'admin'}", events[1]


@check("mongodb: pymongo without a login: what needs none is answered, the rest refused")
def _(canary: Canary) -> None:
    mark = canary.mark()
    with client(canary, appname="inventory") as mongo:
        hello = mongo.admin.command("hello")
        assert hello["isWritablePrimary"] and hello["maxWireVersion"] == 21 and "version" not in hello, hello
        assert mongo.admin.command("ping") == {"ok": 1.0}
        assert mongo.server_info()["version"] == "7.0.14"
        for command, text in (
            (lambda: mongo.list_database_names(), "command listDatabases requires authentication"),
            (lambda: mongo.shop.orders.insert_one({"a": 1.5}), "command insert requires authentication"),
            (lambda: mongo.drop_database("shop"), "command dropDatabase requires authentication"),
        ):
            try:
                command()
            except OperationFailure as error:
                refused(error, 13, text)
            else:
                raise AssertionError(f"not refused: {text}")
        try:
            mongo.admin.command("atlasVersion")
        except OperationFailure as error:
            refused(error, 59, "no such command: 'atlasVersion'")
    driver = canary.logged(mark, 31301, {"APPLICATION": "inventory"})["logdata"]
    assert "PyMongo" in driver["DRIVER"] and driver["DRIVER_VERSION"].startswith(pymongo.version), driver
    insert = canary.logged(mark, 20001, {"command": "insert"})["logdata"]
    assert "'documents': [{" in insert["query"] and "'a': 1.5" in insert["query"], insert


for _compressor in ("zlib", "snappy", "zstd"):

    @check(f"mongodb: pymongo, {_compressor}")
    def _(canary: Canary, compressor: str = _compressor) -> None:
        mark = canary.mark()
        with client(canary, compressors=compressor, appname=compressor) as mongo:
            assert mongo.admin.command("hello", compression=[compressor])["compression"] == [compressor]
            assert mongo.admin.command({"ping": 1, "comment": "packed " * 100}) == {"ok": 1.0}
            # Long enough an answer to be packed by any compressor.
            assert mongo.server_info()["storageEngines"] == ["devnull", "wiredTiger"]
        canary.mentioned(mark, "packed packed packed")
        canary.logged(mark, 31301, {"APPLICATION": compressor, "COMPRESSION": compressor})


@check("mongodb: an answer is held back as long as a monitor asks")
def _(canary: Canary) -> None:
    with client(canary) as mongo:
        version = mongo.admin.command("hello")["topologyVersion"]
        started = time.monotonic()
        mongo.admin.command("hello", topologyVersion=version, maxAwaitTimeMS=1500)
        took = time.monotonic() - started
    assert 1.4 < took < 4, f"answered after {took:.2f} s"


OLD_CLIENT = """
import sys, pymongo
port, user, password, mechanism = sys.argv[1:]
client = pymongo.MongoClient("127.0.0.1", int(port), serverSelectionTimeoutMS=8000, username=user, password=password,
                             authMechanism=mechanism)
try:
    client.admin.command("listDatabases")
except pymongo.errors.OperationFailure as error:
    print(pymongo.version, error.code, error.details["errmsg"])
"""


for _mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256"):

    @check(f"mongodb: pymongo 3.13, {_mechanism}")
    def _(canary: Canary, mechanism: str = _mechanism) -> None:
        if not OLDER.is_dir():
            raise Skip(f"no older clients in {OLDER}")
        mark = canary.mark()
        done = subprocess.run(
            [sys.executable, "-c", OLD_CLIENT, str(canary.ports["mongodb"]), "old", "an old one", mechanism],
            env=os.environ | {"PYTHONPATH": str(OLDER)}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.stdout.strip() == "3.13.0 18 Authentication failed.", done
        credential(canary, mark, "old", "an old one", done.stdout)
        canary.logged(mark, 20001, {"action": "mongodb.command", "command": "query:admin.$cmd"})


@check("mongodb: pymongo, PLAIN and MONGODB-X509 are reported")
def _(canary: Canary) -> None:
    mark = canary.mark()
    for options in (
        {"username": "ldap", "password": "in clear", "authMechanism": "PLAIN", "authSource": "$external"},
        {"username": "CN=app,O=Example", "authMechanism": "MONGODB-X509", "authSource": "$external"},
    ):
        with client(canary, **options) as mongo:
            try:
                mongo.admin.command("listDatabases")
            except OperationFailure:
                continue
            raise AssertionError(f"accepted: {options}")
    canary.logged(mark, 31300, {"USERNAME": "ldap", "PASSWORD": "in clear", "MECHANISM": "PLAIN"})
    canary.logged(mark, 31300, {"USERNAME": "CN=app,O=Example", "MECHANISM": "MONGODB-X509"})


@check("mongodb: nmap -sV -sC with mongodb-info and mongodb-databases names the version")
def _(canary: Canary) -> None:
    mark = canary.mark()
    port = canary.ports["mongodb"]
    # As with the real server on such a port, the script knows the name and the probes do not; fewer
    # probes only make it quicker.
    scripts = "+mongodb-info,+mongodb-databases,default"
    output = run(
        "nmap", "-n", "-Pn", "-sV", "--version-intensity", "1", "--script", scripts, "-p", str(port), LOOPBACK,
        timeout=180,
    )  # fmt: skip
    assert "7.0.14" in output and "maxBsonObjectSize = 16777216" in output, output
    assert "Unsupported OP_QUERY command: listDatabases" in output, output
    canary.mentioned(mark, "query:admin.$cmd", "buildinfo", context=output)


@check("mongodb: hydra")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = run("hydra", "-l", "hydra", "-p", "many heads", "-t", "1", "-I", f"mongodb://{LOOPBACK}:{canary.ports['mongodb']}")
    if "compiled without" in output.lower() or "not compiled" in output.lower():
        raise Skip("this hydra has no mongodb")
    assert "0 valid password" in output, output
    credential(canary, mark, "hydra", "many heads", output)


# -- bytes ---------------------------------------------------------------------------------------


def message(opcode: int, body: bytes, number: int = 1) -> bytes:
    return struct.pack("<iiii", 16 + len(body), number, 0, opcode) + body


PING = message(2013, b"\0\0\0\0\0" + encode({"ping": 1, "$db": "admin"}))


def end_of(peer: socket.socket) -> tuple[bytes, bool]:
    """What still comes, and whether the peer closed."""
    peer.settimeout(2)
    data = b""
    try:
        while chunk := peer.recv(65536):
            data += chunk
    except TimeoutError:
        return data, False
    except ConnectionResetError:
        pass
    return data, True


@check("mongodb: byte by byte, and many in a segment")
def _(canary: Canary) -> None:
    with connect(canary.ports["mongodb"]) as peer:
        for byte in PING:
            peer.sendall(bytes([byte]))
        first = read_quiet(peer)
        peer.sendall(PING * 20)
        many = read_quiet(peer)
    assert len(first) == 38 and len(many) == 20 * 38, (len(first), len(many))
    numbers = [struct.unpack_from("<i", many, at + 4)[0] for at in range(0, len(many), 38)]
    assert numbers == list(range(numbers[0], numbers[0] + 20)), numbers


@check("mongodb: lengths that lie, unknown opcodes, bombs and a browser")
def _(canary: Canary) -> None:
    big = b"\0" * 30_000_000
    bomb = message(2012, struct.pack("<iiB", 2013, len(big), 2) + zlib.compress(big))
    for name, sent, wanted in (
        ("length 2^32-1", b"\xff" * 16, b""),
        ("length 0", b"\0" * 16, b""),
        ("opcode 1234", message(1234, b"AAAA"), b""),
        ("a zlib bomb", bomb, b""),
        ("a browser", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.0 200 OK\r\nConnection: close\r\n"),
    ):
        mark = canary.mark()
        with connect(canary.ports["mongodb"]) as peer:
            peer.sendall(sent)
            got, closed = end_of(peer)
        assert closed and got.startswith(wanted) and (wanted or not got), f"{name}: {got[:100]!r}, closed: {closed}"
        canary.logged(mark, 20001, {"action": "mongodb.error"}, name)
        assert canary.wait_for(lambda e: e["logtype"] == 31302, mark), f"{name}: its bytes are lost"
    assert canary.memory() < 200_000, f"{canary.memory()} KiB"


@check("mongodb: names and passwords that are no UTF-8 are kept")
def _(canary: Canary) -> None:
    mark = canary.mark()
    with connect(canary.ports["mongodb"]) as peer:
        command = {"saslStart": 1, "mechanism": "PLAIN", "payload": b"\0us\xff\xfe\0p\xff\0w", "$db": "$external"}
        peer.sendall(message(2013, b"\0\0\0\0\0" + encode(command)))
        read_quiet(peer)
    event = canary.wait_for(lambda e: e["logtype"] == 31300, mark)
    assert event, "no event"
    raw = json.loads(json.dumps(event["aviary"]["raw"]))
    assert base64.b64decode(raw["USERNAME"]) == b"us\xff\xfe" and base64.b64decode(raw["PASSWORD"]) == b"p\xff\0w", raw


@check("mongodb: a message that ends early, and silence, are events")
def _(canary: Canary) -> None:
    # The ends of connections before this check are told a moment later.
    canary.settle()
    mark = canary.mark()
    with connect(canary.ports["mongodb"]) as peer:
        peer.sendall(PING[:20])
    with connect(canary.ports["mongodb"]):
        pass
    events = canary.settle(mark, at_least=5)
    actions = [e["logdata"]["action"] for e in events if e["logtype"] == 20001]
    assert actions.count("mongodb.connection") == 2 and actions.count("mongodb.disconnect") == 2, actions
    assert actions.count("mongodb.error") == 1, actions


@check("mongodb: an installation's salt stays, and another's is another")
def _(canary: Canary) -> None:
    def salt(of: Canary) -> bytes:
        with connect(of.ports["mongodb"]) as peer:
            command = {"saslStart": 1, "mechanism": "SCRAM-SHA-256", "payload": b"n,,n=x,r=abcdefgh", "$db": "admin"}
            peer.sendall(message(2013, b"\0\0\0\0\0" + encode(command)))
            return read_quiet(peer).split(b",s=")[1].split(b",")[0]

    assert salt(canary) == salt(canary)
    with Canary(canary.bin_dir, SETTINGS, services=SERVICES) as other:
        assert salt(other) != salt(canary)


# -- the real server's own answers -----------------------------------------------------------------


def as_mongod(one: Recorded, got: bytes) -> bool:
    """Byte for byte, but for numbers, time and the peer's port; of buildInfo what stands before the flags."""

    def comparable(reply: bytes) -> bytes:
        if reply[:4] != b"HTTP":
            reply = reply[:4] + bytes(4) + reply[8:]
        reply = re.sub(rb"localTime\0.{8}", b"localTime", reply, flags=re.DOTALL)
        if b"\x02you\0" in reply:
            reply = re.sub(rb"127\.0\.0\.1:\d+", b"", reply[25:])[8:]
        if b"buildEnvironment" in reply:
            # Without the lengths of message and document, which hold the flags.
            start = 40 if reply[12] == 1 else 25
            reply = reply[8:16] + reply[start : reply.index(b"buildEnvironment")]
        return reply

    return comparable(got) == comparable(one.reply)


@check("mongodb: B01 to B06 answers as the recorded mongod 3.6.8 did")
def _(canary: Canary) -> None:
    with Canary(canary.bin_dir, {"mongodb.version": "3.6.8"}, services=SERVICES) as old:
        count = replay(old.ports["mongodb"], recordings("mongodb", "mongod-3.6.8.txt", bytes.fromhex), as_mongod)
    assert count == 16, count
