"""SNMP by real clients: net-snmp's tools, nmap and its scripts, hydra, and messages of one's own."""

from __future__ import annotations

import random
import re
import time
from typing import Any

from canary import LOOPBACK, Canary, connect
from check_list import Checks
from client_programs import SCRATCH, run
from datagram_messages import (
    GET,
    GET_BULK,
    GET_NEXT,
    SET,
    TRAP,
    ask,
    community_message,
    cracked,
    element,
    integer,
    name,
    octets,
    pdu,
    secure_message,
    sequence,
    tell,
    variables,
)

SERVICES = ["snmp", "ftp"]
SETTINGS: dict[str, Any] = {"snmp.contact": "noc@example.net", "snmp.location": "Rack 4", "snmp.v3_users": ["admin"]}
CHECKS = Checks()
check = CHECKS.add

SYSTEM = "1.3.6.1.2.1.1"
DESCRIPTION = f"{SYSTEM}.1.0"
STRANGER, FRIEND = "127.0.0.11", "127.0.0.12"
"""A source that proves nothing, and one that connects over TCP."""


def agent(canary: Canary) -> str:
    return f"udp:{LOOPBACK}:{canary.ports['snmp']}"


def prove(canary: Canary, source: str | None = None) -> None:
    connect(canary.ports["ftp"], source).close()
    time.sleep(0.3)


@check("snmp: snmpget as in OpenCanary's example line")
def _(canary: Canary) -> None:
    mark = canary.mark()
    run("snmpget", "-v1", "-c", "password", "-r0", "-t1", agent(canary), "1.3.6.1.2.1.1.1")
    event = canary.logged(mark, 13001, {"COMMUNITY_STRING": "password"})
    assert event["logdata"] == {"COMMUNITY_STRING": "password", "REQUESTS": ["1.3.6.1.2.1.1.1"]}, event


@check("snmp: snmpget by a stranger, whose repetitions pay for the answer")
def _(canary: Canary) -> None:
    said = run("snmpget", "-v2c", "-c", "public", f"--clientaddr={STRANGER}", agent(canary), DESCRIPTION)
    assert "STRING: \"Linux" in said, said
    seen = [e for e in canary.settle() if e["src_host"] == STRANGER and e["logtype"] == 31500]
    sent = len(community_message(1, b"public", pdu(GET, DESCRIPTION, identifier=1 << 30)))
    assert len(seen) * sent >= 100, f"{len(seen)} requests of {sent} bytes drew more than they paid"


@check("snmp: snmpbulkwalk by a stranger")
def _(canary: Canary) -> None:
    said = run(
        "snmpbulkwalk", "-v2c", "-c", "public", "-On", "-r", "9", f"--clientaddr={STRANGER}", agent(canary),
        f"{SYSTEM}.7", timeout=60,
    )  # fmt: skip
    assert "INTEGER: 72" in said, said


@check("snmp: snmpget by a source that connected over TCP is answered at once")
def _(canary: Canary) -> None:
    prove(canary, FRIEND)
    said = run("snmpget", "-v2c", "-c", "public", "-r0", f"--clientaddr={FRIEND}", agent(canary), DESCRIPTION)
    assert "STRING: \"Linux" in said, said


@check("snmp: snmpwalk and snmpbulkwalk see the same tree")
def _(canary: Canary) -> None:
    prove(canary)
    plain = run("snmpwalk", "-v2c", "-c", "public", "-On", agent(canary), ".1").splitlines()
    bulk = run("snmpbulkwalk", "-v2c", "-c", "public", "-On", "-Cr50", agent(canary), ".1").splitlines()
    names = [[line.split(" = ")[0] for line in lines] for lines in (plain, bulk)]
    assert names[0] == names[1] and len(names[0]) > 400, f"{len(plain)} and {len(bulk)} lines"
    text = "\n".join(plain)
    for wanted in ("noc@example.net", "Rack 4", "ens18", f"IpAddress: {LOOPBACK}", "/usr/sbin/snmpd"):
        assert wanted in text, f"no {wanted}"
    assert "Wrong Type" not in text and "Error" not in text, text


@check("snmp: snmpwalk of version 1")
def _(canary: Canary) -> None:
    prove(canary)
    said = run("snmpwalk", "-v1", "-c", "public", "-On", agent(canary), f"{SYSTEM}.9")
    assert said.count("OID: ") == 10 and said.count("STRING: ") == 10, said


@check("snmp: time runs")
def _(canary: Canary) -> None:
    prove(canary)

    def ticks() -> int:
        said = run("snmpget", "-v2c", "-c", "public", "-Oqvt", agent(canary), f"{SYSTEM}.3.0")
        return int(said)

    before, start = ticks(), time.monotonic()
    time.sleep(1.2)
    passed, expected = ticks() - before, (time.monotonic() - start) * 100
    assert abs(passed - expected) < 50, f"{passed} ticks in {expected}"


@check("snmp: errors of both versions")
def _(canary: Canary) -> None:
    prove(canary)
    for version, oid, words in (
        ("-v1", "1.3.6.1.2.1.77.1.0", "noSuchName"),
        ("-v2c", "1.3.6.1.2.1.77.1.0", "No Such Object"),
        ("-v2c", f"{SYSTEM}.5.9", "No Such Instance"),
    ):
        said = run("snmpget", version, "-c", "public", "-r0", agent(canary), oid)
        assert words in said, said
    said = run("snmpgetnext", "-v2c", "-c", "public", "-r0", agent(canary), "1.3.6.1.7")
    assert "No more variables left" in said, said


@check("snmp: snmpset is refused, and its value in the log")
def _(canary: Canary) -> None:
    prove(canary)
    for version, words in (("-v1", "noSuchName"), ("-v2c", "noAccess")):
        mark = canary.mark()
        said = run("snmpset", version, "-c", "public", "-r0", agent(canary), f"{SYSTEM}.4.0", "s", f"owned{version}")
        assert words in said, said
        event = canary.logged(mark, 31500, {"PDU": "SetRequest"}, said)
        assert event["logdata"]["VARIABLES"] == [
            {"OID": f"{SYSTEM}.4.0", "TYPE": "OCTET STRING", "VALUE": f"owned{version}"}
        ], event


@check("snmp: version 3 authentication with MD5 and SHA leaves lines that crack")
def _(canary: Canary) -> None:
    prove(canary)
    for protocol, password, guessed in (("MD5", "Str0ng-one-77", False), ("SHA", "P@ssw0rd", True)):
        mark = canary.mark()
        said = run(
            "snmpget", "-v3", "-u", "admin", "-l", "authNoPriv", "-a", protocol, "-A", password, "-r0",
            agent(canary), DESCRIPTION,
        )  # fmt: skip
        assert "Authentication failure" in said, said
        event = canary.logged(mark, 31502, {"USERNAME": "admin", "KNOWN_USER": True}, said)
        data = event["logdata"]
        assert data["HASHCAT_MODE"] == 25000 and (data.get("PASSWORD") == password) is guessed, data
        assert cracked(data["HASHCAT"], ["wrong-word", password]) == (password, protocol), data
        assert cracked(data["HASHCAT"], ["wrong-word"]) is None


@check("snmp: version 3 with encryption leaves a line that cracks")
def _(canary: Canary) -> None:
    prove(canary)
    mark = canary.mark()
    said = run(
        "snmpwalk", "-v3", "-u", "admin", "-l", "authPriv", "-a", "SHA", "-A", "monitoring123", "-x", "AES",
        "-X", "whatever1", "-r0", agent(canary), SYSTEM,
    )  # fmt: skip
    data = canary.logged(mark, 31502, {"USERNAME": "admin"}, said)["logdata"]
    assert data["ENCRYPTED"] and data["PASSWORD"] == "monitoring123", data
    assert cracked(data["HASHCAT"], ["monitoring123"]) == ("monitoring123", "SHA"), data


@check("snmp: version 3 with an unknown user and without authentication")
def _(canary: Canary) -> None:
    prove(canary)
    mark = canary.mark()
    said = run("snmpget", "-v3", "-u", "ghost", "-l", "noAuthNoPriv", "-r0", agent(canary), DESCRIPTION)
    assert "Unknown user name" in said, said
    canary.logged(mark, 31501, {"USERNAME": "ghost"}, said)
    said = run("snmpget", "-v3", "-u", "admin", "-l", "noAuthNoPriv", "-r0", agent(canary), DESCRIPTION)
    assert "authorizationError" in said, said


@check("snmp: nmap names it as it names net-snmp")
def _(canary: Canary) -> None:
    prove(canary)
    said = run("nmap", "-sU", "-sV", "-Pn", "-n", "-p", str(canary.ports["snmp"]), LOOPBACK, timeout=120)
    assert re.search(r"open +snmp +SNMPv1 server; net-snmp SNMPv3 server \(public\)", said), said


@check("snmp: nmap's scripts read system, interfaces and processes, and guess the community")
def _(canary: Canary) -> None:
    prove(canary)
    words = SCRATCH / "communities"
    words.write_text("wrong\npublic\n")
    scripts = "snmp-info,snmp-sysdescr,snmp-interfaces,snmp-processes,snmp-netstat,snmp-brute"
    said = run(
        "nmap", "-sU", "-sV", "-Pn", "-n", "-p", str(canary.ports["snmp"]), "--script", scripts, "--script-args",
        f"snmp-brute.communitiesdb={words}", LOOPBACK, timeout=200,
    )  # fmt: skip
    for wanted in ("enterprise: net-snmp", "Linux", "ens18", "Name: mariadbd", "TCP  0.0.0.0:443", "public - Valid credentials"):
        assert wanted in said, f"no {wanted} in\n{said}"


@check("snmp: hydra finds the community, and its guesses are in the log")
def _(canary: Canary) -> None:
    prove(canary)
    words = SCRATCH / "hydra-communities"
    words.write_text("hydra-1\nhydra-2\npublic\n")
    mark = canary.mark()
    said = run("hydra", "-P", str(words), "-I", "-s", str(canary.ports["snmp"]), LOOPBACK, "snmp", timeout=120)
    assert "password: public" in said and "1 valid password" in said, said
    for word in ("hydra-1", "hydra-2"):
        canary.logged(mark, 13001, {"COMMUNITY_STRING": word}, said)


@check("snmp: personas can be walked")
def _(canary: Canary) -> None:
    for persona, words in {
        "cisco": ("C2960X", "GigabitEthernet1/0/24", "FOC"),
        "printer": ("JETDIRECT", "HP LaserJet Enterprise M507", "Black Cartridge"),
        "ups": ("AP9631", "Smart-UPS 1500"),
        "windows": ("Windows Version 6.3", "svc_backup", "sqlservr.exe"),
    }.items():
        with Canary(canary.bin_dir, {"snmp.persona": persona}, services=["snmp", "ftp"]) as other:
            prove(other)
            said = run("snmpbulkwalk", "-v2c", "-c", "public", "-On", agent(other), ".1")
            for word in words:
                assert word in said, f"{persona}: no {word} in\n{said[:2000]}"
            assert "Wrong Type" not in said and "Timeout" not in said, said[-500:]


@check("snmp: nobody unproven is sent more than it sent")
def _(canary: Canary) -> None:
    requests = [
        community_message(1, b"public", pdu(GET_BULK, "1.3", third=10_000)),
        community_message(0, b"public", pdu(GET, DESCRIPTION)),
        community_message(1, b"public", pdu(GET_NEXT, *[SYSTEM] * 50)),
        secure_message(pdu(GET)),
    ]
    for number, request in enumerate(requests):
        source = f"127.0.0.{20 + number}"
        sent = got = 0
        for _attempt in range(12):
            sent += len(request)
            got += len(ask(canary.ports["snmp"], request, source, timeout=0.15))
            assert got <= sent, f"{got} bytes for {sent}"
        assert got > 0 or number == 2, f"nothing came for request {number}"


@check("snmp: hostile messages")
def _(canary: Canary) -> None:
    prove(canary)
    port = canary.ports["snmp"]
    draw = random.Random(161)
    good = community_message(1, b"public", pdu(GET, DESCRIPTION))
    mark = canary.mark()
    tell(
        port,
        b"",
        b"\x30",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x82" * 2000,
        b"\x30\x80" + good[2:] + b"\x00\x00",
        good[:-1],
        draw.randbytes(1400),
        community_message(1, b"public", pdu(GET, *[DESCRIPTION] * 3000)),
        community_message(1, b"\xff\x00\xfe", pdu(SET, f"{SYSTEM}.5.0", value=octets(b"\xff\x00\n"))),
        community_message(0, b"public", element(TRAP, name("1.3.6.1.4.1.9") + element(0x40, b"\x01\x02\x03\x04")
            + integer(6) + integer(1) + element(0x43, b"\x05") + variables())),
        secure_message(pdu(GET), engine=b"e" * 40),
        sequence(integer(3), sequence(integer(1), integer(1), octets(b"\x04"), integer(3)), octets(b"zzz"), sequence()),
        *(bytes(octet ^ draw.randrange(256) if draw.random() < 0.05 else octet for octet in good) for _ in range(200)),
    )  # fmt: skip
    data = canary.logged(mark, 31500, {"PDU": "Trap", "ENTERPRISE": "1.3.6.1.4.1.9"})["logdata"]
    assert data["AGENT"] == "1.2.3.4", data
    assert canary.wait_for(lambda e: e["logtype"] == 31503 and e["logdata"].get("DATA") == "", mark), "the empty one"
    assert ask(port, good, timeout=5), "no answer any more"
