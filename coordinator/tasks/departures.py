"""The way of a node out: its body from the outputs before it, the commit under the task's epoch, its publication."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from bus.messages import RequestMessage
from bus.topics import model_subscription, model_topic
from coordinator.envelope import envelope_of
from coordinator.graph.references import ReferenceFailed
from coordinator.relay import LEASE_SECONDS, Relay
from coordinator.tasks.board import Pick
from coordinator.tasks.responses import Responses
from coordinator.tracing import Traces
from core.spans import Span
from store import Dispatch, OutboxRow

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ready:
    """A node's dispatch, not committed yet."""

    pick: Pick
    dispatch: Dispatch
    span: Span
    made_at: float


@dataclass(frozen=True, slots=True)
class Spoiled:
    """A node that cannot be called. `error`: why, the inside of an OpenAI error object."""

    pick: Pick
    error: dict[str, Any]


class Departures:
    """Makes dispatches and publishes what was committed."""

    def __init__(self, responses: Responses, relay: Relay, traces: Traces) -> None:
        self._responses = responses
        self._relay = relay
        self._traces = traces
        self._publishing: set[asyncio.Task[None]] = set()

    async def prepare(self, picks: Sequence[Pick]) -> tuple[list[Ready], list[Spoiled]]:
        """The dispatches of these nodes. Raises `StoreUnavailable`."""
        contents = await self._responses.of(
            number for pick in picks for number in pick.held.graph.documents(pick.node_id)
        )
        ready: list[Ready] = []
        spoiled: list[Spoiled] = []
        for pick in picks:
            try:
                body = pick.held.graph.body(pick.node_id, contents)
            except ReferenceFailed as error:
                spoiled.append(Spoiled(pick, error.error))
            else:
                ready.append(self._ready(pick, msgspec.json.encode(body).decode()))
        return ready, spoiled

    def publish(self, committed: Sequence[tuple[Ready, int]]) -> None:
        """Publishes in the background what has been committed, with its numbers in the outbox.

        What cannot be published is left to the sweep.
        """
        leaving = [(_row(ready, outbox_id), ready.span) for ready, outbox_id in committed]
        task = asyncio.create_task(self._relay.publish(leaving), name="publish")
        self._publishing.add(task)
        task.add_done_callback(self._done)

    async def drain(self) -> None:
        """Returns when everything has left."""
        while self._publishing:
            await asyncio.wait(self._publishing)

    def _ready(self, pick: Pick, body: str) -> Ready:
        task, graph = pick.held.task, pick.held.graph
        request_id = "req_" + secrets.token_hex(16)
        topic = model_topic(pick.model)
        span = self._traces.send(topic, request_id, None)
        now = time.time()
        message = RequestMessage(
            request_id=request_id,
            data=msgspec.Raw(b"{}"),
            deadline=_deadline(task.deadline, graph.spec(pick.node_id).deadline_seconds, now),
            serve_by=pick.serve_by,
            submitted_at=now,
            traceparent=span.traceparent,
        )
        dispatch = Dispatch(
            task_id=task.task_id,
            epoch=task.epoch,
            node_id=pick.node_id,
            attempt=graph.attempt(pick.node_id),
            request_id=request_id,
            model=pick.model,
            topic=topic,
            subscription=model_subscription(pick.model),
            envelope=envelope_of(message),
            body=body,
            owner=self._relay.owner,
            lease_seconds=LEASE_SECONDS,
        )
        return Ready(pick, dispatch, span, now)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._publishing.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.critical("publishing failed", exc_info=error)


def _deadline(of_task: float | None, seconds: float | None, now: float) -> float | None:
    of_node = None if seconds is None else now + seconds
    return min((each for each in (of_task, of_node) if each is not None), default=None)


def _row(ready: Ready, outbox_id: int) -> OutboxRow:
    dispatch = ready.dispatch
    return OutboxRow(
        outbox_id=outbox_id,
        task_id=dispatch.task_id,
        node_id=dispatch.node_id,
        epoch=dispatch.epoch,
        topic=dispatch.topic,
        subscription=dispatch.subscription,
        envelope=dispatch.envelope,
        body=dispatch.body,
        created_at=ready.made_at,
    )
