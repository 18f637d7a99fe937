"""Provokes each of the article's 21 sample events, with the client that made it, and compares key for key.

The services run from the article's own configuration, with `enabled` set and other ports. What must be
the same are the keys, of the event and of its `logdata`; the values that say what was tried are compared
by each check. The five scans need another host: two network namespaces, made and removed here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from canary import (
    LOOPBACK,
    Canary,
    Event,
    Report,
    Skip,
    arguments,
    chosen_bin_dir,
    connect,
    git_environment,
    needs,
    read_quiet,
)
from check_list import Checks
from client_programs import SCRATCH, run
from two_hosts import OURS, THEIRS, ScannedCanary, two_hosts

CRATES = Path(__file__).parents[2] / "crates"
SAMPLES: list[Event] = [
    json.loads(line) for line in (CRATES / "event/fixtures/article-events.jsonl").read_text().splitlines()
]
"""The article's events, in its order."""

ARTICLE: dict[str, Any] = json.loads((CRATES / "config/fixtures/article-opencanary.conf").read_text())
"""The article's configuration."""

SERVICES = (
    "ftp", "http", "ssh", "telnet", "mysql", "git", "ntp", "redis", "tcpbanner_1", "vnc", "rdp", "sip", "snmp",
    "mssql", "httpproxy",
)  # fmt: skip

SETTINGS = {
    key: value
    for key, value in ARTICLE.items()
    if not key.endswith((".enabled", ".port")) and key not in ("logger", "device.node_id")
} | {"tcpbanner.enabled": True, "tcpbanner_1.keep_alive.enabled": True}

FIREFOX = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.14; rv:61.0) Gecko/20100101 Firefox/61.0"

CHECKS = Checks()


def sample(line: int, what: str) -> Callable[[Callable[[Canary], Event]], None]:
    """Adds a check for a line of the samples, counted from 1: what it gives has the sample's keys."""

    def add(provoke: Callable[[Canary], Event]) -> None:
        def check(canary: Canary) -> None:
            same_keys(SAMPLES[line - 1], provoke(canary))

        CHECKS.add(f"line {line}: {what}")(check)

    return add


def same_keys(wanted: Event, event: Event) -> None:
    """Ours has the sample's keys, and beside them those that OpenCanary has got since, and `aviary`."""
    assert event["logtype"] == wanted["logtype"], f"{event['logtype']} where the article has {wanted['logtype']}"
    missing = wanted.keys() - event.keys()
    assert not missing, f"the event has no {missing}: {event}"
    more = event.keys() - wanted.keys() - {"aviary", "local_time", "local_time_adjusted", "utc_time", "node_id"}
    assert not more, f"the event has {more} beside: {event}"
    assert event["logdata"].keys() == wanted["logdata"].keys(), f"logdata {event['logdata']}, not {wanted['logdata']}"
    for key in ("src_port", "dst_port"):
        assert type(event[key]) is type(wanted[key]), f"{key} is {event[key]!r}"
    for key, value in wanted["logdata"].items():
        assert type(event["logdata"][key]) is type(value), f"{key} is {event['logdata'][key]!r}, not {value!r}"


def quietly(*command: str, stdin: str = "", timeout: float = 40, environment: dict[str, str] | None = None) -> str:
    """Runs a client that may hang once the canary has refused it."""
    needs(command[0])
    try:
        return run(*command, stdin=stdin, timeout=timeout, environment=environment)
    except AssertionError as error:
        return str(error)


@sample(1, "FTP login by tnftp")
def _(canary: Canary) -> Event:
    mark = canary.mark()
    output = quietly("tnftp", f"ftp://test:123456@{LOOPBACK}:{canary.ports['ftp']}/x", timeout=20)
    return canary.logged(mark, 2000, {"USERNAME": "test", "PASSWORD": "123456"}, output)


def web_login(canary: Canary, send: Callable[[str], object]) -> Event:
    mark = canary.mark()
    send(f"http://{LOOPBACK}:{canary.ports['http']}/index.html")
    wanted = {"USERNAME": "admin", "PASSWORD": "admin888", "USERAGENT": FIREFOX, "PATH": "/index.html"}
    return canary.logged(mark, 3001, wanted | {"SKIN": "nasLogin"})


@sample(2, "HTTP login by curl with Firefox's name")
def _(canary: Canary) -> Event:
    form = ("-d", "username=admin", "-d", "password=admin888")
    return web_login(canary, lambda url: run("curl", "-q", "-sS", "-m", "20", "-A", FIREFOX, *form, url))


@sample(3, "HTTP login by requests")
def _(canary: Canary) -> Event:
    form = {"username": "admin", "password": "admin888"}
    return web_login(canary, lambda url: requests.post(url, form, headers={"User-Agent": FIREFOX}, timeout=20))


@sample(4, "SSH connection by OpenSSH")
def _(canary: Canary) -> Event:
    mark = canary.mark()
    options = ("-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
    output = quietly("ssh", *options, "-p", str(canary.ports["ssh"]), f"root@{LOOPBACK}", "true", timeout=30)
    return canary.logged(mark, 4000, {}, output)


@sample(5, "Telnet login by telnet")
def _(canary: Canary) -> Event:
    needs("telnet")
    mark = canary.mark()
    with subprocess.Popen(
        ["telnet", LOOPBACK, str(canary.ports["telnet"])], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as client:
        assert client.stdin
        for line in ("admin123", "admin888"):
            time.sleep(1)
            client.stdin.write(f"{line}\n")
            client.stdin.flush()
        event = canary.logged(mark, 6001, {"USERNAME": "admin123", "PASSWORD": "admin888"})
        client.kill()
    assert event["honeycred"] is False, event
    return event


@sample(6, "MySQL login by the mysql client")
def _(canary: Canary) -> Event:
    mark = canary.mark()
    output = quietly("mysql", "-h", LOOPBACK, "-P", str(canary.ports["mysql"]), "-uroot", "-padmin888", "-e", "select 1")
    event = canary.logged(mark, 8001, {"USERNAME": "root"}, output)
    assert re.fullmatch(r"[0-9a-f]{40}", event["logdata"]["PASSWORD"]), event["logdata"]
    return event


@sample(7, "git clone")
def _(canary: Canary) -> Event:
    mark = canary.mark()
    url = f"git://{LOOPBACK}:{canary.ports['git']}/tmp.git"
    output = quietly("git", "clone", url, str(SCRATCH / "clone"), environment=git_environment(0))
    wanted = {"REPO": "tmp.git", "HOST": f"{LOOPBACK}:{canary.ports['git']}"}
    return canary.logged(mark, 16001, wanted, output)


@sample(8, "NTP monlist as ntpdc sends it")
def _(canary: Canary) -> Event:
    mark = canary.mark()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        # Mode 7, implementation 3 (XNTPD), request 42 (MON_GETLIST_1); Debian has no ntpdc any more.
        peer.sendto(b"\x17\x00\x03\x2a" + bytes(4) + bytes(40), (LOOPBACK, canary.ports["ntp"]))
    return canary.logged(mark, 11001, {"NTP CMD": "monlist"})


@sample(9, "COMMAND by redis-cli")
def _(canary: Canary) -> Event:
    mark = canary.mark()
    output = quietly("redis-cli", "-h", LOOPBACK, "-p", str(canary.ports["redis"]), "COMMAND")
    return canary.logged(mark, 17001, {"CMD": "COMMAND", "ARGS": ""}, output)


@sample(10, "connection to a banner with keep-alive")
def _(canary: Canary) -> Event:
    mark = canary.mark()
    output = quietly("nc", "-w", "1", LOOPBACK, str(canary.ports["tcpbanner_1"]), stdin="x\n")
    return canary.logged(mark, 18002, {"BANNER_ID": "1", "FUNCTION": "CONNECTION_MADE"}, output)


@sample(11, "VNC login by vncviewer")
def _(canary: Canary) -> Event:
    needs("xtigervncviewer")
    mark = canary.mark()
    # What vncpasswd writes: the password under DES with a key that everybody knows.
    secret = SCRATCH / "vnc-password"
    secret.write_bytes(bytes.fromhex("dbd83cfd727a1458"))
    with display() as screen:
        output = quietly(
            "xtigervncviewer", "-SecurityTypes", "VncAuth", "-passwd", str(secret), f"{LOOPBACK}::{canary.ports['vnc']}",
            timeout=10, environment={"DISPLAY": screen},
        )  # fmt: skip
    return canary.logged(mark, 12001, {}, output)


@sample(12, "RDP login by rdesktop")
def _(canary: Canary) -> Event:
    needs("rdesktop")
    mark = canary.mark()
    with display() as screen:
        output = quietly(
            "rdesktop", "-u", "administrator1", "-p", "helloword", "-n", "HelloHost", "-d", "",
            f"{LOOPBACK}:{canary.ports['rdp']}", stdin="yes\n", timeout=20, environment={"DISPLAY": screen},
        )  # fmt: skip
    wanted = {"USERNAME": "administrator1", "PASSWORD": "helloword", "HOSTNAME": "HelloHost", "DOMAIN": ""}
    return canary.logged(mark, 14001, wanted, output)


def words(name: str, *lines: str) -> str:
    """A file for hydra."""
    path = SCRATCH / name
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


@sample(13, "SIP register by hydra")
def _(canary: Canary) -> Event:
    mark = canary.mark()
    output = quietly(
        "hydra", "-I", "-t", "1", "-l", "adminsip", "-p", "x", "-s", str(canary.ports["sip"]), f"sip://{LOOPBACK}",
        timeout=20,
    )  # fmt: skip
    event = canary.wait_for(lambda e: e["logtype"] == 15001, mark)
    assert event, output
    headers = event["logdata"]["HEADERS"]
    assert headers.keys() == SAMPLES[12]["logdata"]["HEADERS"].keys(), headers
    assert headers["from"] == [f"<sip:adminsip@{LOOPBACK}>"], headers
    return event


@sample(14, "SNMP community by hydra")
def _(canary: Canary) -> Event:
    mark = canary.mark()
    output = quietly(
        "hydra", "-I", "-t", "1", "-P", words("communities", "password"), "-s", str(canary.ports["snmp"]),
        f"snmp://{LOOPBACK}", timeout=20,
    )  # fmt: skip
    return canary.logged(mark, 13001, {"COMMUNITY_STRING": "password"}, output)


@sample(20, "MSSQL login by tsql")
def _(canary: Canary) -> Event:
    mark = canary.mark()
    output = quietly(
        "tsql", "-H", LOOPBACK, "-p", str(canary.ports["mssql"]), "-U", "sa", "-P", "sa123456", "-D", "test", timeout=20
    )
    return canary.logged(mark, 9001, {"UserName": "sa", "Password": "sa123456", "Database": "test"}, output)


@sample(21, "proxy login by curl")
def _(canary: Canary) -> Event:
    mark = canary.mark()
    proxy = f"http://{LOOPBACK}:{canary.ports['httpproxy']}"
    output = quietly(
        "curl", "-q", "-sS", "-m", "20", "--noproxy", "", "-x", proxy, "-U", "squidadmin:passsquid", "http://example.test/"
    )
    return canary.logged(mark, 7001, {"USERNAME": "squidadmin", "PASSWORD": "passsquid"}, output)


@contextmanager
def display() -> Iterator[str]:
    """An X server without a screen."""
    needs("Xvfb")
    for number in range(70, 79):
        if Path(f"/tmp/.X11-unix/X{number}").exists():
            continue
        server = subprocess.Popen(
            ["Xvfb", f":{number}", "-screen", "0", "1024x768x24", "-nolisten", "tcp"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 10
            while not Path(f"/tmp/.X11-unix/X{number}").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            yield f":{number}"
        finally:
            server.terminate()
            server.wait()
        return
    raise Skip("there is no free display")


# -- scans -----------------------------------------------------------------------------------------

SCANS = (
    (15, "nmap -O", ("-O", "-p", "21,22"), 5002),
    (16, "nmap -sS", ("-sS", "-p", "20-30"), 5001),
    (17, "nmap -sF", ("-sF", "-p", "23"), 5005),
    (18, "nmap -sX", ("-sX", "-p", "139"), 5004),
    (19, "nmap -sN", ("-sN", "-p", "5060"), 5003),
)
"""Line of the samples, name, nmap's options, and the log type."""


def scans(bin_dir: Path, report: Report) -> None:
    """The five lines of scans, and that a handshake with a service is none."""
    try:
        needs("nmap")
        with (
            two_hosts() as there,
            ScannedCanary(
                bin_dir, {"portscan.enabled": True, "device.listen_addr": "", "ftp.port": 21}, services=("ftp",)
            ) as canary,
        ):

            def nmap(*options: str) -> str:
                return there("nmap", "-n", "-Pn", *options, OURS)

            for line, name, options, logtype in SCANS:

                def body(line: int = line, options: tuple[str, ...] = options, logtype: int = logtype) -> None:
                    mark = canary.mark()
                    output = nmap(*options)
                    event = canary.logged(mark, logtype, {"IN": "eth1", "PROTO": "TCP"}, output)
                    # The first packet of nmap's own making; the article's had the same fields.
                    same_keys(SAMPLES[line - 1], event)
                    assert (event["src_host"], event["dst_host"]) == (THEIRS, OURS), event

                report.check(f"line {line}: {name}", body)

            def handshake() -> None:
                mark = canary.mark()
                time.sleep(1.1)
                nmap("-sT", "-p", "21")
                events = [e for e in canary.settle(mark, at_least=1) if 5000 < e["logtype"] < 5010]
                assert not events, f"a handshake with a service is reported as a scan: {events}"

            report.check("scan: a handshake with a service is none", handshake)
    except Skip as reason:
        for line, name, *_ in SCANS:
            report.skip(f"line {line}: {name}", str(reason))


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", metavar="NAME", default="", help="only checks whose name contains the text")
    options = parser.parse_args()
    bin_dir = chosen_bin_dir(parser, options)
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    report = Report()
    try:
        with Canary(bin_dir, SETTINGS, services=SERVICES) as canary:
            # A first connection, so that sources over UDP are known to be there as after any port scan.
            with connect(canary.ports["ftp"]) as peer:
                read_quiet(peer)
            for name, body in CHECKS:
                if options.only in name:
                    report.check(name, lambda body=body: body(canary))  # type: ignore[misc]
        if bin_dir and options.only in "line scan":
            scans(bin_dir, report)
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
