"""Whether a node takes messages, and what management hears of it.

    WELL ── K failures of the upstream in a row ───────────────► OUTAGE ── for long ──► tells `unavailable`, once
      │                                                            │
      ├── a fault that only a person can mend ─► tells ─► FAULT ◄──┤ (found by a probe)
      │                                             │              │
      │                              probe due: the free check     │
      │                                             ▼              ▼
      │                                          CHECKING ── does not answer ──► waits, twice as long
      │                                             │ answers
      │                                             ▼
      │                                            TRIAL: one message ── fails ──► waits, twice as long
      └────── tells `recovered` if told ◄─────── answered

Pauses for a rate limit are not here but in `rates`: a node that is asked to wait is well.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bus.messages import Reason

# Failures of the upstream without a success between them: an outage.
OUTAGE_AFTER = 5
# A fault that one request alone may have caused is the node's after so many in a row.
CONFIRMED_AFTER = 3
# Seconds of an outage after which management hears of it.
TELL_AFTER = 60.0
# Seconds of the first and of the longest wait between probes.
FIRST_PROBE = 1.0
LONGEST_PROBE = 60.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What only a person can mend. `message`: a sentence for one. `sure`: no single request can have caused it."""

    reason: Reason
    message: str
    sure: bool = True


@dataclass(frozen=True, slots=True)
class Tell:
    """What management is to hear: once per state, never per message. `since`: monotonic seconds."""

    event: Literal["unavailable", "recovered"]
    reason: Reason
    message: str
    since: float


OUTAGE = Fault("GeneralError", "The upstream of this model has not answered any call for more than a minute.")
RECOVERED = "The node serves again."


class State(enum.Enum):
    """Where a node stands; see the drawing."""

    WELL = "well"
    WAITING = "waiting"  # OUTAGE or FAULT, until the next probe
    CHECKING = "checking"
    TRIAL = "trial"


class Availability:
    """The state of one node. `now`: monotonic seconds. `uniform`: `random.uniform`, or a test's own."""

    def __init__(self, uniform: Callable[[float, float], float]) -> None:
        self.state = State.WELL
        self._uniform = uniform
        self._failures = 0  # of the upstream, in a row
        self._doubts = 0  # faults in a row
        self._since = 0.0
        self._told: list[Reason] = []
        self._probes = 0
        self._probe_at = 0.0
        self._trial_at = float("-inf")

    def allowed(self) -> int | None:
        """How many messages may be held; None: as many as other limits allow."""
        if self.state is State.WELL:
            return None
        return 1 if self.state is State.TRIAL else 0

    @property
    def unavailable(self) -> bool:
        """Whether management was told, and no message is being tried."""
        return bool(self._told) and self.state in (State.WAITING, State.CHECKING)

    def probe_in(self, now: float) -> float | None:
        """Seconds until the backend's check is due; None if none is."""
        return max(0.0, self._probe_at - now) if self.state is State.WAITING else None

    def checking(self) -> None:
        """The backend's check begins."""
        self.state = State.CHECKING

    def checked(self, now: float, fault: Fault | None = None, *, answered: bool) -> Tell | None:
        """The check has ended. If the backend answered, one message is tried."""
        if self.state is not State.CHECKING:
            return None
        if answered:
            self.state, self._trial_at = State.TRIAL, now
            return self._overdue(now)
        self._wait(now)
        return self._overdue(now) if fault is None else self._tell(fault)

    def answered(self, *, sent_at: float) -> Tell | None:
        """The upstream has answered a call, be it that it refused it for the request's own fault.

        `sent_at`, here and below: when the call began. Calls from before a trial say nothing about what comes after.
        """
        if sent_at < self._trial_at:
            return None
        self._failures = self._doubts = 0
        if self.state is not State.TRIAL:
            return None
        self.state = State.WELL
        self._probes = 0
        told, self._told = self._told, []
        return Tell("recovered", told[-1], RECOVERED, self._since) if told else None

    def failed(self, now: float, *, sent_at: float) -> Tell | None:
        """The upstream could not serve a call."""
        if sent_at < self._trial_at:
            return None
        self._failures += 1
        if self.state is State.WELL and self._failures >= OUTAGE_AFTER:
            self._begin(now)
        elif self.state is State.TRIAL:
            self._wait(now)
        return self._overdue(now)

    def faulted(self, now: float, fault: Fault, *, sent_at: float) -> Tell | None:
        """The upstream refused a call for a fault of the node's."""
        if sent_at < self._trial_at:
            return None
        self._doubts += 1
        believed = fault.sure or self._doubts >= CONFIRMED_AFTER
        if self.state is State.TRIAL:
            self._wait(now)
        elif self.state is State.WELL and believed:
            self._begin(now)
        return self._tell(fault) if believed else None

    def _begin(self, now: float) -> None:
        self._since = now
        self._wait(now)

    def _wait(self, now: float) -> None:
        longest = min(LONGEST_PROBE, FIRST_PROBE * 2 ** min(self._probes, 16))
        self._probes += 1
        self._probe_at = now + self._uniform(longest / 2, longest)
        self.state = State.WAITING

    def _overdue(self, now: float) -> Tell | None:
        lasting = self.state is not State.WELL and now - self._since >= TELL_AFTER
        return self._tell(OUTAGE) if lasting and not self._told else None

    def _tell(self, fault: Fault) -> Tell | None:
        if fault.reason in self._told:
            return None
        self._told.append(fault.reason)
        return Tell("unavailable", fault.reason, fault.message, self._since)
