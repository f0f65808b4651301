"""Publishing, by group commit: what callers publish at one moment is one statement and one wait for the disk."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from bus.port import Outgoing
from bus.postgres import statements
from bus.postgres.pools import Pools
from core.batcher import Batcher
from core.errors import BusClosed, BusUnavailable, MessageRefused

# Pulsar's limit, kept here too: what one bus takes, the other takes.
MAX_MESSAGE_BYTES = 5 << 20
# Of one statement; bounds memory on both sides.
_STATEMENT_BYTES = 8 << 20
_STATEMENT_ROWS = 5000


class Row(NamedTuple):
    """A message on its way into the table."""

    topic: str
    body: bytes
    properties: str
    delay: float
    key: str | None
    leave_by: float | None


class Press:
    """Publishes for many publishers of the process, in order. `durable`: on disk before it is confirmed."""

    def __init__(self, pools: Pools, *, durable: bool) -> None:
        self._pools = pools
        self._durable = durable
        self._batcher: Batcher[list[Row], None] = Batcher(self._flush)
        # Seconds by which the server's clock is ahead of ours; unknown before the first answer.
        self._ahead: float | None = None

    async def publish(self, topic: str, messages: Sequence[Outgoing]) -> None:
        await self._batcher.submit([_row(topic, message) for message in messages])

    async def drain(self) -> None:
        await self._batcher.drain()

    async def _flush(self, groups: list[list[Row]]) -> list[None]:
        for part in _parts(chain.from_iterable(groups)):
            await self._put(part)
        return [None] * len(groups)

    async def _put(self, part: list[Row]) -> None:
        *columns, leave_by = zip(*part, strict=True)
        told = statements.DELAYED if any(row.delay > 0 for row in part) else ""
        if not self._durable:
            earliest = min((each for each in leave_by if each is not None), default=None)
            await self._put_in_time(columns, told, earliest)
        elif channels := await self._pools.durable(statements.PUBLISH, *columns, None):
            await self._pools.quick(statements.NOTIFY, channels, told)

    async def _put_in_time(self, columns: Sequence[Sequence[object]], told: str, leave_by: float | None) -> None:
        """Our clock says whether it leaves in time, the server's whether it arrives in time. They may differ."""
        now = time.time()
        late = leave_by is not None and now > leave_by
        if not late:
            by = None if leave_by is None or self._ahead is None else leave_by + self._ahead
            [answer] = await self._pools.quick(statements.PUBLISH_AND_NOTIFY, *columns, by, told)
            late, self._ahead = bool(answer["late"]), answer["now"] - now
        if late:
            raise BusUnavailable("publishing to Postgres: what should have left before was not sent")


class PostgresPublisher:
    """See `bus.port.Publisher`."""

    def __init__(self, press: Press, topic: str) -> None:
        self._press = press
        self._topic = topic
        self.closed = False

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """See `bus.port.Publisher`."""
        if self.closed:
            raise BusClosed(f"the publisher of {self._topic} is closed")
        await self._press.publish(self._topic, messages)

    async def close(self) -> None:
        """What has been handed over is published all the same. A second close does nothing."""
        self.closed = True


def _row(topic: str, message: Outgoing) -> Row:
    properties = statements.encode_properties(message.properties)
    size = len(message.body) + len(properties)
    if size > MAX_MESSAGE_BYTES:
        raise MessageRefused(f"a message of {size} bytes is above the limit of {MAX_MESSAGE_BYTES}; use a blob")
    # A stranger's name for a request may hold what Postgres's text cannot.
    key = message.key and message.key.replace("\0", "")
    return Row(topic, message.body, properties, message.deliver_after, key, message.leave_by)


def _parts(rows: Iterable[Row]) -> Iterator[list[Row]]:
    part: list[Row] = []
    size = 0
    for row in rows:
        if part and (size + len(row.body) > _STATEMENT_BYTES or len(part) == _STATEMENT_ROWS):
            yield part
            part, size = [], 0
        part.append(row)
        size += len(row.body)
    if part:
        yield part
