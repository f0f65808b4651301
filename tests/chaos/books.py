"""The fleet's ledger beside the provider's own book: every difference has a reason, or is an error. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.double.book import Entry

# A call that has ended is told of within this time, if the worker and the broker are well.
TOLD_SECONDS = 5.0

KILLED = "its worker was killed before it could tell"
UNREAD = "cut off before the provider had read it"


class LedgerRow(NamedTuple):
    """An attempt that may have cost money. `name`: its event_id, and its call's X-Client-Request-Id."""

    name: str
    request_id: str
    outcome: str


class Life(NamedTuple):
    """One process of a worker, which has a key of its own. Unix times in seconds."""

    key: str
    killed_at: float | None


class Outage(NamedTuple):
    """When something was away or stood still."""

    victim: str
    began_at: float
    ended_at: float


@dataclass
class Comparison:
    """`explained`: differences by reason. `errors`: what has none."""

    ledger: int
    calls: int
    explained: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)


def compare(
    ledger: Sequence[LedgerRow], calls: Sequence[Entry], lives: Mapping[str, Life], outages: Sequence[Outage]
) -> Comparison:
    """Row by row. `lives`: by key."""
    found = Comparison(len(ledger), len(calls))
    _names_are_unique((row.name for row in ledger), "rows of the ledger", found)
    _names_are_unique((entry.name for entry in calls), "calls", found)
    named = {entry.name for entry in calls}
    for row in ledger:
        if row.name not in named:
            _a_row_without_a_call(row, found)
    told = {row.name for row in ledger}
    for entry in calls:
        if entry.name not in told:
            _a_call_without_a_row(entry, lives.get(entry.key), outages, found)
    return found


def _names_are_unique(names: Iterable[str], what: str, found: Comparison) -> None:
    found.errors += [f"{count} {what} named {name!r}" for name, count in Counter(names).items() if count > 1]


def _a_row_without_a_call(row: LedgerRow, found: Comparison) -> None:
    if row.outcome in ("cancelled", "abandoned", "retried"):
        found.explained[UNREAD] += 1
    else:
        found.errors.append(f"{row}: the provider has no such call")


def _a_call_without_a_row(entry: Entry, life: Life | None, outages: Sequence[Outage], found: Comparison) -> None:
    if life is None:
        found.errors.append(f"{entry}: nobody has this key")
    elif life.killed_at is None:
        found.errors.append(f"{entry}: not in the ledger, and its worker was not killed")
    elif not _was_untold(entry, life.killed_at, outages):
        found.errors.append(
            f"{entry}: not in the ledger, {life.killed_at - (entry.ended_at or 0):.1f} s before the kill"
        )
    else:
        found.explained[KILLED] += 1


def _was_untold(entry: Entry, killed_at: float, outages: Sequence[Outage]) -> bool:
    """Whether the worker may have had no time to tell of it: what stood in its way does not count."""
    # The provider reads what the worker sent before its end.
    if entry.began_at > killed_at + TOLD_SECONDS:
        return False
    ended_at = killed_at if entry.ended_at is None else entry.ended_at
    hindered = sum(max(0.0, min(each.ended_at, killed_at) - max(each.began_at, ended_at)) for each in outages)
    return killed_at - ended_at - hindered <= TOLD_SECONDS


def repeated(ledger: Iterable[LedgerRow]) -> int:
    """Calls that were made although the request had been completed by another."""
    completed = Counter(row.request_id for row in ledger if row.outcome == "completed")
    return sum(count - 1 for count in completed.values())
