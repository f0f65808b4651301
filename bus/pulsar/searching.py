"""Looking for messages by their keys: a reader over a part of a topic. Blocking: for threads."""

from __future__ import annotations

from collections.abc import Collection, Generator
from contextlib import closing

import pulsar

# The times of messages are their publishers' own.
SKEW_SECONDS = 10.0
# A message that the broker says is there comes within this time, or the question is asked again later.
READ_MILLISECONDS = 10_000
_QUEUE = 1_000


def find(client: pulsar.Client, topic: str, since: float, now: float, keys: Collection[str]) -> set[str]:
    """Those of `keys` that were published between two Unix times. Raises `pulsar.PulsarException`.

    What comes later cannot be what is looked for, so a busy topic has an end.
    """
    missing = set(keys)
    for partition in client.get_topic_partitions(topic):
        with closing(_messages(client, partition, since - SKEW_SECONDS)) as messages:
            for message in messages:
                missing.discard(message.partition_key())
                if not missing or message.publish_timestamp() / 1000 > now + SKEW_SECONDS:
                    break
    return set(keys) - missing


def _messages(client: pulsar.Client, partition: str, since: float) -> Generator[pulsar.Message]:
    reader = client.create_reader(partition, pulsar.MessageId.earliest, receiver_queue_size=_QUEUE)
    try:
        reader.seek(max(0, int(since * 1000)))
        while reader.has_message_available():
            yield reader.read_next(READ_MILLISECONDS)
    finally:
        reader.close()
