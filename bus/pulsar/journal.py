"""The journal of a subscription: what its consumers tell one another about their deliveries, on a topic of its own.

Pulsar counts no crash of a consumer, and forgets acks when the broker dies. Here every consumer tells what it has
started and settled, and hears what the others have. A message that another consumer has started and not settled is
put aside until that one's fate is known: it is asked, and is dead if it stays silent. See docs/decisions/0008.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable

import msgspec
import pulsar

from bus.port import Delivery, Outgoing, Publisher
from bus.pulsar import subscribing
from bus.pulsar.bridge import Mailbox, close_in_thread, in_thread
from bus.pulsar.deliveries import Deliveries, Outages, Record
from bus.pulsar.inquiries import Inquiries
from bus.pulsar.journal_writer import SETTLED_SECONDS, JournalWriter
from core.errors import BusError, BusRefused, BusUnavailable

_log = logging.getLogger(__name__)

# How much of the past a new consumer reads, and how long it waits for that at most.
HISTORY_SECONDS = 900
JOIN_SECONDS = 5.0
# The past is let go of so often, by whichever consumer comes first.
TRIM_SECONDS = 300.0
# How often the connection is looked at; the client tells no events. Shorter outages need no grace.
LOOK_SECONDS = 0.5
LEAVE_SECONDS = 2.0
# Keeps the records from being deleted at once, and the topic while no consumer is there.
KEEP = "keep"
_QUEUE = 1_000

# The topic's one publisher; found until the bus has closed everything else.
FindPublisher = Callable[[str], Awaitable[Publisher]]


class Journal:
    """One consumer's side. `news` is called when messages that were put aside may be looked at again.

    A journal that cannot be reached holds up nothing: what is not known is not counted. One that is not `kept` is
    this consumer's own memory of what it has settled.
    """

    def __init__(
        self,
        client: pulsar.Client,
        topic: str,
        find_publisher: FindPublisher,
        news: Callable[[], None],
        *,
        kept: bool = True,
    ) -> None:
        self._kept = kept
        self.deliveries = Deliveries()
        self._client = client
        self._topic = topic
        self._find_publisher = find_publisher
        self._news = news
        self._consumer = secrets.token_hex(8)
        self._writer = JournalWriter(self._consumer, topic, self._publish)
        self._reader: pulsar.Reader | None = None
        self._mailbox: Mailbox[pulsar.Message] = Mailbox(self._read)
        self._decoder = msgspec.msgpack.Decoder(Record)
        self._caught_up = asyncio.Event()
        self._outages = Outages()
        self._inquiries = Inquiries(topic, self.deliveries, self._outages, news)
        self._connected: Callable[[], bool] = lambda: True
        self._looking: asyncio.TimerHandle | None = None
        self._trim_at = 0.0
        self._trimming: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Reads the recent past."""
        if not self._kept:
            return
        try:
            await self._find_publisher(self._topic)
            self._reader = await in_thread(self._follow, f"following {self._topic}")
            self._writer.open = True
            self._writer.soon()
            async with asyncio.timeout(JOIN_SECONDS):
                await self._caught_up.wait()
        except TimeoutError:
            _log.warning("the journal %s is long or slow: some of it is read while messages are served", self._topic)
        except (BusRefused, BusUnavailable) as error:
            _log.warning("no journal of deliveries, so crashes are not counted: %s", error)
            self._writer.close()

    def watch(self, connected: Callable[[], bool]) -> None:
        """`connected`: whether the consumer is. From now on outages are seen, and the past is let go of."""
        self._connected = connected
        self._put_off_trimming()
        self._look()

    def started(self, deliveries: Iterable[Delivery]) -> None:
        """They are about to be served here. `handle` is the place."""
        for delivery in deliveries:
            self._writer.started(delivery.handle, self.deliveries.start(delivery.handle).crashes)
        self._writer.soon()

    def settle(self, places: Iterable[bytes]) -> None:
        """They are done: not to be served again, whoever gets them."""
        for place in places:
            self.deliveries.settle(place)
            self._writer.settled(place)
        self._writer.soon(SETTLED_SECONDS)

    def gave_back(self, place: bytes) -> None:
        """It was started here and is returned."""
        self._writer.back(place)
        self._writer.soon()

    def inquire(self, place: bytes, holder: str) -> bool:
        """Finds out whether `holder`, who has started it, lives; then calls `news`. False: nobody can be asked."""
        if not self._writer.open:
            return False
        if self._inquiries.begin(place, holder, self._writer.number):
            self._writer.ask(holder)
            self._writer.soon()
        return True

    async def leave(self) -> None:
        """Tells that what was held goes back in good order."""
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._writer.leave()
        except TimeoutError:
            _log.info("leaving %s unheard", self._topic)
        self._writer.close()

    async def close(self) -> None:
        """After `leave`."""
        if self._looking is not None:
            self._looking.cancel()
        self._inquiries.close()
        if self._trimming is not None:
            await asyncio.wait([self._trimming])
        if self._reader is not None:
            await close_in_thread(self._reader.close, f"leaving {self._topic}")

    def _follow(self) -> pulsar.Reader:
        subscribing.ensure_subscription(self._client, self._topic, KEEP)
        reader = self._client.create_reader(
            self._topic,
            pulsar.MessageId.earliest,
            reader_listener=lambda _reader, message: self._mailbox.put(message),
            receiver_queue_size=_QUEUE,
        )
        reader.seek(_history_begin())
        return reader

    async def _publish(self, record: bytes) -> None:
        publisher = await self._find_publisher(self._topic)
        await publisher.publish([Outgoing(record)])

    def _read(self) -> None:
        asked = self._inquiries.running
        for message in self._mailbox.take():
            try:
                record = self._decoder.decode(message.data())
            except msgspec.DecodeError:
                _log.warning("the journal %s holds what is no record", self._topic)
                continue
            if record.consumer == self._consumer:
                self._caught_up.set()
                self._inquiries.echo(record.number)
            else:
                self._hear(record)
        if asked:
            self._news()

    def _hear(self, record: Record) -> None:
        self.deliveries.read(record)
        self._inquiries.answer(record.consumer)
        if self._consumer in record.asked:
            self._writer.soon()
        if record.trimmed:
            self._put_off_trimming()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        if self._reader is None:
            return
        self._looking = loop.call_later(LOOK_SECONDS, self._look)
        self._outages.note(self._connected() and self._reader.is_connected(), loop.time())
        if loop.time() >= self._trim_at:
            self._put_off_trimming()
            self._trimming = asyncio.create_task(self._trim())

    def _put_off_trimming(self) -> None:
        self._trim_at = asyncio.get_running_loop().time() + TRIM_SECONDS * random.uniform(1, 1.5)

    async def _trim(self) -> None:
        try:
            await in_thread(
                lambda: subscribing.move_to(self._client, self._topic, KEEP, _history_begin()),
                f"trimming {self._topic}",
            )
        except BusError as error:
            _log.info("%s; again later", error)
            return
        self._writer.trimmed()
        self._writer.soon()


def _history_begin() -> int:
    """In milliseconds."""
    return int((time.time() - HISTORY_SECONDS) * 1000)
