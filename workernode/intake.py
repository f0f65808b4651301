"""How many messages this node may hold, and when a call may begin: the rules of `limits`, at work.

    subscription ◄─ allow ── Intake ◄── what each call met: an answer, headers, a failure
                               │
                               └──► `changes`: unavailable, recovered, for management

A message that waits here is one that no other node can take: so messages are taken when a call may begin.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from functools import partial

from bus.port import Subscription
from workernode.backends.base import Answer, Backend, Call, Progress
from workernode.batching.batches import Batches
from workernode.classify import Retry, Upstream
from workernode.company import Company
from workernode.errors import BackendUnavailable, CallFailed, NotNow
from workernode.limits.availability import Availability, State, Tell
from workernode.limits.budget import RetryBudget
from workernode.limits.concurrency import Concurrency
from workernode.limits.estimate import Estimate, Estimator
from workernode.limits.rates import RateLimits
from workernode.metrics import ALLOWED

# A message that would have to wait for longer goes back to the topic, for nodes with other keys.
LONGEST_HOLD_SECONDS = 2.0
# How often what nobody announces, the backend's capacity, is looked at.
LOOK_SECONDS = 1.0


class Permit:
    """A call that may be made. `began`: monotonic seconds. `used`: its tokens, once they are known."""

    __slots__ = ("began", "estimate", "used")

    def __init__(self, estimate: Estimate | None, began: float) -> None:
        self.estimate = estimate
        self.began = began
        self.used: int | None = None


class Intake:
    """One node's. `rates`: None for backends without a provider's limits. `moved` hears that `available` changed.

    `held`: messages that are not settled. A node that batches takes as many as have begun, and have not been told of,
    and `batches` have room for: what only waits here is none that another node could serve.
    """

    def __init__(
        self, backend: Backend, rates: RateLimits | None, batches: Batches, moved: Callable[[], None]
    ) -> None:
        self.company = Company(self.update)
        self.changes: asyncio.Queue[Tell] = asyncio.Queue()
        self.rates = rates
        self.held = 0
        self.available = True
        self._moved = moved
        self._backend = backend
        self._batches = batches
        self._begun = 0
        self._subscription: Subscription | None = None
        self._allowed = backend.slots
        self._calling = 0
        self._availability = Availability(random.uniform)
        self._budget = RetryBudget()
        self._concurrency = Concurrency(backend.slots)
        self._estimator = Estimator()
        self._timer: asyncio.TimerHandle | None = None
        ALLOWED.set_function(lambda: self._allowed)

    async def keep(self, subscription: Subscription) -> None:
        """Keeps `subscription` within what may be held, and probes an unavailable upstream, for ever."""
        self._subscription = subscription
        try:
            self.update()
            await self._check_first()
            while True:
                self.update()
                wait = self._availability.probe_in(time.monotonic())
                if wait == 0:
                    await self._probe()
                    continue
                await asyncio.sleep(LOOK_SECONDS if wait is None else min(wait, LOOK_SECONDS))
        finally:
            self._subscription = None
            self._cancel_timer()

    def update(self) -> None:
        """Reckons anew; called when a message has come or gone, and when a call has ended."""
        if self._subscription is None:
            return
        now = time.monotonic()
        allowed = self._room()
        if self.rates is not None and (rated := self.held + self.rates.admissible(now)) < allowed:
            allowed = rated
            self._look_again_in(self.rates.wait(now))
        if allowed != self._allowed:
            self._allowed = allowed
            self._subscription.allow(allowed)

    def released(self) -> None:
        """A message has been settled."""
        self.held -= 1
        if self.rates is not None:
            self.update()

    def begins(self) -> None:
        """A message is served from now on."""
        self._begun += 1

    def told(self) -> None:
        """A message that has been served is about to be settled."""
        self._begun -= 1
        if self._batches.on:
            self.update()

    @property
    def has_room(self) -> bool:
        """Whether a message would be taken now."""
        return self.held < self._allowed

    def waits(self) -> float:
        """Seconds that a retry must wait for the retry budget; 0 if it may be made, and then it is counted."""
        return self._budget.retry(time.monotonic())

    async def admit(self, call: Call) -> Permit:
        """Waits until the call may be made. Raises `NotNow` if that is not soon. Every permit is to be given back."""
        self._must_be_open()
        estimate = None if self.rates is None else await self._reserve(call, self.rates)
        now = time.monotonic()
        self._calling += 1
        self._budget.request(now)
        if estimate is not None and self.rates is not None:
            call.progress.heard = partial(self._heard, self.rates, estimate)
        return Permit(estimate, now)

    def _heard(self, rates: RateLimits, estimate: Estimate, headers: Mapping[str, str]) -> None:
        rates.heard(time.monotonic(), headers, estimate.tokens)
        self.update()

    def left(self, permit: Permit, progress: Progress) -> None:
        """The call is over, however it ended."""
        self._calling -= 1
        if self.rates is None or permit.estimate is None:
            return
        if permit.used is None and (usage := progress.usage()) is not None:
            permit.used = usage.total_tokens
        self.rates.settle(time.monotonic(), permit.estimate.tokens, permit.used or 0)

    def answered(self, permit: Permit, answer: Answer) -> None:
        """The upstream has served a call."""
        now = time.monotonic()
        usage = answer.usage
        permit.used = usage.total_tokens
        self._concurrency.succeeded(
            now,
            sent_at=permit.began,
            in_flight=self._calling + 1,
            output_tokens=None if self._batches.on else usage.completion_tokens,
        )
        if permit.estimate is not None:
            self._estimator.learn(permit.estimate, usage.prompt_tokens, usage.completion_tokens)
        self._hear(self._availability.answered(sent_at=permit.began))

    def failed(self, permit: Permit, failure: CallFailed) -> None:
        """The upstream has not served a call."""
        now, verdict = time.monotonic(), failure.verdict
        if verdict.retry is Retry.SLOWER or (verdict.upstream is Upstream.FAILED and verdict.status == 504):
            self._concurrency.overloaded(now, sent_at=permit.began)
        if verdict.retry is Retry.LATER and self.rates is not None:
            self.rates.refused(now, verdict.retry_after)
        if verdict.fault is not None:
            self._hear(self._availability.faulted(now, verdict.fault, sent_at=permit.began))
        elif verdict.upstream is Upstream.FAILED:
            self._hear(self._availability.failed(now, sent_at=permit.began))
        elif verdict.upstream is Upstream.ANSWERED:
            self._hear(self._availability.answered(sent_at=permit.began))
        self.update()

    def check(self) -> None:
        """Returns if the upstream serves, as far as the last calls tell. Raises `BackendUnavailable`."""
        if self._availability.state is not State.WELL:
            raise BackendUnavailable("the upstream does not serve; it is probed until it does")

    def _room(self) -> int:
        if self.company.closed:
            return 0
        room = min(self._backend.capacity().slots, self._concurrency.limit)
        if self._batches.on:
            room = min(room, self._begun + self._batches.room())
        allowed = self._availability.allowed()
        return room if allowed is None else min(room, allowed)

    def _must_be_open(self) -> None:
        allowed = self._availability.allowed()
        if allowed is not None and self._calling >= allowed:
            raise NotNow("the upstream of this node does not serve")

    async def _reserve(self, call: Call, rates: RateLimits) -> Estimate:
        """Until the call's time has come, but not for longer than is fair to nodes with other keys."""
        now = time.monotonic()
        _bear(rates.paused(now))
        estimate = self._estimator.estimate(call.body)
        wait = rates.reserve(now, estimate.tokens)
        self.update()
        try:
            while wait > 0:
                await asyncio.sleep(wait)
                wait = rates.paused(time.monotonic())  # another call may have been refused meanwhile
                _bear(wait)
                self._must_be_open()
        except (NotNow, asyncio.CancelledError):
            rates.settle(time.monotonic(), estimate.tokens, 0)
            raise
        return estimate

    async def _check_first(self) -> None:
        """A key that is refused is told of before a request meets it."""
        began = time.monotonic()
        try:
            await self._backend.check()
        except BackendUnavailable as error:
            if error.fault is not None:
                self._hear(self._availability.faulted(time.monotonic(), error.fault, sent_at=began))

    async def _probe(self) -> None:
        self._availability.checking()
        try:
            await self._backend.check()
        except BackendUnavailable as error:
            told = self._availability.checked(time.monotonic(), error.fault, answered=False)
        else:
            told = self._availability.checked(time.monotonic(), answered=True)
        self._hear(told)

    def _hear(self, told: Tell | None) -> None:
        if told is not None:
            self.changes.put_nowait(told)
        available = not self._availability.unavailable
        if available != self.available:
            self.available = available
            self._moved()

    def _look_again_in(self, seconds: float) -> None:
        self._cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.update)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _bear(pause: float) -> None:
    if pause > LONGEST_HOLD_SECONDS:
        raise NotNow(f"the provider asks for {pause:.0f} s without calls")
