"""How many calls a local model takes at once: what machine and model leave room for, and why it is not more.

Pure: readings come in, a capacity goes out.
"""

from __future__ import annotations

from dataclasses import dataclass

from workernode.slotsearch import SlotSearch

# Shares of the memory's limit: below the first a slot has no room to grow, below the second the kernel soon kills.
SHORT_SHARE = 0.08
LAST_SHARE = 0.03
# Per cent of the last ten seconds in which everything stood still for memory (PSI, full avg10).
SHORT_STALL = 5.0
LAST_STALL = 25.0
# Runnable processes for each CPU, the model's own threads included.
CROWDED = 8.0
# Of the context that all slots share: what is left is for those that run already. Beyond it llama.cpp fails them all.
FULL_CONTEXT = 0.75
# After a shortage: one more slot so often.
RISE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many calls a backend takes at once now; `reason`: why not more, empty where nothing limits it."""

    slots: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the machine, or the container, has left. Memory in bytes; `stalled` in per cent, None where not told.

    `load`: runnable processes for each CPU of the machine.
    """

    memory_left: int
    memory_limit: int
    stalled: float | None
    load: float


@dataclass(frozen=True, slots=True)
class Model:
    """What the model's server says of itself. `decodes`: its steps so far; `context` in tokens; None: not told."""

    busy: int
    decodes: int | None
    context_used: int
    context: int | None


class Resources:
    """Remembers what was short, so that slots come back one by one."""

    def __init__(self, slots: int) -> None:
        self._all = slots
        self._search = SlotSearch(slots)
        self._allowed = slots
        self._shortage = ""
        self._raised_at = float("-inf")
        self._capacity = Capacity(slots)

    def update(self, at: float, machine: Machine, model: Model | None) -> Capacity:
        """The capacity from now on. `at`: seconds. `model`: None while it does not tell."""
        limits = [self._by_shortage(at, machine)]
        if model is not None:
            limits.append(self._by_context(model))
            if model.decodes is not None:
                best = self._search.update(at, model.busy, model.decodes)
                limits.append(Capacity(best, "throughput: with more slots the model gives fewer tokens a second"))
        least = min(limits, key=lambda each: each.slots)
        if least.slots >= self._all:
            self._capacity = Capacity(self._all)
        elif least.slots != self._capacity.slots or _kind(least) != _kind(self._capacity):
            self._capacity = least  # else the figures in its reason would change with every reading
        return self._capacity

    def _by_shortage(self, at: float, machine: Machine) -> Capacity:
        share, shortage = _shortage(machine)
        target = max(1, int(self._all * share))
        if shortage:
            self._allowed, self._shortage, self._raised_at = min(self._allowed, target), shortage, at
        elif self._allowed < self._all and at - self._raised_at >= RISE_SECONDS:
            self._allowed, self._raised_at = self._allowed + 1, at
        return Capacity(self._allowed, self._shortage)

    def _by_context(self, model: Model) -> Capacity:
        """Room for those that run; for more while they use little of the context."""
        if not model.context or model.context_used < FULL_CONTEXT * model.context:
            return Capacity(self._all)
        used = f"context: {model.context_used} of {model.context} tokens are in use"
        return Capacity(min(self._all, max(1, model.busy)), used)


def _shortage(machine: Machine) -> tuple[float, str]:
    """The share of the slots that may stay, and what is short."""
    left = machine.memory_left / machine.memory_limit if machine.memory_limit else 1.0
    stalled = machine.stalled or 0.0
    if left < SHORT_SHARE:
        reason = f"memory: {_mebi(machine.memory_left)} of {_mebi(machine.memory_limit)} MiB are left"
        return 0.0 if left < LAST_SHARE else 0.5, reason
    if stalled >= SHORT_STALL:
        return 0.0 if stalled >= LAST_STALL else 0.5, f"memory: {stalled:.0f} % of the time is lost waiting for it"
    if machine.load > CROWDED:
        return 0.5, f"CPU: {machine.load:.1f} processes want each one"
    return 1.0, ""


def _mebi(count: int) -> int:
    return count >> 20


def _kind(capacity: Capacity) -> str:
    return capacity.reason.partition(":")[0]
