"""The worker processes of pipelines on this machine: as many for each stage as the planner orders."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from agentos.children import Child, ChildSpec
from agentos.pipeline_files import read_pipeline
from bus.connect import connect
from bus.hearing import hearing
from bus.scaling import FrontendInformation, Order, decode_scaling
from bus.topics import SCALING_CHANNEL
from core.errors import ConfigurationError
from core.run import Stop
from policy.slo.pipeline import Pipeline, Stage
from workload.client import Client

log = logging.getLogger(__name__)


class Kept(NamedTuple):
    """A process, and the task that keeps it running."""

    child: Child
    keeping: asyncio.Task[None]


@dataclass
class _Post:
    """A stage's workers by number, the newest last."""

    stage: Stage
    spec: ChildSpec
    workers: dict[int, Kept] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)  # numbers, of those that leave too


class Site:
    """`keep` starts a process and keeps it running. `watch` starts a side task. `say`: a line for a person. `stop`:
    of the whole run. `hear`: takes frames of orders, of which the latest is true; those for other pipelines are
    others'.
    """

    def __init__(
        self,
        keep: Callable[[ChildSpec], Kept],
        watch: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        say: Callable[[str], None],
        stop: Stop,
    ) -> None:
        self._keep = keep
        self._watch = watch
        self._say = say
        self._stop = stop
        self._posts: dict[str, dict[str, _Post]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed = False
        self.hear = hearing(SCALING_CHANNEL, decode_scaling, self._hear)

    def open(self, pipeline: Pipeline, workers: Iterable[tuple[Stage, ChildSpec]]) -> None:
        """Starts the least workers of each stage; all are started like the one in `workers`."""
        self._posts[pipeline.name] = {stage.id: _Post(stage, spec) for stage, spec in workers}
        for post in self._posts[pipeline.name].values():
            self._man(post, post.stage.workers.least)

    async def close(self) -> None:
        """Stops all workers, at once, and waits for their end."""
        self._closed = True
        for posts in self._posts.values():
            for post in posts.values():
                self._man(post, 0)
        if self._leaving:
            await asyncio.wait(self._leaving)

    def _hear(self, told: FrontendInformation | Order) -> None:
        if isinstance(told, Order) and not self._closed:
            self._follow(told)

    def _follow(self, order: Order) -> None:
        posts = self._posts.get(order.pipeline, {})
        for stage, count in order.workers.items():
            post = posts.get(stage)
            if post is None or min(count, post.stage.workers.most) == len(post.workers):
                continue
            before = len(post.workers)
            self._man(post, min(count, post.stage.workers.most))
            self._say(f"pipeline {order.pipeline}, stage {stage}: {before} → {len(post.workers)} workers")

    def _man(self, post: _Post, count: int) -> None:
        """Starts workers, or stops the newest: they have the least to lose."""
        while len(post.workers) < count:
            number = next(each for each in itertools.count(1) if each not in post.taken)
            post.taken.add(number)
            post.workers[number] = self._keep(replace(post.spec, name=f"{post.spec.name}-{number}"))
        while len(post.workers) > count:
            number, worker = post.workers.popitem()
            leaving = self._watch(self._dismiss(post, number, worker))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

    async def _dismiss(self, post: _Post, number: int, worker: Kept) -> None:
        """It finishes what it has begun, within its grace."""
        await worker.child.stop(worker.keeping, self._stop)
        post.taken.discard(number)


@contextlib.asynccontextmanager
async def following(site: Site, broker: Mapping[str, str]) -> AsyncIterator[None]:
    """The site hears orders. `broker`: arguments of `bus.connect.connect`. Raises `BusError`."""
    bus = await connect(**broker)
    try:
        listening = await bus.listen(SCALING_CHANNEL, site.hear)
        try:
            yield
        finally:
            await listening.close()
    finally:
        await bus.close()


def read_pipelines(files: Iterable[Path]) -> list[Pipeline]:
    """Raises `ConfigurationError`, also where two have one name."""
    found: dict[str, Pipeline] = {}
    for file in files:
        pipeline = read_pipeline(file)
        if pipeline.name in found:
            raise ConfigurationError(f"{file}: another file has a pipeline of the name {pipeline.name}")
        found[pipeline.name] = pipeline
    return list(found.values())


async def put_pipelines(url: str, pipelines: Iterable[Pipeline]) -> None:
    """Puts them at the gateway. Raises `GatewayRefused`, `GatewayUnavailable`."""
    async with Client(url) as client:
        for pipeline in pipelines:
            await client.apply(pipeline)
