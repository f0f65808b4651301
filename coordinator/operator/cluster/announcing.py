"""Tells people what the operator does: core/v1 Events about their AIModels, `kubectl describe` shows them.

They are told as well as can be: one that cannot be written is lost. Nothing reads them back (`failures.about`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Literal, NamedTuple

from coordinator.operator.cluster.kinds import EVENTS
from coordinator.operator.cluster.kube import Kube
from coordinator.operator.state.texts import one_line
from coordinator.operator.wanted.aimodel import Key
from coordinator.operator.wanted.names import MANAGER
from core import aimodels
from core.cluster import ClusterError

log = logging.getLogger(__name__)

Object = dict[str, Any]
Reason = Literal["Created", "Scaled", "Failed", "Recovered"]

MOST_WAITING = 1000
SENDERS = 2


class Announcement(NamedTuple):
    """About an AIModel, at Unix time `at` in seconds."""

    key: Key
    uid: str
    reason: Reason
    message: str
    at: float


class Announcements:
    """What is to be told."""

    def __init__(self, kube: Kube, host: str) -> None:
        self._kube = kube
        self._host = host
        self._waiting: asyncio.Queue[Announcement] = asyncio.Queue(MOST_WAITING)

    def tell(self, key: Key, uid: str, reason: Reason, message: str) -> None:
        """Soon, unless too much is to be told."""
        if not self._waiting.full():
            self._waiting.put_nowait(Announcement(key, uid, reason, message, time.time()))

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(SENDERS):
                group.create_task(self._send())

    async def _send(self) -> None:
        refused = ""
        while True:
            told = await self._waiting.get()
            try:
                await self._kube.create(EVENTS, told.key[0], event(told, self._host))
            except ClusterError as error:
                if str(error) != refused:
                    log.warning("AIModel %s/%s: no Event %s: %s", *told.key, told.reason, error)
                refused = str(error)


def event(told: Announcement, host: str) -> Object:
    """What is written."""
    namespace, name = told.key
    told_of = aimodels.event(
        name,
        namespace,
        type="Warning" if told.reason == "Failed" else "Normal",
        reason=told.reason,
        message=one_line(told.message),
        component=MANAGER,
        host=host,
        first=told.at,
        last=told.at,
        uid=told.uid,
    )
    return told_of | {"reportingComponent": MANAGER}
