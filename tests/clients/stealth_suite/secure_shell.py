"""SSH: key exchange lists, padding, extensions, methods, attempts and host keys of each OpenSSH."""

from __future__ import annotations

import hashlib
import logging
import math
import re
import struct
import subprocess
import threading
import time
from dataclasses import dataclass

import paramiko

from canary import LOOPBACK, connect, needs

from .golden import Peer
from .personas import COMPRESSION, MACS, OpenSsh

logging.getLogger("paramiko").setLevel(logging.CRITICAL)
RSA_BITS = 3072
ATTEMPTS = 6


@dataclass
class KexInit:
    """A KEXINIT packet, taken apart."""

    banner: bytes
    size: int
    padding: bytes
    cookie: bytes
    lists: list[str]
    rest: bytes
    delay: float
    """Seconds from the client's version to it."""


def kexinit(port: int, label: str = "kexinit") -> KexInit:
    """What the server sends to a client that says its version and no more."""
    with Peer(port, label) as peer:
        banner = peer.read(lambda data: data.endswith(b"\n"))
        start = time.monotonic()
        peer.send(b"SSH-2.0-x\r\n")
        packet = peer.exactly(4, timeout=3)
        delay = time.monotonic() - start
        assert len(packet) >= 6, f"no KEXINIT follows the client's version, but {packet!r}"
        (length,) = struct.unpack(">I", packet[:4])
        packet += peer.exactly(4 + length - len(packet)) if len(packet) < 4 + length else b""
        packet += peer.quiet(0.1)
    padding = packet[4]
    payload = packet[5 : 4 + length - padding]
    assert payload[0] == 20, f"message {payload[0]} is no KEXINIT: {packet[:100].hex()}"
    lists, at = [], 17
    for _ in range(10):
        (size,) = struct.unpack(">I", payload[at : at + 4])
        lists.append(payload[at + 4 : at + 4 + size].decode("ascii"))
        at += 4 + size
    return KexInit(banner, len(packet), packet[4 + length - padding :], payload[1:17], lists, payload[at:], delay)


def lists_as_in_build(port: int, build: OpenSsh) -> None:
    init = kexinit(port)
    ciphers, macs = build.ciphers, MACS
    wanted = [build.kex, build.host_keys, ciphers, ciphers, macs, macs, COMPRESSION, COMPRESSION, "", ""]
    names = ["kex", "host key", "cipher c2s", "cipher s2c", "MAC c2s", "MAC s2c", "compression", "", "language", ""]
    assert init.banner == build.banner.encode() + b"\r\n", f"banner {init.banner!r}"
    for name, ours, golden in zip(names, init.lists, wanted, strict=True):
        assert ours == golden, f"{name} list\n  {ours}\ngolden\n  {golden}"
    assert init.rest == bytes(5), f"flags and reserved {init.rest.hex()}, golden {bytes(5).hex()}"
    assert init.size == build.size, f"packet of {init.size} bytes, golden {build.size}"


def fingerprint(port: int, build: OpenSsh) -> None:
    lists = kexinit(port).lists
    text = ";".join([lists[0], lists[3], lists[5], lists[7]])
    ours = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    assert ours == build.hassh, f"hasshServer {ours}, golden {build.hassh}"


def comes_unasked(port: int) -> None:
    delays = sorted(kexinit(port).delay for _ in range(3))
    assert delays[0] < 0.2, f"KEXINIT after {delays[0]:.3f} s, golden below 0.200"


def zero_padding(port: int) -> None:
    padding = kexinit(port).padding
    assert padding and not any(padding), f"padding {padding.hex()}, golden all zero"


def no_duplicates(port: int) -> None:
    for names in kexinit(port).lists:
        split = names.split(",")
        assert len(set(split)) == len(split), f"duplicates in {names}"


_verbose: dict[int, str] = {}
_verbose_lock = threading.Lock()


def verbose_client(port: int) -> str:
    """What OpenSSH's client tells of the server; one run for all checks."""
    needs("ssh")
    with _verbose_lock:
        if port not in _verbose:
            options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes", "ConnectTimeout=10"]
            command = ["ssh", "-F", "none", "-vv", "-p", str(port), *(f"-o{o}" for o in options), f"nouser@{LOOPBACK}"]
            ran = subprocess.run(command, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
            _verbose[port] = ran.stderr
    return _verbose[port]


def extensions(port: int, build: OpenSsh) -> None:
    text = verbose_client(port)
    lines = re.findall(r"kex_input_ext_info: (\S+)", text)
    golden = [f"server-sig-algs=<{build.signatures}>"]
    golden += [f"{name}=<0>" if name.startswith("publickey-hostbound") else name for name in build.extensions]
    assert lines == golden, "\n".join(["EXT_INFO", *lines, "golden", *golden, text[-400:] if not lines else ""])


def methods(port: int) -> None:
    text = verbose_client(port)
    offers = set(re.findall(r"Authentications that can continue: (\S+)", text))
    assert offers == {"publickey,password"}, f"methods {offers}, golden publickey,password\n{text[-300:]}"
    assert "partial success" not in text, text[-500:]


class Heard(logging.Handler):
    """Keeps what paramiko logs: the text of DISCONNECT is told nowhere else."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def transport(port: int, host_keys: tuple[str, ...] = ("ssh-ed25519",)) -> paramiko.Transport:
    """A paramiko connection after the key exchange."""
    client = paramiko.Transport(connect(port))
    client.set_log_channel(f"paramiko.stealth.{id(client)}")
    options = client.get_security_options()
    options.key_types = host_keys
    client.start_client(timeout=20)
    return client


def attempts(port: int) -> None:
    client = transport(port)
    heard = Heard()
    logger = logging.getLogger(client.get_log_channel())
    logger.addHandler(heard)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    delays, sent = [], 0
    try:
        for number in range(ATTEMPTS + 2):
            start = time.monotonic()
            try:
                sent += 1
                client.auth_password("root", f"wrong{number}")
            except paramiko.AuthenticationException:
                delays.append(time.monotonic() - start)
            except (paramiko.SSHException, EOFError, OSError):
                break
            if not client.is_active():
                break
    finally:
        client.close()
    said = [line for line in heard.lines if "authentication failures" in line or "Disconnect" in line]
    assert sent == ATTEMPTS, f"{sent} attempts until the end, golden {ATTEMPTS}; {said}"
    assert any("Too many authentication failures" in line for line in said), f"DISCONNECT says {heard.lines[-5:]}"
    exact = [delay for delay in delays if abs(delay - 1) < 0.02]
    assert len(exact) < 2, f"failures answered after exactly one second: {delays}"


def delay_of_a_user_is_stable(port: int) -> None:
    """The delay depends on the user's name, and is the same, or its double, on another connection."""
    seen = []
    for _ in range(2):
        client = transport(port)
        try:
            start = time.monotonic()
            try:
                client.auth_password("stable-user", "x")
            except paramiko.AuthenticationException:
                pass
            seen.append(time.monotonic() - start)
        finally:
            client.close()
    # OpenSSH doubles its delay until it is longer than the work took.
    doublings = math.log2(seen[0] / seen[1])
    assert abs(doublings - round(doublings)) < 0.15, f"the same user waits {seen[0]:.3f} s and {seen[1]:.3f} s"


def host_key(port: int, kind: str) -> paramiko.PKey:
    client = transport(port, (kind,))
    try:
        return client.get_remote_server_key()
    finally:
        client.close()


def host_keys(port: int) -> dict[str, bytes]:
    """Every host key of a server by its kind."""
    kinds = {"ssh-ed25519": "ssh-ed25519", "ecdsa-sha2-nistp256": "ecdsa-sha2-nistp256", "rsa-sha2-512": "ssh-rsa"}
    return {name: host_key(port, kind).asbytes() for kind, name in kinds.items()}


def right_host_keys(port: int) -> None:
    offered = kexinit(port).lists[1].split(",")
    assert "ssh-dss" not in offered, f"ssh-dss among {offered}"
    keys = host_keys(port)
    assert len(set(keys.values())) == 3
    bits = host_key(port, "rsa-sha2-256").get_bits()
    assert bits == RSA_BITS, f"RSA key of {bits} bits, golden {RSA_BITS}"


def strict_exchange(port: int, build: OpenSsh) -> None:
    client = paramiko.Transport(connect(port), strict_kex=True)
    try:
        client.start_client(timeout=20)
        wanted = "kex-strict-s-v00@openssh.com" in build.kex
        agreed = bool(client.agreed_on_strict_kex)
        assert agreed == wanted, f"strict key exchange {agreed}, golden {wanted}"
        # With the sequence numbers reset on one side alone, this packet could not be read.
        try:
            client.auth_none("nobody")
        except paramiko.BadAuthenticationType as refused:
            assert refused.allowed_types == ["publickey", "password"], refused.allowed_types
    finally:
        client.close()
