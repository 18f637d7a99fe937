"""NTP next to OpenCanary, which looks at one octet and never answers."""

from __future__ import annotations

from typing import Any

from canary import Canary
from datagram_messages import ntp_query, tell
from differential_steps import step
from expected_differences import Difference

SERVICES = ["ntp"]
SETTINGS: dict[str, Any] = {}

MONLIST: tuple[int, dict[str, Any]] = (11001, {"NTP CMD": "monlist"})


@step("ntp", "a monlist as nmap and ntpdc send it")
def _(_canary: Canary, port: int) -> None:
    tell(port, b"\x17\x00\x03\x2a" + bytes(4), b"\x17\x00\x02\x2a" + bytes(188))


@step("ntp", "the octet in other datagrams")
def _(_canary: Canary, port: int) -> None:
    tell(port, b"AAA*", b"\x16\x02\x00*" + bytes(8), b"\x00\x00\x00*" + bytes(44))


@step("ntp", "queries, control messages and noise")
def _(_canary: Canary, port: int) -> None:
    tell(port, ntp_query(), ntp_query(0x1B), b"\x16\x02\x00\x01" + bytes(8), b"\x17\x00\x03\x04" + bytes(4), b"xyz")


@step("ntp", "two octets that are one character")
def _(_canary: Canary, port: int) -> None:
    tell(port, b"\x17\x00\x03*" + bytes(4), b"\xc2\x97\x00*")


@step("ntp", "an empty datagram")
def _(_canary: Canary, port: int) -> None:
    tell(port, b"\x17\x00\x03*" + bytes(4), b"")


@step("ntp", "the older request for a monlist")
def _(_canary: Canary, port: int) -> None:
    tell(port, b"\x17\x00\x03*" + bytes(4), b"\x17\x00\x03\x14" + bytes(4))


@step("ntp", "a query with a precision of 42, and an answer that nobody asked for")
def _(_canary: Canary, port: int) -> None:
    query = bytearray(ntp_query())
    query[3] = ord("*")
    tell(port, bytes(query), b"\x97\x00\x03*" + bytes(4))


DIFFERENCES = [
    Difference(
        "ntp: two octets that are one character",
        "OpenCanary counts characters of UTF-8 and fails with an IndexError",
        adds=(MONLIST,),
    ),
    Difference(
        "ntp: an empty datagram",
        "OpenCanary takes nothing at all for a monlist; ours says that it was empty, in 31603",
        event=1,
        missing=True,
    ),
    Difference(
        "ntp: the older request for a monlist",
        "MON_GETLIST draws a list of clients as MON_GETLIST_1 does, and OpenCanary does not know it",
        adds=(MONLIST,),
    ),
    *(
        Difference(
            "ntp: a query with a precision of 42, and an answer that nobody asked for",
            "neither asks for a list of clients; ours tells of them in 31600 and 31602",
            event=event,
            missing=True,
        )
        for event in (0, 1)
    ),
]
