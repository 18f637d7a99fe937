"""Three real sensors of one real hub: enrolled, watched, configured, cut off and thrown out.

Each sensor is a process of its own at a loopback address of its own; all that they and the hub say to each other goes over
connections that the sensors open. One is made blind, one is stopped, one is revoked; a config is pushed to one and
then to all, and two that are no good are taken back.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from canary import LOOPBACK, Report, arguments, chosen_bin_dir, free_ports

PATIENCE = 60.0
SERVICES = ("ftp", "telnet", "redis")
ADDRESSES = {"north": "127.0.0.31", "south": "127.0.0.32", "west": "127.0.0.33"}
NAMES = tuple(ADDRESSES)
BLIND = 'ip.ignorelist = ["127.0.0.0/8"]\n'


def until(what: str, is_so: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """What `is_so` gives once that is something."""
    deadline = time.monotonic() + patience
    while True:
        found = is_so()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what}: not within {patience:.0f} s"
        time.sleep(0.2)


class Refused(Exception):
    """The hub's words, with its status."""

    def __init__(self, status: int, said: dict[str, Any]) -> None:
        self.status = status
        super().__init__(f"{status}: {said.get('detail')}")


class Hub:
    """`aviary hub`, and what is asked of it."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.program, self.folder = program, folder
        (self.port,) = free_ports(1)
        self.url = f"https://{LOOPBACK}:{self.port}"
        self.token = ""
        self.start()

    def start(self) -> None:
        command = [str(self.program), "hub", "--listen", f"{LOOPBACK}:{self.port}", "--state", str(self.folder)]
        command += ["--drill-every", "5", "--drill-deadline", "10", "--silent-after", "15"]
        self.log = self.folder.parent / "hub.log"
        with self.log.open("a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until("the hub's port", lambda: self.listens())
        found = re.search(r"avt_[0-9a-f]+", self.log.read_text())
        self.token = self.token or (found.group() if found else "")
        self.tls = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))

    def listens(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex((LOOPBACK, self.port)) == 0

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(f"{self.url}/api/v1{path}", method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        if body is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, timeout=30, context=self.tls) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise Refused(error.code, json.load(error)) from error

    def sensor(self, name: str) -> dict[str, Any]:
        return self.ask("GET", f"/sensors/{name}")

    def is_in(self, name: str, state: str) -> Any:
        return until(f"`{name}` to be {state} ({self.sensor(name)['state']})", lambda: self.sensor(name)["state"] == state)

    def incidents(self, source: str) -> list[dict[str, Any]]:
        return [one for one in self.ask("GET", "/incidents?limit=500")["incidents"] if one["source"] == source]

    def events(self, query: str) -> list[dict[str, Any]]:
        return self.ask("GET", f"/events?{query}")["events"]

    def version(self, number: int) -> dict[str, Any]:
        versions = self.ask("GET", "/configs/racks")["versions"]
        return next(one for one in versions if one["version"] == number)


class Sensor:
    """`aviary sensor` with a config of its own."""

    def __init__(self, program: Path, folder: Path, name: str, ports: dict[str, int]) -> None:
        self.program, self.folder, self.name, self.ports = program, folder, name, ports
        self.address = ADDRESSES[name]
        self.state, self.config, self.events = folder / "state", folder / "own.toml", folder / "events.jsonl"
        folder.mkdir()
        self.process: subprocess.Popen[bytes] | None = None
        self.write()

    def write(self, more: str = "") -> None:
        lines = [f'device.node_id = "own-{self.name}"', f'device.listen_addr = "{self.address}"', more]
        lines += [f"{name}.enabled = true\n{name}.port = {port}" for name, port in self.ports.items()]
        lines += ["[outputs.file]", 'class = "logging.FileHandler"', f'filename = "{self.events}"']
        self.config.write_text("\n".join(lines) + "\n")

    def enrol(self, hub: Hub, token: str, *more: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.program), "sensor", "enrol", hub.url, token, "--name", self.name, "--state", str(self.state)]
        return subprocess.run([*command, *more], capture_output=True, text=True, timeout=60)

    def start(self) -> None:
        command = [str(self.program), "sensor", "--config", str(self.config), "--state", str(self.state)]
        with (self.folder / "log.txt").open("a") as log:
            environment = os.environ | {"ADDRESS": self.address, "EVENTS": str(self.events)}
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def reload(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGHUP)

    def log(self) -> str:
        return (self.folder / "log.txt").read_text()

    def login(self, user: str) -> None:
        """Tries a credential at FTP."""
        with socket.create_connection((self.address, self.ports["ftp"]), timeout=20) as peer:
            for words in (f"USER {user}\r\n", "PASS x\r\n"):
                peer.recv(1000)
                peer.sendall(words.encode())
            peer.recv(1000)


def group_config(ports: dict[str, int], more: str = "") -> str:
    """A config that each sensor of a group can run on: what differs stands in its environment."""
    lines = ['device.listen_addr = "${ADDRESS}"', more]
    lines += [f"{name}.enabled = true\n{name}.port = {port}" for name, port in ports.items()]
    lines += ["[outputs.file]", 'class = "logging.FileHandler"', 'filename = "${EVENTS}"']
    return "\n".join(lines) + "\n"


def enrolment(report: Report, hub: Hub, sensors: dict[str, Sensor]) -> None:
    def tokens() -> None:
        ticket = {"group": "racks", "site": "berlin", "tags": ["rack 7"]}
        for name, sensor in sensors.items():
            made = hub.ask("POST", "/sensors/tokens", ticket)
            assert made["command"] == f"aviary sensor enrol {hub.url} {made['token']}", made["command"]
            if name == "north":
                secret, pin = made["token"].split(".")
                other = ("0" if pin[0] != "0" else "1") + pin[1:]
                foreign = sensor.enrol(hub, f"{secret}.{other}")
                assert foreign.returncode == 1 and "another authority" in foreign.stderr, foreign
            done = sensor.enrol(hub, made["token"])
            assert done.returncode == 0, done
            again = sensor.enrol(hub, made["token"], "--force")
            assert again.returncode == 1 and "the token does not work" in again.stderr, again
            assert (sensor.state / "joined/sensor.pem").stat().st_mode & 0o077 == 0
        try:
            hub.ask("POST", "/sensors/tokens", {"expires": "2020-01-01T00:00:00Z"})
        except Refused as refused:
            assert refused.status == 400, refused
        else:
            raise AssertionError("a token of the past was made")

    report.check("a token enrols one sensor, once, at the hub that made it", tokens)

    def alive() -> None:
        for name, sensor in sensors.items():
            assert hub.sensor(name)["state"] == "never"
            sensor.start()
        for name, sensor in sensors.items():
            hub.is_in(name, "alive")
            row = hub.sensor(name)
            shown = (row["group"], row["site"], row["tags"], row["node_id"], row["config"], row["revoked"])
            assert shown == ("racks", "berlin", ["rack 7"], f"own-{name}", None, False), shown
            ports = {one["service"]: one["port"] for one in row["services"] if one["state"] == "listening"}
            assert ports == sensor.ports, ports
            assert row["version"] and len(row["config_hash"]) == 64 and abs(row["clock_skew_seconds"]) < 60, row
        listed = hub.ask("GET", "/sensors")["sensors"]
        assert [one["name"] for one in listed] == sorted(NAMES)

    report.check("each proves that it detects, and tells what it is", alive)

    def events() -> None:
        for name, sensor in sensors.items():
            sensor.login(f"guest-{name}")
            query = f"field=USERNAME%3Dguest-{name}"
            (event,) = until("the login", lambda query=query: hub.events(query))
            assert (event["sensor"], event["hidden"]) == (name, None), event
        hidden = hub.events("hidden=true&limit=1000")
        assert hidden and {one["hidden"] for one in hidden} == {"drill"}, hidden
        # One for each sensor, whose loopback is another machine than the others'.
        assert len(hub.incidents(LOOPBACK)) == len(NAMES), hub.incidents(LOOPBACK)
        for sensor in sensors.values():
            text = sensor.events.read_text()
            assert "guest-" in text and '"drill"' not in text, "a drill stands in the log"

    report.check("events come over the certificate alone, and drills trouble nobody", events)


def liveness(report: Report, hub: Hub, sensors: dict[str, Sensor]) -> None:
    def trouble(name: str) -> list[dict[str, Any]]:
        return hub.incidents(f"sensor {name}")

    def blind() -> None:
        sensors["north"].write(BLIND)
        sensors["north"].reload()
        hub.is_in("north", "blind")
        assert "was touched and not reported" in hub.sensor("north")["why"], hub.sensor("north")
        (incident,) = until("an incident", lambda: trouble("north"))
        assert (incident["state"], incident["severity"], incident["events"]) == ("open", "high", 1), incident
        time.sleep(8)  # at least one more drill, which is no news
        (incident,) = trouble("north")
        assert incident["events"] == 1, incident
        sensors["north"].write()
        sensors["north"].reload()
        hub.is_in("north", "alive")
        (incident,) = until("it is closed", lambda: [one for one in trouble("north") if one["state"] == "closed"])
        facts = [fact["value"] for fact in incident["facts"] if fact["fact"] == "trouble"]
        assert incident["events"] == 2 and len(facts) == 2, incident
        history = [(one["before"], one["state"]) for one in hub.sensor("north")["history"]]
        assert history == [("blind", "alive"), ("alive", "blind"), ("never", "alive")], history

    report.check("one that listens and reports nothing is blind: told once, and once when it is back", blind)

    def silent() -> None:
        sensors["south"].stop()
        hub.is_in("south", "silent")
        (incident,) = until("an incident", lambda: trouble("south"))
        assert "silent since" in json.dumps(incident["facts"]), incident
        try:
            hub.ask("POST", "/sensors/south/drill")
        except Refused as refused:
            assert refused.status == 409, refused
        else:
            raise AssertionError("a silent sensor was asked")
        sensors["south"].start()
        hub.is_in("south", "alive")
        until("it is closed", lambda: trouble("south")[0]["state"] == "closed")
        assert not trouble("west"), trouble("west")

    report.check("one that is stopped is silent, and alive once it has proven itself", silent)

    def hub_away() -> None:
        hub.stop()
        sensors["west"].login("while-away")
        time.sleep(2)
        hub.start()
        until("what waited", lambda: hub.events("field=USERNAME%3Dwhile-away"))
        assert all(hub.sensor(name)["state"] == "alive" for name in NAMES), "a hub's own absence is no silence"

    report.check("a hub that was away gets what waited, and alarms nobody", hub_away)


def configs(report: Report, hub: Hub, sensors: dict[str, Sensor]) -> None:
    def config(more: str = "") -> str:
        return group_config(sensors["north"].ports, more)

    def write(text: str) -> int:
        return hub.ask("PUT", "/configs/racks", {"text": text})["version"]

    def push(version: int, first: str | None = None) -> str:
        body = {"version": version} | ({"first": first} if first else {})
        until("a sensor that proves", lambda: hub.sensor(first or "north")["state"] == "alive")
        return hub.ask("POST", "/configs/racks/push", body)["first"]

    def ended(version: int) -> dict[str, Any]:
        until("an end", lambda: hub.version(version)["state"] not in ("draft", "trial"), 2 * PATIENCE)
        return hub.version(version)

    def have(version: str, *names: str) -> None:
        for name in names:
            until(f"`{name}` to have {version}", lambda name=name: hub.sensor(name)["config"] == version)

    def pushed() -> None:
        assert write(config()) == 1
        assert push(1) == "north"
        assert ended(1)["state"] == "applied", hub.version(1)
        have("racks/1", *NAMES)
        rows = [hub.sensor(name) for name in NAMES]
        assert len({row["config_hash"] for row in rows}) == 1, rows
        for name in NAMES:
            until("the sensor's own name", lambda name=name: hub.sensor(name)["node_id"] == name)
            sensors[name].login(f"pushed-{name}")
            (event,) = until("the login", lambda name=name: hub.events(f"field=USERNAME%3Dpushed-{name}"))
            assert event["event"]["node_id"] == name, event
        (listed,) = hub.ask("GET", "/configs")["configs"]
        assert (listed["applied"], listed["sensors"], listed["applied_sensors"]) == (1, 3, 3), listed

    report.check("a config goes to one, and to all once that one has proven itself", pushed)

    def rolled_back() -> None:
        version = write(config(BLIND.strip()))
        diff = hub.ask("GET", f"/configs/racks/diff?from=1&to={version}")["diff"]
        assert f"+{BLIND}" in diff and diff.startswith("--- racks/1"), diff
        assert push(version, "south") == "south"
        assert ended(version)["state"] == "rolled back", hub.version(version)
        assert "blind" in hub.version(version)["why"], hub.version(version)
        have("racks/1", *NAMES)
        hub.is_in("south", "alive")
        assert "racks/2" not in sensors["north"].log() + sensors["west"].log(), "others had it"

    report.check("one that makes its sensor blind is taken back, and nobody else had it", rolled_back)

    def failed() -> None:
        version = write(config("git.port = 0"))
        push(version)
        assert ended(version)["state"] == "failed", hub.version(version)
        assert "git.port" in hub.version(version)["why"], hub.version(version)
        assert hub.sensor("north")["config"] == "racks/1"
        taken = free_ports(1)[0]
        with socket.create_server((ADDRESSES["north"], taken)):
            version = write(config(f"git.enabled = true\ngit.port = {taken}"))
            push(version)
            assert ended(version)["state"] == "failed", hub.version(version)
        assert "did not start" in hub.version(version)["why"], hub.version(version)
        assert hub.sensor("north")["config"] == "racks/1"

    report.check("one with a mistake, or a port that is taken, changes nothing and says why", failed)

    def cut_off() -> None:
        sensors["west"].stop()
        version = write(config('ftp.banner = "ready"'))
        push(version)
        assert ended(version)["state"] == "applied", hub.version(version)
        have(f"racks/{version}", "north", "south")
        assert hub.sensor("west")["config"] == "racks/1"
        sensors["west"].start()
        have(f"racks/{version}", "west")
        hub.is_in("west", "alive")
        with socket.create_connection((sensors["west"].address, sensors["west"].ports["ftp"]), timeout=20) as peer:
            assert peer.recv(100) == b"220 ready\r\n"

    report.check("one that was cut off catches up", cut_off)


def membership(report: Report, hub: Hub, sensors: dict[str, Sensor]) -> None:
    def renewed() -> None:
        pem = sensors["north"].state / "joined/sensor.pem"
        before = pem.read_text()
        hub.ask("POST", "/sensors/north/renew")
        until("another certificate", lambda: pem.read_text() != before)
        sensors["north"].login("renewed")
        until("the login", lambda: hub.events("field=USERNAME%3Drenewed"))
        hub.ask("POST", "/sensors/north/drill")
        hub.is_in("north", "alive")

    report.check("a certificate is renewed while the sensor works", renewed)

    def moved() -> None:
        row = hub.ask("PATCH", "/sensors/west", {"group": "lab", "tags": ["a", "b"], "site": "paris"})
        assert (row["group"], row["tags"], row["site"], row["config_wanted"]) == ("lab", ["a", "b"], "paris", None), row
        until("its own file again", lambda: hub.sensor("west")["config"] is None)
        until("its own name again", lambda: hub.sensor("west")["node_id"] == "own-west")

    report.check("one that is moved to another group has that group's config", moved)

    def revoked() -> None:
        row = hub.ask("POST", "/sensors/south/revoke")
        assert row["revoked"] and row["certificate_until"] is None, row
        sensors["south"].login("revoked")
        until("its log", lambda: "lets this sensor in no more" in sensors["south"].log())
        assert not hub.events("field=USERNAME%3Drevoked")
        token = hub.ask("POST", "/sensors/tokens", {"group": "racks"})["token"]
        taken = Sensor(sensors["south"].program, sensors["south"].folder / "other", "north", sensors["south"].ports)
        refused = taken.enrol(hub, token)
        assert refused.returncode == 1 and "is enrolled already" in refused.stderr, refused
        # The token still works, since nobody enrolled with it.
        sensors["south"].stop()
        done = sensors["south"].enrol(hub, token, "--force")
        assert done.returncode == 0, done
        sensors["south"].start()
        until("what waited", lambda: hub.events("field=USERNAME%3Drevoked"))
        hub.is_in("south", "alive")

    report.check("one that is revoked gets nothing in, until it is enrolled anew", revoked)


def main() -> int:
    parser = arguments(__doc__ or "")
    options = parser.parse_args()
    bin_dir = chosen_bin_dir(parser, options)
    report = Report()
    if bin_dir is None:
        parser.error("this is about Aviary alone; give --bin-dir")
    program = bin_dir.resolve() / "aviary"
    with tempfile.TemporaryDirectory(prefix="hub-sensors-") as name:
        folder = Path(name)
        hub = Hub(program, folder / "hub")
        ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
        sensors = {name: Sensor(program, folder / name, name, ports) for name in NAMES}
        try:
            for part in (enrolment, liveness, configs, membership):
                part(report, hub, sensors)
        finally:
            for sensor in sensors.values():
                sensor.stop()
            hub.stop()
            if report.failed:
                print(hub.log.read_text())
                for sensor in sensors.values():
                    print(f"--- {sensor.name}\n{sensor.log()}")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
