"""Metrics of a coordinator. Labels are bounded: known models, statuses, outcomes."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

REQUESTS = Counter("agentos_gateway_requests", "Requests answered by the gateway.", ["model", "status"])
DURATION = Histogram("agentos_gateway_request_seconds", "From request to answer.", ["model"], buckets=SECONDS)
FIRST_CHUNK = Histogram(
    "agentos_gateway_first_chunk_seconds", "From request to the first chunk.", ["model"], buckets=SECONDS
)
WAITING = Gauge("agentos_gateway_waiting", "Requests that wait for an answer now.")
PUBLISHED = Counter("agentos_outbox_published", "Outbox rows published.", ["path"])
FOLDED = Counter("agentos_folded", "Result events folded, by what became of them.", ["outcome"])
NODE_EVENTS = Counter("agentos_node_events", "Workers that told of an outage or its end.", ["event", "reason"])
FROM_STORE = Counter("agentos_gateway_answers_from_store", "Answers whose frames were lost.")
INTERRUPTED = Counter("agentos_gateway_interrupted", "Streams that ended by name because frames were lost.")
