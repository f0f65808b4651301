from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.messages import Reason
from workernode.classify import (
    Loss,
    Retry,
    Upstream,
    delay,
    error_object,
    lost,
    redact,
    refused,
)
from workernode.limits.headers import LONGEST_WAIT

NOW = 1_750_000_000.0


def refusal(code: str | None, kind: str | None = None) -> dict[str, Any]:
    return {"message": "m", "type": kind, "param": None, "code": code}


# status, code, type → again?, the client's status, is the node unusable?
TABLE = [
    (400, "context_length_exceeded", None, Retry.NEVER, 400, False),
    (400, None, "invalid_request_error", Retry.NEVER, 400, False),
    (400, "billing_hard_limit_reached", None, Retry.ELSEWHERE, 502, True),
    (401, "invalid_api_key", None, Retry.ELSEWHERE, 502, True),
    (402, None, None, Retry.ELSEWHERE, 502, True),
    (403, None, None, Retry.ELSEWHERE, 502, True),
    (404, "model_not_found", None, Retry.ELSEWHERE, 404, True),
    (408, None, None, Retry.BACK_OFF, 408, False),
    (409, None, None, Retry.BACK_OFF, 409, False),
    (413, None, None, Retry.NEVER, 413, False),
    (422, None, None, Retry.NEVER, 422, False),
    (429, "insufficient_quota", None, Retry.ELSEWHERE, 502, True),
    (429, None, "insufficient_quota", Retry.ELSEWHERE, 502, True),
    (429, "billing_not_active", None, Retry.ELSEWHERE, 502, True),
    (429, "spend_limit_reached", None, Retry.ELSEWHERE, 502, True),
    (429, "rate_limit_exceeded", None, Retry.LATER, 429, False),
    (429, None, None, Retry.LATER, 429, False),
    (429, "slow_down", None, Retry.SLOWER, 429, False),
    (500, None, "server_error", Retry.BACK_OFF, 500, False),
    (501, None, "not_supported_error", Retry.NEVER, 501, False),
    (502, None, None, Retry.BACK_OFF, 502, False),
    (503, "slow_down", None, Retry.SLOWER, 503, False),
    (503, None, "overloaded_error", Retry.SLOWER, 503, False),
    (503, None, None, Retry.BACK_OFF, 503, False),
    (504, None, None, Retry.BACK_OFF, 504, False),
    (529, None, None, Retry.SLOWER, 529, False),
]


@pytest.mark.parametrize(("status", "code", "kind", "retry", "told", "unavailable"), TABLE)
def test_the_table(
    status: int, code: str | None, kind: str | None, retry: Retry, told: int, unavailable: bool
) -> None:
    verdict = refused(status, refusal(code, kind), {}, now=NOW)
    assert (verdict.retry, verdict.status, verdict.node_unavailable) == (retry, told, unavailable)


@pytest.mark.parametrize("status", [400, 404, 413, 422, 429, 500, 503])
def test_the_clients_own_errors_pass_through_field_by_field(status: int) -> None:
    error = {"message": "m", "type": "t", "param": "p", "code": "c", "new_field": [1]}
    assert refused(status, error, {}, now=NOW).error == error


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (401, refusal("invalid_api_key"), "upstream_authentication_failed"),
        (403, None, "upstream_permission_denied"),
        (404, None, "upstream_not_found"),
        (429, refusal("insufficient_quota"), "upstream_quota_exceeded"),
    ],
)
def test_the_nodes_own_troubles_are_told_as_the_gateways(
    status: int, error: dict[str, Any] | None, code: str
) -> None:
    verdict = refused(status, error, {}, now=NOW)
    assert (verdict.status, verdict.error["type"], verdict.error["code"]) == (502, "upstream_error", code)


def test_a_request_above_the_limit_of_a_minute_does_not_come_again() -> None:
    """It would pause the node each time, and never be served."""
    large = refusal("rate_limit_exceeded", "tokens") | {"message": "Request too large for m on tokens per min (TPM)."}
    verdict = refused(429, large, {"retry-after": "1"}, now=NOW)
    assert (verdict.retry, verdict.status, verdict.error, verdict.retry_after) == (Retry.NEVER, 429, large, None)


@pytest.mark.parametrize(
    ("status", "code", "counted", "upstream"),
    [
        (429, "rate_limit_exceeded", False, Upstream.NOTHING),
        (429, "slow_down", False, Upstream.NOTHING),
        (503, "slow_down", True, Upstream.NOTHING),
        (500, None, True, Upstream.FAILED),
        (400, None, True, Upstream.ANSWERED),
        (409, None, True, Upstream.ANSWERED),
        (401, None, True, Upstream.FAULT),
    ],
)
def test_what_a_refusal_costs_the_request_and_says_of_the_upstream(
    status: int, code: str | None, counted: bool, upstream: Upstream
) -> None:
    verdict = refused(status, refusal(code), {}, now=NOW)
    assert (verdict.counted, verdict.upstream) == (counted, upstream)


@pytest.mark.parametrize(
    ("status", "code", "reason", "sure"),
    [
        (401, "invalid_api_key", "AuthenticationError", True),
        (402, None, "APIQuotaExceededError", True),
        (403, None, "AuthenticationError", False),
        (404, "model_not_found", "ConfigurationError", False),
        (429, "insufficient_quota", "APIQuotaExceededError", True),
    ],
)
def test_what_management_hears_of_a_fault_of_the_nodes(
    status: int, code: str | None, reason: Reason, sure: bool
) -> None:
    fault = refused(status, refusal(code), {}, now=NOW).fault
    assert fault is not None
    assert (fault.reason, fault.sure) == (reason, sure)


def test_a_missing_object_is_the_requests_own_fault() -> None:
    verdict = refused(404, refusal("not_found"), {}, now=NOW)
    assert (verdict.retry, verdict.fault) == (Retry.NEVER, None)


@pytest.mark.parametrize("status", [204, 301, 307, 399, 600, 999])
def test_a_status_that_is_no_answer_is_a_bad_gateway(status: int) -> None:
    assert refused(status, None, {}, now=NOW) == lost(Loss.NOT_AN_ANSWER)


@pytest.mark.parametrize(
    ("status", "asked", "retry"),
    [
        (429, "false", Retry.NEVER),
        (500, "false", Retry.NEVER),
        (418, "true", Retry.BACK_OFF),
        (418, "", Retry.NEVER),
        (400, "true", Retry.NEVER),
        (401, "true", Retry.ELSEWHERE),
    ],
)
def test_x_should_retry_is_heard_but_not_for_what_is_hopeless(status: int, asked: str, retry: Retry) -> None:
    assert refused(status, refusal("c"), {"x-should-retry": asked}, now=NOW).retry is retry


def test_the_nodes_key_does_not_leave_in_an_error() -> None:
    error = refusal("c") | {"message": "bad header: Bearer secret-key-of-ours", "param": "secret-key-of-ours"}
    told = refused(400, error, {}, now=NOW, secret="secret-key-of-ours").error
    assert "secret" not in str(told)


@pytest.mark.parametrize("text", ["key sk-proj-abc123DEF456 is wrong", "Authorization: Bearer abcdefgh12345"])
def test_what_looks_like_a_key_is_redacted(text: str) -> None:
    assert "[redacted]" in redact(text, "")


def test_an_ordinary_sentence_is_not_redacted() -> None:
    sentence = "This model's maximum context length is 8192 tokens; the key is to ask for less."
    assert redact(sentence, "") == sentence


@given(st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "x-should-retry"]), st.text()))
def test_no_header_confuses_the_verdict(headers: dict[str, str]) -> None:
    verdict = refused(429, None, headers, now=NOW)
    assert verdict.retry_after is None or 0 <= verdict.retry_after <= LONGEST_WAIT


@pytest.mark.parametrize("kind", Loss)
def test_a_loss_is_told_as_the_gateways_own_and_tried_again_unless_it_would_last_as_long(kind: Loss) -> None:
    verdict = lost(kind)
    assert verdict.status in (502, 504)
    assert verdict.error == error_object(verdict.error["message"], "upstream_error", verdict.error["code"])
    assert (verdict.retry is Retry.NEVER) == (kind is Loss.CALL_TIME)


def highest(low: float, high: float) -> float:
    return high


def test_back_off_doubles_up_to_its_limit_with_full_jitter() -> None:
    assert [delay(Retry.BACK_OFF, attempt, None, highest) for attempt in (1, 2, 3, 99)] == [0.5, 1, 2, 30]
    assert [delay(Retry.SLOWER, attempt, None, highest) for attempt in (1, 2, 99)] == [2, 4, 60]
    assert delay(Retry.BACK_OFF, 5, None, lambda low, high: low) == 0


def test_a_wait_asked_for_is_kept_and_spread_a_little() -> None:
    assert delay(Retry.LATER, 1, 4.0, lambda low, high: low) == 4.0
    assert delay(Retry.LATER, 1, 4.0, highest) == 4.4
    assert delay(Retry.LATER, 1, 400.0, highest) == 401.0
