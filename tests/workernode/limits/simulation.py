"""Replicas of a node on one key, a provider and an endless topic, on a virtual clock."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from tests.double.metering import Account
from workernode.limits.headers import wait_asked_for
from workernode.limits.rates import RateLimits
from workernode.limits.shares import Demand, Shares

NOTICE_SECONDS = 5.0


@dataclass
class Clock:
    """Runs what is due, in order, without waiting."""

    now: float = 1000.0
    _due: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _count: itertools.count[int] = field(default_factory=itertools.count)

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now + seconds, next(self._count), do))

    def run(self, until: float) -> None:
        while self._due and self._due[0][0] <= until:
            self.now, _, do = heapq.heappop(self._due)
            do()
        self.now = until


@dataclass(frozen=True)
class Load:
    """What arrives at the topic. `rate`: messages a second. A prompt's and an answer's tokens are drawn evenly."""

    rate: float
    prompt: tuple[int, int]
    answer: tuple[int, int]
    max_tokens: int
    latency: tuple[float, float] = (0.5, 8.0)


class World:
    """`replicas` on one key under `load`."""

    def __init__(
        self,
        account: Account,
        load: Load,
        *,
        replicas: int,
        seed: int,
        slots: int = 128,
        configured: tuple[float | None, float | None] = (None, None),
        refunds: bool = False,
    ) -> None:
        self.random = random.Random(seed)
        self.clock = Clock()
        self.account = account
        self.load = load
        self.slots = slots
        self.refunds = refunds
        self.waiting = 0
        self.replicas = [Replica(self, f"node-{number}", configured) for number in range(replicas)]
        self._arrive()

    def run(self, seconds: float) -> None:
        self.clock.run(self.clock.now + seconds)

    def _arrive(self) -> None:
        self.waiting += 1
        if self.waiting == 1:  # else all of them are held back, and know when to look again
            for replica in self.random.sample(self.replicas, len(self.replicas)):
                replica.take()
        self.clock.after(self.random.expovariate(self.load.rate), self._arrive)


class Replica:
    """One node: takes, waits for its time, calls, hears."""

    def __init__(self, world: World, name: str, configured: tuple[float | None, float | None]) -> None:
        self.world = world
        self.name = name
        self.rates = RateLimits(*configured, world.random.uniform)
        self.shares = Shares(name, world.clock.now, NOTICE_SECONDS)
        self.held = 0
        self.alarm = 0.0
        self.gone = False
        world.clock.after(0.0, self.tell)

    def take(self) -> None:
        world, now = self.world, self.world.clock.now
        if self.gone:
            return
        while world.waiting and self.held < world.slots and self.rates.admissible(now):
            world.waiting -= 1
            self.held += 1
            self._serve()
        if world.waiting and self.held < world.slots and self.alarm <= now:
            wait = self.rates.wait(now)
            self.alarm = now + wait
            world.clock.after(wait + 0.001, self.take)

    def _serve(self) -> None:
        load, draw, clock = self.world.load, self.world.random, self.world.clock
        prompt, answer = draw.randint(*load.prompt), draw.randint(*load.answer)
        reserved = prompt + min(load.max_tokens, sum(load.answer) / 2)
        wait = self.rates.reserve(clock.now, reserved)
        network = draw.uniform(0.0, 0.05)
        clock.after(wait + network, lambda: self._call(prompt, answer, reserved))

    def _call(self, prompt: int, answer: int, reserved: float) -> None:
        world, now = self.world, self.world.clock.now
        wait = world.account.ask(now, prompt + world.load.max_tokens)
        headers = world.account.headers(now)
        if wait:
            headers["retry-after"] = str(max(1, round(wait)))
            headers["retry-after-ms"] = f"{wait * 1000:.0f}"
            world.clock.after(0.02, lambda: self._refused(headers, reserved))
        else:
            latency = world.random.uniform(*world.load.latency)
            world.clock.after(latency, lambda: self._answered(headers, reserved, prompt, answer))

    def _refused(self, headers: dict[str, str], reserved: float) -> None:
        now = self.world.clock.now
        self.rates.heard(now, headers, reserved)
        self.rates.settle(now, reserved, 0)
        self.rates.refused(now, wait_asked_for(headers, now=0.0))
        self.world.waiting += 1
        self._done()

    def _answered(self, headers: dict[str, str], reserved: float, prompt: int, answer: int) -> None:
        now = self.world.clock.now
        if self.world.refunds:
            self.world.account.give_back(now, self.world.load.max_tokens - answer)
        self.rates.heard(now, headers, reserved)
        self.rates.settle(now, reserved, prompt + answer)
        self._done()

    def _done(self) -> None:
        self.held -= 1
        self.take()

    def tell(self) -> None:
        now = self.world.clock.now
        if self.gone:
            return
        own = Demand(self.rates.used(now), self.rates.held_back(now))
        self.shares.told(own)
        self.rates.share(self.shares.fraction(now))
        for each in self.world.replicas:
            self.world.clock.after(0.01, partial(each.hear, self.name, own))
        self.world.clock.after(NOTICE_SECONDS, self.tell)
        self.take()

    def hear(self, name: str, demand: Demand) -> None:
        """Another's notice; our own as well."""
        self.shares.heard(self.world.clock.now, name, demand)
        self.rates.share(self.shares.fraction(self.world.clock.now))
