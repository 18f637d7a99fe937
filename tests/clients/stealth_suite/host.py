"""The whole canary: secrets of an installation, random inputs, forbidden words, addresses, nmap."""

from __future__ import annotations

import importlib.resources
import random
import re
import subprocess
import time
import xml.etree.ElementTree as xml
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from canary import LOOPBACK, Canary, Skip, free_ports, needs

from . import secure_shell, web
from .golden import SEEN, Peer
from .personas import Persona, Running
from .plays import over_tls

FORBIDDEN = (
    *("canary", "honeypot", "thinkst", "twisted", "conch", "python", "rust", "tokio", "hyper", "axum", "russh"),
    *("demosite", "synologynas", "aviary"),
)
"""Words that no product sends. A letter before one makes it another word: `trust`."""


def no_forbidden_words() -> None:
    words = re.compile(rb"(?<![a-z])(?:" + b"|".join(word.encode() for word in FORBIDDEN) + rb")", re.IGNORECASE)
    assert len(SEEN.replies) > 100, f"only {len(SEEN.replies)} replies were seen"
    found = []
    for name, reply in SEEN.replies:
        hit = words.search(reply)
        if hit:
            found.append(f"{name}: {hit.group()!r} in {reply[max(0, hit.start() - 60) : hit.end() + 60]!r}")
    assert not found, "\n".join([f"{len(found)} replies tell", *found[:5]])


# -- secrets of an installation --------------------------------------------------------------------


def redis_run_id(port: int) -> bytes:
    with Peer(port, "redis INFO") as peer:
        peer.send(b"INFO server\r\n")
        reply = peer.quiet()
    found = re.search(rb"run_id:([0-9a-f]{40})", reply)
    assert found, f"no run_id in {reply[:200]!r}"
    return found.group(1)


def file_tag(port: int) -> bytes:
    found = re.search(rb"\r\nETag: (\S+)\r\n", web.page(port, "/robots.txt"))
    assert found
    return found.group(1)


def kept(canary: Canary) -> dict[str, bytes]:
    """What an installation has of its own and keeps."""
    certificate = web.certificate(canary.ports["https"])
    public = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {
        **{f"host key {kind}": key for kind, key in secure_shell.host_keys(canary.ports["ssh"]).items()},
        "certificate's serial number": str(certificate.serial_number).encode(),
        "certificate's key": public,
        "ETag": file_tag(canary.ports["http"]),
    }


def drawn(canary: Canary) -> dict[str, bytes]:
    """What is drawn anew for each connection."""
    return {
        "cookie of KEXINIT": secure_shell.kexinit(canary.ports["ssh"]).cookie,
        "NTLM challenge": web.ntlm_challenge(canary.ports["http"]),
        "random bytes of TLS": web.tls_randoms(canary.ports["https"]),
    }


def installations_differ(one: Canary, two: Canary) -> None:
    ours, theirs = kept(one), kept(two)
    ours["run_id of Redis"], theirs["run_id of Redis"] = (redis_run_id(c.ports["redis"]) for c in (one, two))
    same = [name for name in ours if ours[name] == theirs[name]]
    assert not same, f"two installations share {', '.join(same)}"
    samples = [drawn(canary) for canary in (one, one, two, two)]
    for name in samples[0]:
        values = {sample[name] for sample in samples}
        assert len(values) == len(samples), f"{name} repeats"


def restart_keeps(canary: Canary) -> None:
    before = kept(canary)
    canary.stop()
    canary.start()
    after = kept(canary)
    changed = [name for name in before if before[name] != after[name]]
    assert not changed, f"a restart changes {', '.join(changed)}"


# -- random inputs ---------------------------------------------------------------------------------

CONNECTIONS = 60


def random_inputs(suite: Running, persona: Persona) -> None:
    """Noise and damaged probes crash nothing; afterwards each service answers as before."""
    canary = suite.canaries[persona.name]
    chance = random.Random(20260)

    def attack(job: tuple[str, bytes]) -> None:
        service, data = job
        with Peer(canary.ports[service], f"{persona.name} {service} random") as peer:
            peer.send(data)
            peer.end()
            peer.ends(2)

    jobs: list[tuple[str, bytes]] = []
    for service in persona.services:
        probes = [step.probe for dialogue in suite.golden(persona, service) for step in dialogue.steps if step.probe]
        for _ in range(CONNECTIONS):
            if chance.random() < 0.4:
                jobs.append((service, chance.randbytes(chance.choice([1, 7, 64, 900, 5000]))))
                continue
            damaged = bytearray(chance.choice(probes)[:4000])
            for _ in range(chance.randint(1, 6)):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            jobs.append((service, bytes(damaged)))
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(attack, jobs))
    assert canary.alive(), f"the process ended:\n{canary.last_output()}"


# -- addresses, the sample configuration, nmap ---------------------------------------------------------


def bound_addresses(canary: Canary) -> None:
    """Every listener is at the configured address."""
    wrong = []
    ports = set(canary.ports.values())
    for table, loopback in (("/proc/net/tcp", "0100007F"), ("/proc/net/tcp6", None)):
        for row in Path(table).read_text().splitlines()[1:]:
            fields = row.split()
            address, port = fields[1].rsplit(":", 1)
            if fields[3] == "0A" and int(port, 16) in ports and address != loopback:
                wrong.append(f"{int(port, 16)} at {address}")
    assert not wrong, f"listeners elsewhere: {wrong}"


SAMPLE_LOGTYPES = {"ftp": 2000, "ssh": 4000, "telnet": 6001, "http": 3000, "https": 3000, "redis": 17001, "git": 16001}
SAMPLE_PROBES: dict[str, list[bytes]] = {
    "ftp": [b"USER a\r\n", b"PASS b\r\n"],
    "ssh": [b""],
    "telnet": [b"root\r\n", b"pw\r\n"],
    "http": [b"GET /index.html HTTP/1.1\r\nHost: a\r\n\r\n"],
    "https": [b"GET /index.html HTTP/1.1\r\nHost: a\r\n\r\n"],
    "redis": [b"PING\r\n"],
    "git": [b"0033git-upload-pack /project.git\0host=myserver.com\0"],
}


def sample_configuration(bin_dir: Path | None) -> None:
    """OpenCanary's own sample starts and logs; only ports, switches and the log's place are ours."""
    try:
        text = (importlib.resources.files("opencanary") / "data" / "settings.json").read_text()
    except ModuleNotFoundError:
        raise Skip("`opencanary` is not installed") from None
    canary = Canary(bin_dir, services=SAMPLE_PROBES)
    try:
        for service, port in zip(SAMPLE_PROBES, free_ports(len(SAMPLE_PROBES)), strict=True):
            canary.ports[service] = port
            text, switched = re.subn(rf'"{service}\.enabled"\s*:\s*\w+', f'"{service}.enabled": true', text)
            text, moved = re.subn(rf'"{service}\.port"\s*:\s*\d+', f'"{service}.port": {port}', text)
            assert switched == moved == 1, service
        text = text.replace("/var/tmp/opencanary.log", str(canary.log))
        (canary.directory / ".opencanary.conf").write_text(text)
        canary.start()
        for service, probes in SAMPLE_PROBES.items():
            with Peer(canary.ports[service], f"sample {service}", over_tls if service == "https" else None) as peer:
                for probe in probes:
                    peer.send(probe)
                    peer.quiet(0.4)
        for service, number in SAMPLE_LOGTYPES.items():
            port = canary.ports[service]
            seen = canary.wait_for(lambda e, n=number, p=port: (e["logtype"], e["dst_port"]) == (n, p), timeout=4)
            assert seen, f"{service}: no event {number}"
    finally:
        canary.stop()
        canary.clean()


def scan(ports: dict[str, int]) -> dict[str, tuple[str, str]]:
    """What nmap calls the service at each port: name, and product with version."""
    needs("nmap")
    numbers = ",".join(map(str, ports.values()))
    command = ["nmap", "-sT", "-sV", "-Pn", "-n", "-p", numbers, "-oX", "-", LOOPBACK]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=170)
    found = {}
    for port in xml.fromstring(ran.stdout).iter("port"):
        service = port.find("service")
        told = service.attrib if service is not None else {}
        product = " ".join(told.get(key, "") for key in ("product", "version", "extrainfo")).strip()
        found[int(port.attrib["portid"])] = (told.get("name", ""), product)
    return {name: found[port] for name, port in ports.items()}


def idle(port: int, seconds: float) -> None:
    """A silent connection stays open."""
    with Peer(port, "idle") as peer:
        peer.send(b"PING\r\n")
        peer.quiet()
        time.sleep(seconds)
        peer.send(b"PING\r\n")
        assert peer.quiet(1) and peer.closed == "open", f"closed ({peer.closed}) within {seconds} s"


def beside_redis(port: int, probes: list[bytes]) -> None:
    """The same requests to a real redis-server 7.0 with a password get the same replies."""
    needs("redis-server")
    version = subprocess.run(["redis-server", "--version"], capture_output=True, text=True).stdout
    if "v=7.0." not in version:
        raise Skip(f"redis-server 7.0 is not installed, but {version.split()[2:3]}")
    (real,) = free_ports(1)
    options = ["--port", str(real), "--bind", LOOPBACK, "--requirepass", "nobody-knows", "--save", "", "--dir", "/tmp"]
    server = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
    try:
        wait_for_port(real)

        def answer(at: int, probe: bytes) -> tuple[bytes, str]:
            with Peer(at, "beside") as peer:
                peer.send(probe)
                return peer.quiet(0.3), peer.closed

        with ThreadPoolExecutor(12) as pool:
            ours = list(pool.map(lambda probe: answer(port, probe), probes))
            theirs = list(pool.map(lambda probe: answer(real, probe), probes))
    finally:
        server.terminate()
        server.wait(10)
    pairs = zip(probes, ours, theirs, strict=True)
    wrong = [f"probe {p[:200]!r}\nours {o!r}\nreal {t!r}" for p, o, t in pairs if o != t]
    assert not wrong, "\n".join([f"{len(wrong)} of {len(probes)} replies differ", *wrong[:5]])


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            Peer(port).socket.close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"nothing listens at {port}")
