"""One Pod, from the moment it is bound to this Node until it is deleted."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Sequence

from core.run import wait_for_any
from tests.nodeagent.api import MERGE, UNREACHABLE, Api
from tests.nodeagent.container import AGAIN_SECONDS, Running
from tests.nodeagent.place import Place
from tests.nodeagent.process import Grace
from tests.nodeagent.sources import NotYet
from tests.nodeagent.spec import Container, Object, Pod
from tests.nodeagent.status import Life, Teller
from tests.nodeagent.volumes import make_volumes

log = logging.getLogger(__name__)


class PodRun:
    """Runs it, and tells the API server how it is."""

    def __init__(self, api: Api, pod: Pod, place: Place) -> None:
        self._api = api
        self._pod = pod
        self._place = place
        self._grace = Grace()
        self._changed = asyncio.Event()
        self._over = pod.done
        self._first = self._all(pod.spec.init_containers)
        self._containers = self._all(pod.spec.containers)
        self._teller = Teller(pod, place.address, time.time())
        self.update(pod)

    def update(self, pod: Pod) -> None:
        """It has changed in the API server."""
        if pod.metadata.deletion_timestamp is not None:
            self._grace.ask(pod.metadata.deletion_grace_period_seconds)
        ready = any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions)
        if not self._over and ready != all(each.life.ready for each in self._containers):
            self._changed.set()  # another said so, while this Node was not heard of

    def gone(self) -> None:
        """It is not in the API server any more: no grace."""
        self._grace.ask(0)

    async def run(self) -> None:
        """Returns when it is deleted, here and in the API server."""
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(self._tell())
            if not self._over:
                await self._live()
                self._over = True
                self._changed.set()
            await self._grace.asked.wait()
            telling.cancel()
        if not self._pod.done:
            await self._post()
        await self._delete()

    async def _live(self) -> None:
        try:
            await self._volumes()
            for each in self._first:
                await each.run("Never" if self._pod.spec.restart_policy == "Never" else "OnFailure")
                if each.life.code != 0:
                    return
            async with asyncio.TaskGroup() as group:
                for each in self._containers:
                    group.create_task(each.run(self._pod.spec.restart_policy))
        finally:
            log.info("%s/%s has ended", self._pod.metadata.namespace, self._pod.metadata.name)

    async def _volumes(self) -> None:
        self._place.directory.mkdir(parents=True, exist_ok=True)
        while not self._grace.asked.is_set():
            try:
                await make_volumes(self._pod.spec.volumes, self._place.sources, self._place.volumes)
                return
            except NotYet as error:
                for each in self._containers:
                    each.life.waits(error.reason, error.message)
                self._changed.set()
            except UNREACHABLE as error:
                log.warning("%s: volumes: %s", self._pod.metadata.name, type(error).__name__)
            await wait_for_any(self._grace.asked, seconds=AGAIN_SECONDS)

    async def _tell(self) -> None:
        """Changes that come while one is told are told together."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._post()

    async def _post(self) -> None:
        status = self._teller.status(_lives(self._first), _lives(self._containers), over=self._over, now=time.time())
        body: Object = {"metadata": {"uid": self._pod.metadata.uid}, "status": status}
        await self._api.insist("PATCH", f"{self._pod.path}/status", body, MERGE)

    async def _delete(self) -> None:
        options: Object = {"gracePeriodSeconds": 0, "preconditions": {"uid": self._pod.metadata.uid}}
        await self._api.insist("DELETE", self._pod.path, {"kind": "DeleteOptions", "apiVersion": "v1", **options})
        await asyncio.to_thread(shutil.rmtree, self._place.directory, ignore_errors=True)

    def _all(self, containers: Sequence[Container]) -> list[Running]:
        return [Running(each, self._pod, self._place, self._grace, self._changed.set) for each in containers]


def _lives(containers: Sequence[Running]) -> list[Life]:
    return [each.life for each in containers]
