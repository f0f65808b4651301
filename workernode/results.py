"""Result events of attempts, and their way to the result topic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from bus import messages
from bus.messages import NO_USAGE, Outcome, RequestMessage, ResultMessage, Timestamps, Usage
from bus.patience import patiently
from bus.port import CLAIM_CHECK_BYTES, Bus, Outgoing
from core.batcher import Batcher
from workernode.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended. `error`: the inside of an OpenAI error object. Times are Unix times in seconds."""

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


class Results:
    """Publishes result events; an event that was taken is published, however long the broker is away."""

    def __init__(self, bus: Bus, settings: WorkerSettings, node: str) -> None:
        self._bus = bus
        self._settings = settings
        self._node = node
        self._publish: Batcher[Outgoing, None] = Batcher(self._publish_batch, max_size=500, in_flight=8)

    async def tell(
        self, request: RequestMessage, event_id: str, attempt: int, received_at: float, ended: Ended
    ) -> None:
        """Returns once the broker has confirmed the event."""
        event = self._event(request, event_id, attempt, received_at, ended)
        if ended.response is not None and request.task is not None:
            event = await self._with_response(event, ended.response)
        await self._publish.submit(Outgoing(messages.encode(event)))

    def _event(
        self, request: RequestMessage, event_id: str, attempt: int, received_at: float, ended: Ended
    ) -> ResultMessage:
        settings = self._settings
        return ResultMessage(
            request_id=request.request_id,
            usage=ended.usage,
            model=settings.model_name,
            ai_model_name=settings.aimodel_name or None,
            ai_model_namespace=settings.aimodel_namespace or None,
            event_id=event_id,
            outcome=ended.outcome,
            node=self._node,
            node_type=settings.node_type,
            stream=request.stream,
            reached_provider=ended.reached_provider,
            estimated=ended.estimated,
            attempt=attempt,
            status=ended.status,
            error=ended.error,
            request_ref=request.data_ref,
            task=request.task,
            timestamps=Timestamps(
                submitted_at=request.submitted_at,
                received_at=received_at,
                started_at=ended.started_at,
                first_token_at=ended.first_token_at,
                finished_at=ended.finished_at,
            ),
        )

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
