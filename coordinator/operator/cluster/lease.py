"""Who leads, as a Lease of Kubernetes tells it. Pure: the clock is an argument.

As in client-go's leader election: a candidate takes a Lease over when it has seen no change of it for as long as the
holder has asked for, by the candidate's own clock, whatever the clocks of the others say. The holder stops leading
before that: it counts from the moment at which it has *sent* its last renewal, and its allowance is two thirds.
https://pkg.go.dev/k8s.io/client-go/tools/leaderelection
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, Literal

Object = dict[str, Any]
Move = Literal["make", "take", "renew", "wait"]

# The longest between two looks at the Lease: who releases it is followed that soon.
LOOK_SECONDS = 2.0


class Candidacy:
    """One candidate's view of a Lease. `identity`: like no other's. `seconds`: how long the Lease is to hold.

    All times are of one clock that goes on while the machine sleeps.
    """

    def __init__(self, identity: str, seconds: float) -> None:
        self.identity = identity
        self.look_every = min(seconds / 7.5, LOOK_SECONDS)
        self._seconds = seconds
        self._allowance = seconds * 2 / 3
        self._seen: Object | None = None
        self._changed_at = -math.inf
        self._held_until = -math.inf

    def saw(self, lease: Object | None, now: float) -> None:
        """The Lease is so; None: there is none."""
        if lease is None or self._seen is None or _version(lease) != _version(self._seen):
            self._changed_at = now
        self._seen = lease

    def move(self, now: float) -> Move:
        """What is to be done about what was seen last."""
        if self._seen is None:
            return "make"
        spec = self._seen.get("spec") or {}
        holder = spec.get("holderIdentity")
        if holder == self.identity:
            return "renew"
        allowed = spec.get("leaseDurationSeconds") or 0
        return "take" if not holder or now - self._changed_at > allowed else "wait"

    def wins(self, lease: Object, sent: float, now: float) -> None:
        """A write of the Lease that was sent at `sent` was accepted, and the Lease is so since."""
        self.saw(lease, now)
        self._held_until = sent + self._allowance

    def holds(self, now: float) -> bool:
        """Whether this candidate leads."""
        return now < self._held_until

    def left(self, now: float) -> float:
        """Seconds for which it leads yet, if the Lease is not renewed."""
        return max(0.0, self._held_until - now)

    def lose(self) -> None:
        """It leads no more."""
        self._held_until = -math.inf

    def written(self, name: str, now: datetime, *, release: bool = False) -> Object:
        """The Lease as this candidate would have it: its own, or nobody's. Refused by the API server if another has
        written meanwhile.
        """
        seen = self._seen or {"metadata": {"name": name}, "spec": {}}
        before = seen.get("spec") or {}
        own = before.get("holderIdentity") == self.identity
        spec = before | {
            "holderIdentity": "" if release else self.identity,
            "leaseDurationSeconds": 1 if release else math.ceil(self._seconds),
            "renewTime": _micro_time(now),
        }
        if not own:
            spec["acquireTime"] = spec["renewTime"]
            spec["leaseTransitions"] = before.get("leaseTransitions", -1) + 1
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": seen["metadata"], "spec": spec}


def _version(lease: Object) -> str:
    version: str = lease["metadata"]["resourceVersion"]
    return version


def _micro_time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
