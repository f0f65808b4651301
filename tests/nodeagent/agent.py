"""Follows the Pods that are bound to the Node, and runs each."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging

from core.run import Stop
from tests.nodeagent import node, spec
from tests.nodeagent.api import PAUSE_SECONDS, UNREACHABLE, Api, Refused
from tests.nodeagent.place import Place
from tests.nodeagent.pod import PodRun
from tests.nodeagent.settings import Settings
from tests.nodeagent.spec import Pod

log = logging.getLogger(__name__)


async def run(settings: Settings, stop: Stop) -> None:
    """Until it is stopped. Its Pods' processes end with it."""
    async with Api(settings) as api:
        working = asyncio.create_task(_work(api, settings))
        asked = asyncio.create_task(stop.asked.wait())
        await asyncio.wait([working, asked], return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working


async def _work(api: Api, settings: Settings) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(node.live(api, settings))
        group.create_task(Agent(api, settings).follow(group))


class Agent:
    """Pods by their UID: one that is deleted and made again is another."""

    def __init__(self, api: Api, settings: Settings) -> None:
        self._api = api
        self._settings = settings
        self._runs: dict[str, PodRun] = {}
        self._address = ipaddress.IPv4Address(settings.first_address)

    async def follow(self, group: asyncio.TaskGroup) -> None:
        """Runs every Pod of the Node in the group."""
        while True:
            try:
                await self._watch(group)
            except (*UNREACHABLE, Refused) as error:
                log.warning("Pods are not heard of: %s", error or type(error).__name__)
                await asyncio.sleep(PAUSE_SECONDS)

    async def _watch(self, group: asyncio.TaskGroup) -> None:
        listed: set[str] = set()
        selector = f"fieldSelector=spec.nodeName={self._settings.node}"
        async for kind, found in self._api.watch("/api/v1/pods", selector):
            if kind == "LISTED":
                for uid in self._runs.keys() - listed:
                    self._runs.pop(uid).gone()
                continue
            pod = spec.pod(found)
            listed.add(pod.metadata.uid)
            self._take(kind, pod, group)

    def _take(self, kind: str, pod: Pod, group: asyncio.TaskGroup) -> None:
        uid = pod.metadata.uid
        if kind == "DELETED":
            if (run := self._runs.pop(uid, None)) is not None:
                run.gone()
        elif uid in self._runs:
            self._runs[uid].update(pod)
        else:
            place = Place(pod, self._settings, self._api, str(self._address))
            self._address += 1
            self._runs[uid] = PodRun(self._api, pod, place)
            group.create_task(self._runs[uid].run())
