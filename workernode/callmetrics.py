"""What calls to the provider cost in time and tokens, under OpenTelemetry's names.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics; the labels take few values: one model and provider,
statuses, and at most 50 names by which providers call what answered.
"""

from __future__ import annotations

from prometheus_client import Histogram

from bus.operations import Operation
from core.labels import Names
from workernode.results import Ended

_LABELS = ["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_response_model"]
_TOKENS = Histogram(
    "gen_ai_client_token_usage",
    "Tokens of a call, in and out.",
    [*_LABELS, "gen_ai_token_type"],
    buckets=tuple(4**power for power in range(14)),
)
_SECONDS = Histogram(
    "gen_ai_client_operation_duration_seconds",
    "Duration of calls to the provider.",
    [*_LABELS, "error_type"],
    buckets=tuple(0.01 * 2**power for power in range(14)),
)
RESPONSE_MODELS = 50


def error_type(ended: Ended) -> str | None:
    """Why an attempt failed, a name of few: a status, or how it ended; None where it was answered."""
    if ended.outcome == "completed":
        return None
    return str(ended.status) if ended.outcome in ("failed", "retried") else ended.outcome


class CallMetrics:
    """Of one worker's calls. `provider`: see `workernode.provider`."""

    def __init__(self, model: str, provider: str) -> None:
        self._names = (provider, model)
        self._responding = Names(RESPONSE_MODELS)
        # Looked up once for each operation, response model and error: the look-up costs five times the counting.
        self._tokens: dict[tuple[Operation, str], tuple[Histogram, Histogram]] = {}
        self._seconds: dict[tuple[Operation, str, str], Histogram] = {}

    def observe(self, operation: Operation, ended: Ended) -> None:
        """Counts the call of an attempt that has ended, if it made one."""
        if ended.started_at is None:
            return
        provider = ended.progress.provider()
        model = self._responding.of(provider.model) if provider and provider.model else ""
        seconds = (ended.answered_at or ended.finished_at) - ended.started_at
        self._duration(operation, model, error_type(ended) or "").observe(max(seconds, 0.0))
        if ended.usage.total_tokens:
            tokens_in, tokens_out = self._usage(operation, model)
            tokens_in.observe(ended.usage.prompt_tokens)
            tokens_out.observe(ended.usage.completion_tokens)

    def _duration(self, operation: Operation, model: str, error: str) -> Histogram:
        series = self._seconds.get((operation, model, error))
        if series is None:
            series = _SECONDS.labels(operation, *self._names, model, error)
            self._seconds[operation, model, error] = series
        return series

    def _usage(self, operation: Operation, model: str) -> tuple[Histogram, Histogram]:
        series = self._tokens.get((operation, model))
        if series is None:
            both = (_TOKENS.labels(operation, *self._names, model, kind) for kind in ("input", "output"))
            series = self._tokens[operation, model] = (next(both), next(both))
        return series
