"""One canary that plays two machines beside its own, seen by real clients: each at its address is another.

The hosts have addresses of the loopback network, which need no setting up.
"""

from __future__ import annotations

import os
import shutil
import ssl
import sys
import time
import xml.etree.ElementTree as xml

from canary import OURS, Canary, Event, Report, Skip, arguments, chosen_bin_dir, free_ports, listening_ports
from check_list import Checks
from client_programs import SCRATCH, run

LINUX, WINDOWS = "127.0.0.2", "127.0.0.3"
CANARY = "canary-under-test"
NODES = {LINUX: f"{CANARY}/web", WINDOWS: "fs-1"}
"""Node ids of the hosts; whatever else is scanned on the loopback meanwhile is the canary's."""
SSH, HTTP, HTTPS, SNMP = free_ports(4)
CHECKS = Checks()
check = CHECKS.add


def host(address: str, persona: str, **more: object) -> dict[str, object]:
    """A host with the same services on the same ports as the other."""
    switches = {name: False for name in ("mysql", "smb", "rdp", "mssql")}
    switches |= {name: True for name in ("ssh", "http", "https", "snmp")}
    ports = {"ssh": SSH, "http": HTTP, "https": HTTPS, "snmp": SNMP}
    return (
        {"device.listen_addr": address, "device.persona": persona}
        | {f"{name}.enabled": on for name, on in switches.items()}
        | {f"{name}.port": port for name, port in ports.items()}
        | more
    )


SETTINGS = {
    "portscan.enabled": True,
    # Other scripts scan on the loopback at the same time, and the rate is for each source.
    "portscan.lorate": 1_000_000,
    "hosts": {
        "web": host(LINUX, "linux-server"),
        "files": host(WINDOWS, "windows-server", **{"device.node_id": "fs-1", "aviary.host_name": "FS01"}),
    },
}


def told(canary: Canary, mark: int, address: str, service: str) -> Event:
    """An event of a service at an address; its absence is a failure."""
    event = canary.wait_for(lambda e: e["dst_host"] == address and e["aviary"]["service"] == service, mark)
    assert event, f"no event of {service} at {address}: {canary.events(mark)}"
    assert event["node_id"] == NODES[address], event
    return event


@check("hosts: ssh-keyscan finds other keys and banners at each")
def _(canary: Canary) -> None:
    mark = canary.mark()
    keys, banners = {}, {}
    for address in (LINUX, WINDOWS):
        # The first start makes an RSA key for each.
        said = run("ssh-keyscan", "-T", "30", "-p", str(SSH), address, timeout=120)
        lines = said.splitlines()
        keys[address] = {tuple(line.split()[1:3]) for line in lines if line.startswith("[")}
        banners[address] = {line.split(" ", 2)[2] for line in lines if line.startswith("# ")}
        assert {kind for kind, _ in keys[address]} >= {"ssh-rsa", "ssh-ed25519", "ecdsa-sha2-nistp256"}, said
        told(canary, mark, address, "ssh")
    assert not keys[LINUX] & keys[WINDOWS], keys
    assert all("for_Windows" in banner for banner in banners[WINDOWS]), banners
    assert not any("Windows" in banner for banner in banners[LINUX]), banners


@check("hosts: curl sees IIS at one and not at the other")
def _(canary: Canary) -> None:
    mark = canary.mark()
    servers = {}
    for address in (LINUX, WINDOWS):
        said = run("curl", "-sI", f"http://{address}:{HTTP}/")
        servers[address] = next(line for line in said.splitlines() if line.startswith("Server:"))
        told(canary, mark, address, "http")
    assert "Microsoft-IIS" in servers[WINDOWS], servers
    assert "Apache" in servers[LINUX] or "nginx" in servers[LINUX], servers


@check("hosts: each has a certificate and a key of its own")
def _(canary: Canary) -> None:
    seen = {address: ssl.get_server_certificate((address, HTTPS), timeout=30) for address in (LINUX, WINDOWS)}
    assert seen[LINUX] != seen[WINDOWS], seen
    public = {run("openssl", "x509", "-noout", "-pubkey", stdin=text) for text in seen.values()}
    assert len(public) == 2, public
    said = run("openssl", "x509", "-noout", "-subject", stdin=seen[WINDOWS])
    assert "FS01" in said, said


@check("hosts: snmpget is answered by the address that it asked, as the machine there")
def _(canary: Canary) -> None:
    mark = canary.mark()
    said = {}
    for address in (LINUX, WINDOWS):
        agent = f"udp:{address}:{SNMP}"
        said[address] = run("snmpget", "-v2c", "-c", "public", "-Ov", "-r", "9", agent, "1.3.6.1.2.1.1.1.0")
        told(canary, mark, address, "snmp")
    assert "STRING" in said[LINUX] and "Linux" in said[LINUX], said
    assert "STRING" in said[WINDOWS] and "Windows" in said[WINDOWS], said


@check("hosts: nmap takes them for two machines")
def _(canary: Canary) -> None:
    said = run("nmap", "-sT", "-sV", "-Pn", "-n", "-p", f"{SSH},{HTTP}", "-oX", "-", LINUX, WINDOWS, timeout=300)
    found = {}
    for machine in xml.fromstring(said[said.index("<?xml") :]).iter("host"):
        address = machine.find("address")
        assert address is not None
        found[address.attrib["addr"]] = {
            int(port.attrib["portid"]): " ".join(service.attrib.get(word, "") for word in ("product", "version"))
            for port in machine.iter("port")
            if (service := port.find("service")) is not None
        }
    assert "Windows" in found[WINDOWS][SSH] and "IIS" in found[WINDOWS][HTTP], found
    assert "OpenSSH" in found[LINUX][SSH] and "Windows" not in found[LINUX][SSH], found
    assert "IIS" not in found[LINUX][HTTP], found


@check("hosts: a scan is told of by the host that it reached")
def _(canary: Canary) -> None:
    if os.geteuid() != 0:
        raise Skip("only root sees and sends such packets")
    for address in (LINUX, WINDOWS):
        mark = canary.mark()
        run("nmap", "-sF", "-Pn", "-n", "-p", "1-9", address)
        event = canary.wait_for(
            lambda e, address=address: e["dst_host"] == address and e["logtype"] in range(5001, 5006), mark
        )
        assert event and event["node_id"] == NODES[address], event or canary.events(mark)
        # A scan of both is one scan, told of again under the name of the host that it reached first.
        scan = canary.wait_for(lambda e: e["aviary"]["kind"] == "scan" and e["logtype"] >= OURS)
        assert scan and scan["node_id"] == NODES.get(scan["dst_host"], CANARY), scan or canary.events(mark)


@check("hosts: no event names another machine than the one at its address")
def _(canary: Canary) -> None:
    events = [e for e in canary.settle() if e["dst_host"]]
    wrong = [e for e in events if e["node_id"] != NODES.get(e["dst_host"], CANARY)]
    assert events and not wrong, wrong[:3]


def main() -> int:
    parser = arguments(__doc__ or "")
    options = parser.parse_args()
    bin_dir = chosen_bin_dir(parser, options)
    if bin_dir is None:
        parser.error("OpenCanary has no `hosts`")
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    report = Report()
    try:
        with Canary(bin_dir, SETTINGS, services=["ftp"]) as canary:
            deadline = time.monotonic() + 30
            while not {SSH, HTTP, HTTPS, SNMP} <= listening_ports() and time.monotonic() < deadline:
                time.sleep(0.01)
            for name, body in CHECKS:
                report.check(name, lambda body=body: body(canary))  # type: ignore[misc]
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
