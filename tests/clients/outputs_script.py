"""A module for a protocol that does not exist, and outputs in Rhai.

The module below is written from `docs/modules.md` alone. What it reports must arrive in Graylog's format, read by a
decoder of its own, and through scripts at an HTTP receiver and at rsyslog. Scripts that err, run for ever or send too
much, and a receiver that hangs, cost their own output and nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from canary import LOOPBACK, Canary, Report, arguments, chosen_bin_dir, connect, free_ports, needs, read_until
from outputs_receivers import Web, arrived, logins, touch, until
from outputs_siem import GelfStream
from outputs_syslog import Rsyslog

# A frame is STX, a command, ETX and one byte: all bytes between, each xor the next.
WEIGHBRIDGE = r"""
fn about() {
    #{ name: "weighbridge", summary: "a weighbridge's terminal", port: 7100, logtype: 99002, config: #{ tare: 1250 } }
}

fn frame(said) {
    let sum = 0;
    for byte in bytes(said) { sum ^= byte; }
    bytes("\x02" + said + "\x03") + be_bytes(sum, 1)
}

fn on_data(session, data) {
    let end = data.index_of(3);
    if end < 0 || end + 1 == data.len { return 0; }
    let said = text(data.extract(1, end - 1));
    if data[0] != 2 || frame(said) != data.extract(0, end + 2) {
        session.report(#{ MALFORMED: data });
        session.close();
        return;
    }
    let words = said.split(" ");
    if words[0] == "OPERATOR" { session.report(#{ USERNAME: words[1], PASSWORD: words[2] }); }
    else { session.report(#{ COMMAND: said }); }
    session.send(frame(if said == "TARE" { session.config.tare.to_string() } else { "NAK" }));
    end + 2
}
"""

# Logins and commands of the weighbridge, each to both receivers.
SIEM = r"""
fn about() { #{ settings: #{ services: [] }, destinations: ["web", "daemon"] } }

fn emit(event, settings) {
    if !settings.services.contains(event.aviary.service) { return; }
    send("web", #{ id: event.aviary.id, seen: event.logdata });
    send("daemon", `${event.src_host} said ${json(event.logdata)}`);
}
"""

EVERY_LOGIN = 'fn emit(event) {{ if event.logtype != 2000 {{ return; }} {} }}'

SCRIPTS = {
    "errs": EVERY_LOGIN.format("\nevent.no_such.thing.at_all"),
    "loops": EVERY_LOGIN.format("while true {}"),
    "grows": EVERY_LOGIN.format('let s = "x"; s.pad(700000, \'x\'); send("web", s); send("web", s);'),
    "large": EVERY_LOGIN.format('let s = `${event.logdata.USERNAME} `; s.pad(1048576, \'x\'); send("web", s);'),
    "hangs": EVERY_LOGIN.format('send("web", #{ id: event.aviary.id });'),
    "allowed": (Path(__file__).parents[2] / "docs/modules/allowed_ports.rhai").read_text(),
}


class Taker(Web):
    """Keeps the body of every request by the id that it has."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        super().__init__()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        self.got.append((path, headers, body))
        return 200, b""

    def at(self, path: str) -> list[tuple[dict[str, str], bytes]]:
        return [(headers, body) for where, headers, body in self.got if where == path]

    def ids(self, path: str) -> list[str]:
        return [headers["idempotency-key"].split("/")[0] for headers, _ in self.at(path)]


class Hanging:
    """Accepts, and never says a word."""

    def __init__(self) -> None:
        self.listener = socket.create_server((LOOPBACK, 0))
        self.port = self.listener.getsockname()[1]
        self.peers: list[socket.socket] = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                self.peers.append(self.listener.accept()[0])
            except OSError:
                return


def frame(said: str) -> bytes:
    """The protocol once more, by other hands."""
    total = 0
    for byte in said.encode():
        total ^= byte
    return b"\x02" + said.encode() + b"\x03" + bytes([total])


def weigh(port: int) -> None:
    with connect(port) as peer:
        for said, answer in (("OPERATOR jo 4711", "NAK"), ("TARE", "1250"), ("OPEN GATE", "NAK")):
            sent = frame(said)
            # In two pieces, as a network may have it.
            peer.sendall(sent[:4])
            time.sleep(0.05)
            peer.sendall(sent[4:])
            wanted = frame(answer)
            got = read_until(peer, wanted)
            assert got == wanted, (got, wanted)


def ask(canary: Canary, *words: str) -> subprocess.CompletedProcess[str]:
    """What `aviary` says of the running canary."""
    assert canary.bin_dir
    surroundings = os.environ | {"HOME": str(canary.directory), "AVIARY_STATE_DIR": str(canary.directory / "state")}
    command = [canary.bin_dir / "aviary", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=surroundings)


def status(canary: Canary, name: str) -> dict[str, Any]:
    outputs: list[dict[str, Any]] = json.loads(ask(canary, "status", "--json").stdout)["outputs"]
    return next(output for output in outputs if output["output"] == name)


def main() -> int:
    parser = arguments(__doc__ or "")
    options = parser.parse_args()
    bin_dir = chosen_bin_dir(parser, options)
    report = Report()
    if bin_dir is None:
        report.skip("scripts", "OpenCanary has none")
        return report.finish()
    needs("rsyslogd")
    folder = Path(tempfile.mkdtemp(prefix="outputs-script-"))
    (folder / "modules").mkdir()
    (folder / "modules" / "weighbridge.rhai").write_text(WEIGHBRIDGE)
    for name, script in SCRIPTS.items() | {("siem", SIEM)}:
        (folder / f"{name}.rhai").write_text(script)
    gelf, web, daemon, hanging = GelfStream(), Taker(), Rsyslog(folder, secure=False), Hanging()

    def script(name: str, port: int = web.port, **more: Any) -> dict[str, Any]:
        destination = {"url": f"http://{LOOPBACK}:{port}/{name}", "timeout": [2, 2]}
        file = str(folder / f"{name}.rhai")
        return {"class": "aviary.script", "file": file, "destinations": {"web": destination}} | more

    siem = script("siem", settings={"services": ["weighbridge"]})
    siem["destinations"]["daemon"] = {"syslog": f"{LOOPBACK}:{daemon.port}", "transport": "tcp"}
    ftp_port = free_ports(1)[0]
    allowed = script("allowed", settings={"ports": [ftp_port]})
    allowed["destinations"]["api"] = allowed["destinations"].pop("web")
    handlers = {name: script(name) for name in ("errs", "loops", "grows", "large")} | {
        "hangs": script("hangs", hanging.port),
        "siem": siem,
        "allowed": allowed,
        "gelf": {"class": "aviary.gelf", "address": [LOOPBACK, gelf.port], "transport": "tcp"},
    }
    weighbridge = free_ports(1)[0]
    settings = {
        "usermodule.path": str(folder / "modules"),
        "weighbridge.port": weighbridge,
        "ftp.enabled": True,
        "ftp.port": ftp_port,
    }

    with Canary(bin_dir, settings, handlers, services=()) as canary:
        canary.ports["ftp"] = ftp_port
        until("the services", lambda: canary.wait_for(lambda e: "Canary running" in json.dumps(e["logdata"])))
        since = canary.mark()

        def made_up_protocol() -> None:
            assert len(WEIGHBRIDGE.strip().splitlines()) < 30
            weigh(weighbridge)
            login = canary.logged(since, 99002, {"USERNAME": "jo", "PASSWORD": "4711"})
            assert login["aviary"]["kind"] == "login" and login["dst_port"] == weighbridge, login
            for command in ("TARE", "OPEN GATE"):
                canary.logged(since, 99002, {"COMMAND": command})

        report.check("scripts: a module for a protocol that does not exist", made_up_protocol)
        ours = [event for event in canary.events(since) if event["logtype"] == 99002]

        def in_gelf() -> None:
            messages = until(
                "its events", lambda: (found := [m for m in gelf.messages if m["_logtype"] == 99002])[2:] and found
            )
            first = messages[0]
            assert (first["_logdata_USERNAME"], first["_logdata_PASSWORD"]) == ("jo", "4711"), first
            assert json.loads(first["full_message"]) == ours[0], first
            assert [m["_event_id"] for m in messages] == [event["aviary"]["id"] for event in ours]

        report.check("scripts: its events in Graylog's format", in_gelf)

        def over_http() -> None:
            wanted = [{"id": event["aviary"]["id"], "seen": event["logdata"]} for event in ours]
            until("its events", lambda: len(web.at("/siem")) >= len(wanted))
            got = web.at("/siem")
            assert [json.loads(body) for _, body in got] == wanted, got
            assert all(headers["content-type"] == "application/json" for headers, _ in got)
            assert web.ids("/siem") == [one["id"] for one in wanted]

        report.check("scripts: its events over HTTP", over_http)

        def over_syslog() -> None:
            wanted = [f"{LOOPBACK} said {json.dumps(event['logdata'])}" for event in ours]
            messages = until("its events", lambda: len(daemon.ids()) >= len(wanted) and daemon.messages())
            assert [message["msg"].removeprefix("\ufeff").strip() for message in messages] == wanted, messages
            assert daemon.ids() == [event["aviary"]["id"] for event in ours]
            assert {message["msgid"] for message in messages} == {"99002"}, messages

        report.check("scripts: its events at rsyslog", over_syslog)
        touch(canary, *(f"user-{n}" for n in range(20)))

        def others_go_on() -> None:
            began = time.monotonic()
            touch(canary, "one-more")
            took = time.monotonic() - began
            assert took < 2.0, f"a login took {took:.2f} s"
            arrived(canary, lambda: web.ids("/allowed"))
            arrived(canary, gelf.ids)
            weigh(weighbridge)

        report.check("scripts: services and other outputs go on", others_go_on)

        def refuses(name: str, *words: str) -> None:
            count = len(logins(canary))
            state = until("each login", lambda: (s := status(canary, name))["refused"] >= count and s)
            assert (state["state"], state["refused"]) == ("failing", count), state
            assert all(word in state["last_error"] for word in (f"`{name}.rhai`: `emit`: ", *words)), state
            dead = json.loads(ask(canary, "outputs", "dead", name, "--json").stdout)
            assert dead["counts"][name] == count, dead["counts"]
            assert not web.at(f"/{name}"), "something was sent"

        report.check("scripts: one that errs", lambda: refuses("errs", "line 2, position"))
        report.check("scripts: one that runs for ever", lambda: refuses("loops", "Too many operations"))
        report.check("scripts: one that sends more than a megabyte", lambda: refuses("grows", "1048576 bytes"))

        def a_megabyte() -> None:
            arrived(canary, lambda: web.ids("/large"))
            assert {len(body) for _, body in web.at("/large")} == {1 << 20}

        report.check("scripts: one that sends a megabyte", a_megabyte)

        def hung() -> None:
            state = until("the failure", lambda: (s := status(canary, "hangs"))["retries"] and s)
            assert state["delivered"] == 0 and state["queued"] > 0, state
            assert "`web`: no answer within the time limit" in state["last_error"], state

        report.check("scripts: a receiver that hangs", hung)

        def changed() -> None:
            (folder / "hangs.rhai").write_text('fn emit(event) { if event.logtype == 2000 { send("gone"')
            refused = ask(canary, "reload")
            assert refused.returncode and "hangs.rhai" in refused.stderr + refused.stdout, refused
            touch(canary, "after-the-broken-one")
            arrived(canary, lambda: web.ids("/allowed"))
            (folder / "errs.rhai").write_text(EVERY_LOGIN.format('send("web", event.logdata.USERNAME);'))
            (folder / "hangs.rhai").write_text(SCRIPTS["hangs"])
            taken = ask(canary, "reload")
            assert "output errs changed" in taken.stdout and not taken.returncode, taken
            touch(canary, "after-the-change")
            until("the changed script", lambda: b"after-the-change" in [body for _, body in web.at("/errs")])
            ask(canary, "outputs", "resend", "errs").check_returncode()
            until("the dead letters", lambda: set(web.ids("/errs")) == set(logins(canary)))

        report.check("scripts: changed at a reload, and what was set aside sent again", changed)
        assert not web.complaints, web.complaints
    for receiver in (gelf, web, daemon.daemon):
        receiver.kill()
    hanging.listener.close()
    shutil.rmtree(folder, ignore_errors=True)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
