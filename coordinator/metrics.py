"""Metrics of a coordinator. Labels are bounded: known models, statuses, outcomes."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from bus.operations import Operation
from core.labels import Names

# Names, units and buckets: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics
_OPERATION_SECONDS = tuple(0.01 * 2**power for power in range(14))
_FIRST_TOKEN_SECONDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_TOKEN_SECONDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
_LABELS = ["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"]
# What a gateway offers is AgentOS; who is behind it, its workers tell.
_PROVIDER = "agentos"

_DURATION = Histogram(
    "gen_ai_server_request_duration_seconds",
    "From request to the end of the answer.",
    [*_LABELS, "error_type"],
    buckets=_OPERATION_SECONDS,
)
_FIRST_TOKEN = Histogram(
    "gen_ai_server_time_to_first_token_seconds",
    "From a streamed request to its first chunk.",
    _LABELS,
    buckets=_FIRST_TOKEN_SECONDS,
)
_PER_TOKEN = Histogram(
    "gen_ai_server_time_per_output_token_seconds",
    "Between two tokens of a streamed answer.",
    [*_LABELS, "gen_ai_response_model"],
    buckets=_TOKEN_SECONDS,
)
REQUESTS = Counter("agentos_gateway_requests", "Requests answered by the gateway.", ["model", "status"])
WAITING = Gauge("agentos_gateway_waiting", "Requests that wait for an answer now.")
PUBLISHED = Counter("agentos_outbox_published", "Outbox rows published.", ["path"])
FOLDED = Counter("agentos_folded", "Result events folded, by what became of them.", ["outcome"])
NODE_EVENTS = Counter("agentos_node_events", "Workers that told of an outage or its end.", ["event", "reason"])
FROM_STORE = Counter("agentos_gateway_answers_from_store", "Answers whose frames were lost.")
INTERRUPTED = Counter("agentos_gateway_interrupted", "Streams that ended by name because frames were lost.")

SUBMITTED = Counter("agentos_tasks_submitted", "Task graphs taken.")
FINISHED = Counter("agentos_tasks_finished", "Task graphs that have ended, by how.", ["state"])
OWNED = Gauge("agentos_tasks_owned", "Task graphs that this coordinator owns.")
DISPATCHED = Counter("agentos_nodes_dispatched", "Nodes of task graphs whose dispatch was committed.")
TAKEN_OVER = Counter("agentos_tasks_taken_over", "Task graphs whose owner had died.")
REFUSED = Counter("agentos_refused_writes", "Writes of an owner that the store refused by its epoch.", ["write"])
STEPPED_DOWN = Counter("agentos_stepped_down", "Times that this coordinator lost its lease.")

_PIPELINE_OFFERED = Counter("agentos_pipeline_offered", "Requests that came to a pipeline's door.", ["pipeline"])
_PIPELINE_ENDED = Counter(
    "agentos_pipeline_ended",
    "Requests of pipelines by what became of them: on_time, late, dropped, failed; refused at the door.",
    ["pipeline", "how"],
)

# Models that programs outside name on the result topic, and those that providers say they are.
_models, _response_models = Names(1000), Names(100)


# Looked up once for each set of labels, of which there are few.
@cache
def requests(model: str, status: int) -> Counter:
    """Requests answered so."""
    return REQUESTS.labels(model, status)


@cache
def duration(operation: Operation, model: str, error: str) -> Histogram:
    """Seconds of requests that ended so; `error` is empty where all was well."""
    return _DURATION.labels(operation, _PROVIDER, model, error)


@cache
def first_token(operation: Operation, model: str) -> Histogram:
    """Seconds to the first chunk of a stream."""
    return _FIRST_TOKEN.labels(operation, _PROVIDER, model)


@cache
def _per_token(operation: Operation, model: str, response_model: str) -> Histogram:
    return _PER_TOKEN.labels(operation, _PROVIDER, model, response_model)


def streamed(operation: Operation, model: str, response_model: str, tokens: int, seconds: float) -> None:
    """Counts a streamed answer of so many tokens, `seconds` between the first and the last."""
    if tokens > 1:
        _per_token(operation, _models.of(model), _response_models.of(response_model)).observe(seconds / (tokens - 1))


@cache
def _pipeline_ended(pipeline: str, how: str) -> Counter:
    return _PIPELINE_ENDED.labels(pipeline, how)


def pipeline_offered(pipeline: str) -> None:
    """A request has come."""
    _PIPELINE_OFFERED.labels(pipeline).inc()


def pipeline_ended(pipeline: str, how: str) -> None:
    """A request has ended so."""
    _pipeline_ended(pipeline, how).inc()
