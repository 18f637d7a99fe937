"""Scanners and guessers: what nmap takes the services for, and what hydra gets from them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as xml

from canary import LOOPBACK, Canary, Report, Skip, needs
from check_list import Checks
from client_programs import SCRATCH, run

CHECKS = Checks()
check = CHECKS.add

PRODUCTS = {
    "ftp": r"vsftpd",
    "ssh": r"OpenSSH",
    "http": r"Apache|nginx",
    "https": r"Apache|nginx",
    "redis": r"Redis",
}


def nmap_checks(canary: Canary, report: Report, only: str) -> None:
    """One scan for all services, and a check for each."""
    names = {service: f"nmap: names {service}" for service in PRODUCTS}
    wanted = [service for service, name in names.items() if only in name]
    if not wanted:
        return
    try:
        ports = ",".join(str(canary.ports[service]) for service in wanted)
        output = run("nmap", "-sT", "-sV", "-Pn", "-n", "-p", ports, "-oX", "-", LOOPBACK, timeout=300)
        found = {
            int(port.attrib["portid"]): element.attrib
            for port in xml.fromstring(output[output.index("<?xml") :]).iter("port")
            if (element := port.find("service")) is not None
        }
    except Skip as reason:
        for service in wanted:
            report.skip(names[service], str(reason))
        return
    except (AssertionError, ValueError, xml.ParseError) as error:
        report.fail("nmap", str(error))
        return
    for service in wanted:

        def body(service: str = service) -> None:
            seen = found.get(canary.ports[service], {})
            product = seen.get("product", "")
            assert "servicefp" not in seen, f"unrecognized despite returning data:\n{seen['servicefp']}"
            assert re.search(PRODUCTS[service], product), f"nmap sees {seen}"
            # No word of TLS: Apache's 400 to plain HTTP on a TLS port is enough for nmap.
            print(f"     {service}: {product} {seen.get('version', '')} {seen.get('extrainfo', '')}".rstrip())

        report.check(names[service], body)


def hydra(module: str, service: str, logtype: int, *target: str) -> None:
    """A check that each password of hydra's list is in the log, and that hydra believes in none."""

    @check(f"hydra: {service}")
    def _(canary: Canary) -> None:
        needs("hydra")
        passwords = [f"hydra-{service}-{n}" for n in range(5)]
        words = SCRATCH / f"words-{service}"
        words.write_text("".join(f"{p}\n" for p in passwords))
        user = [] if service == "redis" else ["-l", "hydra"]
        mark = canary.mark()
        output = run(
            "hydra", *user, "-P", str(words), "-t", "2", "-w", "15", "-I", "-s", str(canary.ports[service]),
            LOOPBACK, module, *target, timeout=120,
        )  # fmt: skip
        for password in passwords:
            data = {"CMD": "AUTH", "ARGS": password} if service == "redis" else {"PASSWORD": password}
            canary.logged(mark, logtype, data, output)
        assert "0 valid password" in output, f"hydra says {output[-500:]!r}"


hydra("ftp", "ftp", 2000)
hydra("ssh", "ssh", 4002)
hydra("telnet", "telnet", 6001)
hydra("redis", "redis", 17001)
hydra("http-post-form", "http", 3001, "/index.html:username=^USER^&password=^PASS^:S=never-in-the-page")
