"""Result events of attempts, and their way to the result topic."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bus import messages
from bus.billing import Timestamps
from bus.messages import NO_USAGE, Outcome, RequestMessage, ResultMessage, Usage
from bus.patience import patiently
from bus.port import CLAIM_CHECK_BYTES, Bus, Outgoing
from core.batcher import Batcher
from core.spans import TRACEPARENT
from workernode.backends.base import Progress
from workernode.billing import client_of, details_of, stages_of
from workernode.settings import WorkerSettings


def _version() -> str | None:
    try:
        return importlib.metadata.version("agentos")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return None


NODE_VERSION = _version()


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended. `error`: the inside of an OpenAI error object. Times are Unix times in seconds.

    `answered_at`: the backend had answered; `replied_at`: its answer had been sent on. `progress`: the call's own,
    if there was a call.
    """

    outcome: Outcome
    reached_provider: bool
    started_at: float | None
    finished_at: float
    status: int = 200
    usage: Usage = NO_USAGE
    estimated: bool = False
    first_token_at: float | None = None
    error: dict[str, Any] | None = None
    response: bytes | None = None
    admitted_at: float | None = None
    answered_at: float | None = None
    replied_at: float | None = None
    progress: Progress = field(default_factory=Progress)


class Results:
    """Publishes result events; an event that was taken is published, however long the broker is away."""

    def __init__(self, bus: Bus, settings: WorkerSettings, node: str) -> None:
        self._bus = bus
        self._settings = settings
        self._of_the_node = settings.identity(node) | {"node_version": NODE_VERSION}
        self._publish: Batcher[Outgoing, None] = Batcher(self._publish_batch, max_size=500, in_flight=8)

    async def tell(
        self,
        request: RequestMessage,
        event_id: str,
        attempt: int,
        received_at: float,
        ended: Ended,
        *,
        published_at: float | None = None,
        body: Mapping[str, Any] | None = None,
        size: int | None = None,
        traceparent: str | None = None,
    ) -> None:
        """Returns once the broker has confirmed the event.

        `published_at`: see `Delivery`. `body`: the OpenAI request, of which counts and parameters are told; `size`:
        its length in bytes. `traceparent`: the attempt's trace, with which the fold goes on.
        """
        body = body or {}
        times = _timestamps(request, received_at, ended, published_at)
        event = ResultMessage(
            **self._of_the_node,
            request_id=request.request_id,
            usage=ended.usage,
            event_id=event_id,
            outcome=ended.outcome,
            stream=request.stream,
            reached_provider=ended.reached_provider,
            estimated=ended.estimated,
            attempt=attempt,
            status=ended.status,
            error=ended.error,
            request_ref=request.data_ref,
            task=request.task,
            batch_size=ended.progress.batch_size,
            timestamps=times,
            stages=stages_of(times),
            client=client_of(request.metadata, body),
            request=details_of(body, stream=request.stream, size=size),
            provider=ended.progress.provider(),
        )
        if ended.response is not None and request.task is not None:
            event = await self._with_response(event, ended.response)
        properties = {} if traceparent is None else {TRACEPARENT: traceparent}
        # By it a coordinator that takes over an outbox sees that the request was published.
        key = request.request_id if request.task is not None else None
        await self._publish.submit(Outgoing(messages.encode(event), properties, key=key))

    async def _with_response(self, event: ResultMessage, response: bytes) -> ResultMessage:
        if len(response) <= CLAIM_CHECK_BYTES:
            return msgspec.structs.replace(event, response=msgspec.Raw(response))
        reference = await patiently(lambda: self._bus.put_blob(response), "a large response")
        return msgspec.structs.replace(event, response_ref=reference)

    async def _publish_batch(self, batch: list[Outgoing]) -> Sequence[None]:
        # Published twice is folded once: the event's id is the same.
        await patiently(lambda: self._send(batch), f"{len(batch)} results")
        return [None] * len(batch)

    async def _send(self, batch: list[Outgoing]) -> None:
        publisher = await self._bus.publisher(self._settings.res_topic_name, batching=True)
        await publisher.publish(batch)


def _timestamps(request: RequestMessage, received_at: float, ended: Ended, published_at: float | None) -> Timestamps:
    return Timestamps(
        submitted_at=request.submitted_at,
        published_at=published_at,
        received_at=received_at,
        admitted_at=ended.admitted_at,
        started_at=ended.started_at,
        connected_at=ended.progress.connected_at,
        first_token_at=ended.first_token_at or ended.progress.first_token_at,
        answered_at=ended.answered_at,
        replied_at=ended.replied_at,
        finished_at=ended.finished_at,
    )
