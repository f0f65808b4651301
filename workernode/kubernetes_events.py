"""Kubernetes hears what only a person can mend: core/v1 Events about the worker's AIModel.

The worker needs the right to create Events, nothing more.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bus.messages import Reason
from core import aimodels
from core.cluster import SERVICE_ACCOUNT, ClusterError, ask

log = logging.getLogger(__name__)

COMPONENT = "agentos-worker"
LONGEST_MESSAGE = 1000
CALL_SECONDS = 5.0
TRIES = 4
FIRST_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Notice:
    """What an Event tells. `first` and `last`: when its state began and when it was told, Unix times in seconds."""

    type: Literal["Warning", "Normal"]
    reason: Reason | Literal["Recovered"]
    message: str
    first: float
    last: float


class KubernetesEvents:
    """Events about one AIModel."""

    def __init__(self, name: str, namespace: str, *, account: Path = SERVICE_ACCOUNT) -> None:
        self._name = name
        self._namespace = namespace or "default"
        self._account = account
        self._host = socket.gethostname()

    async def report(self, notice: Notice) -> None:
        """Makes one Event. A cluster that does not answer is asked a few times, then the log alone tells of it."""
        for number in range(1, TRIES + 1):
            try:
                await asyncio.to_thread(self._create, notice)
            except ClusterError as error:
                why = self._may_not() if error.status in (401, 403) else error
                log.warning("AIModel %s/%s: no Event %s: %s", self._namespace, self._name, notice.reason, why)
                if not error.again or number == TRIES:
                    return
                await asyncio.sleep(random.uniform(0.5, 1.0) * FIRST_PAUSE_SECONDS * 2 ** (number - 1))
            else:
                return

    def _create(self, notice: Notice) -> None:
        """One try, in the thread. Raises `ClusterError`."""
        from kubernetes import client

        ask(
            lambda connection: client.CoreV1Api(connection).create_namespaced_event(
                self._namespace, self._body(notice), _request_timeout=CALL_SECONDS
            ),
            self._account,
        )

    def _may_not(self) -> str:
        return f"the service account may not create Events in {self._namespace} (see docs/management.md)"

    def _body(self, notice: Notice) -> dict[str, Any]:
        """The Event."""
        return aimodels.event(
            self._name,
            self._namespace,
            type=notice.type,
            reason=notice.reason,
            message=notice.message[:LONGEST_MESSAGE],
            component=COMPONENT,
            host=self._host,
            first=notice.first,
            last=notice.last,
        )
