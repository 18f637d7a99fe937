"""SNMP and NTP messages as an attacker's own script writes them, and datagrams to send them in."""

from __future__ import annotations

import hashlib
import hmac
import socket
from collections.abc import Callable
from typing import Any

from canary import LOOPBACK

GET, GET_NEXT, RESPONSE, SET, TRAP, GET_BULK, REPORT = 0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA8
NULL = b"\x05\x00"
MEBIBYTE = 1048576


def ask(port: int, datagram: bytes, source: str | None = None, timeout: float = 1.0) -> bytes:
    """The answer to one datagram; nothing when none comes in time."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        if source:
            peer.bind((source, 0))
        peer.settimeout(timeout)
        peer.sendto(datagram, (LOOPBACK, port))
        try:
            return peer.recv(65535)
        except TimeoutError:
            return b""


def tell(port: int, *datagrams: bytes, from_port: int = 0) -> None:
    """Sends datagrams and waits for no answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((LOOPBACK, from_port))
        for datagram in datagrams:
            peer.sendto(datagram, (LOOPBACK, port))


def element(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 128:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def integer(value: int) -> bytes:
    size = (value if value >= 0 else ~value).bit_length() // 8 + 1
    return element(2, value.to_bytes(size, "big", signed=True))


def octets(content: bytes) -> bytes:
    return element(4, content)


def sequence(*parts: bytes) -> bytes:
    return element(0x30, b"".join(parts))


def name(dotted: str) -> bytes:
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    content = b""
    for arc in [first * 40 + second, *rest]:
        groups = [arc & 127]
        while arc := arc >> 7:
            groups.insert(0, arc & 127 | 128)
        content += bytes(groups)
    return element(6, content)


def variables(*names: str, value: bytes = NULL) -> bytes:
    return sequence(*(sequence(name(one), value) for one in names))


def pdu(tag: int, *names: str, identifier: int = 7, second: int = 0, third: int = 0, value: bytes = NULL) -> bytes:
    fields = integer(identifier) + integer(second) + integer(third)
    return element(tag, fields + variables(*names, value=value))


def community_message(version: int, community: bytes, body: bytes) -> bytes:
    return sequence(integer(version), octets(community), body)


def secure_message(
    body: bytes, engine: bytes = b"", user: bytes = b"", digest: bytes = b"", flags: int = 4, boots: int = 0, time: int = 0
) -> bytes:
    header = sequence(integer(99), integer(65507), octets(bytes([flags])), integer(3))
    parameters = sequence(octets(engine), integer(boots), integer(time), octets(user), octets(digest), octets(b""))
    return sequence(integer(3), header, octets(parameters), sequence(octets(engine), octets(b""), body))


def localized_key(password: bytes, engine: bytes, hash_of: Callable[[bytes], Any]) -> bytes:
    """RFC 3414, sections 2.6 and A.2."""
    repeated = (password * (MEBIBYTE // len(password) + 1))[:MEBIBYTE]
    key = hash_of(repeated).digest()
    localized: bytes = hash_of(key + engine + key).digest()
    return localized


def cracked(line: str, words: list[str]) -> tuple[str, str] | None:
    """What hashcat does with a line of mode 25000: the word and the protocol that make its digest."""
    empty, mark, kind, _number, message, engine, digest = line.split("$")
    assert (empty, mark, kind) == ("", "SNMPv3", "0"), line
    for word in words:
        for protocol, hash_of in (("MD5", hashlib.md5), ("SHA", hashlib.sha1)):
            key = localized_key(word.encode(), bytes.fromhex(engine), hash_of)
            made = hmac.new(key, bytes.fromhex(message), hash_of).digest()
            if made[:12].hex() == digest:
                return word, protocol
    return None


def ntp_query(first: int = 0x23, transmit: bytes = b'\x11"3DUfw\x88') -> bytes:
    return bytes([first]) + bytes(39) + transmit
