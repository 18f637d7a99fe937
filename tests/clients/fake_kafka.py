"""A Kafka cluster for tests: librdkafka's mock, which comes inside the package `confluent-kafka`.

The package does not offer what its library can do with the mock, so the library's own functions are called: brokers
that go away and come back with what they stored, other leaders, errors on demand.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from canary import Skip

PRODUCE = 0
"""Kafka's number for requests that store records."""
UNKNOWN_TOPIC = 3
TOO_LARGE = 10
"""Kafka's errors `UNKNOWN_TOPIC_OR_PARTITION` and `MESSAGE_TOO_LARGE`."""


def library() -> Any:
    """The library inside the package."""
    try:
        import confluent_kafka
    except ImportError:
        raise Skip("`confluent-kafka` is not installed") from None
    folder = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    found = list(folder.glob("librdkafka*.so*"))
    if not found:
        raise Skip("`confluent-kafka` has no library of its own")
    return ctypes.CDLL(str(found[0]))


class FakeKafka:
    """A cluster of three brokers, and a consumer that reads a topic from its beginning."""

    BROKERS = 3

    def __init__(self) -> None:
        self.library = library()
        for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
            getattr(self.library, name).restype = ctypes.c_void_p
        self.library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        reason = ctypes.create_string_buffer(512)
        conf = ctypes.c_void_p(self.library.rd_kafka_conf_new())
        # It needs no other brokers, and should not complain of that.
        self.library.rd_kafka_conf_set(conf, b"log_level", b"0", reason, ctypes.c_size_t(512))
        self.client = ctypes.c_void_p(self.library.rd_kafka_new(0, conf, reason, ctypes.c_size_t(512)))
        assert self.client, reason.value
        self.cluster = ctypes.c_void_p(self.library.rd_kafka_mock_cluster_new(self.client, self.BROKERS))
        assert self.cluster, "no mock cluster"
        brokers: bytes = self.library.rd_kafka_mock_cluster_bootstraps(self.cluster)
        self.brokers = brokers.decode().split(",")

    def call(self, name: str, *arguments: Any) -> None:
        error = getattr(self.library, f"rd_kafka_mock_{name}")(self.cluster, *arguments)
        assert error == 0, f"{name}: error {error}"

    def topic(self, name: str, partitions: int) -> None:
        self.call("topic_create", name.encode(), partitions, self.BROKERS)

    def kill(self) -> None:
        for broker in range(1, self.BROKERS + 1):
            self.call("broker_set_down", broker)

    def start(self) -> None:
        for broker in range(1, self.BROKERS + 1):
            self.call("broker_set_up", broker)

    def lead(self, topic: str, partition: int, broker: int) -> None:
        """Makes a broker the leader of a partition."""
        self.call("partition_set_leader", topic.encode(), partition, broker)

    def break_topic(self, name: str, error: int) -> None:
        """Every answer about a topic has this error; 0 ends that."""
        self.library.rd_kafka_mock_topic_set_error(self.cluster, name.encode(), error)

    def fail_next(self, request: int, *errors: int) -> None:
        """The next requests of a kind are answered so."""
        numbers = (ctypes.c_int * len(errors))(*errors)
        count = ctypes.c_size_t(len(errors))
        self.library.rd_kafka_mock_push_request_errors_array(self.cluster, ctypes.c_int16(request), count, numbers)


class Reader:
    """Reads all partitions of a topic, as somebody else's consumer would."""

    def __init__(self, kafka: FakeKafka, topic: str, partitions: int) -> None:
        from confluent_kafka import Consumer, TopicPartition

        options = {"bootstrap.servers": ",".join(kafka.brokers), "group.id": topic, "log_level": 0}
        self.consumer = Consumer(options | {"enable.auto.commit": False, "auto.offset.reset": "earliest"})
        self.consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
        self.records: list[Any] = []

    def read(self) -> list[Any]:
        """All records so far."""
        while True:
            record = self.consumer.poll(0.2)
            if record is None:
                return self.records
            if not record.error():
                self.records.append(record)

    def ids(self) -> list[str]:
        return [dict(record.headers())["aviary.id"].decode() for record in self.read()]
