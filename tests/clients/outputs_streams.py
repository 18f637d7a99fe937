"""Redis and Kafka: servers that are killed while events come, that are full, or that forbid for a while.

Redis is Debian's, with its log of commands (AOF), over TCP, TLS and a Unix socket. Kafka is librdkafka's mock cluster, read
by confluent-kafka's own consumer. Nothing may be lost, nothing stored twice under one id, and the order kept.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from canary import LOOPBACK, Canary, Report, Skip, arguments, chosen_bin_dir, free_ports, needs
from fake_kafka import PRODUCE, TOO_LARGE, UNKNOWN_TOPIC, FakeKafka, Reader
from outputs_receivers import LOGIN, Daemon, arrived, certificate, logins, touch, until

PASSWORD = "s3cret-of-redis"
PARTITIONS = 4


class Redis:
    """A server that keeps what it confirmed, with a user who may do what the output needs and no more."""

    def __init__(self, folder: Path) -> None:
        needs("redis-server")
        certificate(folder)
        self.folder, self.socket = folder, folder / "redis.sock"
        self.port, self.tls_port = free_ports(2)
        lines = [
            f"bind {LOOPBACK}",
            f"port {self.port}",
            f"tls-port {self.tls_port}",
            f"tls-cert-file {folder}/cert.pem",
            f"tls-key-file {folder}/key.pem",
            f"tls-ca-cert-file {folder}/cert.pem",
            "tls-auth-clients no",
            f"unixsocket {self.socket}",
            f"dir {folder}",
            "appendonly yes",
            # Else Redis confirms what it has not written yet while its disk is busy, for up to two seconds.
            "appendfsync always",
            'save ""',
            "maxmemory-policy noeviction",
            f"user default on >{PASSWORD} ~* &* +@all",
            f"user canary on >{PASSWORD} ~aviary:* &aviary:* -@all +xadd +rpush +publish +multi +exec +select +ping",
            f"user plain on >{PASSWORD} ~aviary:* -@all +xadd",
        ]
        (folder / "redis.conf").write_text("\n".join(lines) + "\n")
        self.daemon = Daemon("redis-server", str(folder / "redis.conf"), "--loglevel", "warning", port=self.port)
        self.heard: list[str] = []

    def client(self, database: int = 0) -> Any:
        import redis

        return redis.Redis(LOOPBACK, self.port, database, PASSWORD, decode_responses=True)

    def start(self) -> None:
        self.daemon.start()

        def loaded() -> bool:
            import redis

            try:
                return bool(self.client().ping())
            except redis.exceptions.ConnectionError:
                return False

        until("redis to have its data", loaded)

    def kill(self) -> None:
        self.daemon.kill()

    def listen(self) -> None:
        """Notes what a channel says, until the server goes."""
        pubsub = self.client().pubsub(ignore_subscribe_messages=True)
        pubsub.subscribe("aviary:channel")
        pubsub.get_message(timeout=5)

        def note() -> None:
            import redis

            try:
                self.heard.extend(message["data"] for message in pubsub.listen())
            except redis.exceptions.ConnectionError:
                pass

        threading.Thread(target=note, daemon=True).start()

    def entries(self, stream: str, database: int = 0) -> list[dict[str, str]]:
        return [fields for _, fields in self.client(database).xrange(stream)]

    def items(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.client().lrange("aviary:list", 0, -1)]


def asked(canary: Canary, *words: str) -> str:
    """What `aviary outputs` prints."""
    command = [str(canary.bin_dir / "aviary"), "outputs", *words]  # type: ignore[operator]
    environment = {"HOME": str(canary.directory), "AVIARY_STATE_DIR": str(canary.directory / "state")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment)
    return done.stdout + done.stderr


def try_redis(report: Report, bin_dir: Path, folder: Path) -> None:
    try:
        redis = Redis(folder)
    except Skip as reason:
        report.skip("streams: redis", str(reason))
        return
    redis.listen()
    redis.client().set("aviary:taken", "by somebody else")
    common = {"class": "aviary.redis", "user": "canary", "password": PASSWORD}
    tcp = common | {"address": [LOOPBACK, redis.port]}
    tls = {"address": ["localhost", redis.tls_port], "transport": "tls", "verify": str(folder / "cert.pem")}
    handlers = {
        "tcp": tcp,
        "tls": common | tls | {"key": "aviary:tls", "database": 3, "maxlen": 100000},
        "list": common | {"address": str(redis.socket), "mode": "list", "key": "aviary:list"},
        "channel": tcp | {"mode": "pubsub", "key": "aviary:channel"},
        "taken": tcp | {"key": "aviary:taken"},
        "plain": tcp | {"user": "plain", "key": "aviary:plain"},
    }
    got = {
        "over TCP": lambda: [entry["id"] for entry in redis.entries("aviary:events")],
        "over TLS": lambda: [entry["id"] for entry in redis.entries("aviary:tls", 3)],
        "a list over a Unix socket": lambda: [item["aviary"]["id"] for item in redis.items()],
        "a user without transactions": lambda: [entry["id"] for entry in redis.entries("aviary:plain")],
    }
    with Canary(bin_dir, handlers=handlers, services=("ftp",)) as canary:

        def everywhere() -> None:
            for ids in got.values():
                arrived(canary, ids)

        def killed() -> None:
            touch(canary, "before-1", "before-2")
            everywhere()
            heard = [json.loads(line)["logdata"].get("USERNAME") for line in redis.heard]
            assert [user for user in heard if user] == ["before-1", "before-2"], heard
            redis.kill()
            touch(canary, "during-1", "during-2", "during-3")
            redis.start()
            touch(canary, "after-1")
            everywhere()

        def whole() -> None:
            events = {event["aviary"]["id"]: event for event in canary.settle()}
            entries = redis.entries("aviary:events")
            assert len(entries) >= 6, entries
            for entry in entries:
                event = events[entry["id"]]
                assert json.loads(entry["event"]) == event, entry
                ours = event["aviary"]
                fields = {"logtype": str(event["logtype"]), "kind": ours["kind"], "service": ours["service"]}
                fields |= {"node_id": "canary-under-test", "src_host": event["src_host"]}
                assert fields.items() <= entry.items(), entry
            for item in redis.items():
                assert item == events[item["aviary"]["id"]], item

        def full() -> None:
            redis.client().config_set("maxmemory", "1mb")
            touch(canary, "full-1", "full-2", "full-3")
            until("redis to say that it is full", lambda: "OOM command not allowed" in asked(canary))
            assert "full-1" not in str(redis.entries("aviary:events")), "it was not full"
            assert PASSWORD not in asked(canary)
            redis.client().config_set("maxmemory", "0")
            touch(canary, "freed-1")
            everywhere()

        def taken() -> None:
            until("the server's words", lambda: "WRONGTYPE" in asked(canary))
            redis.client().delete("aviary:taken")
            arrived(canary, lambda: [entry["id"] for entry in redis.entries("aviary:taken")])

        def under_load() -> None:
            stop = threading.Event()
            count = kills = 0

            def kill_now_and_then() -> None:
                nonlocal kills
                while not stop.wait(0.4):
                    redis.kill()
                    kills += 1
                    redis.start()

            killer = threading.Thread(target=kill_now_and_then)
            killer.start()
            begin = time.monotonic()
            while time.monotonic() - begin < 4 or (kills < 3 and time.monotonic() - begin < 60):
                touch(canary, *(f"load-{count + n}" for n in range(20)))
                count += 20
            stop.set()
            killer.join()
            touch(canary, "load-last")
            assert kills >= 3, kills
            print(f"     killed {kills} times")
            for name, ids in got.items():
                # An answer that died with the server means that a batch comes again.
                arrived(canary, ids, twice=True)
                print(f"     {name}: {len(set(ids()))} ids, {len(ids()) - len(set(ids()))} of them twice")

        report.check("streams: redis, killed and started again", killed)
        report.check("streams: redis has whole events and fields to filter by", whole)
        report.check("streams: redis, full and freed again", full)
        report.check("streams: redis, a key of another type holds up its output until it is gone", taken)
        report.check("streams: redis, killed again and again under load", under_load)
    redis.kill()


def try_kafka(report: Report, bin_dir: Path) -> None:
    try:
        kafka = FakeKafka()
    except Skip as reason:
        report.skip("streams: kafka", str(reason))
        return
    topics = ("canary", "by-source", "one", "missing", "refusing")
    for topic in topics:
        kafka.topic(topic, PARTITIONS)
    kafka.break_topic("missing", UNKNOWN_TOPIC)
    common = {"class": "aviary.kafka", "brokers": kafka.brokers}
    handlers = {
        "kafka": common | {"topic": "canary"},
        "by-source": common | {"topic": "by-source", "key": "src_host", "compression": "snappy"},
        "one": common | {"topic": "one", "partition": 2, "compression": "snappy"},
        "missing": common | {"topic": "missing"},
    }
    readers = {topic: Reader(kafka, topic, PARTITIONS) for topic in topics if topic != "missing"}
    with Canary(bin_dir, handlers=handlers, services=("ftp",)) as canary:

        def everywhere() -> None:
            for topic in ("canary", "by-source", "one"):
                arrived(canary, readers[topic].ids)

        def killed() -> None:
            touch(canary, "before-1", "before-2")
            everywhere()
            kafka.kill()
            touch(canary, "during-1", "during-2", "during-3")
            kafka.start()
            touch(canary, "after-1")
            everywhere()

        def led() -> None:
            for broker in (1, 2, 3):
                for topic in ("canary", "by-source", "one"):
                    for partition in range(PARTITIONS):
                        kafka.lead(topic, partition, broker)
                touch(canary, f"leader-{broker}")
                everywhere()

        def whole() -> None:
            events = {event["aviary"]["id"]: event for event in canary.settle()}
            for topic in ("canary", "by-source", "one"):
                for record in readers[topic].read():
                    event = events[dict(record.headers())["aviary.id"].decode()]
                    assert json.loads(record.value()) == event, record.value()
                    key = event["src_host"] if topic == "by-source" else "canary-under-test"
                    assert record.key().decode() == key, record.key()
                    assert topic != "one" or record.partition() == 2, record.partition()
            assert len({record.partition() for record in readers["canary"].read()}) == 1, "one canary, one partition"

        def same_partition() -> None:
            from confluent_kafka import Producer

            theirs: dict[bytes, int] = {}
            producer = Producer({"bootstrap.servers": ",".join(kafka.brokers), "partitioner": "murmur2"})
            for topic in ("canary", "by-source"):
                for key in {record.key() for record in readers[topic].read()}:
                    note = lambda _, message: theirs.update({message.key(): message.partition()})  # noqa: E731
                    producer.produce("refusing", b"x", key, on_delivery=note)
            producer.flush(10)
            assert len(theirs) >= 2, theirs
            for topic in ("canary", "by-source"):
                for record in readers[topic].read():
                    assert record.partition() == theirs[record.key()], (record.key(), record.partition())

        def missing() -> None:
            reader = Reader(kafka, "missing", PARTITIONS)
            until("the broker's words", lambda: "UnknownTopicOrPartition" in asked(canary))
            kafka.break_topic("missing", 0)
            touch(canary, "there-1")
            arrived(canary, reader.ids)

        report.check("streams: kafka, killed and started again", killed)
        report.check("streams: kafka, leaders change", led)
        report.check("streams: kafka has whole events, keys and headers", whole)
        report.check("streams: kafka's own producer puts the same keys into the same partitions", same_partition)
        report.check("streams: kafka, a topic that is missing for a while", missing)

    def too_large() -> None:
        # Only logins, so that one of them is a batch of its own.
        handler = {"kafka": common | {"topic": "refusing", "when": {"logtypes": [LOGIN]}}}
        reader = readers["refusing"]
        reader.read()
        reader.records.clear()
        reader_ids = lambda: [record_id(record) for record in reader.read() if record.headers()]  # noqa: E731
        with Canary(bin_dir, handlers=handler, services=("ftp",)) as canary:
            touch(canary, "fits-1")
            arrived(canary, reader_ids)
            kafka.fail_next(PRODUCE, TOO_LARGE)
            touch(canary, "long-1")
            until("the refusal", lambda: "MessageTooLarge" in asked(canary, "dead"))
            touch(canary, "fits-2")
            until("the next", lambda: list(logins(canary))[-1] in reader_ids())
            assert asked(canary, "resend", "kafka")
            until("what was refused", lambda: set(logins(canary)) <= set(reader_ids()))
            assert len(reader_ids()) == len(set(reader_ids())), "twice"

    report.check("streams: kafka, records that are too large", too_large)


def record_id(record: Any) -> str:
    """A record's id."""
    return str(dict(record.headers())["aviary.id"].decode())


def main() -> int:
    parser = arguments(__doc__ or "")
    options = parser.parse_args()
    bin_dir = chosen_bin_dir(parser, options)
    report = Report()
    if bin_dir is None:
        report.skip("streams", "OpenCanary has no such classes")
        return report.finish()
    folder = Path(tempfile.mkdtemp(prefix="outputs-streams-"))
    try_redis(report, bin_dir, folder)
    try_kafka(report, bin_dir)
    shutil.rmtree(folder, ignore_errors=True)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
