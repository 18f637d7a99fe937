"""NATS (JetStream and core) and MQTT, with nats-server and Mosquitto, each killed with -9 and started again while events come.

Nothing may be lost, and order is kept. A stream shows no id twice; a subscriber of MQTT may see again what was under
way when the broker died. What can be mended is waited for: a subject without a stream, a stream that is full, a topic
that the broker's rules forbid.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import importlib.util
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from canary import LOOPBACK, Canary, Report, Skip, arguments, chosen_bin_dir, free_ports, needs, unverified_tls
from outputs_receivers import Daemon, arrived, certificate, logins, touch, until

T = TypeVar("T")

WATCHER = "watcher"
PASSWORD = "watcher's-password"


# -- NATS --------------------------------------------------------------------------------------


def nkey() -> tuple[str, str]:
    """The seed of a user and its public key, as NATS writes them."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    def spelled(data: bytes) -> str:
        data += binascii.crc_hqx(data, 0).to_bytes(2, "little")
        return base64.b32encode(data).decode().rstrip("=")

    secret = os.urandom(32)
    public = Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    seed, user = 18 << 3, 20 << 3
    return spelled(bytes([seed | user >> 5, user << 3 & 0xFF]) + secret), spelled(bytes([user]) + public)


class Nats:
    """A server with JetStream on disk, TLS, and two users: the canary by its nkey, the watcher by password."""

    def __init__(self, folder: Path) -> None:
        needs("nats-server")
        if not importlib.util.find_spec("nats"):
            raise Skip("`nats-py` is not installed")
        self.seed, public = nkey()
        self.port = free_ports(1)[0]
        config = folder / "nats.conf"
        config.write_text(
            f"""
            host: {LOOPBACK}
            port: {self.port}
            jetstream {{ store_dir: "{folder}/jetstream" }}
            tls {{ cert_file: "{folder}/cert.pem", key_file: "{folder}/key.pem" }}
            authorization {{ users: [
              {{ nkey: {public}, permissions: {{ publish: {{ deny: "forbidden.>" }} }} }}
              {{ user: {WATCHER}, password: "{PASSWORD}" }}
            ] }}
            """
        )
        self.daemon = Daemon("nats-server", "-c", str(config), "-l", str(folder / "nats.log"), port=self.port)
        self.messages: dict[str, list[Any]] = {}

    def ask(self, question: Callable[[Any], Awaitable[T]]) -> T:
        import nats

        async def asked() -> T:
            client = await nats.connect(
                f"tls://localhost:{self.port}",
                user=WATCHER,
                password=PASSWORD,
                tls=unverified_tls(),
                allow_reconnect=False,
            )
            try:
                return await question(client)
            finally:
                await client.close()

        return asyncio.run(asked())

    def stream(self, name: str, update: bool = False, **limits: Any) -> None:
        async def add(client: Any) -> None:
            context = client.jetstream()
            make = context.update_stream if update else context.add_stream
            await make(name=name, subjects=[f"{name}.>"], **limits)

        self.ask(add)

    def read(self, name: str) -> list[Any]:
        """Every message of a stream, in its order."""
        known = self.messages.setdefault(name, [])

        async def further(client: Any) -> None:
            context = client.jetstream()
            state = (await context.stream_info(name)).state
            for seq in range(known[-1].seq + 1 if known else max(state.first_seq, 1), state.last_seq + 1):
                known.append(await context.get_msg(name, seq))

        try:
            self.ask(further)
        except OSError:
            pass
        return known

    def ids(self, name: str) -> list[str]:
        messages = self.read(name)
        for message in messages:
            assert message.headers["Nats-Msg-Id"] == json.loads(message.data)["aviary"]["id"], message
        return [message.headers["Nats-Msg-Id"] for message in messages]


class Listener:
    """Subscribes to NATS without JetStream."""

    def __init__(self, nats: Nats, subject: str) -> None:
        self.got: list[tuple[str, str]] = []
        ready, self.done = threading.Event(), threading.Event()

        async def listen(client: Any) -> None:
            async def take(message: Any) -> None:
                self.got.append((message.subject, message.data.decode()))

            await client.subscribe(subject, cb=take)
            await client.flush()
            ready.set()
            while not self.done.is_set():
                await asyncio.sleep(0.05)

        self.thread = threading.Thread(target=nats.ask, args=(listen,), daemon=True)
        self.thread.start()
        assert ready.wait(10), "no subscription"

    def ids(self) -> list[str]:
        return [json.loads(line)["aviary"]["id"] for _, line in self.got]


# -- MQTT --------------------------------------------------------------------------------------


class Mosquitto:
    """A broker that keeps its sessions on disk, and a subscriber that comes back to its own."""

    def __init__(self, folder: Path) -> None:
        needs("mosquitto", "mosquitto_sub", "mosquitto_passwd", "stdbuf")
        self.folder = folder
        self.port, self.tls_port = free_ports(2)
        self.rules = folder / "acl"
        self.permit("five/#", "four/#")
        for flags, user, password in (["-c"], WATCHER, PASSWORD), ([], "canary", "canary's-password"):
            command = ["mosquitto_passwd", *flags, "-b", str(folder / "passwords"), user, password]
            subprocess.run(command, check=True, capture_output=True)
        config = folder / "mosquitto.conf"
        config.write_text(
            f"""user root
allow_anonymous false
password_file {folder}/passwords
acl_file {self.rules}
persistence true
persistence_location {folder}/
autosave_interval 1
autosave_on_changes true
max_queued_messages 0
log_dest file {folder}/mosquitto.log
log_type all
listener {self.port} {LOOPBACK}
listener {self.tls_port} {LOOPBACK}
certfile {folder}/cert.pem
keyfile {folder}/key.pem
"""
        )
        self.daemon = Daemon("mosquitto", "-c", str(config), port=self.port)
        self.lines = folder / "lines"
        form = ["-q", "1", "-V", "mqttv5", "-c", "-i", WATCHER, "-x", "3600", "-t", "#", "-F", "%t\t%r\t%P\t%p"]
        login = ["-h", LOOPBACK, "-p", str(self.port), "-u", WATCHER, "-P", PASSWORD]
        with self.lines.open("wb") as lines:
            self.watcher = subprocess.Popen(["stdbuf", "-oL", "mosquitto_sub", *login, *form], stdout=lines)
        until("the subscription", lambda: f"Sending SUBACK to {WATCHER}" in self.log())

    def log(self) -> str:
        return (self.folder / "mosquitto.log").read_text(errors="replace")

    def permit(self, *topics: str) -> None:
        rules = "".join(f"topic write {topic}\n" for topic in topics)
        self.rules.write_text(f"user {WATCHER}\ntopic read #\n\nuser canary\n{rules}")
        self.rules.chmod(0o600)

    def messages(self, first: str) -> list[list[str]]:
        """Topic, retained or not, user property and payload of what came on topics that begin so."""
        rows = [line.split("\t", 3) for line in self.lines.read_text().splitlines()]
        return [row for row in rows if row[0].startswith(first + "/")]

    def ids(self, first: str) -> list[str]:
        return [json.loads(row[3])["aviary"]["id"] for row in self.messages(first)]

    def end(self) -> None:
        self.watcher.kill()
        self.watcher.wait()
        self.daemon.kill()


# -- the checks --------------------------------------------------------------------------------


def troubled(canary: Canary, daemon: Daemon, name: str) -> None:
    """Logins before, during and after two deaths of the receiver."""
    touch(canary, f"{name}-before-1", f"{name}-before-2")

    def twice() -> None:
        for _ in range(2):
            time.sleep(0.15)
            daemon.kill()
            time.sleep(0.3)
            daemon.start()

    killer = threading.Thread(target=twice)
    killer.start()
    count = 0
    while killer.is_alive() or count < 40:
        touch(canary, f"{name}-during-{count}")
        count += 1
    killer.join()
    touch(canary, f"{name}-after")


def complained(canary: Canary, name: str, words: str) -> None:
    def said() -> bool:
        lines = canary.output.read_text(errors="replace").splitlines()
        return any(name in line and words in line for line in lines)

    try:
        until(f"`{words}` of the output {name}", said)
    except AssertionError as error:
        raise AssertionError(f"{error}; there is\n{canary.last_output()}") from None


def tell(canary: Canary, ids: list[str]) -> None:
    print(f"     {len(logins(canary))} logins, {len(ids) - len(set(ids))} twice")


def nats_checks(report: Report, bin_dir: Path, nats: Nats, folder: Path) -> None:
    common = {
        "class": "aviary.nats",
        "url": f"nats://localhost:{nats.port}",
        "verify": str(folder / "cert.pem"),
        "formatter": "plain",
        "nkey": nats.seed,
        "timeout": 3,
    }
    watched = {key: value for key, value in common.items() if key != "nkey"} | {"user": WATCHER, "password": PASSWORD}
    only_logins = {"when": {"kinds": "login"}}
    nats.stream("canary")
    nats.stream("small", max_msgs=3, discard="new")
    listener = Listener(nats, "core.>")
    handlers = {
        "jetstream": common | {"subject": "canary.{node_id}.{service}.{kind}", "stream": "canary"},
        "core": watched | {"subject": "core.{service}", "jetstream": False},
        "absent": common | {"subject": "absent.{kind}"} | only_logins,
        "small": common | {"subject": "small.{kind}"} | only_logins,
        "forbidden": common | {"subject": "forbidden.{kind}"} | only_logins,
        "stranger": common | {"nkey": nkey()[0]},
    }
    with Canary(bin_dir, handlers=handlers, services=("ftp",)) as canary:

        def core() -> None:
            touch(canary, "core-1", "core-2")
            arrived(canary, listener.ids)
            assert ("core.ftp", canary.lines()[-1].decode()) in listener.got, listener.got[-1]

        def jetstream() -> None:
            troubled(canary, nats.daemon, "nats")
            arrived(canary, lambda: nats.ids("canary"))
            tell(canary, nats.ids("canary"))
            events = {event["aviary"]["id"]: event for event in canary.settle()}
            for message in nats.read("canary"):
                event = json.loads(message.data)
                assert event == events[event["aviary"]["id"]], message
                assert message.subject.startswith("canary.canary-under-test."), message.subject
                if event["logtype"] == 2000:
                    assert message.subject == "canary.canary-under-test.ftp.login", message.subject

        def absent() -> None:
            complained(canary, "absent", "no stream takes `absent.login` (no responders)")
            nats.stream("absent")
            arrived(canary, lambda: nats.ids("absent"))

        def full() -> None:
            complained(canary, "small", "it said: maximum messages exceeded (10077)")
            assert len(nats.ids("small")) == 3

            # The pauses have grown meanwhile; a start begins with the shortest.
            canary.stop()
            nats.stream("small", max_msgs=-1, discard="new", update=True)
            canary.start()
            arrived(canary, lambda: nats.ids("small"))

        report.check("nats: without JetStream, over TLS", core)
        listener.done.set()
        listener.thread.join()
        report.check("nats: JetStream over TLS with an nkey, killed and started again", jetstream)
        report.check("nats: a subject without a stream is waited for", absent)
        report.check("nats: a stream that is full is waited for", full)
        report.check(
            "nats: a forbidden subject is told in the server's words",
            lambda: complained(canary, "forbidden", 'it said: Permissions Violation for Publish to "forbidden.login"'),
        )
        report.check(
            "nats: a login that is none is told in the server's words",
            lambda: complained(canary, "stranger", "it said: Authorization Violation"),
        )


def mqtt_checks(report: Report, bin_dir: Path, broker: Mosquitto, folder: Path) -> None:
    common = {
        "class": "aviary.mqtt",
        "host": "localhost",
        "port": broker.port,
        "username": "canary",
        "password": "canary's-password",
        "formatter": "plain",
        "timeout": 3,
    }
    secure = {"port": broker.tls_port, "tls": True, "verify": str(folder / "cert.pem")}
    handlers = {
        "five": common | secure | {"topic": "five/{service}/{kind}"},
        "four": common | {"topic": "four/{node_id}/{logtype}", "protocol": "3.1.1", "qos": 2},
        "forbidden": common | {"topic": "forbidden/{kind}", "when": {"kinds": "login"}},
        "stranger": common | {"password": "wrong"},
    }
    with Canary(bin_dir, handlers=handlers, services=("ftp",)) as canary:

        def tried(first: str) -> None:
            arrived(canary, lambda: broker.ids(first), twice=True)
            tell(canary, broker.ids(first))
            events = {event["aviary"]["id"]: event for event in canary.settle()}
            for topic, retained, properties, line in broker.messages(first):
                event = json.loads(line)
                assert event == events[event["aviary"]["id"]], line
                assert retained == "0", line
                if first == "five":
                    assert f"aviary.id:{event['aviary']['id']}" in properties, properties
                    if event["logtype"] == 2000:
                        assert topic == "five/ftp/login", topic
                else:
                    assert topic == f"four/canary-under-test/{event['logtype']}", topic
            qos = 1 if first == "five" else 2
            published = re.findall(rf"Received PUBLISH from \w+ \(d(\d), q(\d), r(\d), m\d+, '{first}/", broker.log())
            assert set(published) == {("0", str(qos), "0")}, published[:5]

        def permitted() -> None:
            complained(canary, "forbidden", "it said: 135, not authorized")
            assert not broker.ids("forbidden")
            canary.stop()
            broker.permit("five/#", "four/#", "forbidden/#")
            broker.daemon.kill()
            broker.daemon.start()
            canary.start()
            arrived(canary, lambda: broker.ids("forbidden"), twice=True)

        troubled(canary, broker.daemon, "mqtt")
        report.check("mqtt: version 5 over TLS, killed and started again", lambda: tried("five"))
        report.check("mqtt: version 3.1.1 at QoS 2, killed and started again", lambda: tried("four"))
        report.check("mqtt: a forbidden topic is waited for", permitted)
        report.check(
            "mqtt: a login that is none is told in the broker's words",
            lambda: complained(canary, "stranger", "it said: 135, not authorized"),
        )


def main() -> int:
    parser = arguments(__doc__ or "")
    options = parser.parse_args()
    bin_dir = chosen_bin_dir(parser, options)
    report = Report()
    if bin_dir is None:
        report.skip("queues", "OpenCanary has no such classes")
        return report.finish()
    folder = Path(tempfile.mkdtemp(prefix="outputs-queues-"))
    # It warns of how nats-py ends its connections.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    certificate(folder)
    try:
        nats = Nats(folder)
    except Skip as reason:
        report.skip("nats", str(reason))
    else:
        nats_checks(report, bin_dir, nats, folder)
        nats.daemon.kill()
    try:
        broker = Mosquitto(folder)
    except Skip as reason:
        report.skip("mqtt", str(reason))
    else:
        mqtt_checks(report, bin_dir, broker, folder)
        broker.end()
    if not os.environ.get("KEEP"):
        shutil.rmtree(folder, ignore_errors=True)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
