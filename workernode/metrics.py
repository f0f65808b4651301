"""Metrics of a worker."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

OUTCOMES = Counter("agentos_worker_attempts", "Attempts ended.", ["outcome"])
DEAD_LETTERS = Counter("agentos_worker_dead_letters", "Messages that were no requests.")
ALLOWED = Gauge("agentos_worker_allowed_slots", "Messages that the node may hold now.")
BUSY = Gauge("agentos_worker_busy_slots", "Slots in use.")
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
BATCH_QUEUE = Gauge("agentos_worker_batch_queue", "Requests that wait for a batch.")
BATCH_SIZE = Histogram(
    "agentos_worker_batch_size", "Requests served together.", buckets=[2**power for power in range(11)]
)
BATCH_WAIT = Histogram("agentos_worker_batch_wait_seconds", "From a request's coming to its batch.", buckets=_SECONDS)
BATCH_SECONDS = Histogram("agentos_worker_batch_seconds", "What a batch takes.", buckets=_SECONDS)
DROPS = Counter("agentos_worker_drops", "Requests dropped, as they could not be served in time any more.")
