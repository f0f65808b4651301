"""The figures of a running load by name, for programs that plot them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from workload.snapshot import Snapshot


class Scalar(NamedTuple):
    """`stage`: whose it is; empty for the whole."""

    name: str
    value: float
    stage: str = ""


def scalars(now: Snapshot) -> Iterator[Scalar]:
    """Those that are known. Parts are from 0 to 1, times in seconds."""
    whole = {
        "offered_per_second": now.offered_per_second,
        "open": now.open,
        "goodput": now.goodput,
        "goodput_so_far": now.goodput_so_far,
        "drop_rate": now.dropped,
        "latency_p50_seconds": now.latency.p50 if now.latency else None,
        "latency_p99_seconds": now.latency.p99 if now.latency else None,
    }
    yield from (Scalar(name, value) for name, value in whole.items() if value is not None)
    for id, stage in now.stages.items():
        own = {
            "stage_waiting": stage.waiting,
            "stage_outstanding": stage.outstanding,
            "stage_batch_size": stage.batch_size,
            "stage_workers": stage.workers,
        }
        yield from (Scalar(name, value, id) for name, value in own.items())
