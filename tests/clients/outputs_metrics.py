"""The page of metrics and health, read by Prometheus' own parsers and held to what was really done.

A canary with outputs that work, that are dead, that refuse and that hold back is touched; each number on the page is
compared with the log file, the journal's own word (`aviary status`, `aviary outputs`) or `/proc`.
"""

from __future__ import annotations

import collections
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from canary import LOOPBACK, Canary, Report, Skip, arguments, chosen_bin_dir, connect, free_ports, needs
from outputs_receivers import LOGIN, Web, touch, until
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

PATIENCE = 2
"""`aviary.metrics.failing_after` of the canary."""
PAGE = Path(__file__).parent.parent.parent / "docs/metrics.md"
ODD = 'held "back" \\ ünï'
"""A handler's name that must be escaped in a label."""


class Hook(Web):
    """Takes everything, or refuses it."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.bodies: list[bytes] = []
        super().__init__()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if self.status < 300:
            self.bodies.append(body)
        return self.status, b"no such thing"


def get(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
    """Status, headers and body."""
    client = HTTPConnection(LOOPBACK, port, timeout=10)
    client.request(method, path, headers=headers)
    answer = client.getresponse()
    body = answer.read().decode()
    client.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


class Scrape:
    """One reading of the page: samples by name and labels."""

    def __init__(self, port: int) -> None:
        status, headers, self.text = get(port, "/metrics")
        assert status == 200 and headers["content-type"].startswith("text/plain; version=0.0.4"), headers
        self.families = list(text_string_to_metric_families(self.text))
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families
            for sample in family.samples
        }

    def of(self, name: str, **labels: str) -> float:
        value = self.samples.get((name, frozenset(labels.items())))
        assert value is not None, f"no {name} with {labels} in\n{self.text}"
        return value

    def all(self, name: str) -> dict[frozenset[tuple[str, str]], float]:
        return {labels: value for (found, labels), value in self.samples.items() if found == name}


def documented() -> dict[str, tuple[str, set[str]]]:
    """Name, type and labels of every metric in the table of the documentation."""
    rows = re.findall(r"^\| `((?:aviary|process)_\w+)` \| (\w+) \| ([^|]*) \|", PAGE.read_text(), re.M)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.S)


def ask(canary: Canary, *words: str) -> Any:
    """What `aviary` says of the canary, as JSON."""
    assert canary.bin_dir
    state = ["--state", str(canary.directory / "state")]
    command = [str(canary.bin_dir / "aviary"), words[0], *state, *words[1:], "--json"]
    return json.loads(subprocess.run(command, capture_output=True, check=False).stdout)


def health(port: int) -> tuple[int, list[dict[str, str]]]:
    status, headers, body = get(port, "/health")
    assert headers["content-type"] == "application/json", headers
    answer = json.loads(body)
    assert (status == 200) == (answer["status"] == "well") == (not answer["problems"]), answer
    return status, answer["problems"]


def reload(canary: Canary, **settings: Any) -> None:
    """Changes settings of the running canary; returns when it has said so."""
    assert canary.process
    canary.config |= settings
    (canary.directory / ".opencanary.conf").write_text(json.dumps(canary.config))
    since = canary.mark()
    canary.process.send_signal(signal.SIGHUP)
    canary.mentioned(since, "Configuration reloaded")


class Checks:
    """All of them, in the order in which they are made: each goes on where the one before ended."""

    def __init__(self, canary: Canary, port: int, hook: Hook, stolen: socket.socket) -> None:
        self.canary, self.port, self.hook, self.stolen = canary, port, hook, stolen

    def a_service_that_did_not_start(self) -> None:
        page = Scrape(self.port)
        assert page.of("aviary_service_up", service="git") == 0 and page.of("aviary_service_up", service="ftp") == 1
        assert page.of("aviary_services", state="failed") == 1, page.text
        status, problems = health(self.port)
        assert status == 503 and [one["name"] for one in problems] == ["git"], problems
        assert "taken" in problems[0]["why"], problems
        assert get(self.port, "/health/live")[0] == 200
        self.stolen.close()
        reload(self.canary)
        assert health(self.port) == (200, []), health(self.port)
        assert Scrape(self.port).of("aviary_service_up", service="git") == 1

    def parsers(self) -> None:
        touch(self.canary, *(f"user-{number}" for number in range(7)))
        page = Scrape(self.port)
        known = documented()
        assert len(known) > 30, known
        seen = set()
        for family in page.families:
            for sample in family.samples:
                kind, labels = known[sample.name]
                assert family.type == ("gauge" if kind == "info" else kind), family
                assert set(sample.labels) <= labels, sample
                assert family.documentation, family
                seen.add(sample.name)
        missing = {name for name in known if name not in seen and not name.startswith("aviary_capture_")}
        assert not missing, missing
        accept = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}
        status, headers, text = get(self.port, "/metrics", **accept)
        assert status == 200 and headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        strict = list(openmetrics.text_string_to_metric_families(text))
        assert {sample.name for family in strict for sample in family.samples} == seen
        print(f"     {len(page.families)} families, {len(page.samples)} samples, {len(page.text)} bytes")

    def promtool(self) -> None:
        needs("promtool")
        text = Scrape(self.port).text
        checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
        assert checked.returncode == 0 and not checked.stderr, checked.stdout + checked.stderr
        rules, config = self.canary.directory / "rules.yml", self.canary.directory / "prometheus.yml"
        scrape, alerts = blocks("yaml")
        rules.write_text(alerts)
        config.write_text(f"rule_files: [{rules}]\n{scrape}")
        checked = subprocess.run(["promtool", "check", "config", str(config)], capture_output=True, text=True)
        assert checked.returncode == 0 and "4 rules found" in checked.stdout, checked.stdout + checked.stderr
        used = set(re.findall(r"\baviary_\w+", alerts))
        assert used and used <= set(documented()), used

    def events(self) -> None:
        events = self.canary.settle()
        page = Scrape(self.port)
        counted: collections.Counter[frozenset[tuple[str, str]]] = collections.Counter()
        for event in events:
            ours = event["aviary"]
            labels = {"service": ours["service"], "logtype": str(event["logtype"]), "kind": ours["kind"]}
            counted[frozenset(labels.items())] += 1
        assert page.all("aviary_events_total") == dict(counted), (page.all("aviary_events_total"), counted)
        assert page.of("aviary_events_total", service="ftp", logtype="2000", kind="login") == 7
        assert page.of("aviary_journal_events_total") == len(events), len(events)
        assert page.of("aviary_journal_stored_events") == len(events)
        assert page.of("aviary_output_delivered_total", output="file") == len(events)
        assert page.of("aviary_output_queue_length", output="file") == 0
        assert page.of("aviary_journal_failing") == page.of("aviary_journal_unsaved_total") == 0
        print(f"     {len(events)} events of {len(counted)} sorts")

    def connections(self) -> None:
        page = Scrape(self.port)
        assert page.of("aviary_connections_total", service="ftp") == 7, page.text
        peers = [connect(self.canary.ports["ftp"]) for _ in range(3)]
        until("three open", lambda: Scrape(self.port).of("aviary_connections_open", service="ftp") == 3)
        assert Scrape(self.port).of("aviary_connections_total", service="ftp") == 10
        for peer in peers:
            peer.close()
        until("none open", lambda: Scrape(self.port).of("aviary_connections_open", service="ftp") == 0)
        # A service that moves keeps what it counted.
        (moved,) = free_ports(1)
        reload(self.canary, **{"ftp.port": moved})
        self.canary.ports["ftp"] = moved
        connect(moved).close()
        until("one more", lambda: Scrape(self.port).of("aviary_connections_total", service="ftp") == 11)
        # More than one source may have: the quietest go.
        limit = int(self.canary.config["aviary.limits.connections_per_source"])
        peers = [connect(moved) for _ in range(limit + 5)]
        until("some cut off", lambda: Scrape(self.port).of("aviary_connections_limited_total", service="ftp") >= 5)
        for peer in peers:
            peer.close()

    def held_back(self) -> None:
        page = Scrape(self.port)
        assert page.of("aviary_output_delivered_total", output=ODD) == 2, page.text
        assert page.of("aviary_output_held_back_total", output=ODD) == 5, page.text
        assert page.of("aviary_output_held_back_total", output="file") == 0

    def dead_letters(self) -> None:
        letters = ask(self.canary, "outputs", "dead")["counts"]
        page = Scrape(self.port)
        assert letters == {"refuser": 7}, letters
        assert page.of("aviary_output_dead_letters", output="refuser") == 7
        assert page.of("aviary_output_refused_total", output="refuser") == 7
        assert page.of("aviary_output_dead_letters", output="hook") == 0
        # Whoever refuses has answered: that is not a receiver that is gone.
        assert page.of("aviary_output_failing_seconds", output="refuser") == 0
        assert health(self.port)[0] == 200, health(self.port)

    def a_receiver_that_is_gone(self) -> None:
        until("an empty queue", lambda: Scrape(self.port).of("aviary_output_queue_length", output="hook") == 0)
        assert health(self.port)[0] == 200
        self.hook.kill()
        begun = time.monotonic()
        touch(self.canary, *(f"lost-{number}" for number in range(4)))
        one = until("a queue", lambda: (p := Scrape(self.port)).of("aviary_output_retries_total", output="hook") and p)
        length = one.of("aviary_output_queue_length", output="hook")
        (status,) = [o for o in ask(self.canary, "status")["outputs"] if o["output"] == "hook"]
        assert length >= 4 and status["queued"] >= length, (length, status)
        assert one.of("aviary_output_failing", output="hook") == 1
        touch(self.canary, "lost-4")
        two = Scrape(self.port)
        assert two.of("aviary_output_queue_length", output="hook") > length
        age = two.of("aviary_output_oldest_age_seconds", output="hook")
        assert 0 < age < time.monotonic() - begun + 1, age
        assert two.of("aviary_output_last_success_age_seconds", output="hook") > age / 2
        problems = until("health to say so", lambda: health(self.port)[1])
        waited = time.monotonic() - begun
        assert waited >= PATIENCE and [p["name"] for p in problems] == ["hook"], (waited, problems)
        assert re.match(r"fails for \d+ s: .*refused", problems[0]["why"]), problems
        assert Scrape(self.port).of("aviary_output_failing_seconds", output="hook") >= PATIENCE
        assert health(self.port)[0] == 503 and get(self.port, "/health/live")[0] == 200
        self.hook.start()
        until("health to be well again", lambda: health(self.port)[0] == 200)
        until("an empty queue", lambda: Scrape(self.port).of("aviary_output_queue_length", output="hook") == 0)
        page = Scrape(self.port)
        assert page.of("aviary_output_oldest_age_seconds", output="hook") == 0
        assert page.of("aviary_output_failing_seconds", output="hook") == 0
        assert page.of("aviary_output_delivered_total", output="hook") == len(self.hook.bodies) > 0
        print(f"     503 after {waited:.1f} s, queue {length:.0f} and more, {len(self.hook.bodies)} delivered in all")

    def process(self) -> None:
        assert self.canary.process
        proc = Path(f"/proc/{self.canary.process.pid}")
        page = Scrape(self.port)
        assert abs(page.of("process_open_fds") - len(os.listdir(proc / "fd"))) <= 3
        assert abs(page.of("process_resident_memory_bytes") / 1024 - self.canary.memory()) < 8192
        assert page.of("process_threads") == len(os.listdir(proc / "task"))
        assert 0 < time.time() - page.of("process_start_time_seconds") < 300
        ticks = sum(int(field) for field in (proc / "stat").read_text().rsplit(")", 1)[1].split()[11:13])
        assert abs(page.of("process_cpu_seconds_total") - ticks / os.sysconf("SC_CLK_TCK")) < 0.5
        assert page.all("aviary_build_info") == {frozenset({("version", ask(self.canary, "status")["version"])}): 1}

    def little_else(self) -> None:
        for path in ("/", "/metrics/", "/metricsx", "/health/ready", "//metrics", "/../metrics", "*"):
            assert get(self.port, path)[0] in (400, 404), path
        status, headers, _ = get(self.port, "/metrics", "POST")
        assert status == 405 and headers["allow"] == "GET, HEAD", headers
        assert get(self.port, "/health", "HEAD")[::2] == (200, "")
        assert get(self.port, "/metrics?name=x")[0] == 200
        assert get(self.port, "/metrics", Long="x" * 60000)[0] == 431
        with connect(self.port) as peer:
            peer.sendall(b"\x16\x03\x01garbage\0\r\n\r\n")
            assert peer.recv(100).startswith(b"HTTP/1.1 400")
        # Clients that say nothing take all places, and lose them.
        silent = [connect(self.port) for _ in range(8)]
        begun = time.monotonic()
        assert get(self.port, "/health")[0] == 200
        took = time.monotonic() - begun
        assert 1 < took < 8, took
        for peer in silent:
            peer.close()
        print(f"     eight silent clients held the page for {took:.1f} s")

    def scrapes_are_no_scans(self) -> None:
        before = Scrape(self.port)
        if not before.all("aviary_capture_packets_total"):
            raise Skip("packets may not be looked at here")
        since = self.canary.mark()
        for _ in range(40):
            Scrape(self.port)
        # Something that is one, to know that the capture looks.
        with socket.socket() as prober:
            prober.connect_ex((LOOPBACK, free_ports(1)[0]))
        self.canary.logged(since, 5001, {})
        scans = [event for event in self.canary.settle(since) if event.get("dst_port") == self.port]
        assert not scans, scans
        assert Scrape(self.port).of("aviary_capture_packets_total") > before.of("aviary_capture_packets_total")

    def moves(self) -> None:
        needs("curl")
        path = self.canary.directory / "metrics.sock"
        status = ask(self.canary, "status")["metrics"]
        assert status == {"listen": f"{LOOPBACK}:{self.port}", "state": "listening", "reason": None}, status
        reload(self.canary, **{"aviary.metrics.listen": f"unix:{path}"})
        command = ["curl", "-s", "--unix-socket", str(path), "http://localhost/metrics"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "aviary_events_total" in text and list(text_string_to_metric_families(text)), text
        assert path.stat().st_mode & 0o777 == 0o660, oct(path.stat().st_mode)
        assert ask(self.canary, "status")["metrics"]["listen"] == f"unix:{path}"
        try:
            connect(self.port).close()
        except ConnectionRefusedError:
            pass
        else:
            raise AssertionError("the old port is still open")
        reload(self.canary, **{"aviary.metrics.listen": ""})
        assert not path.exists() and ask(self.canary, "status")["metrics"] is None
        # One that a killed canary left behind is no obstacle, and a file of somebody else's is not touched.
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(str(path))
        stale.close()
        reload(self.canary, **{"aviary.metrics.listen": f"unix:{path}"})
        assert subprocess.run(command, capture_output=True, check=True).stdout
        reload(self.canary, **{"aviary.metrics.listen": f"unix:{self.canary.log}"})
        failed = ask(self.canary, "status")["metrics"]
        assert failed["state"] == "failed" and "something else" in failed["reason"], failed
        assert self.canary.log.is_file()

    def never_on_the_network(self) -> None:
        bad = self.canary.directory / "bad.conf"
        for place in ("0.0.0.0:9464", "[::]:9464", "10.0.0.5:9464"):
            bad.write_text(json.dumps(self.canary.config | {"aviary.metrics.listen": place}))
            assert self.canary.bin_dir
            command = [str(self.canary.bin_dir / "aviary"), "config", "check", str(bad)]
            checked = subprocess.run(command, capture_output=True, text=True)
            said = checked.stdout + checked.stderr
            assert checked.returncode != 0 and "honeypot" in said and "aviary.metrics.listen" in said, said


def main() -> int:
    parser = arguments(__doc__ or "")
    options = parser.parse_args()
    bin_dir = chosen_bin_dir(parser, options)
    report = Report()
    if bin_dir is None:
        report.skip("metrics", "OpenCanary has none")
        return report.finish()
    hook, refuser = Hook(200), Hook(400)
    (port,) = free_ports(1)
    settings = {
        "aviary.metrics.listen": f"{LOOPBACK}:{port}",
        "aviary.metrics.failing_after": PATIENCE,
        "aviary.limits.connections_per_source": 20,
        "portscan.enabled": True,
        "portscan.ignore_localhost": False,
        # A receiver that is gone refuses connections, which are probes to whoever sees the packets alone.
        "portscan.lorate": "1000",
    }
    first = {"when": {"logtypes": [LOGIN]}}
    handlers = {
        "hook": {"class": "opencanary.logger.WebhookHandler", "url": f"http://{LOOPBACK}:{hook.port}/"},
        "refuser": {"class": "opencanary.logger.WebhookHandler", "url": f"http://{LOOPBACK}:{refuser.port}/"} | first,
        ODD: {"class": "logging.handlers.SocketHandler", "rate": "2/d"} | first,
    }
    sink = socket.create_server((LOOPBACK, 0))
    handlers[ODD] |= {"host": LOOPBACK, "port": sink.getsockname()[1]}
    canary = Canary(bin_dir, settings=settings, handlers=handlers, services=("ftp", "git"))
    stolen = socket.create_server((LOOPBACK, canary.ports["git"]))
    with canary:
        until("the page", lambda: answers(port))
        checks = Checks(canary, port, hook, stolen)
        report.check("metrics: a service that did not start, and does after a reload", checks.a_service_that_did_not_start)
        report.check("metrics: Prometheus' parsers, strict; names, types and labels as documented", checks.parsers)
        report.check("metrics: promtool takes the page, and the documentation's rules", checks.promtool)
        report.check("metrics: events by service and log type are those of the log file", checks.events)
        report.check("metrics: what a rate holds back", checks.held_back)
        report.check("metrics: dead letters", checks.dead_letters)
        report.check("metrics: connections taken, open and cut off; a moved service", checks.connections)
        report.check("metrics: a receiver that is gone makes 503, and is back", checks.a_receiver_that_is_gone)
        report.check("metrics: the process as /proc has it", checks.process)
        report.check("metrics: bounded, and nothing else is there", checks.little_else)
        report.check("metrics: scrapes are no scans", checks.scrapes_are_no_scans)
        report.check("metrics: a reload moves the page to a socket; curl", checks.moves)
        report.check("metrics: never on the network", checks.never_on_the_network)
    for receiver in (hook, refuser):
        receiver.kill()
    return report.finish()


def answers(port: int) -> bool:
    """Whether the page is there yet."""
    try:
        return get(port, "/health/live")[0] == 200
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
