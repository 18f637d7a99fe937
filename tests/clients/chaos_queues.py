"""More rows for chaos: brokers, streams and hubs that keep what they confirm."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from canary import LOOPBACK
from chaos_rows import ROWS, Row, installed, row
from chaos_ways import CUTS, DEAF, FULL, GARBAGE, HANGS, KILLED, PAGE, PASS, SWALLOWS, Stream, web
from fake_kafka import PRODUCE, FakeKafka, Reader
from outputs_hub import TOKEN, GrpcHub, WebHub, compiled
from outputs_queues import Mosquitto, Nats
from outputs_receivers import certificate
from outputs_streams import PASSWORD, Redis

# gRPC's own handlers of forks get in the way of the programs that are started here.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

__all__ = ["ROWS", "Row"]

STORAGE_ERROR = 56
"""Kafka's `KAFKA_STORAGE_ERROR`."""


def below(folder: Path, name: str) -> Path:
    """A folder of its own, with a certificate."""
    made = folder / name
    made.mkdir()
    certificate(made)
    return made


@row("JetStream")
def jetstream(folder: Path) -> Row:
    folder = below(folder, "nats")
    nats = Nats(folder)
    nats.stream("canary", discard="new")

    def fill(full: bool) -> None:
        nats.stream("canary", update=True, discard="new", max_msgs=max(len(nats.read("canary")), 1) if full else -1)

    way = Stream(nats.port, fill=fill)
    handler = {
        "class": "aviary.nats",
        "url": f"nats://localhost:{way.port}",
        "verify": str(folder / "cert.pem"),
        "nkey": nats.seed,
        "subject": "canary.{kind}",
        "stream": "canary",
        "timeout": 1,
    }
    return Row(handler, way, lambda: nats.ids("canary"), nats.daemon.kill, words={FULL: "maximum messages exceeded"})


@row("MQTT")
def mqtt(folder: Path) -> Row:
    folder = below(folder, "mqtt")
    broker = Mosquitto(folder)
    way = Stream(broker.port)
    handler = {
        "class": "aviary.mqtt",
        "host": LOOPBACK,
        "port": way.port,
        "username": "canary",
        "password": "canary's-password",
        "topic": "five/{kind}",
        "timeout": 1,
    }
    return Row(handler, way, lambda: broker.ids("five"), broker.end)


@row("Redis")
def redis(folder: Path) -> Row:
    installed("redis")
    folder = below(folder, "redis")
    receiver = Redis(folder)
    way = Stream(receiver.port, fill=lambda full: receiver.client().config_set("maxmemory", "1mb" if full else "0"))
    handler = {
        "class": "aviary.redis",
        "address": [LOOPBACK, way.port],
        "user": "canary",
        "password": PASSWORD,
        "timeout": 1,
    }

    def ids() -> list[str]:
        return [entry["id"] for entry in receiver.entries("aviary:events")]

    return Row(handler, way, ids, receiver.kill, words={FULL: "OOM command not allowed"})


class Brokers:
    """Kafka's brokers tell clients where to go, so that no way can be put before them: they misbehave by themselves."""

    def __init__(self, kafka: FakeKafka) -> None:
        self.kafka, self.mode = kafka, PASS

    def set(self, mode: str) -> None:
        if mode == KILLED:
            self.kafka.kill()
        elif self.mode == KILLED:
            self.kafka.start()
        if mode == FULL:
            self.kafka.fail_next(PRODUCE, *[STORAGE_ERROR] * 6)
        self.mode = mode


@row("Kafka")
def kafka(folder: Path) -> Row:
    receiver = FakeKafka()
    receiver.topic("chaos", 1)
    reader = Reader(receiver, "chaos", 1)
    why = "brokers tell their clients where to go, past any way"
    skips = dict.fromkeys((HANGS, SWALLOWS, GARBAGE, PAGE, CUTS, DEAF), why)
    handler = {"class": "aviary.kafka", "brokers": receiver.brokers, "topic": "chaos", "timeout": 2}
    words = {FULL: "(?i)storage", KILLED: r"\S"}
    return Row(handler, Brokers(receiver), reader.ids, receiver.kill, skips, words=words)


def hub(store: Any, way: Stream, transport: str) -> Row:
    store.full = False
    handler = {
        "class": "aviary.hub",
        "url": f"http://{LOOPBACK}:{way.port}",
        "transport": transport,
        "token": TOKEN,
        "timeout": 1,
    }
    return Row(handler, way, store.ids, store.kill)


@row("hub over HTTP")
def hub_http(folder: Path) -> Row:
    store = WebHub()
    return hub(store, Stream(store.port, web((503, "Retry-After: 1\r\n", "full"), (429, "", "slow down"))), "http")


@row("hub over gRPC")
def hub_grpc(folder: Path) -> Row:
    installed("grpc_tools")
    below(folder, "proto")

    class Filled(GrpcHub):
        filled = False

        def take(self, lines: list[bytes]) -> Any:
            self.full = self.filled
            return super().take(lines)

    store = Filled(compiled(folder / "proto"))

    def fill(full: bool) -> None:
        store.filled = full

    return hub(store, Stream(store.port, fill=fill), "grpc")
