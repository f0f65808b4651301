"""Time and tokens of calls, as Prometheus reads them."""

from __future__ import annotations

import uuid

import pytest
from prometheus_client import REGISTRY

from bus.billing import Provider
from bus.messages import NodeType, Outcome, Usage
from bus.operations import PATHS
from core.labels import OTHER
from workernode.backends.base import Progress
from workernode.callmetrics import RESPONSE_MODELS, CallMetrics
from workernode.provider import provider_name
from workernode.results import Ended

DURATION = "gen_ai_client_operation_duration_seconds"
TOKENS = "gen_ai_client_token_usage"


@pytest.fixture
def model() -> str:
    return uuid.uuid4().hex


def ended(outcome: Outcome = "completed", *, said: str | None = "gpt-x", status: int = 200) -> Ended:
    progress = Progress(provider=lambda: Provider(model=said))
    return Ended(
        outcome, True, 100.0, 103.0, status=status, usage=Usage(5, 7, 12), answered_at=102.0, progress=progress
    )


def value(name: str, model: str, operation: str = "chat", **labels: str) -> float | None:
    common = {
        "gen_ai_operation_name": operation,
        "gen_ai_provider_name": "openai",
        "gen_ai_request_model": model,
        "gen_ai_response_model": "gpt-x",
    }
    return REGISTRY.get_sample_value(name, common | labels)


def test_a_call_is_counted_with_its_time_and_its_tokens(model: str) -> None:
    CallMetrics(model, "openai").observe("chat", ended())
    assert value(DURATION + "_sum", model, error_type="") == 2.0
    assert value(DURATION + "_bucket", model, error_type="", le="1.28") == 0
    assert value(DURATION + "_bucket", model, error_type="", le="2.56") == 1
    assert value(TOKENS + "_sum", model, gen_ai_token_type="input") == 5
    assert value(TOKENS + "_sum", model, gen_ai_token_type="output") == 7


def test_calls_are_told_apart_by_what_they_are_for(model: str) -> None:
    metrics = CallMetrics(model, "openai")
    metrics.observe("chat", ended())
    metrics.observe("embeddings", ended())
    metrics.observe("embeddings", ended())
    counted = {name: value(DURATION + "_count", model, name, error_type="") for name in PATHS}
    assert counted == {"chat": 1, "text_completion": None, "embeddings": 2}
    assert value(TOKENS + "_sum", model, "embeddings", gen_ai_token_type="input") == 10


@pytest.mark.parametrize(
    ("outcome", "status", "error"), [("retried", 429, "429"), ("failed", 500, "500"), ("cancelled", 499, "cancelled")]
)
def test_a_call_that_failed_is_told_apart(model: str, outcome: Outcome, status: int, error: str) -> None:
    CallMetrics(model, "openai").observe("chat", ended(outcome, status=status))
    assert value(DURATION + "_count", model, error_type=error) == 1
    assert value(DURATION + "_count", model, error_type="") is None


def test_an_attempt_without_a_call_counts_nothing(model: str) -> None:
    CallMetrics(model, "openai").observe("chat", Ended("expired", False, None, 1.0, status=504))
    assert value(DURATION + "_count", model, error_type="expired", gen_ai_response_model="") is None


def test_a_provider_cannot_make_labels_without_end(model: str) -> None:
    metrics = CallMetrics(model, "openai")
    for number in range(RESPONSE_MODELS + 3):
        metrics.observe("chat", ended(said=f"m{number}"))
    assert value(DURATION + "_count", model, error_type="", gen_ai_response_model="m0") == 1
    assert value(DURATION + "_count", model, error_type="", gen_ai_response_model=OTHER) == 3


@pytest.mark.parametrize(
    ("kind", "url", "name"),
    [
        ("remote", "https://api.openai.com/v1", "openai"),
        ("remote", "http://127.0.0.1:8000", "openai"),
        ("remote", "https://a.openai.azure.com/openai", "azure.ai.openai"),
        ("remote", "https://api.groq.com/openai/v1", "groq"),
        ("remote", "https://notgroq.com", "openai"),
        ("local", "", "llama.cpp"),
        ("mock", "", "mock"),
    ],
)
def test_a_provider_has_the_conventions_name(kind: NodeType, url: str, name: str) -> None:
    assert provider_name(kind, url) == name
