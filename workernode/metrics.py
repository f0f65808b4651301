"""Metrics of a worker."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

OUTCOMES = Counter("agentos_worker_attempts", "Attempts ended.", ["outcome"])
DEAD_LETTERS = Counter("agentos_worker_dead_letters", "Messages that were no requests.")
ALLOWED = Gauge("agentos_worker_allowed_slots", "Messages that the node may hold now.")
BUSY = Gauge("agentos_worker_busy_slots", "Slots in use.")
