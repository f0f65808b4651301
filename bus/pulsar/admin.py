"""Figures and places from Pulsar's admin REST API."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp
from yarl import URL

from bus.port import Backlog
from core.errors import BusRefused, BusUnavailable

TIMEOUT_SECONDS = 10
_PARTITION = re.compile(r"-partition-\d+$")
NOTHING = Backlog(ready=0, delayed=0, in_flight=0)
# Delayed messages that are looked at one by one, where no consumer makes the broker look at them.
LOOKED_AT = 20
_DUE_AT = "X-Pulsar-deliver-at-time"


class Position(NamedTuple):
    """A place in a topic that is no partitioned one."""

    ledger: int
    entry: int


class Admin:
    """Asks the broker at `url`, as http://host:8080."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {token}"} if token else None,
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
        )

    async def backlog(self, topic: str, subscription: str) -> Backlog:
        """Zeros where there is no such topic or subscription. Raises `BusUnavailable`, `BusRefused`."""
        stats = await self._stats(topic, "stats")
        if stats is None:
            stats = await self._stats(topic, "partitioned-stats")
        figures = ((stats or {}).get("subscriptions") or {}).get(subscription)
        if figures is None:
            return NOTHING
        backlog = count(figures)
        if not backlog.delayed or backlog.ready or figures.get("consumers"):
            return backlog
        due = await self._due(topic, subscription, backlog.delayed)
        return Backlog(ready=due, delayed=backlog.delayed - due, in_flight=0)

    async def close(self) -> None:
        await self._session.close()

    async def topics(self) -> list[str]:
        """The durable topics; a partitioned one counts once. Raises `BusUnavailable`, `BusRefused`."""
        names = await self._get("") or []
        return list({_PARTITION.sub("", name.rpartition("/")[2]) for name in names})

    async def position(self, topic: str, since: float) -> Position | None:
        """Where in a topic that is no partitioned one begins what was published since that Unix time.

        None where there is no such topic. Raises `BusUnavailable`, `BusRefused`.
        """
        answer = await self._get(f"/{quote(topic, safe='')}/messageid/{int(since * 1000)}")
        return None if answer is None else Position(answer["ledgerId"], answer["entryId"])

    async def _due(self, topic: str, subscription: str, delayed: int) -> int:
        """How many of the delayed messages of a subscription without consumers have had their time.

        Without consumers the broker counts a message as delayed for ever. What lies too deep to be looked at counts
        as due, as do all of a partitioned topic: a consumer will know.
        """
        place = f"/{quote(topic, safe='')}/subscription/{quote(subscription, safe='')}/position/"
        later = 0
        for number in range(1, min(delayed, LOOKED_AT) + 1):
            answer = await self._ask(f"{place}{number}", none=(404, 405, 412))
            later += answer is not None and _is_later(answer[0].get(_DUE_AT), time.time())
        return delayed - later

    async def _stats(self, topic: str, kind: str) -> dict[str, Any] | None:
        # Names may hold percent-encoded characters, which are characters like others to Pulsar: encoded once more.
        answer: dict[str, Any] | None = await self._get(f"/{quote(topic, safe='')}/{kind}?getPreciseBacklog=true")
        return answer

    async def _get(self, path: str) -> Any:
        """What is below the durable topics; None where there is no such thing."""
        answer = await self._ask(path)
        return None if answer is None else json.loads(answer[1])

    async def _ask(self, path: str, none: Sequence[int] = (404,)) -> tuple[Mapping[str, str], bytes] | None:
        """Headers and body; None where the status is one of `none`."""
        url = f"{self._url}/admin/v2/persistent/public/default{path}"
        try:
            async with self._session.get(URL(url, encoded=True)) as response:
                if response.status in none:
                    return None
                if response.status in (401, 403):
                    raise BusRefused(f"Pulsar's admin API at {self._url} refuses us: HTTP {response.status}")
                if response.status != 200:
                    raise BusUnavailable(f"Pulsar's admin API at {self._url} answers HTTP {response.status}")
                return response.headers, await response.read()
        except (TimeoutError, aiohttp.ClientError) as error:
            reason = type(error).__name__
            raise BusUnavailable(f"Pulsar's admin API at {self._url} cannot be reached: {reason}") from error


def count(figures: dict[str, Any]) -> Backlog:
    """`msgBacklog` counts what waits, what is delayed and what is in flight, in entries; a batch is one entry. What
    is in flight is told in messages. How many are in an entry only consumers tell, a mean of late; else it is one.

    Pulsar may go on counting a message as unacked that a consumer had twice, although everything is acked.
    """
    backlog = int(figures.get("msgBacklog", 0))
    delayed = int(figures.get("msgDelayed", 0))
    in_flight = int(figures.get("unackedMessages", 0)) if backlog else 0
    consumers = figures.get("consumers") or []
    batch = max([1, *(int(each.get("avgMessagesPerEntry", 0)) for each in consumers)])
    ready = (backlog - delayed - math.ceil(in_flight / batch)) * batch
    return Backlog(ready=max(0, ready), delayed=delayed, in_flight=in_flight)


def _is_later(due_at: str | None, now: float) -> bool:
    """Whether a message is not due yet; one that is not delayed is."""
    return due_at is not None and datetime.fromisoformat(due_at).timestamp() > now
