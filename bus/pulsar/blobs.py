"""Large bodies: a topic for each, in parts below the broker's limit, kept by a subscription until it is dropped."""

from __future__ import annotations

import uuid

import pulsar

from bus.patience import patiently
from bus.port import Outgoing
from bus.pulsar.bridge import in_thread
from bus.pulsar.client import QUESTION_SECONDS
from bus.pulsar.publisher import Publishers
from bus.pulsar.subscribing import ensure_subscription, unsubscribe
from core.errors import BlobMissing

PART_BYTES = 4 << 20
# A reader hears nothing for this long: the broker is not well.
PART_MILLISECONDS = 10_000
_PREFIX = "agentos-blob-"
_SUBSCRIPTION = "blob"
# Properties of the messages: a part is numbered from 0; the last message of a dropped blob has neither.
_PART, _PARTS = "part", "parts"


class Blobs:
    """`reference` is the name of the topic."""

    def __init__(self, client: pulsar.Client, publishers: Publishers) -> None:
        self._client = client
        self._publishers = publishers

    async def put(self, data: bytes) -> str:
        reference = _PREFIX + uuid.uuid4().hex
        count = max(1, -(-len(data) // PART_BYTES))
        await in_thread(
            lambda: ensure_subscription(self._client, reference, _SUBSCRIPTION), "making the topic of a blob"
        )
        publisher = await self._publishers.get(reference)
        try:
            for index in range(count):
                part = data[index * PART_BYTES : (index + 1) * PART_BYTES]
                await publisher.publish([Outgoing(part, {_PART: str(index), _PARTS: str(count)})])
        finally:
            await publisher.close()
        return reference

    async def get(self, reference: str) -> bytes:
        doing = f"reading {reference}"
        return await patiently(
            lambda: in_thread(lambda: self._read(reference), doing), doing, seconds=QUESTION_SECONDS
        )

    async def drop(self, reference: str) -> None:
        """Without a subscription the broker deletes the topic, but only within a minute or so: a last message
        says at once that it is gone.
        """
        publisher = await self._publishers.get(reference)
        try:
            await publisher.publish([Outgoing(b"")])
        finally:
            await publisher.close()
        await in_thread(lambda: unsubscribe(self._client, reference, _SUBSCRIPTION), f"dropping {reference}")

    def _read(self, reference: str) -> bytes:
        # A part may be there twice, if the connection broke while it was published.
        parts: dict[int, bytes] = {}
        count = 0
        reader = self._client.create_reader(reference, pulsar.MessageId.earliest, receiver_queue_size=2)
        try:
            while reader.has_message_available():
                message = reader.read_next(PART_MILLISECONDS)
                properties = message.properties()
                if _PARTS not in properties:
                    raise BlobMissing(f"{reference} has been dropped")
                count = int(properties[_PARTS])
                parts[int(properties[_PART])] = message.data()
        finally:
            reader.close()
        if not parts or len(parts) != count:
            raise BlobMissing(f"{reference} is not there")
        return b"".join(parts[index] for index in range(count))
