"""Makes a result event fit to be stored. Pure.

What a worker reports is a fact that must not be lost, nor hold up the results folded with it: a count, a time or a
character that Postgres cannot hold is brought to the nearest that it can.
"""

from __future__ import annotations

from collections.abc import Callable

from store.records import Folded

LARGEST = 2**63 - 1
LARGEST_STATUS = 2**31 - 1
YEAR_9999 = 253402300799.0


def text(value: str) -> str:
    """Without NUL and half surrogate pairs, which are no text to Postgres."""
    if value.isascii() and "\0" not in value:
        return value
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def optional_text(value: str | None) -> str | None:
    """The same, where there is any."""
    return None if value is None else text(value)


def count(value: int) -> int:
    """From 0 to the largest bigint."""
    return min(max(value, 0), LARGEST)


def status(value: int) -> int:
    """From 0 to the largest integer."""
    return min(max(value, 0), LARGEST_STATUS)


def key(value: int | None) -> int | None:
    """A number that no row has, in place of one that no row can have."""
    return value if value is None or 0 < value <= LARGEST else 0


def moment(value: float | None) -> float | None:
    """Unix seconds from 1970 to 9999; others are unknown (None)."""
    return value if value is not None and 0 <= value <= YEAR_9999 else None


def place(event: Folded) -> tuple[int, str] | None:
    """The node that the event is about, as stored; None if it is about none."""
    if event.task_id is None or event.node_id is None:
        return None
    return event.task_id, text(event.node_id)


def tail(event: Folded) -> str:
    """The result; where a document will be named at its front, what follows that name."""
    result = text(event.result)
    if event.response is None:
        return result
    rest = result.strip()[1:].lstrip()
    return rest if rest == "}" else "," + rest


# One array for each, in the order of the arguments of store/fold.py's statement.
COLUMNS: tuple[Callable[[Folded], object], ...] = (
    lambda event: text(event.event_id),
    lambda event: text(event.request_id),
    lambda event: event.final,
    lambda event: event.reached_provider,
    lambda event: key(event.task_id),
    lambda event: optional_text(event.node_id),
    lambda event: count(event.epoch.global_epoch),
    lambda event: count(event.epoch.regional_epoch),
    tail,
    lambda event: optional_text(event.response),
    lambda event: text(event.model),
    lambda event: text(event.node),
    lambda event: text(event.node_type),
    lambda event: text(event.outcome),
    lambda event: status(event.status),
    lambda event: count(event.prompt_tokens),
    lambda event: count(event.completion_tokens),
    lambda event: count(event.total_tokens),
    lambda event: count(event.cached_tokens),
    lambda event: count(event.reasoning_tokens),
    lambda event: event.estimated,
    lambda event: optional_text(event.ai_model_name),
    lambda event: optional_text(event.ai_model_namespace),
    lambda event: moment(event.started_at),
    lambda event: moment(event.finished_at),
)


def columns(batch: list[Folded]) -> list[list[object]]:
    """The batch as one array for each column."""
    return [[column(event) for event in batch] for column in COLUMNS]
