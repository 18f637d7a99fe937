"""The search for poisoners, with one in a network namespace of its own, over a pair of virtual interfaces."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from canary import LOOPBACK, Canary, Event, Skip, needs
from check_list import Checks
from fake_responder import answer

# On the loopback LLMNR's port may be taken by the resolver of this host.
PORT = 55_355
SERVICES: list[str] = []
SETTINGS: dict[str, Any] = {
    "llmnr.enabled": True,
    "llmnr.query_interval": 1,
    "llmnr.query_splay": 0,
    "llmnr.hostname": "FILESRV02",
    "llmnr.port": PORT,
    "llmnr.interfaces": ["lo"],
}
CHECKS = Checks()
check = CHECKS.add

HERE = Path(__file__).parent
FOUR, SIX, OTHER = "198.51.100.66", "fe80::66", "198.51.100.1"


class Confined(Canary):
    """A canary in a network namespace."""

    def __init__(self, bin_dir: Path | None, namespace: str, settings: dict[str, Any]) -> None:
        super().__init__(bin_dir, {"device.listen_addr": "", "llmnr.enabled": True} | settings, services=())
        self.namespace = namespace

    def _command(self) -> list[str]:
        return ["ip", "netns", "exec", self.namespace, *super()._command()]


def ip(*words: str) -> None:
    done = subprocess.run(("ip", *words), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Skip(f"`ip {' '.join(words)}`: {done.stderr.strip()}")


@contextlib.contextmanager
def two_networks() -> Iterator[tuple[str, str]]:
    """Two namespaces with a cable between them; the second holds the poisoner's addresses."""
    needs("ip")
    ours, theirs = (f"aviary-{os.getpid()}-{end}" for end in "ab")
    ip("netns", "add", ours)
    try:
        ip("netns", "add", theirs)
        ip("link", "add", "eth0", "netns", ours, "type", "veth", "peer", "name", "eth0", "netns", theirs)
        ip("-n", theirs, "link", "set", "eth0", "address", "02:00:00:00:00:66")
        for namespace, address in ((ours, OTHER), (theirs, FOUR)):
            ip("-n", namespace, "address", "add", f"{address}/24", "broadcast", "198.51.100.255", "dev", "eth0")
            ip("-n", namespace, "link", "set", "lo", "up")
            ip("-n", namespace, "link", "set", "eth0", "up")
        ip("-n", theirs, "address", "add", f"{SIX}/64", "dev", "eth0", "nodad")
        # Until the kernel has made sure that nobody else has it, a link-local address cannot be used.
        for namespace in (ours, theirs):
            for _ in range(100):
                shown = subprocess.run(
                    ("ip", "-n", namespace, "-6", "address", "show", "dev", "eth0"), capture_output=True, text=True, check=True
                )
                if "fe80" in shown.stdout and "tentative" not in shown.stdout:
                    break
                time.sleep(0.1)
        yield ours, theirs
    finally:
        for namespace in (ours, theirs):
            subprocess.run(("ip", "netns", "delete", namespace), capture_output=True, check=False)


@contextlib.contextmanager
def responder(namespace: str, *options: str) -> Iterator[list[dict[str, Any]]]:
    """The poisoner at work; what it heard is in the list when it has ended."""
    heard: list[dict[str, Any]] = []
    command = ("ip", "netns", "exec", namespace, sys.executable, str(HERE / "fake_responder.py"), "eth0", FOUR, SIX)
    with subprocess.Popen((*command, *options), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert json.loads(process.stdout.readline()) == {"ready": True}
        try:
            yield heard
        finally:
            process.terminate()
            heard += [json.loads(line) for line in process.stdout]


def of(events: list[Event], protocol: str, source: str) -> list[Event]:
    return [
        event
        for event in events
        if event["logtype"] == 31900 and (event["logdata"]["PROTOCOL"], event["src_host"]) == (protocol, source)
    ]


def confined(canary: Canary) -> None:
    if canary.kind == "opencanary":
        raise Skip("OpenCanary asks by scapy on its default route alone")


@check("llmnr: a poisoner is told over all three protocols, IPv4 and IPv6")
def _(canary: Canary) -> None:
    confined(canary)
    with two_networks() as (ours, theirs), responder(theirs) as heard:
        with Confined(canary.bin_dir, ours, {}) as asking:
            asking.wait_for(lambda e: e["logtype"] == 31900 and e["logdata"]["PROTOCOL"] == "mDNS", timeout=8)
            events = asking.settle(0, quiet=2.0, timeout=8)
    names = {event["logdata"]["NAME"] for event in events if event["logtype"] == 31900}
    assert len(names) == 1, f"{names}; the log: {events}"
    (name,) = names
    for protocol, port in (("LLMNR", 5355), ("NBT-NS", 137), ("mDNS", 5353)):
        (event,) = [e for e in of(events, protocol, FOUR) if e["logdata"]["ANSWERS"] == [FOUR]]
        assert event["logdata"]["MAC"] == "02:00:00:00:00:66", event
        assert event["logdata"]["INTERFACE"] == "eth0" and event["logdata"]["TTL"] == 64, event
        assert (event["dst_host"], event["dst_port"], event["src_port"]) == (OTHER, port, port), event
        if protocol != "NBT-NS":
            six = of(events, protocol, SIX)
            assert six and six[0]["logdata"]["MAC"] == "02:00:00:00:00:66", f"{protocol} over IPv6: {events}"
    theirs_too = [e for e in events if e["logtype"] == 19001]
    assert all(set(e["logdata"]) == {"query_hostname", "response"} for e in theirs_too), theirs_too
    assert {"query_hostname": name, "response": f"DNS Ans {FOUR}"} in [e["logdata"] for e in theirs_too], theirs_too
    assert {e["src_host"] for e in theirs_too} == {FOUR, SIX}, theirs_too
    # As a Windows client asks.
    asked = [(e["protocol"], e["hops"], ":" in e["peer"]) for e in heard]
    for expected in (("LLMNR", 1, False), ("LLMNR", 1, True), ("mDNS", 255, False), ("mDNS", 255, True), ("NBT-NS", 128, False)):
        assert expected in asked, f"{expected} not in {asked}"
    assert {e["port"] for e in heard if e["protocol"] == "NBT-NS"} == {137}, heard
    assert 5355 not in {e["port"] for e in heard if e["protocol"] == "LLMNR"}, heard


@check("llmnr: names and ids change from round to round")
def _(canary: Canary) -> None:
    confined(canary)
    with two_networks() as (ours, theirs), responder(theirs, "--silent") as heard:
        with Confined(canary.bin_dir, ours, {"llmnr.query_interval": 1, "llmnr.query_splay": 0}) as asking:
            time.sleep(13)
            assert asking.alive(), asking.last_output()
    names = {e["name"].split(".")[0] for e in heard if e["protocol"] != "NBT-NS"}
    ids = {e["id"] for e in heard if e["protocol"] == "LLMNR"}
    assert len(names) >= 2, heard
    assert len(ids) >= 2 * len(names), heard
    assert all(re.fullmatch(r"[A-Z0-9-]{4,15}", name) for name in names), names


NOISE = f"""
import socket
peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
peer.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
peer.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("{FOUR}"))
name = b"\\x08SOMEBODY\\0\\0\\1\\0\\1"
question = b"\\x12\\x34\\0\\0\\0\\1\\0\\0\\0\\0\\0\\0" + name
answer = b"\\x12\\x34\\x80\\0\\0\\1\\0\\1\\0\\0\\0\\0" + name + name + b"\\0\\0\\0\\x1e\\0\\4\\x0a\\0\\0\\x42"
for to in (("224.0.0.252", 5355), ("224.0.0.251", 5353), ("198.51.100.255", 137), ("{OTHER}", 137), ("{OTHER}", 5355)):
    for datagram in (question, answer, b"", b"\\xff" * 50):
        peer.sendto(datagram, to)
for port in range(32768, 61000):
    peer.sendto(answer, ("{OTHER}", port))
"""
"""Questions of another host, and answers to them on every port from which one could have been asked."""


@check("llmnr: other hosts' questions and the answers to them raise nothing")
def _(canary: Canary) -> None:
    confined(canary)
    with two_networks() as (ours, theirs), Confined(canary.bin_dir, ours, {}) as asking:
        asking.wait_for(lambda e: "running" in json.dumps(e["logdata"]))
        time.sleep(0.5)
        subprocess.run(("ip", "netns", "exec", theirs, sys.executable, "-c", NOISE), check=True, timeout=30)
        events = [e for e in asking.settle(0, quiet=1.5) if e["logtype"] != 1001]
        assert asking.alive(), asking.last_output()
    assert events == [], events


@check("llmnr: stops when it is switched off by a reload")
def _(canary: Canary) -> None:
    confined(canary)
    with two_networks() as (ours, theirs), responder(theirs, "--silent") as heard:
        with Confined(canary.bin_dir, ours, {"llmnr.query_interval": 1, "llmnr.query_splay": 0}) as asking:
            time.sleep(2)
            config = asking.directory / ".opencanary.conf"
            config.write_text(json.dumps(json.loads(config.read_text()) | {"llmnr.enabled": False}))
            assert asking.process
            asking.process.send_signal(1)
            event = asking.wait_for(lambda e: "llmnr stopped" in json.dumps(e["logdata"]), timeout=10)
            assert event, asking.events()
            ended = time.monotonic()
            time.sleep(8)
    late = [e for e in heard if e["at"] > ended + 0.5]
    assert heard and not late, late


@check("llmnr: a poisoner on the loopback, in scapy's words")
def _(canary: Canary) -> None:
    confined(canary)
    mark = canary.mark()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("", PORT))
        member = socket.inet_aton("224.0.0.252") + socket.inet_aton(LOOPBACK)
        peer.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        peer.settimeout(10)
        question, source = peer.recvfrom(4096)
        reply = answer("LLMNR", question, "10.0.0.66", "fe80::66")
        peer.sendto(reply, source)
    event = canary.logged(mark, 19001, {"query_hostname": "FILESRV02"}, timeout=8)
    try:
        from scapy.layers.dns import DNS
    except ImportError as missing:
        raise Skip("`scapy` is not installed") from missing
    assert event["logdata"] == {"query_hostname": "FILESRV02", "response": DNS(reply).summary()}, event
    assert event["src_host"] == LOOPBACK and event["dst_port"] == PORT, event
