"""Questions whether other consumers live, and what follows from answers and from silence."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from bus.pulsar.deliveries import Deliveries, Outages

_log = logging.getLogger(__name__)

# A consumer that was asked and says nothing for so long is dead. It delays what a dead consumer held.
ANSWER_SECONDS = 1.0
# Where not even the question comes back to us, nothing can be known: serving goes first.
ECHO_SECONDS = 5.0


@dataclass(slots=True)
class _Inquiry:
    """A question in the record `number` of ours, about `places`. `heard`: it has come back to us."""

    number: int
    timer: asyncio.TimerHandle
    heard: bool = False
    places: set[bytes] = field(default_factory=set)


class Inquiries:
    """At most one about each consumer. Verdicts go into `deliveries`; then `news` is called."""

    def __init__(self, topic: str, deliveries: Deliveries, outages: Outages, news: Callable[[], None]) -> None:
        self._topic = topic
        self._deliveries = deliveries
        self._outages = outages
        self._news = news
        self._open: dict[str, _Inquiry] = {}

    @property
    def running(self) -> bool:
        """Whether there is any."""
        return bool(self._open)

    def begin(self, place: bytes, holder: str, number: int) -> bool:
        """Whether a question must be sent, in our record `number`: `holder` has not been asked yet."""
        inquiry = self._open.get(holder)
        asked = inquiry is not None
        if inquiry is None:
            timer = asyncio.get_running_loop().call_later(ECHO_SECONDS, self._give_up, holder)
            inquiry = self._open[holder] = _Inquiry(number, timer)
        inquiry.places.add(place)
        return not asked

    def echo(self, number: int) -> None:
        """Our record has come back: all that others had told before it is known now."""
        loop = asyncio.get_running_loop()
        for holder, inquiry in self._open.items():
            if not inquiry.heard and inquiry.number <= number:
                inquiry.heard = True
                inquiry.timer.cancel()
                patience = max(ANSWER_SECONDS, self._outages.grace(loop.time()))
                inquiry.timer = loop.call_later(patience, self._bury, holder)

    def answer(self, consumer: str) -> None:
        """It has told something: if it was asked before, it lives."""
        inquiry = self._open.get(consumer)
        if inquiry is not None and inquiry.heard:
            self._end(consumer)

    def close(self) -> None:
        """No verdict follows any more."""
        for inquiry in self._open.values():
            inquiry.timer.cancel()
        self._open.clear()

    def _bury(self, holder: str) -> None:
        del self._open[holder]
        _log.warning("a consumer of %s has died; what it held is served again", self._topic)
        self._deliveries.bury(holder)
        self._news()

    def _give_up(self, holder: str) -> None:
        _log.warning("the journal %s does not answer: a crash may not be counted", self._topic)
        self._end(holder)
        self._news()

    def _end(self, holder: str) -> None:
        """It lives, or nothing can be known."""
        inquiry = self._open.pop(holder)
        inquiry.timer.cancel()
        for place in inquiry.places:
            self._deliveries.let_go(place, holder)
