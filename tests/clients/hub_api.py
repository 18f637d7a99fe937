"""A running hub, tried by a client that knows nothing but its OpenAPI document (Schemathesis), and by a person.

Nothing that anybody sends may give a 5xx, an answer that the document does not have, or an answer of another shape.
Before that: no password exists, the printed link makes the first admin, and a lost password is reset.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from canary import LOOPBACK, Report, Skip, arguments, chosen_bin_dir, free_ports

PASSWORD = "correct horse battery staple"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "ignored_auth",
    "use_after_free",
)
ENDS_SESSIONS = (
    ("DELETE", "session"),
    ("DELETE", "people/{name}"),
    ("PATCH", "people/{name}"),
    ("POST", "people/{name}/reset"),
)
HERE = Path(__file__).resolve().parent
SECONDS = 18
"""What one run of Schemathesis may take."""


class Hub:
    """`aviary hub` on a free port of loopback, with a state folder of its own."""

    def __init__(self, program: Path) -> None:
        self.program = program
        self.folder = Path(tempfile.mkdtemp(prefix="hub-api-"))
        (self.port,) = free_ports(1)
        self.process: subprocess.Popen[bytes] | None = None
        self.printed = ""

    def start(self) -> None:
        output = self.folder / "printed"
        line = [self.program, "hub", "--listen", f"{LOOPBACK}:{self.port}", "--state", self.folder / "state"]
        self.process = subprocess.Popen(line, stdout=output.open("wb"), stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                answers = self.ask("GET", "/health", raw=True)[0] == 200
            except OSError:
                answers = False
            self.printed = output.read_text()
            if answers:
                return
            assert self.process.poll() is None, f"the hub ended:\n{self.printed}"
            time.sleep(0.1)
        raise AssertionError(f"the hub does not answer:\n{self.printed}")

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=60)
            self.process = None

    def clean(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def address(self) -> str:
        return f"https://{LOOPBACK}:{self.port}"

    @property
    def certificate(self) -> Path:
        (found,) = (self.folder / "state").glob("*.crt")
        return found

    def ask(
        self, method: str, path: str, body: Any = None, session: str = "", token: str = "", raw: bool = False
    ) -> tuple[int, http.client.HTTPMessage, Any]:
        """Status, headers and body of one request. The certificate is the hub's own."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        client = http.client.HTTPSConnection(LOOPBACK, self.port, timeout=30, context=context)
        headers = {"X-Aviary": "console", "Content-Type": "application/json"}
        if session:
            headers["Cookie"] = session
        if token:
            headers["Authorization"] = f"Bearer {token}"
        client.request(method, path, None if body is None else json.dumps(body), headers)
        answer = client.getresponse()
        text = answer.read()
        client.close()
        return answer.status, answer.headers, text if raw or not text else json.loads(text)

    def reset(self, name: str) -> subprocess.CompletedProcess[str]:
        line = [self.program, "hub", "reset-password", name, "--state", self.folder / "state"]
        return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


class Checks:
    """One after the other: each goes on where the one before ended."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.session = self.token = ""

    def _open(self, printed: str, name: str, password: str) -> tuple[int, http.client.HTTPMessage, Any]:
        found = re.search(r"/console/#/setup/([0-9a-f]{64})", printed)
        assert found, printed
        return self.hub.ask("POST", "/api/v1/setup", {"token": found[1], "name": name, "password": password})

    def _sign_in(self, password: str) -> tuple[int, str]:
        status, headers, _ = self.hub.ask("POST", "/api/v1/session", {"name": "anna", "password": password})
        return status, (headers["set-cookie"] or "").split(";")[0]

    def the_first_admin(self) -> None:
        assert self.hub.ask("GET", "/api/v1/setup")[2] == {"needed": True}
        for name in ("admin", "root", "anna"):
            for password in ("admin", "", "password"):
                status = self.hub.ask("POST", "/api/v1/session", {"name": name, "password": password})[0]
                assert status in (401, 429), f"{name}/{password}: {status}"
        first = self.hub.printed
        status, headers, body = self._open(first, "anna", PASSWORD)
        assert status == 201 and body["role"] == "admin", (status, body)
        cookie = headers["set-cookie"]
        assert cookie.startswith("__Host-aviary=") and cookie.endswith("Path=/; Secure; HttpOnly; SameSite=Strict")
        assert self._open(first, "eve", PASSWORD)[0] == 410, "the link works once"
        assert self.hub.ask("GET", "/api/v1/setup")[2] == {"needed": False}

    def a_lost_password(self) -> None:
        running = self.hub.reset("anna")
        assert running.returncode != 0 and "the hub is running" in running.stderr, running.stderr
        self.hub.stop()
        nobody = self.hub.reset("eve")
        assert nobody.returncode != 0 and "no person `eve`" in nobody.stderr, nobody.stderr
        printed = self.hub.reset("Anna")
        assert printed.returncode == 0, printed.stderr
        self.hub.start()
        assert "#/setup/" not in self.hub.printed, "only a hub without people prints one"
        assert self._sign_in(PASSWORD)[0] == 401
        status, _, body = self._open(printed.stdout, "anna", PASSWORD + " 2")
        assert status == 201, body
        status, self.session = self._sign_in(PASSWORD + " 2")
        assert status == 200

    def a_crowd(self) -> None:
        """Each password takes 19 MiB for a moment; what was taken is given back."""
        before = self._memory()
        with ThreadPoolExecutor(8) as crowd:
            statuses = list(crowd.map(lambda _: self._sign_in(PASSWORD + " 2")[0], range(12)))
        assert statuses == [200] * 12, statuses
        deadline = time.monotonic() + 20
        while (now := self._memory()) > before + (24 << 20) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert now <= before + (24 << 20), f"{before >> 20} MiB before, {now >> 20} MiB after"

    def _memory(self) -> int:
        assert self.hub.process is not None
        resident = Path(f"/proc/{self.hub.process.pid}/statm").read_text().split()[1]
        return int(resident) * os.sysconf("SC_PAGE_SIZE")

    def as_an_admin(self) -> None:
        # Signing out would end the run's own session; its answer is looked at here.
        status, session = self._sign_in(PASSWORD + " 2")
        assert status == 200 and self.hub.ask("DELETE", "/api/v1/session", session=session)[0] == 204
        headers = {"Cookie": self.session, "X-Aviary": "console"}
        # What would end it, too, is tried with a token; and that a cookie is missing cannot be tried with a given one.
        checks = [check for check in CHECKS if check not in ("negative_data_rejection", "ignored_auth")]
        self._schemathesis(headers, checks, *(f"{method} /api/v1/{path}" for method, path in ENDS_SESSIONS))
        assert self.hub.ask("GET", "/api/v1/session", session=self.session)[0] == 200, "the session went on"

    def as_a_program(self) -> None:
        wanted = {"name": "client", "scopes": ["ingest", "read", "act", "administer"], "sensor": "client"}
        status, _, made = self.hub.ask("POST", "/api/v1/tokens", wanted, self.session)
        assert status == 201, made
        self.token = made["token"]
        self._schemathesis({"Authorization": f"Bearer {self.token}"}, CHECKS, "DELETE /api/v1/tokens/{key}")

    def as_nobody(self) -> None:
        self._schemathesis({}, CHECKS)

    def still_there(self) -> None:
        assert self.hub.process is not None and self.hub.process.poll() is None
        assert self.hub.ask("GET", "/api/v1/people", token=self.token)[0] == 200
        printed = (self.hub.folder / "printed").read_text()
        assert "panicked" not in printed and " ERROR " not in printed, printed[-2000:]
        assert self.token not in printed and PASSWORD not in printed and self.session.split("=")[1] not in printed

    def _schemathesis(self, headers: dict[str, str], checks: Sequence[str], *without: str) -> None:
        program = Path(sys.executable).parent / "schemathesis"
        if not program.exists():
            raise Skip("Schemathesis is not installed")
        line = [str(program), "run", f"{self.hub.address}/api/v1/openapi.json", "--tls-verify", "false"]
        line += ["--checks", ",".join(checks), "--phases", "examples,coverage,fuzzing", "--max-time", str(SECONDS)]
        # A stream has no end, and what it says first is looked at elsewhere.
        line += ["--exclude-path", "/api/v1/live", "--request-timeout", "20", "--seed", "1", "--continue-on-failure"]
        # A channel that somebody made up would have the hub send to whatever address stands in it.
        for name in ("channels_post", "channels_put", "channels_test"):
            line += ["--exclude-operation-id", name]
        line += ["--warnings", "off", "--suppress-health-check", "all", "--no-color"]
        for name in without:
            line += ["--exclude-name", name]
        for name, value in headers.items():
            line += ["--header", f"{name}: {value}"]
        env = os.environ | {"PYTHONPATH": str(HERE), "SCHEMATHESIS_HOOKS": "hub_api_wire"}
        told = {"capture_output": True, "text": True, "env": env, "cwd": self.hub.folder}
        run = subprocess.run(line, timeout=200, check=False, **told)
        assert run.returncode == 0, run.stdout[-12000:] + run.stderr[-2000:]
        made = re.search(r"(\d+) generated", run.stdout)
        assert made and int(made[1]) >= 100, f"too few cases:\n{run.stdout[-2000:]}"


def main() -> int:
    parser = arguments(__doc__ or "")
    options = parser.parse_args()
    bin_dir = chosen_bin_dir(parser, options)
    report = Report()
    if bin_dir is None:
        report.skip("hub", "OpenCanary has none")
        return report.finish()
    hub = Hub(bin_dir / "aviary")
    try:
        hub.start()
        checks = Checks(hub)
        report.check("hub: no password exists, and the printed link makes the first admin once", checks.the_first_admin)
        report.check("hub: a lost password is reset where the hub stands", checks.a_lost_password)
        report.check("hub: a crowd signs in, and memory is given back", checks.a_crowd)
        report.check("hub: the OpenAPI document against an admin's session", checks.as_an_admin)
        report.check("hub: the OpenAPI document against nobody", checks.as_nobody)
        report.check("hub: the OpenAPI document against a token", checks.as_a_program)
        report.check("hub: nothing failed inside, and no secret was logged", checks.still_there)
    finally:
        hub.clean()
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
