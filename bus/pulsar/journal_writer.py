"""Telling the other consumers: gathered, so that it costs a few sends a second whatever the load."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bus.pulsar.deliveries import Record
from core.errors import BusClosed, BusError, BusUnavailable

_log = logging.getLogger(__name__)

# A start leaves at once, but records no more often than this. Until it has left, a crash is not counted.
RECORD_SECONDS = 0.02
# A settlement may wait so long: until it has left, a crash of the broker may have it delivered again.
SETTLED_SECONDS = 0.05
RETRY_SECONDS = 0.5
# Of each kind, while the journal cannot be reached; then the oldest are forgotten.
PENDING = 10_000


def _bounded() -> deque[Any]:
    return deque(maxlen=PENDING)


@dataclass(slots=True)
class _Pending:
    """The next record."""

    started: deque[tuple[bytes, int]] = field(default_factory=_bounded)
    settled: deque[bytes] = field(default_factory=_bounded)
    back: deque[bytes] = field(default_factory=_bounded)
    asked: set[str] = field(default_factory=set)
    left: bool = False
    trimmed: bool = False

    def record(self, consumer: str, number: int) -> Record:
        crashes = [count for _, count in self.started]
        return Record(
            consumer,
            number,
            [place for place, _ in self.started],
            crashes if any(crashes) else [],
            list(self.settled),
            list(self.back),
            list(self.asked),
            self.left,
            self.trimmed,
        )


class JournalWriter:
    """Publishes the records of `consumer`, one at a time, again and again while the broker is away."""

    def __init__(self, consumer: str, topic: str, publish: Callable[[bytes], Awaitable[None]]) -> None:
        self._consumer = consumer
        self._topic = topic
        self._publish = publish
        self._encode = msgspec.msgpack.Encoder().encode
        self._pending = _Pending()
        self._wanted = False
        self._sending: asyncio.Task[None] | None = None
        # Beside the timer: uvloop's tells no time where it is due at once.
        self._timer: asyncio.Handle | None = None
        self._due = 0.0
        self._not_before = 0.0
        self._complained = False
        self.number = 0  # of the record that is being gathered
        self.open = False

    def started(self, place: bytes, crashes: int) -> None:
        self._pending.started.append((place, crashes))

    def settled(self, place: bytes) -> None:
        self._pending.settled.append(place)

    def back(self, place: bytes) -> None:
        self._pending.back.append(place)

    def ask(self, consumer: str) -> None:
        self._pending.asked.add(consumer)

    def trimmed(self) -> None:
        self._pending.trimmed = True

    def soon(self, delay: float = 0.0) -> None:
        """What has been told leaves within `delay` seconds; an empty record too, as a sign of life."""
        self._wanted = True
        if self._sending is not None or not self.open:
            return
        now = asyncio.get_running_loop().time()
        at = max(now + delay, self._not_before)
        if at <= now:
            self._send()
        elif self._timer is None or at < self._due:
            self._set_timer(at)

    async def leave(self) -> None:
        """The last record: it tells that nothing is held any more. Returns when it is confirmed, or refused."""
        self._pending.left = True
        while self.open and (self._pending.left or self._sending is not None):
            if self._sending is None:
                self._send()
            else:
                await asyncio.wait([self._sending])

    def close(self) -> None:
        """What has not left is forgotten."""
        self.open = False
        self._clear_timer()
        if self._sending is not None:
            self._sending.cancel()

    def _send(self) -> None:
        self._clear_timer()
        record, self._pending, self._wanted = self._pending.record(self._consumer, self.number), _Pending(), False
        self.number += 1
        self._not_before = asyncio.get_running_loop().time() + RECORD_SECONDS
        self._sending = asyncio.create_task(self._deliver(self._encode(record)))
        self._sending.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending = None
        if not task.cancelled():
            task.result()  # a defect: told by the loop
        if self._wanted:
            self.soon()

    async def _deliver(self, record: bytes) -> None:
        while self.open:
            try:
                await self._publish(record)
            except BusUnavailable as error:
                self._complain(error)
                await asyncio.sleep(RETRY_SECONDS)
            except BusClosed:
                self.open = False
            except BusError as error:
                self._complain(error)
                self.open = False
            else:
                self._complained = False
                return

    def _complain(self, error: BusError) -> None:
        if not self._complained:
            self._complained = True
            _log.warning("the journal %s cannot be written: crashes are not counted: %s", self._topic, error)

    def _set_timer(self, at: float) -> None:
        self._clear_timer()
        self._due = at
        self._timer = asyncio.get_running_loop().call_at(at, self._send)

    def _clear_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
