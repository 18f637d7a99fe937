"""Starts a hub, asks it over HTTP, and kills it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import requests
from canary import LOOPBACK, free_ports
from outputs_receivers import certificate, until

WAYS = ("lines", "syslog-udp", "syslog-tcp", "syslog-tls")


class Hub:
    """A hub with every way open, in a folder of its own; `with` starts and stops it."""

    def __init__(self, bin_dir: Path, state: Path | None = None) -> None:
        self.program = bin_dir.resolve() / "aviary"
        self.folder = Path(tempfile.mkdtemp(prefix="hub-"))
        self.state = state or self.folder / "state"
        certificate(self.folder)
        self.certificate = self.folder / "cert.pem"
        self.port, *ports = free_ports(1 + len(WAYS))
        self.ways = dict(zip(WAYS, ports, strict=True))
        self.output = self.folder / "output.txt"
        self.process: subprocess.Popen[bytes] | None = None
        self.token = ""
        self.url = f"https://localhost:{self.port}"

    def __enter__(self) -> Hub:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        command = [str(self.program), "hub", "--listen", f"{LOOPBACK}:{self.port}", "--state", str(self.state)]
        command += ["--certificate", str(self.certificate), "--key", str(self.folder / "key.pem")]
        for way, port in self.ways.items():
            command += [f"--{way}", f"{LOOPBACK}:{port}"]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {"HOME": str(self.folder)},
            )
        until("the hub to listen", self.listens, timeout=60)
        if not self.token:
            found = until("the first token", lambda: re.search(r"avt_[0-9a-f]{64}", self.output.read_text()))
            self.token = found[0]

    def listens(self) -> bool:
        assert self.process is not None and self.process.poll() is None, f"the hub ended:\n{self.last_output()}"
        try:
            return requests.get(f"{self.url}/health", verify=str(self.certificate), timeout=5).ok
        except requests.RequestException:
            time.sleep(0.02)
            return False

    def last_output(self) -> str:
        return self.output.read_text(errors="replace")[-2000:]

    def kill(self) -> None:
        """`kill -9`, as a power cut would do it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"} | more.pop("headers", {})
        return requests.request(
            method, self.url + path, headers=headers, verify=str(self.certificate), timeout=60, **more
        )

    def get(self, path: str) -> Any:
        answer = self.ask("GET", path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:300]}"
        return answer.json()

    def know(self, sensor: str, *networks: str) -> None:
        """Says whose lines come from where."""
        answer = self.ask("PUT", f"/api/v1/senders/{sensor}", json={"networks": networks})
        assert answer.status_code == 200, answer.text

    def all(self, kind: str) -> list[dict[str, Any]]:
        """All events or incidents, page by page."""
        found: list[dict[str, Any]] = []
        after = ""
        while True:
            page = self.get(f"/api/v1/{kind}?limit=500{after}")
            found += page[kind]
            if not page["next"]:
                return found
            after = f"&after={page['next']}"

    def of_node(self, node: str) -> list[dict[str, Any]]:
        return [row for row in self.all("events") if row["event"].get("node_id") == node]


def line(node: str, number: int, user: str = "root") -> bytes:
    """An event as OpenCanary writes it; no two are alike."""
    now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    event = {
        "dst_host": "10.9.0.1",
        "dst_port": 21,
        "local_time": f"{now}.{number % 1_000_000:06}",
        "local_time_adjusted": f"{now}.{number % 1_000_000:06}",
        "logdata": {"PASSWORD": f"guess-{number}", "USERNAME": user},
        "logtype": 2000,
        "node_id": node,
        "src_host": f"10.20.{number // 250 % 8}.{number % 250 + 1}",
        "src_port": 40000 + number % 20000,
        "utc_time": f"{now}.{number % 1_000_000:06}",
    }
    return json.dumps(event, sort_keys=True).encode()
