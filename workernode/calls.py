"""One call of an attempt: in its turn, within the limits, cancelled when asked."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial
from typing import Any

from bus.messages import RequestMessage
from bus.port import Delivery
from workernode.backends.base import CLIENT_REQUEST_ID, Answer, Backend, Call
from workernode.batching.batches import Batches
from workernode.cancels import Cancels
from workernode.classify import Retry, Verdict, error_object
from workernode.endings import Times
from workernode.errors import BackendUnavailable, CallFailed, Dropped, LeaseLost, NotNow
from workernode.intake import Intake, Permit
from workernode.lease import Lease
from workernode.reply import Reply
from workernode.tracing import AttemptTrace

log = logging.getLogger(__name__)

# A message whose consumer died so often is served alone, then not again: whoever dies beside it would be suspected.
SUSPECT_AFTER = 2
INTERNAL = Verdict(
    Retry.BACK_OFF, 500, error_object("The worker failed to serve the request.", "server_error", "internal_error")
)


@dataclass(frozen=True, slots=True)
class Work:
    """One delivery and what it asks for. `size`: bytes of the OpenAI request. Times are Unix times in seconds."""

    delivery: Delivery
    request: RequestMessage
    body: dict[str, Any]
    size: int
    event_id: str
    received_at: float
    lease: Lease
    trace: AttemptTrace

    @property
    def serve_by(self) -> float | None:
        """By when its answer must be there, for those who need it after this."""
        return self.request.serve_by or self.request.deadline

    def too_late(self, at: float) -> bool:
        """Whether its deadline has passed at that time."""
        return self.request.deadline is not None and self.request.deadline <= at


class Calls:
    """Makes the calls of one node."""

    def __init__(self, backend: Backend, batches: Batches, intake: Intake, cancels: Cancels) -> None:
        self._backend = backend
        self._batches = batches
        self._intake = intake
        self._cancels = cancels

    async def make(self, work: Work, call: Call, times: Times, reply: Reply) -> Answer | None:
        """The backend's answer, or None if the request was cancelled on the way.

        Raises `CallFailed`, `NotNow`, `Dropped`, `LeaseLost`.
        """
        running = asyncio.ensure_future(self._call(work, call, times, reply))
        try:
            with self._cancels.running(call.request_id, running):
                return await running
        except asyncio.CancelledError:
            if self._cancels.was_cancelled(call.request_id):
                return None
            running.cancel()
            await asyncio.wait([running])
            raise

    async def _call(self, work: Work, call: Call, times: Times, reply: Reply) -> Answer:
        async with self._intake.company.entered(alone=work.delivery.crashes >= SUSPECT_AFTER):
            permit = await self._intake.admit(call)
            try:
                if self._batches.on:
                    return await self._permitted(call, permit, self._in_batch(work, call, times, permit, reply))
                self._begin(work, call, times, permit)
                return await self._permitted(call, permit, self._backend.call(call, reply if call.stream else None))
            finally:
                self._intake.left(permit, call.progress)

    def _in_batch(self, work: Work, call: Call, times: Times, permit: Permit, reply: Reply) -> Awaitable[Answer]:
        begin = partial(self._begin, work, call, times, permit)
        return self._batches.call(call, reply if call.stream else None, work.serve_by, begin)

    def _begin(self, work: Work, call: Call, times: Times, permit: Permit) -> None:
        times.admitted_at = time.time()
        self._intake.begins()
        work.lease.check()
        permit.began = time.monotonic()
        times.started_at = time.time()
        call.headers[CLIENT_REQUEST_ID] = work.event_id
        call.headers.update(work.trace.calling())

    async def _permitted(self, call: Call, permit: Permit, answering: Awaitable[Answer]) -> Answer:
        try:
            answer = await answering
        except CallFailed as failure:
            self._intake.failed(permit, failure)
            raise
        except BackendUnavailable as error:
            raise NotNow(str(error)) from error
        except (LeaseLost, NotNow, Dropped):
            raise
        except Exception as error:
            # One request's surprise must not take the others' worker away; it is tried elsewhere, then failed.
            # Where, not what: the text of a foreign error may quote the prompt.
            where = "".join(traceback.format_tb(error.__traceback__))
            log.critical("request %s: the backend raised %s\n%s", call.request_id, type(error).__name__, where)
            raise CallFailed(INTERNAL) from error
        self._intake.answered(permit, answer)
        return answer
