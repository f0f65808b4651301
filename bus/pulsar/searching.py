"""Looking for messages by their keys: a reader over a part of a topic."""

from __future__ import annotations

import time
from collections.abc import Collection, Generator
from contextlib import closing
from functools import partial

import pulsar

from bus.pulsar.admin import Admin, Position
from bus.pulsar.bridge import in_thread

# The times of messages are their publishers' own.
SKEW_SECONDS = 10.0
# A message that the broker says is there comes within this time, or the question is asked again later.
READ_MILLISECONDS = 4_000
_QUEUE = 1_000


async def find(client: pulsar.Client, admin: Admin, topic: str, since: float, keys: Collection[str]) -> set[str]:
    """Those of `keys` that were published between a Unix time and now. Raises `BusUnavailable`, `BusRefused`.

    What comes later cannot be what is looked for, so a busy topic has an end.
    """
    doing, now, missing = f"looking for messages in {topic}", time.time(), set(keys)
    for partition in await in_thread(partial(client.get_topic_partitions, topic), doing):
        # Not by the reader's `seek` to a time: a reader that loses its broker then (the topic moves, the broker
        # starts) goes on at the topic's end, and finds nothing.
        begin = await admin.position(partition.rpartition("/")[2], since - SKEW_SECONDS)
        if begin is not None:
            missing -= await in_thread(partial(_find, client, partition, begin, now, missing), doing)
    return set(keys) - missing


def _find(client: pulsar.Client, partition: str, begin: Position, now: float, keys: Collection[str]) -> set[str]:
    missing = set(keys)
    with closing(_messages(client, partition, begin)) as messages:
        for message in messages:
            missing.discard(message.partition_key())
            if not missing or message.publish_timestamp() / 1000 > now + SKEW_SECONDS:
                break
    return set(keys) - missing


def _messages(client: pulsar.Client, partition: str, begin: Position) -> Generator[pulsar.Message]:
    """Blocking: for threads."""
    start = pulsar.MessageId(ledger_id=begin.ledger, entry_id=begin.entry)
    reader = client.create_reader(partition, start, start_message_id_inclusive=True, receiver_queue_size=_QUEUE)
    try:
        while reader.has_message_available():
            yield reader.read_next(READ_MILLISECONDS)
    finally:
        reader.close()
