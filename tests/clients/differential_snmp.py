"""SNMP next to OpenCanary, which reads versions 1 and 2c with scapy and never answers."""

from __future__ import annotations

from typing import Any

from canary import Canary
from datagram_messages import (
    GET,
    GET_BULK,
    GET_NEXT,
    SET,
    community_message,
    octets,
    pdu,
    secure_message,
    tell,
)
from differential_steps import step
from expected_differences import Difference

SERVICES = ["snmp"]
SETTINGS: dict[str, Any] = {}

NAME = "1.3.6.1.2.1.1.5.0"


def requests(*names: str, community: str = "public") -> tuple[int, dict[str, Any]]:
    return 13001, {"COMMUNITY_STRING": community, "REQUESTS": list(names)}


@step("snmp", "the example line of the article")
def _(_canary: Canary, port: int) -> None:
    tell(port, community_message(0, b"password", pdu(GET, "1.3.6.1.2.1.1.1")))


@step("snmp", "every kind of request")
def _(_canary: Canary, port: int) -> None:
    tell(
        port,
        community_message(0, b"public", pdu(GET, NAME)),
        community_message(1, b"private", pdu(GET_NEXT, "1.3.6.1.2.1", "1.3.6.1.4.1.4294967295.1")),
        community_message(1, b"public", pdu(GET_BULK, "1.3", second=0, third=20)),
        community_message(1, b"public", pdu(SET, NAME, value=octets(b"owned"))),
        community_message(1, b"", pdu(GET)),
    )


@step("snmp", "a community that is UTF-8")
def _(_canary: Canary, port: int) -> None:
    tell(port, community_message(1, "öffentlich\n".encode(), pdu(GET, NAME)))


@step("snmp", "what is no message of version 1 or 2c")
def _(_canary: Canary, port: int) -> None:
    tell(port, b"garbage", secure_message(pdu(GET)), community_message(1, b"public", pdu(GET, NAME))[:-1])


@step("snmp", "an empty datagram")
def _(_canary: Canary, port: int) -> None:
    tell(port, b"")


@step("snmp", "a community that is not UTF-8")
def _(_canary: Canary, port: int) -> None:
    good = community_message(1, b"public", pdu(GET, NAME))
    tell(port, good, community_message(1, b"\xff\xfe", pdu(GET, NAME)))


DIFFERENCES: list[Difference] = [
    Difference(
        "snmp: an empty datagram",
        "scapy fills in its own defaults, so OpenCanary logs a community that nobody sent; ours is in 31503",
        missing=True,
    ),
    Difference(
        "snmp: a community that is not UTF-8",
        "OpenCanary cannot write such bytes as JSON and loses the event",
        adds=(requests(NAME, community="\\xff\\xfe"),),
    ),
]
