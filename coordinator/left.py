"""What a former owner left in the outbox: was it published?

A message moves one way only, so that whoever asks in the order of its way misses none:

    request topic ──► result topic ──► the node's result in the store

It is acked on a topic only when it has arrived at the next place. The last question, whether the store has the result
by now, is asked by `Store.keep_claims`, which also says which rows are still ours to publish.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from bus.port import Bus
from coordinator.tracing import traced
from store import OutboxRow


async def find_published(bus: Bus, rows: Sequence[OutboxRow], result_topic: str) -> set[int]:
    """The numbers of those rows that a broker has, or has had: publishing them again would repeat a call.

    Raises `BusError`.
    """
    missing = {key_of(row): row for row in rows}
    for topic, group in _by_topic(rows).items():
        await _strike_out(bus, topic, missing, group)
    await _strike_out(bus, result_topic, missing, list(missing.values()))
    left = {row.outbox_id for row in missing.values()}
    return {row.outbox_id for row in rows} - left


def key_of(row: OutboxRow) -> str:
    """Under which its message and its results are published."""
    return traced(row.envelope).request_id


async def _strike_out(bus: Bus, topic: str, missing: dict[str, OutboxRow], group: Collection[OutboxRow]) -> None:
    if group:
        since = min(row.created_at for row in group)
        for key in await bus.published(topic, since, [key_of(row) for row in group]):
            del missing[key]


def _by_topic(rows: Iterable[OutboxRow]) -> dict[str, list[OutboxRow]]:
    by_topic: dict[str, list[OutboxRow]] = defaultdict(list)
    for row in rows:
        by_topic[row.topic].append(row)
    return by_topic
