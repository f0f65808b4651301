"""Between the threads of Pulsar's C++ client and the event loop."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from pulsar import PulsarException

from bus.pulsar.errors import from_exception
from core.errors import BusClosed, BusUnavailable

_log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


async def in_thread(call: Callable[[], Result], doing: str) -> Result:
    """Runs a blocking call of the client in a thread. Raises `BusError`."""
    try:
        return await asyncio.to_thread(call)
    except PulsarException as error:
        raise from_exception(error, doing) from error


async def close_in_thread(close: Callable[[], None], doing: str) -> None:
    """Closes a part of the client in a thread. What is closed already, or out of reach, has gone either way."""
    try:
        await in_thread(close, doing)
    except (BusClosed, BusUnavailable) as error:
        _log.info("%s", error)


class Mailbox(Generic[Item]):
    """What threads put, the loop takes. `on_arrival` is called on the loop once per burst, not once per item:
    waking the loop costs a system call.
    """

    def __init__(self, on_arrival: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_arrival = on_arrival
        self._items: deque[Item] = deque()
        self._ringing = False

    def put(self, item: Item) -> None:
        """From any thread. Never raises: an exception in a callback of the C++ client ends the process."""
        self._items.append(item)
        if not self._ringing:
            self._ringing = True
            # The loop may have been closed before the bus: nobody waits for the item any more.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._ring)

    def take(self) -> list[Item]:
        """On the loop: everything that has arrived."""
        items = self._items
        return [items.popleft() for _ in range(len(items))]

    def _ring(self) -> None:
        # Before the items are taken: what arrives from now on rings again.
        self._ringing = False
        self._on_arrival()


class Window:
    """Holds the listener's thread while `size` messages are unsettled.

    Each counter is written by one side only, so the common path takes no lock.
    """

    def __init__(self, size: int) -> None:
        self.size = size  # written by the loop
        self._taken = 0  # written by the listener's thread
        self._freed = 0  # written by the loop
        self._open = True
        self._changed = threading.Event()
        # Before the client, which was made earlier and is closed at exit, too: it waits for its listener.
        atexit.register(self.open_for_ever)

    def take(self) -> None:
        """In the listener's thread: counts a message, then blocks until there is room for the next one."""
        self._taken += 1
        while self._full():
            self._changed.clear()
            # Looked at again after `clear`: a change in between must not be slept over.
            if self._full():
                self._changed.wait()

    def free(self, count: int) -> None:
        """On the loop: `count` messages are settled."""
        self._freed += count
        self._changed.set()

    def resize(self, size: int) -> None:
        """On the loop. With 0 there is no room for any further message."""
        self.size = size
        self._changed.set()

    def open_for_ever(self) -> None:
        """Lets the listener's thread go, now and always, so that the consumer can be closed."""
        atexit.unregister(self.open_for_ever)
        self._open = False
        self._changed.set()

    def _full(self) -> bool:
        return self._open and self._taken - self._freed >= self.size
