"""Metrics of a worker."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

OUTCOMES = Counter("agentos_worker_attempts", "Attempts ended.", ["outcome"])
DEAD_LETTERS = Counter("agentos_worker_dead_letters", "Messages that were no requests.")
BUSY = Gauge("agentos_worker_busy_slots", "Slots in use.")
UNREPLIED = Counter("agentos_worker_endpoint_replies_dropped", "Replies that an endpoint did not get.", ["reason"])
CALL_SECONDS = Histogram("agentos_worker_call_seconds", "Duration of backend calls.", buckets=SECONDS)
