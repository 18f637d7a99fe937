"""Scans a canary from another host with nmap, masscan, zmap and packets made by hand, and looks at what is told.

Two network namespaces joined by a pair of interfaces are the two hosts; nothing leaves them. Where namespaces are
not permitted every check is a visible `SKIP`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import two_hosts as namespaces
from canary import Event, Report, Skip, arguments, chosen_bin_dir, needs
from client_programs import SCRATCH, run
from two_hosts import OUR_MAC, OURS, OURS_V6, THEIR_MAC, THEIRS, THEIRS_V6, ScannedCanary, There, two_hosts

OTHERS = ("10.213.77.11", "10.213.77.12", "10.213.77.13")
"""Three more addresses of the canary."""

ROUTER = ("--router-mac", OUR_MAC)

SCAN = 32000


class Visit:
    """A canary, and the visitor's end of the wire."""

    def __init__(self, canary: ScannedCanary, there: There) -> None:
        self.canary = canary
        self.there = there
        self.begun = canary.mark()

    def nmap(self, *options: str) -> str:
        needs("nmap")
        return self.there("nmap", "-n", "-Pn", *options)

    def told(self) -> list[Event]:
        """Everything but lines about the canary, once it has stopped and so told the end of every scan."""
        self.canary.stop()
        return [event for event in self.canary.events(self.begun) if event["logtype"] != 1001]

    def scan(self) -> Event:
        """The end of the one scan that was told of."""
        scans = [event for event in self.told() if event["logtype"] == SCAN]
        ids = {event["logdata"]["SCAN"] for event in scans}
        assert len(ids) == 1, f"{len(ids)} scans: {scans}"
        first, last = scans[0], scans[-1]
        assert (first["logdata"]["STATE"], last["logdata"]["STATE"]) == ("begun", "ended"), scans
        assert sum(event["logdata"]["STATE"] == "ended" for event in scans) == 1, scans
        return last

    def sends(self, program: str, *words: str) -> None:
        """Runs Python as the visitor, with a packet socket `wire` on its interface."""
        head = (
            "import socket, struct, sys, time\n"
            "wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))\n"
            "wire.bind(('eth1', 0))\n"
            f"ends = bytes.fromhex('{(OUR_MAC + THEIR_MAC).replace(':', '')}')\n"
        )
        output = self.there(sys.executable, "-c", head + PACKETS + program, *words)
        assert "Traceback" not in output, output


PACKETS = '''
def total(data):
    data += bytes(len(data) % 2)
    value = sum(struct.unpack(f">{len(data) // 2}H", data))
    while value >> 16:
        value = (value & 0xffff) + (value >> 16)
    return ~value & 0xffff

def ipv4(protocol, segment, source="10.213.77.2", target="10.213.77.1", fragment=0, ident=7):
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), ident, fragment, 64, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(target))
    return head[:10] + struct.pack(">H", total(head)) + head[12:] + segment

def tcp(port, flags, options=b"", data=b"", source_port=40000, sum=True):
    head = struct.pack(">HHIIBBHHH", source_port, port, 1, 1, (5 + len(options) // 4) << 4, flags, 1024, 0, 0)
    segment = head + options + data
    pseudo = socket.inet_aton("10.213.77.2") + socket.inet_aton("10.213.77.1") + struct.pack(">HH", 6, len(segment))
    value = total(pseudo + segment) if sum else 0
    return segment[:16] + struct.pack(">H", value) + segment[18:]

def udp(port, data, source_port=40000):
    return struct.pack(">HHHH", source_port, port, 8 + len(data), 0) + data

def put(packet, kind=0x0800, to=None):
    wire.send((to + ends[6:] if to else ends) + struct.pack(">H", kind) + packet)
'''


@contextmanager
def visit(bin_dir: Path, there: There, settings: dict[str, Any] | None = None) -> Iterator[Visit]:
    """A canary with FTP on port 21, for one check."""
    quick = {"portscan.enabled": True, "device.listen_addr": "", "ftp.port": 21, "portscan.quiet_seconds": 5}
    with ScannedCanary(bin_dir, quick | (settings or {}), services=("ftp",)) as canary:
        yield Visit(canary, there)


Body = Callable[[Visit], None]
CHECKS: list[tuple[str, dict[str, Any], Body]] = []
"""Name, further settings and body."""


def check(name: str, **settings: Any) -> Callable[[Body], Body]:
    """Adds the function below as a check; `a__b` of the settings stands for `a.b`."""

    def append(body: Body) -> Body:
        CHECKS.append((name, {key.replace("__", "."): value for key, value in settings.items()}, body))
        return body

    return append


def numbers(events: list[Event]) -> Counter[int]:
    return Counter(event["logtype"] for event in events)


def ways(scan: Event) -> dict[str, int]:
    found: dict[str, int] = scan["logdata"]["KINDS"]
    return found


# -- nmap's kinds -----------------------------------------------------------------------------------


def nmap_check(name: str, options: tuple[str, ...], kind: str, number: int | None, tool: str | None = "nmap") -> None:
    """A scan of the ports 20 to 40, of which FTP listens on 21."""

    def body(visit: Visit) -> None:
        visit.nmap(*options, "-p", "20-40", OURS)
        last = visit.scan()
        data = last["logdata"]
        assert data["KIND"] == kind and data.get("TOOL") == tool, data
        ports = data["UDP_PORTS" if kind == "udp" else "PORTS"]
        assert sorted(ports) == list(range(20, 41)), data
        assert data["HOSTS"] == [OURS] and data["PACKETS"] >= 21, data
        assert (last["src_host"], last["dst_host"]) == (THEIRS, OURS), last
        # nmap's raw packets have a TTL of their own making; that does not move a neighbour away.
        assert (last["aviary"]["src_mac"], last["aviary"]["src_hops"]) == (THEIR_MAC, 0), last
        found = numbers(visit.told())
        assert {n for n in found if 5000 < n < 5010} == ({number} if number else set()), found

    check(f"scans: nmap {' '.join(options)}")(body)


nmap_check("syn", ("-sS",), "syn", 5001)
nmap_check("connect", ("-sT",), "connect", 5001, None)
nmap_check("null", ("-sN",), "null", 5003)
nmap_check("fin", ("-sF",), "fin", 5005)
nmap_check("xmas", ("-sX",), "xmas", 5004)
nmap_check("ack", ("-sA",), "ack", None)
nmap_check("maimon", ("-sM",), "maimon", None)
nmap_check("udp", ("-sU", "--max-retries", "0"), "udp", None, None)


@check("scans: nmap -O")
def _(visit: Visit) -> None:
    visit.nmap("-O", "-p", "20-23", OURS)
    data = visit.scan()["logdata"]
    assert data["KIND"] == "os" and data["TOOL"] == "nmap" and data["KINDS"]["syn"] >= 4, data
    found = numbers(visit.told())
    assert {5001, 5002, 5003, 5004} <= set(found), found


@check("scans: IPv6, nmap -6 -sS and -sU")
def _(visit: Visit) -> None:
    visit.nmap("-6", "-sS", "-p", "20-40", OURS_V6)
    visit.nmap("-6", "-sU", "--max-retries", "0", "-p", "500-510", OURS_V6)
    last = visit.scan()
    data = last["logdata"]
    assert set(ways(last)) == {"syn", "udp"} and data["TOOL"] == "nmap", data
    assert (data["PORT_COUNT"], data["UDP_PORT_COUNT"]) == (21, 11), data
    assert (last["src_host"], data["HOSTS"]) == (THEIRS_V6, [OURS_V6]), last
    events = visit.told()
    assert numbers(events)[5001] >= 1, events
    syn = next(event for event in events if event["logtype"] == 5001)
    assert syn["logdata"]["HOPLIMIT"] and "FLOWLBL" in syn["logdata"], syn


@check("scans: a sweep of pings, timestamps and masks")
def _(visit: Visit) -> None:
    needs("nmap")
    visit.there("nmap", "-n", "-sn", "--disable-arp-ping", "-PE", "-PP", "-PM", OURS, *OTHERS)
    last = visit.scan()
    assert set(ways(last)) == {"icmp"} and sorted(last["logdata"]["HOSTS"]) == sorted((OURS, *OTHERS)), last


@check("scans: masscan")
def _(visit: Visit) -> None:
    needs("masscan")
    visit.there("masscan", "--adapter", "eth1", *ROUTER, "--rate", "500", "--wait", "0", "-p100-160", OURS)
    data = visit.scan()["logdata"]
    assert (data["KIND"], data["TOOL"], data["PORT_COUNT"]) == ("syn", "masscan", 61), data


@check("scans: zmap over four addresses")
def _(visit: Visit) -> None:
    needs("zmap")
    nothing = visit.canary.directory / "blacklist"
    nothing.write_text("")
    output = visit.there(
        "zmap", "-i", "eth1", "-G", OUR_MAC, "-p", "81", "-r", "500", "-c", "0", "-b", str(nothing),
        "-S", THEIRS, "10.213.77.11", "10.213.77.12", "10.213.77.13", OURS,
    )  # fmt: skip
    data = visit.scan()["logdata"]
    assert data["TOOL"] == "zmap" and sorted(data["HOSTS"]) == sorted((OURS, *OTHERS)), f"{data}\n{output}"


# -- four addresses, three modes --------------------------------------------------------------------


def four_addresses(visit: Visit) -> list[Event]:
    visit.nmap("-sS", "-p", "100-149", OURS, *OTHERS)
    return visit.told()


@check("scans: four addresses, compatible: what OpenCanary writes", portscan__events="compatible")
def _(visit: Visit) -> None:
    events = four_addresses(visit)
    assert set(numbers(events)) == {5001}, numbers(events)
    assert len(events) >= 5, events
    # OpenCanary's line: the kernel's tags, ports as text.
    wanted = {
        "ID", "IN", "LEN", "MAC", "OUT", "PREC", "PROTO", "RES", "SYN", "TOS", "TTL", "URGP", "WINDOW",
    }  # fmt: skip
    for event in events:
        assert set(event["logdata"]) - {"DF"} == wanted, event
        assert isinstance(event["dst_port"], str) and 100 <= int(event["dst_port"]) < 150, event
        assert event["dst_host"] in (OURS, *OTHERS) and event["src_host"] == THEIRS, event


@check("scans: four addresses, aggregated: one scan that names all four", portscan__events="aggregated")
def _(visit: Visit) -> None:
    last = visit_end(four_addresses(visit))
    data = last["logdata"]
    assert sorted(data["HOSTS"]) == sorted((OURS, *OTHERS)) and data["HOST_COUNT"] == 4, data
    assert sorted(data["PORTS"]) == list(range(100, 150)) and data["PACKETS"] == 200, data
    assert data["KIND"] == "syn" and data["TOOL"] == "nmap" and data["FIRST"] < data["LAST"], data


@check("scans: four addresses, both")
def _(visit: Visit) -> None:
    found = numbers(four_addresses(visit))
    assert set(found) == {5001, SCAN} and found[5001] >= 5, found


def visit_end(events: list[Event]) -> Event:
    """The last line of the only scan, where nothing else was told."""
    assert {event["logtype"] for event in events} == {SCAN}, numbers(events)
    assert len({event["logdata"]["SCAN"] for event in events}) == 1, events
    assert [event["logdata"]["STATE"] for event in events].count("ended") == 1, events
    return events[-1]


@check("scans: a slow one is one, told of while it goes on", portscan__update_seconds=2, portscan__quiet_seconds=5)
def _(visit: Visit) -> None:
    visit.nmap("-sS", "--max-retries", "0", "--scan-delay", "1500ms", "-p", "100-107", OURS)
    scans = [event["logdata"] for event in visit.told() if event["logtype"] == SCAN]
    states = [data["STATE"] for data in scans]
    assert len({data["SCAN"] for data in scans}) == 1, scans
    assert states[0] == "begun" and states[-1] == "ended" and states.count("going on") >= 2, states
    assert scans[-1]["PACKETS"] == 8 and scans[-1]["DURATION_MS"] > 9000, scans[-1]


@check("scans: an end comes by itself when it falls silent")
def _(visit: Visit) -> None:
    visit.nmap("-sS", "-p", "100-110", OURS)
    ended = visit.canary.wait_for(lambda e: e["logtype"] == SCAN and e["logdata"]["STATE"] == "ended", timeout=12)
    assert ended and ended["logdata"]["PORT_COUNT"] == 11, ended


# -- what is no scan --------------------------------------------------------------------------------


@check("scans: handshakes, pings and one's own traffic are none")
def _(visit: Visit) -> None:
    visit.nmap("-sT", "-p", "21", OURS)
    visit.there("ping", "-c", "2", "-i", "0.2", OURS)
    here = ("ip", "netns", "exec", namespaces.HERE)
    # The canary's machine itself looks around: closed ports answer with RST and ICMP, and DNS with nothing.
    program = (
        "import socket\n"
        f"for port in range(7000, 7040):\n"
        f"    try: socket.create_connection(('{THEIRS}', port), 1)\n"
        f"    except OSError: pass\n"
        f"    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.sendto(b'x', ('{THEIRS}', port))\n"
    )
    run(*here, sys.executable, "-c", program, timeout=60)
    events = [event for event in visit.told() if 5000 < event["logtype"] < 5010 or event["logtype"] == SCAN]
    assert not events, events


@check("scans: answers to one's own datagrams, even late ones, are none")
def _(visit: Visit) -> None:
    server = subprocess.Popen(
        ["ip", "netns", "exec", namespaces.THERE, sys.executable, "-c", (
            "import socket, time\n"
            "udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(('', 53))\n"
            "asked = [udp.recvfrom(99)[1] for _ in range(20)]\n"
            "time.sleep(0.5)\n"
            "[udp.sendto(b'late', who) for who in asked]\n"
        )],
    )  # fmt: skip
    time.sleep(0.5)
    ask = (
        "import socket\n"
        "for _ in range(20):\n"
        "    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        f"    udp.sendto(b'?', ('{THEIRS}', 53)); udp.close()\n"
    )
    run("ip", "netns", "exec", namespaces.HERE, sys.executable, "-c", ask, timeout=20)
    server.wait(20)
    time.sleep(0.3)
    events = visit.told()
    assert SCAN not in numbers(events), events


@check("scans: noise to everybody is none")
def _(visit: Visit) -> None:
    visit.sends(
        "everybody = bytes([255]) * 6\n"
        "for port in range(9000, 9050):\n"
        "    put(ipv4(17, udp(port, b'hello'), target='10.213.77.255'), to=everybody)\n"
        "    put(ipv4(17, udp(port, b'hello'), target='255.255.255.255'), to=everybody)\n"
        "    put(ipv4(17, udp(port, b'hello'), target='224.0.0.251'), to=bytes.fromhex('01005e0000fb'))\n"
    )
    time.sleep(0.3)
    assert not visit.told()


@check("scans: what passes through to others is none")
def _(visit: Visit) -> None:
    visit.sends("for port in range(1, 200): put(ipv4(6, tcp(port, 2), target='192.0.2.9'))\n")
    time.sleep(0.3)
    assert not visit.told()


@check("scans: ports and sources that are passed over", portscan__ignore_ports=[100, 101, 102, 103], portscan__ignore_sources=["fd77:213::/64"])
def _(visit: Visit) -> None:
    visit.nmap("-sS", "-p", "100-103", OURS)
    visit.nmap("-6", "-sS", "-p", "100-120", OURS_V6)
    assert not visit.told()


@check("scans: broken packets tell nothing that is not so")
def _(visit: Visit) -> None:
    visit.sends(
        "whole = ipv4(6, tcp(23, 2))\n"
        "for end in range(len(whole)): put(whole[:end])\n"  # truncated
        "put(ipv4(6, tcp(23, 2)[8:], fragment=1))\n"  # a later fragment
        "put(b'\\x0f' + whole[1:])\n"  # version 0
        "put(b'\\x41' + whole[1:])\n"  # a header of four bytes
        "put(b'\\x4f' + whole[1:])\n"  # a header longer than the packet
        "put(bytes(60), kind=0x86dd); put(bytes(60), kind=0x8100); put(bytes(60), kind=0x1234)\n"
        "put(ipv4(17, b'\\0\\1')); put(ipv4(1, b'\\x08'))\n"
        "put(ipv4(6, tcp(21, 2)))\n"  # a bare handshake with a real service
    )
    time.sleep(0.3)
    events = visit.told()
    assert not [event for event in events if event["logtype"] != 30000], events


@check("scans: VLAN tags, first fragments, jumbo frames and no checksums are read", portscan__events="compatible")
def _(visit: Visit) -> None:
    visit.sends(
        "put(ipv4(6, tcp(31, 1), fragment=0x2000)); time.sleep(0.3)\n"
        "put(ipv4(6, tcp(32, 1, sum=False))); time.sleep(0.3)\n"
        "put(ipv4(6, tcp(33, 1, data=bytes(1400)))); time.sleep(0.3)\n"
        "put(struct.pack('>HH', 5, 0x0800) + ipv4(6, tcp(34, 1)), kind=0x8100)\n"
    )
    time.sleep(0.3)
    events = visit.told()
    assert {event["logtype"] for event in events} <= {5005}, events
    # Which frames of a VLAN reach a machine without it is the interface's to say.
    assert {"31", "32", "33"} <= {event["dst_port"] for event in events}, events


# -- answered ports and identities ------------------------------------------------------------------


@check("scans: an answered port keeps what comes first", portscan__answer=[8080, "9000-9001"])
def _(visit: Visit) -> None:
    canary = visit.canary
    output = visit.nmap("-sS", "-p", "8080,9000-9002", OURS)
    assert "8080/tcp open" in output and "9001/tcp open" in output and "9002/tcp closed" in output, output
    needs("curl")
    visit.there("curl", "-s", "-m", "1", f"http://{OURS}:8080/manager/html")
    event = canary.logged(visit.begun, 32001, {"PROTOCOL": "http"}, timeout=8)
    assert event["logdata"]["DATA"].startswith("GET /manager/html HTTP/1.1\r\n"), event
    assert (event["dst_port"], event["aviary"]["service"]) == (8080, "answer_8080"), event
    visit.there("curl", "-s", "-k", "-m", "1", f"https://{OURS}:9000/")
    canary.logged(visit.begun, 32001, {"PROTOCOL": "tls"}, timeout=8)
    scan = canary.logged(visit.begun, SCAN, {"STATE": "begun"})
    assert scan["logdata"]["KIND"] == "syn", scan


def login(visit: Visit) -> None:
    program = (
        "import ftplib\n"
        f"ftp = ftplib.FTP('{OURS}', timeout=5)\n"
        "try: ftp.login('who', 'am-i')\n"
        "except ftplib.error_perm: pass\n"
    )
    visit.there(sys.executable, "-c", program)


@check("who: MAC, distance and the SYN's fingerprints stand on a service's event")
def _(visit: Visit) -> None:
    login(visit)
    ours = visit.canary.logged(visit.begun, 2000, {"PASSWORD": "am-i"})["aviary"]
    assert ours["src_mac"] == THEIR_MAC and "src_mac_router" not in ours, ours
    assert (ours["src_ttl"], ours["src_hops"]) == (64, 0), ours
    prints = ours["fingerprint"]
    # Linux: its options in its order, and a window that is a multiple of the segment size.
    assert prints["ja4t"].split("_")[1:3] == ["2-4-8-1-3", "1460"], prints
    assert prints["tcp"].startswith("4:64:0:1460:mss*") and ":mss,sok,ts,nop,ws:df,id+:0" in prints["tcp"], prints


@check("who: with the capture off the kernel still knows the neighbour", portscan__enabled=False, aviary__capture=False)
def _(visit: Visit) -> None:
    login(visit)
    ours = visit.canary.logged(visit.begun, 2000, {"PASSWORD": "am-i"})["aviary"]
    assert ours["src_mac"] == THEIR_MAC and "fingerprint" not in ours, ours


@check("who: fingerprints without scans being watched for", portscan__enabled=False)
def _(visit: Visit) -> None:
    visit.nmap("-sS", "-p", "100-130", OURS)
    login(visit)
    ours = visit.canary.logged(visit.begun, 2000, {"PASSWORD": "am-i"})["aviary"]
    assert ours["src_mac"] == THEIR_MAC and ours["fingerprint"]["ja4t"], ours
    assert set(numbers(visit.told())) <= {2000, 30100}, numbers(visit.told())


@check("who: a host name that DHCP, NetBIOS or mDNS tells")
def _(visit: Visit) -> None:
    for name, program in NAMES.items():
        visit.sends(program)
        time.sleep(0.3)
        mark = visit.canary.mark()
        login(visit)
        ours = visit.canary.logged(mark, 2000, {"PASSWORD": "am-i"})["aviary"]
        assert (ours.get("src_name"), ours.get("src_name_from")) == (f"HOST-{name.upper()}", name), ours


NAMES = {
    # A host says NAME.local is at its own address.
    "mdns": (
        "name = b'\\x09HOST-MDNS\\x05local\\0'\n"
        "answer = struct.pack('>HHHHHH', 0, 0x8400, 0, 1, 0, 0) + name + struct.pack('>HHIH', 1, 0x8001, 120, 4)\n"
        "packet = udp(5353, answer + socket.inet_aton('10.213.77.2'), source_port=5353)\n"
        "put(ipv4(17, packet, target='224.0.0.251'), to=bytes.fromhex('01005e0000fb'))\n"
    ),
    # A registration of a unique name of a workstation.
    "netbios": (
        "padded = b'HOST-NETBIOS'.ljust(15) + b'\\0'\n"
        "coded = b''.join(bytes([0x41 + (b >> 4), 0x41 + (b & 15)]) for b in padded)\n"
        "question = b'\\x20' + coded + b'\\0' + struct.pack('>HH', 0x20, 1)\n"
        "record = b'\\xc0\\x0c' + struct.pack('>HHIHH', 0x20, 1, 300000, 6, 0) + socket.inet_aton('10.213.77.2')\n"
        "message = struct.pack('>HHHHHH', 5, 0x2910, 1, 0, 0, 1) + question + record\n"
        "put(ipv4(17, udp(137, message, source_port=137), target='10.213.77.255'), to=bytes([255]) * 6)\n"
    ),
    # A client asks again for the address that it has.
    "dhcp": (
        "head = struct.pack('>BBBBIHH4s4s4s4s', 1, 1, 6, 0, 9, 0, 0, socket.inet_aton('10.213.77.2'), *[bytes(4)] * 3)\n"
        "options = b'\\x63\\x82\\x53\\x63\\x35\\x01\\x03\\x0c\\x09HOST-DHCP\\xff'\n"
        "message = head + ends[6:] + bytes(10) + bytes(192) + options\n"
        "put(ipv4(17, udp(67, message, source_port=68), target='255.255.255.255'), to=bytes([255]) * 6)\n"
    ),
}


# -- the flood, and rights ---------------------------------------------------------------------------


def received() -> int:
    path = "/sys/class/net/eth1/statistics/rx_packets"
    return int(run("ip", "netns", "exec", namespaces.HERE, "cat", path))


@check("scans: under a flood of made-up sources services answer, memory stays, drops are counted")
def _(visit: Visit) -> None:
    needs("masscan")
    canary = visit.canary
    login(visit)
    before = canary.memory()
    flood = subprocess.Popen(
        ["ip", "netns", "exec", namespaces.THERE, "masscan", "--adapter", "eth1", *ROUTER, "--rate", "200000",
         "--wait", "0", "--infinite", "-p1-65535", "--source-ip", "10.213.128.0-10.213.191.255", OURS],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        time.sleep(1)
        first, begun = received(), time.monotonic()
        logins = 0
        while time.monotonic() - begun < 4:
            mark = canary.mark()
            login(visit)
            canary.logged(mark, 2000, {"PASSWORD": "am-i"})
            logins += 1
        rate = (received() - first) / (time.monotonic() - begun)
        peak = canary.memory()
    finally:
        flood.kill()
        flood.wait()
    time.sleep(1)
    capture = json.loads(canary.status())["capture"]
    events = len(canary.events(visit.begun))
    print(
        f"     {rate:.0f} packets a second, {logins} logins meanwhile, {capture['packets']} packets looked at, "
        f"{capture['dropped']} dropped, {events} events, memory {before} KiB before and {peak} KiB at its peak"
    )
    assert capture["packets"] + capture["dropped"] > rate, capture
    assert peak - before < 12 * 1024, f"{before} KiB grew to {peak} KiB"
    # So many are told one by one, and so many scans.
    assert events < 3000, events


@check("scans: without the right to see packets it says so and the services run")
def _(visit: Visit) -> None:
    needs("setpriv")
    visit.canary.stop()

    class Unprivileged(ScannedCanary):
        def _command(self) -> list[str]:
            inner = super()._command()
            at = inner.index(namespaces.HERE) + 1
            without = ["setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-net_raw"]
            return [*inner[:at], *without, *inner[at:]]

    settings = {"portscan.enabled": True, "device.listen_addr": "", "ftp.port": 21}
    with Unprivileged(visit.canary.bin_dir, settings, services=("ftp",)) as canary:
        assert "CAP_NET_RAW" in canary.last_output(), canary.last_output()
        status = json.loads(canary.status())
        scans = next(service for service in status["services"] if service["service"] == "portscan")
        assert scans["state"] == "failed" and "CAP_NET_RAW" in scans["reason"], scans
        login(Visit(canary, visit.there))
        event = canary.logged(0, 2000, {"PASSWORD": "am-i"})
        assert event["aviary"]["src_mac"] == THEIR_MAC, event


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", metavar="TEXT", default="", help="only checks whose name contains the text")
    options = parser.parse_args()
    bin_dir = chosen_bin_dir(parser, options)
    if not bin_dir:
        parser.error("OpenCanary watches for scans with a firewall, which is not made here")
    report = Report()
    chosen = [one for one in CHECKS if options.only in one[0]]
    try:
        with two_hosts(OTHERS) as there:
            for name, settings, body in chosen:

                def one(settings: dict[str, Any] = settings, body: Body = body) -> None:
                    with visit(bin_dir, there, settings) as guest:
                        body(guest)
                        assert not guest.canary.broken_lines, guest.canary.broken_lines

                report.check(name, one)
    except Skip as reason:
        for name, *_ in chosen:
            report.skip(name, str(reason))
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
