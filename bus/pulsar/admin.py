"""Figures from Pulsar's admin REST API."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from bus.port import Backlog
from core.errors import BusRefused, BusUnavailable

TIMEOUT_SECONDS = 10
_PARTITION = re.compile(r"-partition-\d+$")
NOTHING = Backlog(ready=0, delayed=0, in_flight=0)


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
        return NOTHING if figures is None else count(figures)

    async def close(self) -> None:
        await self._session.close()

    async def topics(self) -> list[str]:
        """The durable topics; a partitioned one counts once. Raises `BusUnavailable`, `BusRefused`."""
        names = await self._get("") or []
        return list({_PARTITION.sub("", name.rpartition("/")[2]) for name in names})

    async def _stats(self, topic: str, kind: str) -> dict[str, Any] | None:
        # Names may hold percent-encoded characters, which are characters like others to Pulsar: encoded once more.
        answer: dict[str, Any] | None = await self._get(f"/{quote(topic, safe='')}/{kind}?getPreciseBacklog=true")
        return answer

    async def _get(self, path: str) -> Any:
        """What is below the durable topics; None where there is no such thing."""
        url = f"{self._url}/admin/v2/persistent/public/default{path}"
        try:
            async with self._session.get(URL(url, encoded=True)) as response:
                if response.status == 404:
                    return None
                if response.status in (401, 403):
                    raise BusRefused(f"Pulsar's admin API at {self._url} refuses us: HTTP {response.status}")
                if response.status != 200:
                    raise BusUnavailable(f"Pulsar's admin API at {self._url} answers HTTP {response.status}")
                return await response.json()
        except (TimeoutError, aiohttp.ClientError) as error:
            reason = type(error).__name__
            raise BusUnavailable(f"Pulsar's admin API at {self._url} cannot be reached: {reason}") from error


def count(figures: dict[str, Any]) -> Backlog:
    """`msgBacklog` counts what waits, what is delayed and what is in flight, in entries; a batch is one entry.

    Pulsar may go on counting a message as unacked that a consumer had twice, although everything is acked.
    """
    backlog = int(figures.get("msgBacklog", 0))
    delayed = int(figures.get("msgDelayed", 0))
    in_flight = int(figures.get("unackedMessages", 0)) if backlog else 0
    ready = backlog - delayed - in_flight
    return Backlog(ready=max(0, ready), delayed=delayed, in_flight=in_flight)
