"""The fold: result events become rows, exactly once, many in one statement; then they are acked."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from bus.messages import NodeEvent, ResultMessage, TaskRef, decode_event
from bus.patience import patiently
from bus.port import Bus, Delivery, Subscription
from bus.topics import FOLD_SUBSCRIPTION
from coordinator.metrics import FOLDED, NODE_EVENTS, streamed
from coordinator.noderesult import NodeResult
from coordinator.tasks.news import Served, Settled
from coordinator.tracing import Traces
from core.errors import BadMessage, BlobMissing, StoreUnavailable
from store import Answer, Epoch, Fate, Folded, FoldOutcome, Store

log = logging.getLogger(__name__)

WINDOW = 2000
PREFETCH = 1000
BATCH = 500
PAUSE_SECONDS = 0.5

# Called for every request's task that has its answer now; with the nodes of graphs that have their results, and the
# responses, by document.
OnAnswer = Callable[[int, Answer], None]
OnSettled = Callable[[list[Settled], dict[int, str]], None]


class Folder:
    """Consumes the result topic. `received`: deliveries so far. `idle`: it waits for more."""

    def __init__(
        self, bus: Bus, store: Store, topic: str, *, on_answer: OnAnswer, on_settled: OnSettled, traces: Traces
    ) -> None:
        self._bus = bus
        self._store = store
        self._topic = topic
        self._on_answer = on_answer
        self._on_settled = on_settled
        self._traces = traces
        self.received = 0
        self.idle = True

    async def run(self) -> None:
        """Folds until cancelled. What is not acked by then is folded by the next coordinator."""
        subscription = await self._bus.subscribe(
            self._topic, FOLD_SUBSCRIPTION, window=WINDOW, prefetch=PREFETCH, journal=False
        )
        while True:
            self.idle = True
            deliveries = await subscription.receive()
            self.idle = False
            self.received += len(deliveries)
            for start in range(0, len(deliveries), BATCH):
                await self._settle(subscription, deliveries[start : start + BATCH])

    async def _settle(self, subscription: Subscription, batch: Sequence[Delivery]) -> None:
        good: list[Delivery] = []
        results: list[ResultMessage] = []
        for delivery in batch:
            try:
                event = decode_event(delivery.body)
            except BadMessage as error:
                dead_letter = partial(subscription.dead_letter, delivery, reason=str(error))
                await patiently(dead_letter, "a dead letter")
                continue
            good.append(delivery)
            if isinstance(event, ResultMessage):
                results.append(event)
            else:
                _note(event)
        spans = self._traces.fold(self._topic, good)
        await self._fold(results)
        for span in spans:
            span.end()
        await subscription.ack(good)

    async def _fold(self, results: Sequence[ResultMessage]) -> None:
        rows = [to_row(result, await self._response(result)) for result in results]
        fates = await self._when_available(rows)
        for outcome, number in Counter(fate.outcome for fate in fates).items():
            FOLDED.labels(outcome.name.lower()).inc(number)
        settled: list[Settled] = []
        responses: dict[int, str] = {}
        for result, row, fate in zip(results, rows, fates, strict=True):
            if fate.outcome is FoldOutcome.FOLDED and result.task is not None:
                _time_per_token(result)
                if fate.graph:
                    settled.append(_settled(result, result.task, fate.document))
                    if fate.document is not None and row.response is not None:
                        responses[fate.document] = row.response
                else:
                    self._on_answer(result.task.task_id, Answer(row.result, row.response))
            await self._drop_blobs(result)
        if settled:
            self._on_settled(settled, responses)

    async def _when_available(self, rows: Sequence[Folded]) -> list[Fate]:
        while True:
            try:
                return await self._store.fold(rows)
            except StoreUnavailable as error:
                log.warning("%d results wait for the store: %s", len(rows), error)
                await asyncio.sleep(PAUSE_SECONDS)

    async def _response(self, result: ResultMessage) -> str | None:
        if result.response_ref is not None:
            try:
                get = partial(self._bus.get_blob, result.response_ref)
                return (await patiently(get, f"event {result.event_id}")).decode(errors="replace")
            except BlobMissing:
                log.info("event %s: its response has been folded before", result.event_id)
                return None
        return bytes(result.response).decode(errors="replace") or None

    async def _drop_blobs(self, result: ResultMessage) -> None:
        if result.final:
            for reference in (result.request_ref, result.response_ref):
                if reference is not None:
                    await patiently(partial(self._bus.drop_blob, reference), f"event {result.event_id}, folded")


def _settled(result: ResultMessage, task: TaskRef, document: int | None) -> Settled:
    told = msgspec.structs.replace(_told(result), document=document)
    times, served = result.timestamps, None
    if times is not None and times.started_at is not None:
        submitted_at = times.submitted_at or times.published_at or times.received_at
        served = Served(submitted_at, times.received_at, times.started_at, times.finished_at, result.batch_size)
    return Settled(task.task_id, task.node_id, result.request_id, told, served)


def _told(result: ResultMessage) -> NodeResult:
    times = result.timestamps
    seconds = times.finished_at - times.started_at if times and times.started_at else None
    return NodeResult(
        outcome=result.outcome,
        status=result.status,
        usage=result.usage,
        estimated=result.estimated,
        error=result.error,
        seconds=None if seconds is None else seconds / result.batch_size,
    )


def _time_per_token(result: ResultMessage) -> None:
    times, provider = result.timestamps, result.provider
    if result.stream and result.outcome == "completed" and times and times.first_token_at and times.answered_at:
        model = provider.model if provider else None
        seconds = times.answered_at - times.first_token_at
        operation = (result.request.operation if result.request else None) or "chat"
        streamed(operation, result.model, model or result.model, result.usage.completion_tokens, max(seconds, 0.0))


def _note(event: NodeEvent) -> None:
    """Node events are no work done: they are told to people, not to the store."""
    NODE_EVENTS.labels(event.event, event.reason).inc()
    log.warning("worker %s of %s: %s (%s): %s", event.node, event.model, event.event, event.reason, event.message)


def to_row(result: ResultMessage, response: str | None) -> Folded:
    """A result event as the store takes it. `result` of the node: what became of it, in a JSON object."""
    task = result.task
    usage = result.usage
    times = result.timestamps
    return Folded(
        event_id=result.event_id,
        request_id=result.request_id,
        final=result.final,
        reached_provider=result.reached_provider,
        task_id=task.task_id if task else None,
        node_id=task.node_id if task else None,
        epoch=Epoch(task.global_epoch, task.regional_epoch) if task else Epoch(0, 0),
        result=msgspec.json.encode(_told(result)).decode(),
        response=response,
        model=result.model,
        node=result.node,
        node_type=result.node_type,
        outcome=result.outcome,
        status=result.status,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        cached_tokens=_detail(usage.prompt_tokens_details, "cached_tokens"),
        reasoning_tokens=_detail(usage.completion_tokens_details, "reasoning_tokens"),
        estimated=result.estimated,
        ai_model_name=result.ai_model_name,
        ai_model_namespace=result.ai_model_namespace,
        started_at=times.started_at if times else None,
        finished_at=times.finished_at if times else None,
    )


def _detail(details: dict[str, object] | None, name: str) -> int:
    value = (details or {}).get(name)
    return value if isinstance(value, int) else 0
