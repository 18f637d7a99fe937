"""`aviary.syslog` against rsyslog and syslog-ng, over UDP, TCP and TLS, with JSON, CEF and LEEF.

The daemons are killed with -9 and started again while events come: nothing may be lost.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from canary import LOOPBACK, Canary, Report, Skip, arguments, chosen_bin_dir, free_ports, needs
from outputs_receivers import Daemon, arrived, certificate, logins, touch, until

PARTS = ("pri", "host", "app", "msgid", "sd", "msg")


class Receiver:
    """A daemon that writes the parts of what it got to a file, a line of JSON each."""

    daemon: Daemon

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.got = folder / f"{name}.got"
        self.config = folder / f"{name}.conf"

    def messages(self) -> list[dict[str, str]]:
        text = self.got.read_text(errors="surrogateescape") if self.got.exists() else ""
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def ids(self) -> list[str]:
        found = (re.search(r'id="([0-9a-f-]{36})"', message["sd"]) for message in self.messages())
        return [match[1] for match in found if match]


class Rsyslog(Receiver):
    """UDP and TCP on one port; TLS in another process, since the driver is one for all."""

    def __init__(self, folder: Path, secure: bool) -> None:
        super().__init__(folder, f"rsyslog-{'tls' if secure else 'plain'}")
        self.port = free_ports(1)[0]
        drivers = module = ""
        if secure:
            ca, key = folder / "cert.pem", folder / "key.pem"
            drivers = f'defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="{ca}"'
            drivers += f' defaultNetstreamDriverCertFile="{ca}" defaultNetstreamDriverKeyFile="{key}"'
            module = 'StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon"'
        properties = ("pri", "hostname", "app-name", "msgid", "structured-data", "msg")
        pairs = [
            f'property(outname="{name}" name="{source}" format="jsonf")'
            for name, source in zip(PARTS, properties, strict=True)
        ]
        comma = ' constant(value=", ") '
        lines = [
            f'global(workDirectory="{folder}" maxMessageSize="256k" {drivers})',
            f'module(load="imtcp" {module})',
            f'input(type="imtcp" port="{self.port}" address="{LOOPBACK}")',
            *([] if secure else [f'module(load="imudp") input(type="imudp" port="{self.port}" address="{LOOPBACK}")']),
            'template(name="parts" type="list") { constant(value="{") '
            + comma.join(pairs)
            + ' constant(value="}\\n") }',
            f'action(type="omfile" file="{self.got}" template="parts")',
        ]
        self.config.write_text("\n".join(lines) + "\n")
        pid = folder / f"{self.config.stem}.pid"
        self.daemon = Daemon(
            "sh",
            "-c",
            f"rm -f {pid}; exec rsyslogd -n -f {self.config} -i {pid}",
            port=self.port,
        )


def syslog_ng(folder: Path) -> tuple[str, list[str], dict[str, str]]:
    """The program, its arguments and environment; unpacked here where rsyslog keeps it from being installed."""
    if shutil.which("syslog-ng"):
        return "syslog-ng", [], dict(os.environ)
    needs("apt-get", "dpkg-deb")
    root = folder / "syslog-ng"
    root.mkdir()
    packages = ["syslog-ng-core", "libivykis0", "libnet1"]
    got = subprocess.run(["apt-get", "download", "-q", *packages], cwd=root, capture_output=True, text=True)
    if got.returncode:
        raise Skip(f"`syslog-ng` is neither installed nor to be had: {got.stderr.strip()[-200:]}")
    for package in root.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    libraries = [str(path) for path in {file.parent for file in root.rglob("lib*.so*")}]
    modules = next(root.glob("usr/lib/syslog-ng/*/libaffile.so")).parent
    return (
        str(root / "usr/sbin/syslog-ng"),
        [f"--module-path={modules}"],
        os.environ | {"LD_LIBRARY_PATH": ":".join(libraries)},
    )


BETWEEN = "<|>"
"""What nothing sent here holds."""


class SyslogNg(Receiver):
    """Octet counting over TCP and TLS, newlines over TCP."""

    def messages(self) -> list[dict[str, str]]:
        text = self.got.read_text(errors="surrogateescape") if self.got.exists() else ""
        lines = (line.split(BETWEEN) for line in text.split("\n")[:-1])
        return [dict(zip(PARTS, line, strict=True)) for line in lines]

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "syslog-ng")
        program, options, environment = syslog_ng(folder)
        self.counted, self.secure, self.lines = free_ports(3)
        files = f'key-file("{folder}/key.pem") cert-file("{folder}/cert.pem") peer-verify(optional-untrusted)'
        fields = ("PRI", "HOST", "PROGRAM", "MSGID", "SDATA", "MSG")
        template = BETWEEN.join(f"${{{field}}}" for field in fields)
        config = f"""@version: 3.35
options {{ keep-hostname(yes); log-msg-size(262144); }};
source s {{
    syslog(ip({LOOPBACK}) transport(tcp) port({self.counted}));
    syslog(ip({LOOPBACK}) transport(tls) port({self.secure}) tls({files}));
    network(ip({LOOPBACK}) transport(tcp) port({self.lines}));
}};
destination d {{ file("{self.got}" template("{template}\\n")); }};
log {{ source(s); destination(d); }};
"""
        self.config.write_text(config)
        state = [f"--{name}={folder}/syslog-ng.{name}" for name in ("persist-file", "pidfile", "control")]
        command = [program, "-F", "--no-caps", f"--cfgfile={self.config}", *state, *options]
        self.daemon = Daemon(*command, port=self.secure, environment=environment)


def handler(port: int, **options: Any) -> dict[str, Any]:
    return {"class": "aviary.syslog", "address": ["localhost", port], "formatter": "plain"} | options


def across_a_kill(canary: Canary, receiver: Receiver) -> None:
    """Logins before, during and after the daemon's death all arrive."""
    touch(canary, "before-1", "before-2")
    arrived(canary, receiver.ids)
    receiver.daemon.kill()
    touch(canary, "during-1", "during-2", 'quote"]\\')
    receiver.daemon.start()
    touch(canary, "after-1")
    # What a daemon had read and not written when it died is sent again with what it had written.
    arrived(canary, receiver.ids, twice=True)
    repeated = len(receiver.ids()) - len(set(receiver.ids()))
    print(f"     {len(logins(canary))} logins, {repeated} messages came twice")


def whole(canary: Canary, receiver: Receiver) -> None:
    """The daemon understood every part, and the event is whole."""
    by_id = {event["aviary"]["id"]: event for event in canary.settle()}
    last = next(m for m in reversed(receiver.messages()) if "during-1" in m["msg"])
    assert (last["host"], last["app"]) == ("canary-under-test", "opencanaryd"), last
    assert last["msgid"] == "2000" and last["pri"] == "11", last
    for part in ("[aviary@32473 ", ' kind="login" ', ' service="ftp" ', f' src="{LOOPBACK}" ', ' user="during-1"'):
        assert part in last["sd"], (part, last["sd"])
    event = json.loads(last["msg"])
    assert event == by_id[event["aviary"]["id"]], last["msg"]


def main() -> int:
    parser = arguments(__doc__ or "")
    options = parser.parse_args()
    bin_dir = chosen_bin_dir(parser, options)
    report = Report()
    if bin_dir is None:
        report.skip("syslog", "OpenCanary has no such class")
        return report.finish()
    folder = Path(tempfile.mkdtemp(prefix="outputs-syslog-"))
    receivers: list[Receiver] = []

    def started(receiver: Receiver) -> Receiver:
        receivers.append(receiver)
        return receiver

    def tried(receiver: Receiver, **keys: Any) -> None:
        with Canary(bin_dir, handlers={"tried": handler(**keys)}, services=("ftp",)) as canary:
            across_a_kill(canary, receiver)
            if "message" not in keys:
                whole(canary, receiver)

    def rsyslog_tcp() -> None:
        needs("rsyslogd")
        receiver = started(Rsyslog(folder, secure=False))
        tried(receiver, port=receiver.port, transport="tcp")
        receiver.got.unlink()
        receiver.daemon.kill()
        receiver.daemon.start()
        tried(receiver, port=receiver.port, transport="udp")
        receiver.daemon.kill()

    def rsyslog_tls() -> None:
        needs("rsyslogd")
        if not list(Path("/usr/lib").glob("*/rsyslog/lmnsd_gtls.so")):
            raise Skip("`rsyslog-gnutls` is not installed")
        receiver = started(Rsyslog(folder, secure=True))
        tried(receiver, port=receiver.port, transport="tls", verify=str(folder / "cert.pem"))
        receiver.daemon.kill()

    def ng() -> None:
        receiver = started(SyslogNg(folder))
        assert isinstance(receiver, SyslogNg)
        tried(receiver, port=receiver.counted, transport="tcp")
        receiver.got.unlink()
        receiver.daemon.kill()
        receiver.daemon.start()
        tried(receiver, port=receiver.secure, transport="tls", verify=str(folder / "cert.pem"))

    def formats() -> None:
        ng = next((receiver for receiver in receivers if isinstance(receiver, SyslogNg)), None)
        if ng is None:
            raise Skip("`syslog-ng` did not start")
        handlers = {
            name: handler(ng.lines, transport="tcp", protocol="rfc3164", message=name) for name in ("cef", "leef")
        }
        with Canary(bin_dir, handlers=handlers, services=("ftp",)) as canary:
            touch(canary, "cef|=\\user")
            event = next(e for e in canary.events() if e["logtype"] == 2000)

            def said(start: str) -> str:
                def look() -> str | None:
                    # The daemon takes the word before the first colon for the program.
                    both = (f"{m['app']}: {m['msg']}" for m in ng.messages() if m["app"] == start)
                    return next((text for text in both if event["aviary"]["id"] in text), None)

                return until(start, look)

            cef = re.split(r"(?<!\\)\|", said("CEF"), maxsplit=7)
            assert cef[1:3] == ["Aviary", "Aviary"] and cef[4:7] == ["2000", "login on ftp", "8"], cef
            pairs = dict(re.findall(r"(\w+)=((?:\\.|[^\\=])*)(?= \w+=|$)", cef[7]))
            plain = {key: re.sub(r"\\(.)", r"\1", value) for key, value in pairs.items()}
            assert plain["duser"] == "cef|=\\user" and plain["src"] == LOOPBACK, plain
            assert json.loads(plain["cs1"]) == event, plain["cs1"]
            leef = said("LEEF").split("|", 6)
            assert leef[4:6] == ["2000", "x09"], leef
            pairs = dict(pair.split("=", 1) for pair in leef[6].split("\t"))
            assert pairs["usrName"] == "cef|=\\user" and json.loads(pairs["event"]) == event, pairs

    try:
        certificate(folder)
        report.check("syslog: rsyslog over TCP and UDP, killed and started again", rsyslog_tcp)
        report.check("syslog: rsyslog over TLS, killed and started again", rsyslog_tls)
        report.check("syslog: syslog-ng over TCP and TLS, killed and started again", ng)
        report.check("syslog: CEF and LEEF as a receiver reads them", formats)
    except Skip as reason:
        report.skip("syslog", str(reason))
    finally:
        for receiver in receivers:
            receiver.daemon.kill()
        shutil.rmtree(folder, ignore_errors=True)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
