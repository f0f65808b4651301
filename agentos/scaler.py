"""`agentos scaler`: the planner's orders become replicas on Kubernetes."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from agentos.on_bus import on_bus
from agentos.replicas import Reins, Target, without_replicas
from agentos.scaler_cluster import set_replicas
from agentos.up_settings import UpSettings
from bus.hearing import hearing
from bus.port import Bus
from bus.scaling import FrontendInformation, Order, decode_scaling
from bus.topics import SCALING_CHANNEL
from core import log as logs
from core.cluster import ClusterError, need_cluster
from core.run import Stop, run, wait_for_any
from policy.slo.pipeline import Pipeline, Replicas
from workload.client import Client
from workload.errors import GatewayRefused, GatewayUnavailable

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
TICK_SECONDS = 1.0

SetReplicas = Callable[[Replicas, int], None]
Look = Callable[[], Awaitable[Sequence[Pipeline]]]


def run_scaler(settings: UpSettings, pipelines: Sequence[Pipeline], url: str) -> int:
    """Runs until a signal; returns the exit code. Without `pipelines` those of the gateway at `url` are scaled, as
    they are there at any time. Raises `ConfigurationError`.
    """
    logs.set_up(debug=settings.debug)
    need_cluster(os.environ)
    return run(lambda stop: _scaler(settings, pipelines, url, stop))


async def _scaler(settings: UpSettings, pipelines: Sequence[Pipeline], url: str, stop: Stop) -> None:
    async with on_bus(settings) as bus, Client(url, patience=0.0) as client:
        look = None if pipelines else lambda: pipelines_of(client)
        await Scaler(bus, set_replicas, pipelines).run(stop, look)


async def pipelines_of(client: Client) -> list[Pipeline]:
    """Those of a gateway. Raises `GatewayUnavailable`, `GatewayRefused`."""
    fields = set(Pipeline.__struct_fields__)
    described = ({key: each[key] for key in fields & each.keys()} for each in await client.pipelines())
    return [msgspec.convert(each, Pipeline, str_keys=True) for each in described]


class Scaler:
    """Follows orders. `set_replicas` blocks, and raises `ClusterError`."""

    def __init__(self, bus: Bus, set_replicas: SetReplicas, pipelines: Sequence[Pipeline]) -> None:
        self._bus = bus
        self._set_replicas = set_replicas
        self._reins = Reins()
        self._news = asyncio.Event()
        self._pipelines: Sequence[Pipeline] = ()
        self._take(pipelines)

    async def run(self, stop: Stop, look: Look | None = None) -> None:
        """Until a stop. `look`: asks for the pipelines, again and again. Raises `BusError`."""
        listening = await self._bus.listen(SCALING_CHANNEL, hearing(SCALING_CHANNEL, decode_scaling, self._hear))
        try:
            async with asyncio.TaskGroup() as group:
                sides = [group.create_task(self._follow(), name="orders")]
                if look is not None:
                    sides.append(group.create_task(self._look(look), name="pipelines"))
                await stop.asked.wait()
                for side in sides:
                    side.cancel()
        finally:
            await listening.close()

    async def _follow(self) -> None:
        while True:
            self._news.clear()
            await asyncio.gather(*(self._set(*due) for due in self._reins.due(time.monotonic())))
            await wait_for_any(self._news, seconds=TICK_SECONDS)

    def _hear(self, told: FrontendInformation | Order) -> None:
        if isinstance(told, Order):
            self._reins.order(told)
            self._news.set()

    async def _look(self, look: Look) -> None:
        while True:
            try:
                self._take(await look())
            except (GatewayUnavailable, GatewayRefused, msgspec.ValidationError) as error:
                log.warning("the pipelines are taken to be as they were: %s", error)
            await asyncio.sleep(LOOK_SECONDS)

    def _take(self, pipelines: Sequence[Pipeline]) -> None:
        if pipelines == self._pipelines:
            return
        self._pipelines = pipelines
        self._reins.set(pipelines)
        for name, stages in without_replicas(pipelines).items():
            log.warning("pipeline %s: `replicas` is missing, not scaled: %s", name, ", ".join(stages))

    async def _set(self, target: Target, count: int) -> None:
        try:
            await asyncio.to_thread(self._set_replicas, target.replicas, count)
        except ClusterError as error:
            pause = self._reins.failed(target, time.monotonic())
            log.warning("%s: not %d replicas: %s; again in %g s", target, count, error, pause)
            return
        if self._reins.done(target, count, time.monotonic()):
            log.info("%s: %d replicas", target, count)
