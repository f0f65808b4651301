"""One call of OpenAI's: from the request's body to its last byte.

The waiter is registered first; then the request, its task and its outbox row are committed; then the message leaves.
From the commit on the request is durable, whoever dies.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from bus import messages
from bus.messages import Control, RequestMessage
from bus.operations import Operation
from bus.port import Bus
from bus.topics import control_channel, model_subscription, model_topic
from coordinator.answering import answer
from coordinator.bodies import Asked, parse
from coordinator.envelope import envelope_of
from coordinator.exchange import Exchange
from coordinator.metrics import WAITING, duration, requests
from coordinator.models import Models
from coordinator.openai import (
    RequestRefused,
    error_body,
    no_worker,
    server_error,
    unknown_model,
)
from coordinator.relay import LEASE_SECONDS, Relay
from coordinator.settings import CoordinatorSettings
from coordinator.tracing import Traces
from coordinator.waiters import Ending, Waiter, Waiters
from core.batcher import Batcher
from core.errors import BusError, StoreUnavailable
from store import Epoch, OutboxRow, Store, Submission, Submitted

log = logging.getLogger(__name__)

NODE_ID = "0"
FIRST_EPOCH = Epoch(0, 0)
TASK_TYPES: dict[Operation, str] = {
    "chat": "chat.completion",
    "text_completion": "text_completion",
    "embeddings": "embeddings",
}


class Completions:
    """Serves the calls of `bus.operations`."""

    def __init__(
        self,
        *,
        settings: CoordinatorSettings,
        bus: Bus,
        store: Store,
        relay: Relay,
        waiters: Waiters,
        models: Models,
        reply_channel: str,
        traces: Traces,
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._relay = relay
        self._waiters = waiters
        self._models = models
        self._reply_channel = reply_channel
        self._traces = traces
        self._submit: Batcher[Submission, Submitted] = Batcher(store.submit, max_size=500, in_flight=2)
        self._side_tasks: set[asyncio.Task[None]] = set()

    async def serve(self, operation: Operation, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one HTTP exchange to its end."""
        exchange = Exchange(receive, send)
        began = time.perf_counter()
        span = self._traces.request(operation, scope)
        model = "unknown"
        try:
            body = await exchange.body(scope, self._settings.max_body_bytes)
            asked = parse(operation, body)
            if not await self._models.knows(asked.model):
                raise unknown_model(asked.model)
            if not self._models.serves(asked.model):
                raise no_worker(asked.model)
            model = asked.model
            with WAITING.track_inprogress():
                await self._complete(exchange, asked, body, began, span.traceparent)
        except RequestRefused as refusal:
            await exchange.whole(refusal.status, error_body(refusal.error))
        except StoreUnavailable:
            await exchange.whole(_NO_STORE.status, error_body(_NO_STORE.error))
        requests(model, exchange.status).inc()
        duration(operation, model, exchange.error_type).observe(time.perf_counter() - began)
        self._traces.answered(span, model, exchange)

    async def _complete(
        self, exchange: Exchange, asked: Asked, body: bytes, began: float, traceparent: str | None
    ) -> None:
        request_id = exchange.request_id = "req_" + secrets.token_hex(16)
        loop = asyncio.get_running_loop()
        with self._waiters.register(request_id, asked.model, loop.time()) as waiter:
            await self._send_out(waiter, asked, body, exchange.client, traceparent)
            timer = loop.call_later(self._settings.request_timeout_seconds, waiter.put, Ending.EXPIRED)
            exchange.when_gone(lambda: waiter.put(Ending.GONE))
            try:
                answered = await answer(exchange, asked, waiter, began)
            except BaseException:
                self._cancel(asked.model, request_id)
                raise
            finally:
                timer.cancel()
                exchange.finish()
            if not answered:
                self._cancel(asked.model, request_id)

    async def _send_out(
        self, waiter: Waiter, asked: Asked, body: bytes, client: dict[str, list[str]], traceparent: str | None
    ) -> None:
        now = time.time()
        topic = model_topic(asked.model)
        # Begun before the commit: whoever publishes the message in the end, it names this span.
        span = self._traces.send(topic, waiter.request_id, traceparent)
        envelope = RequestMessage(
            request_id=waiter.request_id,
            data=msgspec.Raw(b"{}"),
            stream=bool(asked.stream),
            metadata={"headers": client},
            reply_channel=self._reply_channel,
            deadline=now + self._settings.request_timeout_seconds,
            submitted_at=now,
            traceparent=span.traceparent,
        )
        submission = Submission(
            user_id=0,
            task_type=TASK_TYPES[asked.operation],
            description=msgspec.json.encode({"nodes": [{"id": NODE_ID, "model": asked.model}]}).decode(),
            node_id=NODE_ID,
            topic=topic,
            subscription=model_subscription(asked.model),
            envelope=envelope_of(envelope),
            body=body.decode(),
            owner=self._relay.owner,
            lease_seconds=LEASE_SECONDS,
            epoch=FIRST_EPOCH,
        )
        submitted = await self._submit.submit(submission)
        self._waiters.bind(waiter, submitted.task_id)
        row = OutboxRow(
            outbox_id=submitted.outbox_id,
            task_id=submitted.task_id,
            node_id=NODE_ID,
            epoch=FIRST_EPOCH,
            topic=submission.topic,
            subscription=submission.subscription,
            envelope=submission.envelope,
            body=submission.body,
            created_at=now,
        )
        self._aside(self._relay.publish([(row, span)]), "publish")

    def _cancel(self, model: str, request_id: str) -> None:
        self._aside(self._send_cancel(model, request_id), "cancel")

    async def _send_cancel(self, model: str, request_id: str) -> None:
        try:
            await self._bus.send(control_channel(model), messages.encode(Control(cancel=[request_id])))
        except BusError as error:
            log.warning("request %s goes on although nobody waits: %s", request_id, error)

    def _aside(self, work: Any, name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._side_tasks.add(task)
        task.add_done_callback(self._aside_done)

    def _aside_done(self, task: asyncio.Task[None]) -> None:
        self._side_tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.critical("%s failed", task.get_name(), exc_info=error)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One of the calls, as an ASGI application."""

    completions: Completions
    operation: Operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        await self.completions.serve(self.operation, scope, receive, send)


_NO_STORE = server_error(503, "The store cannot be reached now; try again.", "store_unavailable")
