"""One request at one worker: from delivery to settlement.

    delivery ── not a request ──────────────► dead letter
       │
       ├── cancelled before, deadline over ──► told to the client ─► result event ─► ack
       │
       └── call ── answered, or failed for good ─► told to the client ─► result event ─► ack
               ├── may succeed elsewhere ─► result event `retried` if it may have cost money ─► nack with a delay
               └── cancelled by the gateway ─► result event `cancelled` ─► ack

Nothing is acked before its result event is confirmed by the broker. A part of an answer that a client has seen
cannot be unseen: such an attempt is not made again.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, get_args

import msgspec

from bus.messages import NO_USAGE, Outcome, RequestMessage, decode_request
from bus.patience import patiently
from bus.port import Bus, Delivery, Subscription
from core.errors import BadMessage, BlobMissing
from workernode.backends.base import Answer, Backend, Call
from workernode.cancels import Cancels
from workernode.classify import Retry, Verdict, delay, error_object
from workernode.errors import CallFailed
from workernode.metrics import CALL_SECONDS, DEAD_LETTERS, OUTCOMES
from workernode.reply import Reply
from workernode.results import Ended, Results

log = logging.getLogger(__name__)

CANCELLED = error_object("The request was cancelled.", "invalid_request_error", "request_cancelled")
EXPIRED = error_object("The request's deadline passed before it was served.", "timeout_error", "deadline_exceeded")
# Looked up once: for each request it would cost as much as the rest of its counting.
_OUTCOMES = {outcome: OUTCOMES.labels(outcome) for outcome in get_args(Outcome)}
INTERNAL = Verdict(
    Retry.BACK_OFF, 500, error_object("The worker failed to serve the request.", "server_error", "internal_error")
)


class Attempts:
    """Serves deliveries, each in a task of its own."""

    def __init__(
        self,
        *,
        bus: Bus,
        subscription: Subscription,
        backend: Backend,
        results: Results,
        cancels: Cancels,
        make_reply: Callable[[RequestMessage, str], Reply],
        max_attempts: int,
    ) -> None:
        self._bus = bus
        self._subscription = subscription
        self._backend = backend
        self._results = results
        self._cancels = cancels
        self._make_reply = make_reply
        self._max_attempts = max_attempts

    async def serve(self, delivery: Delivery) -> None:
        """Serves one delivery to its end. Raises `BusError` only where the bus is closed or refuses us."""
        received_at = time.time()
        try:
            request = decode_request(delivery.body)
            body = await self._body(request)
        except BadMessage as error:
            log.warning("to the dead letters: %s", error)
            DEAD_LETTERS.inc()
            reason = str(error)
            await patiently(lambda: self._subscription.dead_letter(delivery, reason=reason), "a dead letter")
            return
        except BlobMissing:
            log.info("request %s has been served before: its body is gone", request.request_id)
            await self._subscription.ack([delivery])
            return
        event_id = secrets.token_hex(16)
        reply = self._make_reply(request, event_id)
        try:
            ended, retry_delay = await self._attempt(delivery, request, body, reply)
            _OUTCOMES[ended.outcome].inc()
            if ended.outcome != "retried" or ended.reached_provider:
                await self._results.tell(request, event_id, delivery.attempt, received_at, ended)
        finally:
            await reply.close()
        if ended.outcome == "retried":
            nack = partial(self._subscription.nack, delivery, delay=retry_delay, reason=_reason(ended))
            await patiently(nack, f"request {request.request_id}, to be tried again")
        else:
            await self._subscription.ack([delivery])

    async def _body(self, request: RequestMessage) -> dict[str, Any]:
        data = bytes(request.data)
        if request.data_ref is not None:
            data = await patiently(partial(self._bus.get_blob, request.data_ref), f"request {request.request_id}")
        try:
            body = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadMessage(f"not a request message: {error} - in `$.data`") from error
        if not isinstance(body, dict):
            raise BadMessage("not a request message: Expected `object` - at `$.data`")
        return body

    async def _attempt(
        self, delivery: Delivery, request: RequestMessage, body: dict[str, Any], reply: Reply
    ) -> tuple[Ended, float]:
        if self._cancels.was_cancelled(request.request_id):
            return await self._end_early(reply, "cancelled", 499, CANCELLED), 0.0
        if request.deadline is not None and request.deadline <= time.time():
            return await self._end_early(reply, "expired", 504, EXPIRED), 0.0
        call = Call(request.request_id, body, request.stream)
        started_at = time.time()
        try:
            with CALL_SECONDS.time():
                answer = await self._call(call, reply)
        except CallFailed as failure:
            return await self._failed(delivery, reply, failure, started_at)
        if answer is None:
            used = call.progress.usage() or NO_USAGE
            return Ended("cancelled", True, started_at, time.time(), 499, used, estimated=True, error=CANCELLED), 0.0
        await reply.answer(answer.response)
        return _completed(answer, started_at), 0.0

    async def _call(self, call: Call, reply: Reply) -> Answer | None:
        """The backend's answer, or None if the request was cancelled on the way."""
        running = asyncio.ensure_future(self._backend.call(call, reply if call.stream else None))
        try:
            with self._cancels.running(call.request_id, running):
                return await running
        except asyncio.CancelledError:
            if self._cancels.was_cancelled(call.request_id):
                return None
            running.cancel()
            raise
        except CallFailed:
            raise
        except Exception as error:
            # One request's surprise must not take the others' worker away; it is tried elsewhere, then failed.
            # Where, not what: the text of a foreign error may quote the prompt.
            where = "".join(traceback.format_tb(error.__traceback__))
            log.critical("request %s: the backend raised %s\n%s", call.request_id, type(error).__name__, where)
            raise CallFailed(INTERNAL) from error

    async def _failed(
        self, delivery: Delivery, reply: Reply, failure: CallFailed, started_at: float
    ) -> tuple[Ended, float]:
        again = failure.retry is not Retry.NEVER and not reply.started and delivery.attempt < self._max_attempts
        if not again:
            await reply.fail(failure.status, failure.error)
        ended = Ended(
            "retried" if again else "failed",
            failure.reached_provider,
            started_at,
            time.time(),
            status=failure.status,
            error={key: failure.error.get(key) for key in ("type", "code")} if again else failure.error,
            usage=failure.usage or NO_USAGE,
            estimated=failure.usage is not None,
        )
        pause = delay(failure.retry, delivery.attempt, failure.retry_after, random.uniform) if again else 0.0
        return ended, pause

    async def _end_early(self, reply: Reply, outcome: Outcome, status: int, error: dict[str, Any]) -> Ended:
        await reply.fail(status, error)
        return Ended(outcome, False, None, time.time(), status=status, error=error)


def _completed(answer: Answer, started_at: float) -> Ended:
    return Ended(
        "completed",
        True,
        started_at,
        time.time(),
        usage=answer.usage,
        estimated=answer.estimated,
        first_token_at=answer.first_token_at,
        response=answer.response,
    )


def _reason(ended: Ended) -> str:
    return f"status {ended.status}, code {(ended.error or {}).get('code')}"
