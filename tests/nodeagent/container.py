"""One container of a Pod: started, probed, ended, and started again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

from core.run import wait_for_any
from tests.nodeagent import environment, probes, process
from tests.nodeagent.api import UNREACHABLE
from tests.nodeagent.place import Place
from tests.nodeagent.probes import Doer
from tests.nodeagent.process import Grace, Process
from tests.nodeagent.sources import NotYet
from tests.nodeagent.spec import Container, Pod, Probe
from tests.nodeagent.status import Life

log = logging.getLogger(__name__)

AGAIN_SECONDS = 0.5  # until something is asked for again that was not there
NOT_STARTED = 128


class Running:
    """`life` is what is told of it; `changed` is called when that has changed."""

    def __init__(
        self, container: Container, pod: Pod, place: Place, grace: Grace, changed: Callable[[], None]
    ) -> None:
        self._container = container
        self._pod = pod
        self._place = place
        self._grace = grace
        self._changed = changed
        self.life = Life(container.name, container.image)

    async def run(self, policy: str) -> None:
        """Returns when it has ended and is not started again: by the restart policy, or because the Pod ends."""
        settings = self._place.settings
        pause = settings.back_off_seconds
        while (command := await self._command()) is not None:
            began = time.monotonic()
            code = await self._live(command)
            if self._grace.asked.is_set() or policy == "Never" or (policy == "OnFailure" and code == 0):
                return
            if time.monotonic() - began > 2 * settings.back_off_most_seconds:
                pause = settings.back_off_seconds
            self._waits("CrashLoopBackOff", f"back-off {pause:g}s restarting failed container {self.life.name}")
            await wait_for_any(self._grace.asked, seconds=pause)
            pause = min(2 * pause, settings.back_off_most_seconds)

    async def _command(self) -> environment.Command | None:
        """What it runs, as soon as all that is there; None if the Pod ends."""
        while not self._grace.asked.is_set():
            try:
                probes.check(self._container)
                return await self._prepared()
            except NotYet as error:
                self._waits(error.reason, error.message)
            except UNREACHABLE as error:
                log.warning("%s: %s", self.life.name, type(error).__name__)
            await wait_for_any(self._grace.asked, seconds=AGAIN_SECONDS)
        return None

    async def _prepared(self) -> environment.Command:
        image = self._place.settings.image(self._container.image)
        if image is None:
            raise NotYet("ImagePullBackOff", f"nothing stands for the image {self._container.image}")
        mounts = self._place.mounts(self._container)
        own = self._place.own(mounts)
        return await environment.command_of(
            self._container, image, self._place.sources, mounts, own=own, home=self._place.directory
        )

    async def _live(self, command: environment.Command) -> int:
        """One process, from its start to its end. Its exit code."""
        began = time.time()
        code = NOT_STARTED
        try:
            running = await process.start(command, self._log)
        except OSError as error:
            log.warning("%s: %s", self.life.name, error)
        else:
            self.life.runs(began)
            self._changed()
            code = await self._watched(running, Doer(self._container, command, self._place.address, self._log))
        self.life.ends(code, began, time.time())
        self._changed()
        return code

    async def _watched(self, running: Process, doer: Doer) -> int:
        try:
            async with asyncio.TaskGroup() as group:
                health = group.create_task(self._health(running, doer))
                await wait_for_any(running.ended, self._grace.asked)
                if not running.ended.is_set():
                    await self._end(running, doer, self._grace)
                health.cancel()
        finally:
            running.kill()
        return running.code

    async def _health(self, running: Process, doer: Doer) -> None:
        """Start-up first, then readiness and liveness beside each other."""
        container = self._container
        if container.startup_probe is not None:
            await self._started(container.startup_probe, running, doer)
        self.life.started = True
        self.life.ready = container.readiness_probe is None
        self._changed()
        async with asyncio.TaskGroup() as group:
            if container.readiness_probe is not None:
                group.create_task(self._readiness(container.readiness_probe, doer))
            if container.liveness_probe is not None:
                group.create_task(self._liveness(container.liveness_probe, running, doer))

    async def _started(self, probe: Probe, running: Process, doer: Doer) -> None:
        """Returns when it has started; what does not in time is ended."""
        async for good in probes.results(probe, doer):
            if good:
                return
            await self._restart(probe, running, doer)

    async def _readiness(self, probe: Probe, doer: Doer) -> None:
        async for good in probes.results(probe, doer):
            if good != self.life.ready:
                self.life.ready = good
                self._changed()

    async def _liveness(self, probe: Probe, running: Process, doer: Doer) -> None:
        async for good in probes.results(probe, doer):
            if not good and not self._grace.asked.is_set():
                await self._restart(probe, running, doer)

    async def _restart(self, probe: Probe, running: Process, doer: Doer) -> None:
        log.info("%s/%s: a probe failed: restarted", self._pod.metadata.name, self.life.name)
        seconds = probe.termination_grace_period_seconds
        grace = Grace()
        grace.ask(self._pod.spec.termination_grace_period_seconds if seconds is None else seconds)
        await self._end(running, doer, grace)

    async def _end(self, running: Process, doer: Doer, grace: Grace) -> None:
        """The preStop hook, SIGTERM, and SIGKILL when the grace period is over."""
        if not running.ending:  # a probe may have failed just before the Pod ends
            running.ending = True
            if (hook := self._container.lifecycle.pre_stop) is not None:
                await _within(grace.over, doer.does(hook))
            running.terminate()
        await wait_for_any(running.ended, grace.over)
        running.kill()
        await running.ended.wait()

    @property
    def _log(self) -> Path:
        return self._place.log(self.life.name)

    def _waits(self, reason: str, message: str) -> None:
        self.life.waits(reason, message)
        self._changed()


async def _within(over: asyncio.Event, work: Coroutine[None, None, object]) -> None:
    """Does the work; drops it when `over` is set."""
    working = asyncio.create_task(work)
    waiting = asyncio.create_task(over.wait())
    try:
        await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
    finally:
        working.cancel()
        waiting.cancel()
