"""Who stands behind an address: a host on the link, and one behind it as behind a router, in a network namespace."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from canary import Canary, Event
from check_list import Checks
from service_llmnr import FOUR, OTHER, Confined, confined, ip, two_networks

SERVICES: list[str] = []
SETTINGS: dict[str, Any] = {}
CHECKS = Checks()
check = CHECKS.add

MAC = "02:00:00:00:00:66"
FAR = "203.0.113.7"
PORT = 2121
PLAIN = {"llmnr.enabled": False, "ftp.enabled": True, "ftp.port": PORT}

TOUCH = f"""
import socket, sys
with socket.create_connection(("{OTHER}", {PORT}), timeout=10, source_address=(sys.argv[1], 0)) as peer:
    peer.recv(100)
    peer.sendall(b"USER a\\r\\n")
    peer.recv(100)
    peer.sendall(b"PASS b\\r\\n")
    peer.recv(100)
"""
"""A login from one of the host's addresses."""

TELL = f"""
import socket, sys
peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
peer.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
peer.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
to, source = (sys.argv[1], int(sys.argv[2])), ("{FOUR}" if sys.argv[3] != "68" else "", int(sys.argv[3]))
peer.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("{FOUR}"))
peer.bind(source)
peer.sendto(bytes.fromhex(sys.argv[4]), to)
"""
"""One datagram: address and port, source port, bytes."""

LABEL = bytes(letter for byte in b"LAPTOP-7".ljust(15) + b"\0" for letter in (65 + (byte >> 4), 65 + (byte & 15)))
NETBIOS = (
    bytes.fromhex("80012910000100000000000120")
    + LABEL
    + bytes.fromhex("0000200001c00c002000010000000000060000c6336442")
)
MDNS = b"\0\0\x84\0\0\0\0\1\0\0\0\0\x07mac-pro\x05local\0\0\1\x80\1\0\0\0\x78\0\4" + bytes.fromhex("c6336442")
DHCP = (
    bytes.fromhex("01010600")
    + bytes(24)
    + bytes.fromhex("020000000066")
    + bytes(10 + 64 + 128)
    + bytes.fromhex("63825363")
    + b"\x35\1\1\x0c\x06KIOSK1\xff"
)


def inside(namespace: str, script: str, *words: str) -> None:
    command = ("ip", "netns", "exec", namespace, sys.executable, "-c", script, *words)
    subprocess.run(command, check=True, timeout=30, capture_output=True)


def login(asking: Canary, namespace: str, source: str) -> dict[str, Any]:
    """What stands in `aviary` of a login's event."""
    assert asking.wait_for(lambda e: "running" in str(e["logdata"])), asking.last_output()
    mark = asking.mark()
    inside(namespace, TOUCH, source)
    event: Event | None = asking.wait_for(
        lambda e: e["logtype"] == 2000 and e["src_host"] == source, since=mark, timeout=10
    )
    assert event, asking.events()
    return event["aviary"]


def routed(ours: str, theirs: str) -> None:
    """Gives the other host an address that is not of the link."""
    ip("-n", theirs, "address", "add", f"{FAR}/32", "dev", "lo")
    ip("-n", ours, "route", "add", "203.0.113.0/24", "via", FOUR)


@check("who: the kernel's neighbour table alone tells MAC addresses, and a router's as such")
def _(canary: Canary) -> None:
    confined(canary)
    with two_networks() as (ours, theirs), Confined(canary.bin_dir, ours, PLAIN | {"aviary.capture": False}) as asking:
        routed(ours, theirs)
        near = login(asking, theirs, FOUR)
        assert near["src_mac"] == MAC and "src_mac_router" not in near, near
        assert "src_ttl" not in near and "tcp" not in near.get("fingerprint", {}), near
        far = login(asking, theirs, FAR)
        assert far["src_mac"] == MAC and far["src_mac_router"] is True, far


@check("who: packets tell distance, the first packet's fingerprints, and names")
def _(canary: Canary) -> None:
    confined(canary)
    with two_networks() as (ours, theirs), Confined(canary.bin_dir, ours, PLAIN) as asking:
        routed(ours, theirs)
        near = login(asking, theirs, FOUR)
        assert (near["src_mac"], near["src_ttl"], near["src_hops"]) == (MAC, 64, 0), near
        prints = near["fingerprint"]
        assert prints["tcp"].startswith("4:64:0:1460:mss*") and prints["ja4t"], prints
        assert "src_name" not in near and "src_vendor" not in near, near
        # mDNS of the host's own address, then better sources.
        inside(theirs, TELL, "224.0.0.251", "5353", "5353", MDNS.hex())
        named = login(asking, theirs, FOUR)
        assert (named["src_name"], named["src_name_from"]) == ("mac-pro", "mdns"), named
        inside(theirs, TELL, "198.51.100.255", "137", "137", NETBIOS.hex())
        named = login(asking, theirs, FOUR)
        assert (named["src_name"], named["src_name_from"]) == ("LAPTOP-7", "netbios"), named
        far = login(asking, theirs, FAR)
        assert far["src_mac_router"] is True and "src_name" not in far, far


@check("who: a DHCP client's host name, by its MAC address")
def _(canary: Canary) -> None:
    confined(canary)
    with two_networks() as (ours, theirs), Confined(canary.bin_dir, ours, PLAIN) as asking:
        routed(ours, theirs)
        inside(theirs, TELL, "255.255.255.255", "67", "68", DHCP.hex())
        near = login(asking, theirs, FOUR)
        assert (near["src_name"], near["src_name_from"]) == ("KIOSK1", "dhcp"), near
        far = login(asking, theirs, FAR)
        assert far["src_mac_router"] is True and "src_name" not in far, (
            "a router's name is not that of who is behind it"
        )
