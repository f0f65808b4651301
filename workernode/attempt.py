"""One request at one worker: from delivery to settlement.

    delivery ── not a request ────────────────────► dead letter
       │
       ├── took too many workers down ────────────► told to the client ─► billing event ─► dead letter
       ├── cancelled, too late, refused endpoint ─► told to the client ─► billing event ─► ack
       ├── a retry beyond the budget ─────────────► back to the topic, for later
       │
       ├── dropped from the queue for a batch ────► told to the client ─► billing event ─► ack
       │
       └── admitted ─ call ── answered, or failed for good ─► told to the client ─► billing event ─► ack
              │        ├── may succeed elsewhere, or later ──► billing event `retried` ─► nack with a delay
              │        ├── cancelled by the gateway ─────────► billing event `cancelled` ─► ack
              │        └── the process stood still ──────────► billing event `abandoned` ─► back to the topic
              └── not now ─► back to the topic at once

Nothing is acked before its billing event is confirmed by the broker. A part of an answer that a client has seen
cannot be unseen: such an attempt is not made again.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, get_args

import msgspec

from bus.messages import Outcome, RequestMessage, decode_request
from bus.operations import operation_of
from bus.patience import patiently
from bus.port import Bus, Delivery, Subscription
from core.errors import BadMessage, BlobMissing
from workernode.backends.base import Call
from workernode.callmetrics import CallMetrics
from workernode.calls import Calls, Work
from workernode.cancels import Cancels
from workernode.classify import Retry, delay, error_object
from workernode.endings import CANCELLED, Times, cancelled, completed, failed, given_back, never_called
from workernode.endpoint_policy import EndpointPolicy
from workernode.errors import CallFailed, Dropped, LeaseLost, NotNow
from workernode.intake import Intake
from workernode.lease import Lease, LeasedReply
from workernode.metrics import DEAD_LETTERS, OUTCOMES
from workernode.reply import Reply
from workernode.results import Ended, Results
from workernode.tracing import Traces

log = logging.getLogger(__name__)

EXPIRED = error_object("The request's deadline passed before it was served.", "timeout_error", "deadline_exceeded")
UNREACHABLE = error_object(
    "The request could not be served within its deadline; it was given up before that.",
    "timeout_error",
    "deadline_unreachable",
)
QUARANTINED = error_object(
    "The request ended the process of every worker that served it; it is not tried again.",
    "server_error",
    "request_quarantined",
)
# Looked up once: for each request it would cost as much as the rest of its counting.
_OUTCOMES = {outcome: OUTCOMES.labels(outcome) for outcome in get_args(Outcome)}
# What becomes of the message.
Settle = Callable[[Delivery], Awaitable[None]]


class Attempts:
    """Serves deliveries, each in a task of its own."""

    def __init__(
        self,
        *,
        bus: Bus,
        subscription: Subscription,
        calls: Calls,
        intake: Intake,
        results: Results,
        cancels: Cancels,
        metrics: CallMetrics,
        traces: Traces,
        endpoints: EndpointPolicy,
        make_lease: Callable[[], Lease],
        make_reply: Callable[[RequestMessage, str], Reply],
        max_attempts: int,
        max_crashes: int,
    ) -> None:
        self._bus = bus
        self._subscription = subscription
        self._calls = calls
        self._intake = intake
        self._results = results
        self._cancels = cancels
        self._metrics = metrics
        self._traces = traces
        self._endpoints = endpoints
        self._make_lease = make_lease
        self._make_reply = make_reply
        self._max_attempts = max_attempts
        self._max_crashes = max_crashes

    async def serve(self, delivery: Delivery) -> None:
        """Serves one delivery to its end. Raises `BusError` only where the bus is closed or refuses us."""
        lease, received_at = self._make_lease(), time.time()
        try:
            request = decode_request(delivery.body)
            body, size = await self._body(request)
        except BadMessage as error:
            log.warning("to the dead letters: %s", error)
            DEAD_LETTERS.inc()
            await self._bury(delivery, reason=str(error))
            return
        except BlobMissing:
            log.info("request %s has been served before: its body is gone", request.request_id)
            await self._subscription.ack([delivery])
            return
        trace = self._traces.begin(request, delivery, operation_of(body))
        work = Work(delivery, request, body, size, secrets.token_hex(16), received_at, lease, trace)
        reply = LeasedReply(self._make_reply(request, work.event_id), lease)
        try:
            ended, settle = await self._attempt(work, reply)
            await self._tell(work, ended)
        finally:
            await reply.close()
        if ended.admitted_at is not None:
            self._intake.told()
        await settle(delivery)

    async def _body(self, request: RequestMessage) -> tuple[dict[str, Any], int]:
        data = bytes(request.data)
        if request.data_ref is not None:
            data = await patiently(partial(self._bus.get_blob, request.data_ref), f"request {request.request_id}")
        try:
            body = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadMessage(f"not a request message: {error} - in `$.data`") from error
        if not isinstance(body, dict):
            raise BadMessage("not a request message: Expected `object` - at `$.data`")
        return body, len(data)

    async def _tell(self, work: Work, ended: Ended) -> None:
        _OUTCOMES[ended.outcome].inc()
        self._metrics.observe(operation_of(work.body), ended)
        work.trace.end(ended)
        if ended.outcome in ("retried", "abandoned") and not ended.reached_provider:
            return
        await self._results.tell(
            work.request,
            work.event_id,
            work.delivery.attempt,
            work.received_at,
            ended,
            published_at=work.delivery.published_at,
            body=work.body,
            size=work.size,
            traceparent=work.trace.traceparent,
        )

    async def _attempt(self, work: Work, reply: Reply) -> tuple[Ended, Settle]:
        call, times = Call(work.request.request_id, work.body, work.request.stream), Times()
        try:
            return await self._outcome(work, call, times, reply)
        except NotNow as error:
            log.debug("request %s goes back: %s", work.request.request_id, error)
            return given_back("retried", call, times), self._subscription.give_back
        except LeaseLost as error:
            log.warning("request %s goes back: %s", work.request.request_id, error)
            return given_back("abandoned", call, times), self._subscription.give_back
        except asyncio.CancelledError:
            # The node leaves. What the call has cost so far is told, and the message goes back, at once.
            return given_back("retried", call, times), self._subscription.give_back

    async def _outcome(self, work: Work, call: Call, times: Times, reply: Reply) -> tuple[Ended, Settle]:
        if early := await self._not_called(work, reply):
            return early
        try:
            answer = await self._calls.make(work, call, times, reply)
            times.answered_at = time.time()
            if answer is None:
                return cancelled(call, times), self._ack
            await reply.answer(answer.response)
            return completed(answer, call, times), self._ack
        except CallFailed as failure:
            return await self._failed(work, call, times, reply, failure)
        except Dropped:
            return await self._early(reply, "expired", 504, UNREACHABLE), self._ack

    async def _not_called(self, work: Work, reply: Reply) -> tuple[Ended, Settle] | None:
        """How it ends without a call; None if it is to be made."""
        request, delivery = work.request, work.delivery
        if delivery.crashes >= self._max_crashes:
            log.error("request %s took %d workers down: to the dead letters", request.request_id, delivery.crashes)
            reason = f"its worker's process ended {delivery.crashes} times while it was served"
            return await self._early(reply, "quarantined", 500, QUARANTINED), partial(self._bury, reason=reason)
        if self._cancels.was_cancelled(request.request_id):
            return await self._early(reply, "cancelled", 499, CANCELLED), self._ack
        if work.too_late(time.time()):
            return await self._early(reply, "expired", 504, EXPIRED), self._ack
        if refusal := self._refused_endpoint(request):
            log.warning("request %s: its endpoint %s; no call is made", request.request_id, refusal)
            error = error_object(f"The endpoint {refusal}.", "invalid_request_error", "endpoint_refused")
            return never_called("failed", 400, error), self._ack
        if delivery.attempt > 1 and (wait := self._intake.waits()) > 0:
            again = partial(self._again, pause=wait + random.uniform(0, wait), counted=False, reason="retry budget")
            return never_called("retried"), again
        return None

    def _refused_endpoint(self, request: RequestMessage) -> str | None:
        if request.reply_channel is not None or not request.endpoint:
            return None
        return self._endpoints.refusal(request.endpoint)

    async def _failed(
        self, work: Work, call: Call, times: Times, reply: Reply, failure: CallFailed
    ) -> tuple[Ended, Settle]:
        verdict, attempt = failure.verdict, work.delivery.attempt
        times.answered_at = time.time()
        tries_left = attempt < self._max_attempts or not verdict.counted
        if verdict.retry is not Retry.NEVER and tries_left and not reply.started:
            # After a rate limit it is this node that has to wait; who has another key need not.
            asked = None if verdict.retry is Retry.LATER else verdict.retry_after
            pause = delay(verdict.retry, attempt, asked, random.uniform)
            if not work.too_late(time.time() + pause):
                reason = f"status {verdict.status}, code {verdict.error.get('code')}"
                settle = partial(self._again, pause=pause, counted=verdict.counted, reason=reason)
                return failed(failure, call, times, again=True), settle
        await reply.fail(verdict.status, verdict.error)
        return failed(failure, call, times, again=False), self._ack

    @staticmethod
    async def _early(reply: Reply, outcome: Outcome, status: int, error: dict[str, Any]) -> Ended:
        await reply.fail(status, error)
        return never_called(outcome, status, error)

    async def _ack(self, delivery: Delivery) -> None:
        await self._subscription.ack([delivery])

    async def _again(self, delivery: Delivery, *, pause: float, counted: bool, reason: str) -> None:
        nack = partial(self._subscription.nack, delivery, delay=pause, reason=reason, counted=counted)
        await patiently(nack, "a message, to be tried again")

    async def _bury(self, delivery: Delivery, *, reason: str) -> None:
        await patiently(lambda: self._subscription.dead_letter(delivery, reason=reason), "a dead letter")
