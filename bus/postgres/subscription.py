"""A consumer of one subscription."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import asyncpg

from bus.port import DEAD_LETTER_SUBSCRIPTION, Delivery, dead_letter_properties, dead_letter_topic
from bus.postgres import statements
from bus.postgres.acks import Acks, Claim, by_consumer
from bus.postgres.leases import Leases
from bus.postgres.line import FIRST_PAUSE, LONGEST_PAUSE, Line
from bus.postgres.pools import Pools
from core.errors import BusClosed, BusUnavailable

# Finds what a lost notification should have told.
_POLL_SECONDS = 1.0


class PostgresSubscription:
    """Claims ahead of `receive` in a task of its own, so that a cancelled `receive` loses nothing."""

    def __init__(
        self,
        pools: Pools,
        line: Line,
        leases: Leases,
        topic: str,
        name: str,
        *,
        window: int,
        prefetch: int,
        max_attempts: int,
    ) -> None:
        self._pools = pools
        self._line = line
        self._leases = leases
        self._topic = topic
        self._name = name
        self._window = window
        self._prefetch = prefetch
        self._max_attempts = max_attempts
        self.consumer_id = 0
        self._subscription_id = 0
        self._held: set[Claim] = set()
        self._arrived: list[Delivery] = []
        self._changed = asyncio.Event()  # something arrived, or the end has come
        self._wake = asyncio.Event()  # there may be something to claim
        self._ripen_at = 0.0  # on the loop's clock: when delayed messages are next looked for
        self._acks = Acks(self._send_acks)
        self._settling: set[Claim] = set()
        self._doubtful = False  # Postgres may know something else of our messages than we do
        self._claiming: asyncio.Task[None] | None = None
        self._paused = False
        self._closed = False

    async def open(self) -> None:
        self._subscription_id = await statements.ensure_subscription(self._pools, self._topic, self._name)
        await self._line.hear(self._channel, self._notified)
        self.consumer_id = await self._leases.join(self._subscription_id)
        self._leases.add(self)
        self._claiming = asyncio.create_task(self._claim_for_ever())
        self._claiming.add_done_callback(lambda _: self._changed.set())

    async def receive(self) -> list[Delivery]:
        """See `bus.port.Subscription`."""
        while True:
            self._must_be_open()
            if self._arrived:
                arrived, self._arrived = self._arrived, []
                return arrived
            self._changed.clear()
            await self._changed.wait()

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """See `bus.port.Subscription`. The slots are free at once; Postgres hears of it a moment later."""
        self._must_be_open()
        claims = [delivery.handle for delivery in deliveries if delivery.handle in self._held]
        self._settled(claims)
        self._acks.add(claims)

    async def nack(self, delivery: Delivery, *, delay: float, reason: str, counted: bool = True) -> None:
        """See `bus.port.Subscription`. Waits for Postgres where it is away."""
        if counted and delivery.attempt >= self._max_attempts:
            await self.dead_letter(delivery, reason=reason)
        else:
            await self._settle(delivery, statements.NACK, max(delay, 0.0), int(counted))

    async def dead_letter(self, delivery: Delivery, *, reason: str) -> None:
        """See `bus.port.Subscription`. Waits for Postgres where it is away."""
        topic = dead_letter_topic(self._topic, self._name)
        await self._patiently(lambda: statements.ensure_subscription(self._pools, topic, DEAD_LETTER_SUBSCRIPTION))
        properties = statements.encode_properties(dead_letter_properties(delivery, reason))
        await self._settle(delivery, statements.DEAD_LETTER, topic, properties)

    async def give_back(self, delivery: Delivery) -> None:
        """See `bus.port.Subscription`. Waits for Postgres where it is away."""
        self._must_be_open()
        await self._return([delivery.handle])

    def allow(self, count: int) -> None:
        """See `bus.port.Subscription`."""
        self._window = count
        self._wake.set()

    async def pause(self) -> None:
        """See `bus.port.Subscription`. Waits for Postgres where it is away."""
        self._must_be_open()
        self._paused = True
        self._wake.set()
        if self._claiming is not None:
            # Not cancelled: a claim under way would be committed without our knowing what it took.
            await asyncio.wait([self._claiming])
        arrived, self._arrived = self._arrived, []
        await self._return([delivery.handle for delivery in arrived])

    async def close(self) -> None:
        """See `bus.port.Subscription`. While Postgres is away there is nothing to give back: the end of the
        process's connection tells the others."""
        if self._closed:
            return
        self._closed = True
        self._changed.set()
        self._leases.discard(self)
        await self._stop_claiming()
        await self._line.unhear(self._channel, self._notified)
        try:
            await self._acks.leave()
            await self._pools.release([self.consumer_id])
        except BusUnavailable:
            return
        finally:
            self._arrived.clear()

    async def rejoin(self) -> None:
        """Others have what this consumer held: what it still settles changes nothing for them."""
        self.consumer_id = await self._leases.join(self._subscription_id)
        self._held.difference_update(delivery.handle for delivery in self._arrived)
        self._arrived.clear()

    def wake(self) -> None:
        self._doubtful = True
        self._ripen_at = 0.0
        self._wake.set()

    @property
    def _channel(self) -> str:
        return f"agentos_bus.{self._subscription_id}"

    def _notified(self, payload: str) -> None:
        if payload == statements.DELAYED:
            self._ripen_at = 0.0
        self._wake.set()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _must_be_open(self) -> None:
        if self._closed:
            raise BusClosed(f"the subscription {self._name} is closed")
        if self._claiming is not None and self._claiming.done():
            self._claiming.result()  # a defect: told to whoever waits, loudly
        self._acks.check()

    async def _stop_claiming(self) -> None:
        if self._claiming is not None:
            self._claiming.cancel()
            await asyncio.wait([self._claiming])

    async def _claim_for_ever(self) -> None:
        while not self._paused:
            self._wake.clear()
            free = self._window - len(self._held)
            try:
                if self._doubtful:
                    await self._reconcile()
                if free > 0 and await self._claim(min(free, self._prefetch)):
                    continue
            except BusUnavailable:
                self._doubtful = True
                self._ripen_at = self._now() + LONGEST_PAUSE
            try:
                async with asyncio.timeout_at(self._ripen_at if free > 0 else None):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _reconcile(self) -> None:
        """A crash may have undone the last claims and settlements, and a claim's answer may have been lost: Postgres
        hears again what is held here and what is done, and gives back what it thinks is held. No claim is under way.
        """
        self._doubtful = False
        settling = [claim.message_id for claim in (*self._settling, *self._acks.under_way())]
        held = [claim.message_id for claim in self._held if claim.consumer_id == self.consumer_id]
        await self._pools.quick(statements.RECONCILE, self.consumer_id, held, list(self._acks.done), settling)

    async def _claim(self, limit: int) -> bool:
        """Claims at most `limit` messages. Returns whether there may be more."""
        consumer = self.consumer_id
        rows = await self._pools.quick(statements.CLAIM, self._subscription_id, consumer, limit)
        if rows:
            self._take(consumer, sorted(rows, key=itemgetter(0)))
            if rows[0]["more"]:
                return True
        return self._now() >= self._ripen_at and await self._ripen(consumer)

    async def _ripen(self, consumer: int) -> bool:
        self._ripen_at = self._now() + _POLL_SECONDS
        rows = await self._pools.quick(statements.RIPEN, self._subscription_id, consumer)
        ripened, next_due, joined, _ = rows[0]
        if next_due is not None:
            self._ripen_at = min(self._ripen_at, self._now() + next_due)
        if not joined and consumer == self.consumer_id:
            await self.rejoin()
        return bool(ripened) or not joined

    def _take(self, consumer: int, rows: Iterable[asyncpg.Record]) -> None:
        for message_id, body, text, attempt, published_at, crashes, key, _ in rows:
            claim = Claim(message_id, consumer)
            self._held.add(claim)
            properties = statements.decode_properties(text)
            self._arrived.append(Delivery(self._topic, body, properties, attempt, claim, published_at, crashes, key))
        self._changed.set()

    async def _send_acks(self, ids: list[int], consumer: int) -> None:
        await self._patiently(partial(self._pools.quick, statements.ACK, ids, consumer))

    async def _settle(self, delivery: Delivery, statement: str, *arguments: Any) -> None:
        self._must_be_open()
        claim = delivery.handle
        if claim not in self._held:
            return  # settled before
        # Let go first: by the time the statement has returned, the message may be in our hands again.
        self._settled([claim])
        with self._under_way([claim]):
            await self._patiently(lambda: self._pools.quick(statement, *claim, *arguments))

    async def _return(self, claims: Iterable[Claim]) -> None:
        held = [claim for claim in claims if claim in self._held]
        self._settled(held)
        with self._under_way(held):
            for consumer, ids in by_consumer(held).items():
                await self._patiently(partial(self._pools.quick, statements.GIVE_BACK, ids, consumer))

    @contextlib.contextmanager
    def _under_way(self, claims: Sequence[Claim]) -> Iterator[None]:
        self._settling.update(claims)
        try:
            yield
        finally:
            self._settling.difference_update(claims)

    def _settled(self, claims: Iterable[Claim]) -> None:
        self._held.difference_update(claims)
        self._wake.set()

    async def _patiently(self, action: Callable[[], Awaitable[Any]]) -> None:
        """A message whose settling fails would stay in this consumer's hands for ever: so it is tried until it
        succeeds, or until the subscription is closed, which gives back all the same."""
        pause = FIRST_PAUSE
        while True:
            try:
                await action()
                return
            except BusUnavailable:
                if self._closed:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
