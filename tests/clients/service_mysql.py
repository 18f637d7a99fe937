"""MySQL and MariaDB by real clients: the command line client, PyMySQL, hydra, nmap, and raw sockets.

What was printed of a password is checked with hashlib alone: the hash must be that of the password
that was typed.
"""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymysql
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509 import load_der_x509_certificate

from canary import LOOPBACK, Canary, Event, connect, needs, read_quiet, unverified_tls
from check_list import Checks
from client_programs import SCRATCH, run
from stealth_suite.golden import PLACEHOLDERS, Manner, play, read

SERVICES = ("mysql",)
SETTINGS: dict[str, Any] = {
    "mysql.log_connection_made": True,
    "mysql.honeycreds": [{"username": "decoy", "password": "Zebra-Quartz-77"}],
}
CHECKS = Checks()
check = CHECKS.add

BANNER = "8.0.43-0ubuntu0.24.04.2"
MARIADB = "10.11.19-MariaDB-0+deb12u1"
DENIED = re.compile(r"Access denied for user '\w+'@'127\.0\.0\.1' \(using password: YES\)")

GOLDEN = {"mysql-8.0.46": "8.0.46-0ubuntu0.22.04.5", "mysql-9.7.4": "9.7.4-2", "mariadb-10.11.19": MARIADB}
"""Recorded dialogues and the banner that plays them."""
PLACEHOLDERS |= {
    b"{ID}": rb"[\x01-\xff]",
    **{f"{{SALT{n}}}".encode(): rf"[\x01-\x7f]{{{n}}}".encode() for n in (8, 12, 20)},
    # Which plugin an unknown name gets differs between installations.
    b"{SWITCH}": rb"[\x26-\x2c]\0\0\x02\xfe(?:caching_sha2|mysql_native|sha256)_password\0[\x01-\x7f]{20}\0",
}


@contextmanager
def playing(canary: Canary, banner: str) -> Iterator[Canary]:
    """A second canary that claims another version."""
    with Canary(canary.bin_dir, SETTINGS | {"mysql.banner": banner}, services=SERVICES) as other:
        yield other


def client(canary: Canary, user: str, password: str, *options: str) -> str:
    return run(
        "mariadb", *options, "-h", LOOPBACK, "-P", str(canary.ports["mysql"]), "-u", user, f"-p{password}", "-e", "SELECT 1"
    )  # fmt: skip


def driver(canary: Canary, user: str, password: str | bytes, **options: Any) -> str:
    """PyMySQL's error; it must be one of the server's."""
    try:
        pymysql.connect(
            host=LOOPBACK, port=canary.ports["mysql"], user=user, password=password, connect_timeout=15, **options
        ).close()
    except pymysql.err.OperationalError as error:
        return str(error)
    raise AssertionError("PyMySQL was let in")


def login(canary: Canary, mark: int, user: str, **wanted: str) -> dict[str, Any]:
    """Our event of a login of that user, which is followed by no other of it."""
    event = canary.logged(mark, 30801, {"USERNAME": user} | wanted)
    data: dict[str, Any] = event["logdata"]
    return data


def xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def native(password: bytes, salt: bytes) -> bytes:
    once = hashlib.sha1(password).digest()
    return xor(once, hashlib.sha1(salt + hashlib.sha1(once).digest()).digest())


def caching_sha2(password: bytes, salt: bytes) -> bytes:
    once = hashlib.sha256(password).digest()
    return xor(once, hashlib.sha256(hashlib.sha256(once).digest() + salt).digest())


# Real clients.


@check("mysql: mariadb over TLS gives the clear password")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = client(canary, "root", "Over-TLS-91", "--ssl")
    assert DENIED.search(output) and "ERROR 1045 (28000)" in output, output
    event = canary.logged(mark, 8001, {"USERNAME": "root", "PASSWORD": "Over-TLS-91"}, output)
    assert set(event["logdata"]) == {"USERNAME", "PASSWORD"}
    data = login(canary, mark, "root", METHOD="clear", PASSWORD="Over-TLS-91")
    salt, response = bytes.fromhex(data["SALT"]), bytes.fromhex(data["RESPONSE"])
    assert response == caching_sha2(b"Over-TLS-91", salt)
    handshake = canary.logged(mark, 30800, {"USERNAME": "root", "PLUGIN": "caching_sha2_password"})["logdata"]
    assert handshake["TLS_VERSION"].startswith("TLSv1.") and handshake["TLS_CIPHER"], handshake
    assert "program_name=mysql" in handshake["ATTRIBUTES"], handshake
    assert "_client_name=libmariadb" in handshake["ATTRIBUTES"], handshake


@check("mysql: mariadb without TLS hides the password under our key")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = client(canary, "root", "Under-Key-92", "--skip-ssl", "-D", "payroll")
    assert DENIED.search(output), output
    canary.logged(mark, 8001, {"USERNAME": "root", "PASSWORD": "Under-Key-92"}, output)
    data = login(canary, mark, "root", METHOD="rsa", PASSWORD="Under-Key-92", DATABASE="payroll")
    assert data["HASH"] == f"$mysqlsha2${data['SALT']}*{data['RESPONSE']}"


@check("mysql: mariadb without a password")
def _(canary: Canary) -> None:
    mark = canary.mark()
    output = client(canary, "root", "", "--skip-password")
    assert "(using password: NO)" in output, output
    event = canary.logged(mark, 8001, {"USERNAME": "root"}, output)
    assert event["logdata"]["PASSWORD"] is None
    login(canary, mark, "root", METHOD="none", PASSWORD="")


@check("mysql: mariadb against MariaDB, as the article's line shows it")
def _(canary: Canary) -> None:
    with playing(canary, MARIADB) as other:
        output = client(other, "root", "Kx9-article", "--skip-ssl")
        assert DENIED.search(output), output
        event = other.logged(0, 8001, {"USERNAME": "root"}, output)
        assert set(event["logdata"]) == {"USERNAME", "PASSWORD"}
        response = event["logdata"]["PASSWORD"]
        assert re.fullmatch(r"[0-9a-f]{40}", response), response
        data = login(other, 0, "root", METHOD="response", RESPONSE=response)
        line = re.fullmatch(r"\$mysqlna\$([0-9a-f]{40})\*([0-9a-f]{40})", data["HASHCAT"])
        assert line and data["HASHCAT_MODE"] == 11200, data
        assert bytes.fromhex(line[2]) == native(b"Kx9-article", bytes.fromhex(line[1]))
        assert "GUESSED" not in data and "PASSWORD" not in data
        # The real 10.11 has TLS only when it is configured, and this client goes on without.
        assert DENIED.search(client(other, "root", "x", "--ssl"))


@check("mysql: PyMySQL over TLS")
def _(canary: Canary) -> None:
    mark = canary.mark()
    error = driver(canary, "root", "pymysql-tls", ssl=unverified_tls())
    assert "1045" in error and DENIED.search(error), error
    login(canary, mark, "root", METHOD="clear", PASSWORD="pymysql-tls")


@check("mysql: PyMySQL under our key, with a password in UTF-8")
def _(canary: Canary) -> None:
    mark = canary.mark()
    # A text would be sent in Latin-1.
    error = driver(canary, "root", "pymysql-clé".encode(), ssl_disabled=True)
    assert "1045" in error and DENIED.search(error), error
    login(canary, mark, "root", METHOD="rsa", PASSWORD="pymysql-clé")
    canary.logged(mark, 8001, {"USERNAME": "root", "PASSWORD": "pymysql-clé"})


@check("mysql: PyMySQL with forty names meets every plugin, each name the same twice")
def _(canary: Canary) -> None:
    mark = canary.mark()
    seen: dict[str, set[str]] = {}
    for n in range(40):
        for options in ({"ssl_disabled": True}, {"ssl": unverified_tls()}):
            error = driver(canary, f"user{n}", f"secret-{n}", **options)
            assert "1045" in error, error
            data = login(canary, mark, f"user{n}")
            mark = canary.mark()
            # What PyMySQL is told to use by the greeting, and what it was switched to.
            if data["METHOD"] == "response":
                salt, response = data["HASHCAT"].removeprefix("$mysqlna$").split("*")
                assert bytes.fromhex(response) == native(f"secret-{n}".encode(), bytes.fromhex(salt)), data
                plugin = "mysql_native_password"
            else:
                assert data["PASSWORD"] == f"secret-{n}", data
                plugin = "a password in clear"
            seen.setdefault(plugin, set()).add(f"user{n}")
    assert len(seen) == 2 and not set.intersection(*seen.values()), seen


@check("mysql: PyMySQL against 5.7, a common password is guessed")
def _(canary: Canary) -> None:
    with playing(canary, "5.7.44-log") as other:
        driver(other, "root", "P@ssw0rd")
        data = login(other, 0, "root", METHOD="response")
        assert data["GUESSED"] == data["PASSWORD"] == "P@ssw0rd", data
        driver(other, "backup", "backup2024!")
        data = login(other, 0, "backup")
        assert "GUESSED" not in data, data


@check("mysql: planted credentials are marked, in clear and in a response")
def _(canary: Canary) -> None:
    mark = canary.mark()
    driver(canary, "decoy", "Zebra-Quartz-77", ssl=unverified_tls())
    driver(canary, "decoy", "something else", ssl=unverified_tls())
    wanted = {"Zebra-Quartz-77": True, "something else": False}
    events = [e for e in canary.settle(mark, at_least=8) if e["logtype"] == 30801]
    assert {e["logdata"].get("PASSWORD", "?"): e["honeycred"] for e in events} in (wanted, {"Zebra-Quartz-77": True, "?": False})
    with playing(canary, MARIADB) as other:
        driver(other, "decoy", "Zebra-Quartz-77")
        assert other.logged(0, 30801, {"USERNAME": "decoy"})["honeycred"] is True
        assert other.logged(0, 8001, {"USERNAME": "decoy"})["honeycred"] is False


@check("mysql: hydra")
def _(canary: Canary) -> None:
    needs("hydra")
    passwords = [f"hydra-mysql-{n}" for n in range(5)]
    words = SCRATCH / "words-mysql"
    words.write_text("".join(f"{p}\n" for p in passwords))
    for banner in (BANNER, MARIADB):
        with playing(canary, banner) as other:
            output = run(
                "hydra", "-l", "root", "-P", str(words), "-t", "2", "-w", "15", "-I", "-s", str(other.ports["mysql"]),
                LOOPBACK, "mysql", timeout=120,
            )  # fmt: skip
            events = [e["logdata"] for e in other.settle(at_least=15) if e["logtype"] == 30801]
            tried = {found for data in events for found in passwords if fits(data, found)}
            assert tried == set(passwords), f"{banner}: {events}\n{output}"
            assert "0 valid password" in output, output[-500:]


def fits(data: dict[str, Any], password: str) -> bool:
    """Whether a login was made with this password."""
    if "PASSWORD" in data:
        return bool(data["PASSWORD"] == password)
    salt, response = bytes.fromhex(data["SALT"]), bytes.fromhex(data["RESPONSE"])
    return response in (native(password.encode(), salt), caching_sha2(password.encode(), salt))


@check("mysql: ncrack against MariaDB")
def _(canary: Canary) -> None:
    needs("ncrack")
    passwords = {f"ncrack-mysql-{n}" for n in range(3)}
    words = SCRATCH / "words-mysql-ncrack"
    words.write_text("".join(f"{p}\n" for p in sorted(passwords)))
    with playing(canary, MARIADB) as other:
        output = run("ncrack", "--user", "root", "-P", str(words), f"mysql://{LOOPBACK}:{other.ports['mysql']}", timeout=60)  # fmt: skip
        events = [e["logdata"] for e in other.settle(at_least=9) if e["logtype"] == 30801]
        assert {found for data in events for found in passwords if fits(data, found)} == passwords, f"{events}\n{output}"


@check("mysql: nmap names product and version, and its scripts agree")
def _(canary: Canary) -> None:
    needs("nmap")
    for banner, shown in (
        (BANNER, BANNER),
        ("8.0.46-0ubuntu0.22.04.5", "8.0.46-0ubuntu0.22.04.5"),
        (MARIADB, f"5.5.5-{MARIADB}"),
        ("5.7.44", "5.7.44"),
    ):
        with playing(canary, banner) as other:
            port = str(other.ports["mysql"])
            output = run("nmap", "-sT", "-sV", "-sC", "-Pn", "-n", "-p", port, LOOPBACK, timeout=300)
            assert re.search(rf"{port}/tcp open +mysql +MySQL {re.escape(shown)}", output), output
            assert f"Version: {shown}" in output and "Protocol: 10" in output, output
            plugin = "caching_sha2_password" if banner.startswith("8") else "mysql_native_password"
            assert f"Auth Plugin Name: {plugin}" in output, output
            assert ("SwitchToSSLAfterHandshake" in output) == banner.startswith("8"), output
            assert "unrecognized" not in output, output


@check("mysql: nmap's ssl-cert sees the server's own certificate")
def _(canary: Canary) -> None:
    needs("nmap")
    output = run("nmap", "-sT", "-sV", "--script", "ssl-cert", "-Pn", "-n", "-p", str(canary.ports["mysql"]), LOOPBACK, timeout=300)  # fmt: skip
    assert "commonName=MySQL_Server_8.0.43_Auto_Generated_Server_Certificate" in output, output


# Raw sockets.


def packet(sequence: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes([sequence]) + payload


CAPABILITIES = 0x000FA685


def answer(user: bytes, response: bytes, plugin: bytes, sequence: int = 1, capabilities: int = CAPABILITIES) -> bytes:
    fixed = struct.pack("<IIB23x", capabilities, 1 << 24, 0x21)
    return packet(sequence, fixed + user + b"\0" + bytes([len(response)]) + response + plugin + b"\0")


def greeted(canary: Canary) -> tuple[socket.socket, bytes, bytes]:
    """A connection, its greeting and the salt in it."""
    peer = connect(canary.ports["mysql"])
    greeting = read_quiet(peer)
    start = greeting.index(b"\0", 5) + 5
    return peer, greeting, greeting[start : start + 8] + greeting[start + 27 : start + 39]


@check("mysql: greeting, salt and number over 200 connections")
def _(canary: Canary) -> None:
    numbers, bytes_seen, salts = [], set(), set()
    for _n in range(200):
        with connect(canary.ports["mysql"]) as peer:
            greeting = peer.recv(4096)
        start = greeting.index(b"\0", 5) + 1
        assert greeting[5 : start - 1].decode() == BANNER
        numbers.append(struct.unpack_from("<I", greeting, start)[0])
        block = greeting[start + 13 : start + 31]
        assert block == bytes.fromhex("ffffff0200ffdf15") + bytes(10), block.hex()
        salt = greeting[start + 4 : start + 12] + greeting[start + 31 : start + 43]
        assert greeting[start + 43 :] == b"\0caching_sha2_password\0"
        salts.add(salt)
        bytes_seen |= set(salt)
    assert len(salts) == 200 and len(bytes_seen) >= 90 and not bytes_seen & {0, 0x24} and max(bytes_seen) < 0x80
    assert numbers == list(range(numbers[0], numbers[0] + 200)), numbers


for product, version in GOLDEN.items():

    @check(f"mysql: M01-M06 golden dialogues of {product}")
    def _(canary: Canary, product: str = product, version: str = version) -> None:
        with playing(canary, version) as other:
            for dialogue in read(product):
                mark = other.mark()
                played = play(other.ports["mysql"], dialogue)
                assert not played.difference, str(played.difference)
                assert other.wait_for(lambda e: e["logtype"] >= 30800, mark), f"no event of [{dialogue.name}]"

    @check(f"mysql: M01-M06 golden dialogues of {product}, one byte a segment")
    def _(canary: Canary, product: str = product, version: str = version) -> None:
        with playing(canary, version) as other:
            for dialogue in read(product):
                # FIN or RST depends on what the kernel had when the server closed.
                played = play(other.ports["mysql"], dialogue, Manner(piecewise=True, any_close=True))
                assert not played.difference, str(played.difference)


@check("mysql: a fast response alone can be cracked")
def _(canary: Canary) -> None:
    mark = canary.mark()
    peer, _greeting, salt = greeted(canary)
    with peer:
        peer.sendall(answer(b"root", caching_sha2(b"raw-and-gone", salt), b"caching_sha2_password"))
        assert read_quiet(peer) == packet(2, b"\1\4")
    data = login(canary, mark, "root", METHOD="response")
    salt_hex, response = data["HASH"].removeprefix("$mysqlsha2$").split("*")
    assert bytes.fromhex(salt_hex) == salt
    assert bytes.fromhex(response) == caching_sha2(b"raw-and-gone", bytes.fromhex(salt_hex))
    canary.logged(mark, 8001, {"USERNAME": "root", "PASSWORD": response})


@check("mysql: key and certificate outlive a restart")
def _(canary: Canary) -> None:
    with playing(canary, BANNER) as other:
        first = (public_key(other), certificate(other))
        other.stop()
        other.start()
        second = (public_key(other), certificate(other))
    assert first == second
    with playing(canary, BANNER) as another:
        assert public_key(another) != first[0] and certificate(another) != first[1]
    subject = load_der_x509_certificate(first[1]).subject.rfc4514_string()
    assert subject == "CN=MySQL_Server_8.0.43_Auto_Generated_Server_Certificate", subject


def public_key(canary: Canary) -> bytes:
    peer, _greeting, salt = greeted(canary)
    with peer:
        peer.sendall(answer(b"root", caching_sha2(b"x", salt), b"caching_sha2_password"))
        assert read_quiet(peer) == packet(2, b"\1\4")
        peer.sendall(packet(3, b"\2"))
        peer.settimeout(60)
        reply = peer.recv(4096)
        assert reply[:5] == bytes.fromhex("c401000401"), reply
        return reply[5:]


def certificate(canary: Canary) -> bytes:
    peer, _greeting, _salt = greeted(canary)
    with peer:
        peer.sendall(packet(1, struct.pack("<IIB23x", CAPABILITIES | 0x800, 1 << 24, 0xFF)))
        # At the first start the key may still be in the making.
        peer.settimeout(60)
        with unverified_tls().wrap_socket(peer, server_hostname="db") as inside:
            found = inside.getpeercert(binary_form=True)
    assert found
    return found


@check("mysql: one byte a segment, and all in one, end in the same events")
def _(canary: Canary) -> None:
    key = serialization.load_pem_public_key(public_key(canary))
    canary.settle()
    assert isinstance(key, rsa.RSAPublicKey)
    scheme = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)
    for manner in ("bytes", "one"):
        mark = canary.mark()
        peer, _greeting, salt = greeted(canary)
        secret = f"in-{manner}"
        hidden = bytes(b ^ salt[i % 20] for i, b in enumerate(secret.encode() + b"\0"))
        packets = [
            answer(b"root", caching_sha2(secret.encode(), salt), b"caching_sha2_password"),
            packet(3, b"\2"),
            packet(5, key.encrypt(hidden, scheme)),
        ]
        with peer:
            if manner == "one":
                peer.sendall(b"".join(packets))
            else:
                for byte in b"".join(packets):
                    peer.sendall(bytes([byte]))
            reply = read_quiet(peer, quiet=1)
        assert reply.endswith(b"Access denied for user 'root'@'127.0.0.1' (using password: YES)"), reply
        events = [e["logtype"] for e in canary.settle(mark, at_least=4)]
        assert events == [9003, 30800, 8001, 30801], events
        login(canary, mark, "root", METHOD="rsa", PASSWORD=secret)


@check("mysql: hostile input leaves an event and no harm")
def _(canary: Canary) -> None:
    user_at_end = struct.pack("<IIB23x", CAPABILITIES, 1 << 24, 0x21) + b"root\0"
    oversize = b"\xff\xff\xff\x01" + user_at_end + b"A" * 200_000
    for sent, logtype in (
        (b"\xff" * 3000, 30802),
        (b"\0" * 3000, 30802),
        (packet(1, b""), 30802),
        (packet(1, user_at_end), 8001),
        (packet(1, user_at_end[:-1]), 8001),
        (oversize, 8001),
        (b"\xff\xff\xff\x01abc", 30802),
        (answer(b"\xff\xfe'\"", b"A" * 20, b"mysql_native_password"), 8001),
        (answer(b"", b"", b""), 30801),
        (answer(b"root", b"", b"\xff" * 300), 30801),
        (packet(1, struct.pack("<IIB23x", 0x003FA685, 0, 0) + b"a\0\xfe" + b"\xff" * 8), 30802),
        (b"\x16\x03\x01\x02\0\x01\0", 30802),
    ):
        mark = canary.mark()
        peer, _greeting, _salt = greeted(canary)
        with peer:
            try:
                peer.sendall(sent)
                read_quiet(peer)
            except OSError:
                pass
        canary.logged(mark, logtype, {}, f"sent {sent[:60]!r}")
        assert canary.alive()


@check("mysql: garbage instead of TLS, and nothing at all, are events")
def _(canary: Canary) -> None:
    mark = canary.mark()
    peer, _greeting, _salt = greeted(canary)
    with peer:
        peer.sendall(packet(1, struct.pack("<IIB23x", CAPABILITIES | 0x800, 1 << 24, 0x21)))
        read_quiet(peer)
        peer.sendall(b"no TLS at all\r\n")
        read_quiet(peer)
    canary.logged(mark, 30802, {"REASON": "TLS was asked for and no login followed"})
    with playing(canary, MARIADB) as other:
        # 9003 is asked for here; without it the frame tells of a connection that said nothing.
        with connect(other.ports["mysql"]):
            pass
        event: Event = other.logged(0, 9003, {})
        assert event["logdata"] == {}


@check("mysql: TLS 1.2 and 1.3 both give the password")
def _(canary: Canary) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = unverified_tls()
        context.minimum_version = context.maximum_version = version
        mark = canary.mark()
        driver(canary, "root", f"by {version.name}", ssl=context)
        login(canary, mark, "root", METHOD="clear", PASSWORD=f"by {version.name}")
        handshake = canary.logged(mark, 30800, {"USERNAME": "root"})["logdata"]
        assert handshake["TLS_VERSION"].replace(".", "_") == version.name, handshake
