"""Clients that submit tasks to whichever coordinator lives, again and again until one has taken them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence

import aiohttp

from tests.chaos.graphs import Planned

# A coordinator that stands still answers nothing; the client asks another one.
TIMEOUT = aiohttp.ClientTimeout(total=5.0)
AGAIN_SECONDS = 0.2
CLIENTS = 20


class Submissions:
    """`taken`: the numbers of the tasks as they were submitted, with their ids. `errors`: what may not happen.

    `urls`: where coordinators serve now.
    """

    def __init__(self, planned: Sequence[Planned], seed: int, seconds: float, urls: Callable[[], list[str]]) -> None:
        self._planned = planned
        self._urls = urls
        self._random = random.Random(seed)
        self._due = sorted(self._random.uniform(0, seconds) for _ in planned)
        self.taken: dict[int, str] = {}
        self.repeats = 0
        self.errors: list[str] = []

    async def run(self) -> None:
        """Submits each when it is due."""
        numbers = iter(range(len(self._planned)))
        began = asyncio.get_running_loop().time()
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session, asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(self._client(session, numbers, began))

    async def _client(self, session: aiohttp.ClientSession, numbers: Iterator[int], began: float) -> None:
        loop = asyncio.get_running_loop()
        for number in numbers:
            await asyncio.sleep(max(0.0, began + self._due[number] - loop.time()))
            await self._submit(session, number)

    async def _submit(self, session: aiohttp.ClientSession, number: int) -> None:
        # Now and then the answer is thrown away, as a client that dies would: the same key, the same task.
        careless = self._random.random() < 0.1
        while True:
            task = await self._post(session, number)
            if task is None:
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            if self.taken.setdefault(number, task) != task:
                self.errors.append(f"task {number} was taken twice: {self.taken[number]} and {task}")
            if not careless:
                return
            careless, self.repeats = False, self.repeats + 1

    async def _post(self, session: aiohttp.ClientSession, number: int) -> str | None:
        """The task's id; None where nobody has said it."""
        urls = self._urls()
        if not urls:
            return None
        url, headers = self._random.choice(urls), {"Idempotency-Key": f"task-{number}"}
        try:
            async with session.post(
                url + "/v1/tasks", json=self._planned[number].description, headers=headers
            ) as answer:
                if answer.status in (200, 202):
                    return str((await answer.json())["id"])
                if answer.status < 500:
                    self.errors.append(f"task {number} was refused: {answer.status} {await answer.text()}")
                    return f"refused-{number}"
        except (aiohttp.ClientError, TimeoutError):
            return None
        return None
