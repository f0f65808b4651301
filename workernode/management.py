"""Management hears of what only a person can mend, and of its end: once a state, never once a message.

On the result topic as a `NodeEvent`; where AIMODEL_NAME is set and there is a cluster, as a Kubernetes Event too.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from typing import Literal

from bus import messages
from bus.messages import NodeEvent, Reason
from bus.patience import patiently
from bus.port import Bus, Outgoing
from core.cluster import cluster_at_hand
from core.errors import AgentOSError, BusError, ConfigurationError
from workernode.kubernetes_events import KubernetesEvents, Notice
from workernode.settings import WorkerSettings


class Management:
    """One worker's voice. It tells what it is given: whoever keeps the worker's state tells each state once."""

    def __init__(self, bus: Bus, settings: WorkerSettings, node: str) -> None:
        self._bus = bus
        self._settings = settings
        self._node = node
        self._kubernetes = _kubernetes(settings.aimodel_name, settings.aimodel_namespace)
        # A state's end must not overtake its beginning, on either way; and neither way waits for the other.
        self._publishing = asyncio.Lock()
        self._reporting = asyncio.Lock()

    def event(
        self, event: Literal["unavailable", "recovered"], reason: Reason, message: str, *, since: float
    ) -> NodeEvent:
        """An event of this worker's, to be told now. `message`: a sentence for a person. `since`: Unix time."""
        return NodeEvent(
            **self._settings.identity(self._node),
            event=event,
            event_id=secrets.token_hex(16),
            reason=reason,
            message=message,
            at=time.time(),
            since=since,
        )

    async def tell(self, event: NodeEvent) -> None:
        """Returns once the broker has confirmed the event and Kubernetes has taken it, or was asked in vain.

        That lasts as long as the broker is away: run it beside the serving. Raises `BusError` where the broker
        refuses us or the bus is closed.
        """
        await asyncio.gather(self._publish(event), self._report(event))

    async def _publish(self, event: NodeEvent) -> None:
        async with self._publishing:
            body = messages.encode(event)
            # Published twice it is told twice under one event_id.
            await patiently(lambda: self._send(Outgoing(body)), f"the node event {event.event}")

    async def _send(self, message: Outgoing) -> None:
        publisher = await self._bus.publisher(self._settings.res_topic_name, batching=True)
        await publisher.publish([message])

    async def _report(self, event: NodeEvent) -> None:
        if self._kubernetes is not None:
            async with self._reporting:
                await self._kubernetes.report(_notice(event))


async def report_failed_start(settings: WorkerSettings | None, error: AgentOSError) -> None:
    """Tells Kubernetes why a worker could not start, or has ended; elsewhere the log and the exit code tell it.

    `settings`: None where they are what is wrong; the AIModel is then found in the environment alone. `error` is
    told as it is: the texts of our errors are for people.
    """
    name = settings.aimodel_name if settings else os.environ.get("AIMODEL_NAME", "")
    namespace = settings.aimodel_namespace if settings else os.environ.get("AIMODEL_NAMESPACE", "")
    kubernetes = _kubernetes(name, namespace)
    if kubernetes is not None:
        now = time.time()
        await kubernetes.report(Notice("Warning", reason_of(error), f"The worker does not serve: {error}", now, now))


def reason_of(error: AgentOSError) -> Reason:
    """Which of management's reasons an error is."""
    if isinstance(error, ConfigurationError):
        return "ConfigurationError"
    return "MessageQueueConnectionError" if isinstance(error, BusError) else "GeneralError"


def _notice(event: NodeEvent) -> Notice:
    if event.event == "recovered":
        # The contract knows Warnings alone; readers of those do not see a Normal event.
        return Notice("Normal", "Recovered", event.message, event.since, event.at)
    return Notice("Warning", event.reason, event.message, event.since, event.at)


def _kubernetes(name: str, namespace: str) -> KubernetesEvents | None:
    return KubernetesEvents(name, namespace) if name and cluster_at_hand(os.environ) else None
