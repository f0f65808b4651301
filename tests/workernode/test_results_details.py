"""What a billing event tells beside the usage: pure functions, fed with what clients and providers may send."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.billing import LONGEST_TEXT, Client, Provider, RequestDetails, Stages, Timestamps
from workernode.billing import address_of, client_of, details_of, provider_of, stages_of

STREAMED = Timestamps(
    submitted_at=100.0,
    published_at=100.5,
    received_at=101.5,
    admitted_at=103.5,
    started_at=103.75,
    connected_at=104.0,
    first_token_at=106.0,
    answered_at=110.0,
    replied_at=110.25,
    finished_at=110.5,
)


def test_each_stage_has_its_time() -> None:
    assert stages_of(STREAMED) == Stages(
        queued=1.0, admission=2.0, connecting=0.25, first_token=2.0, generating=4.0, replying=0.25
    )


@pytest.mark.parametrize(
    ("missing", "stages"),
    [
        # no gateway, no broker's time
        (("submitted_at", "published_at"), {"queued": None}),
        (("published_at",), {"queued": 1.5}),
        # an answer in one piece
        (("first_token_at",), {"first_token": None, "generating": 6.0}),
        # a stream that broke: it generated until the end
        (("answered_at", "replied_at"), {"generating": 4.5, "replying": None}),
        # nothing was answered
        (
            ("first_token_at", "answered_at", "replied_at"),
            {"first_token": None, "generating": None, "replying": None},
        ),
        # never connected
        (
            ("connected_at", "first_token_at", "answered_at"),
            {"connecting": None, "first_token": None, "generating": None, "replying": None},
        ),
    ],
)
def test_a_stage_that_did_not_happen_is_missing(missing: tuple[str, ...], stages: dict[str, float | None]) -> None:
    times = msgspec.structs.replace(STREAMED, **dict.fromkeys(missing))
    assert stages_of(times) == msgspec.structs.replace(stages_of(STREAMED), **stages)


def test_clocks_that_disagree_make_no_stage_negative() -> None:
    assert stages_of(Timestamps(submitted_at=9.0, received_at=8.0, finished_at=10.0)).queued == 0.0


@pytest.mark.parametrize(
    ("metadata", "body", "client"),
    [
        (None, {}, None),
        ({}, {}, None),
        ({"headers": {"Accept": ["*/*"]}}, {}, None),
        ({"headers": {"User-Agent": ["curl/8", "x"]}}, {}, Client(user_agent="curl/8")),
        ({"headers": {"USER-AGENT": "curl/8"}}, {}, Client(user_agent="curl/8")),
        ({"headers": {"x-forwarded-for": ["192.0.2.1, 10.0.0.1"]}}, {}, Client(address="192.0.2.1")),
        (None, {"user": "u"}, Client(user="u")),
        (None, {"user": "u", "safety_identifier": "s"}, Client(user="s")),
        (None, {"user": 1}, None),
        ({"headers": ["x"]}, {}, None),
        ({"headers": {"User-Agent": [], "X-Forwarded-For": [1]}}, {}, None),
    ],
)
def test_a_client_is_who_its_request_says(metadata: Any, body: dict[str, Any], client: Client | None) -> None:
    assert client_of(metadata, body) == client


def test_a_requests_size_and_parameters_are_told() -> None:
    body = {"messages": [{}, {}], "tools": [{}], "max_tokens": 7, "temperature": 1, "reasoning_effort": "low"}
    assert details_of(body, stream=True, size=99) == RequestDetails(
        operation="chat",
        stream=True,
        bytes=99,
        messages=2,
        tools=1,
        max_tokens=7,
        temperature=1.0,
        reasoning_effort="low",
    )
    assert details_of({"max_tokens": 7, "max_completion_tokens": 8}, stream=False, size=2).max_tokens == 8


@pytest.mark.parametrize(
    "body",
    [
        {"messages": "x", "tools": {}, "max_tokens": "7", "temperature": "hot", "reasoning_effort": 3},
        {"max_tokens": -1, "temperature": 10**400},
        {"max_tokens": 2**70, "temperature": True},
    ],
)
def test_what_has_a_wrong_type_is_left_out(body: dict[str, Any]) -> None:
    assert details_of(body, stream=False, size=None) == RequestDetails(operation="chat")


def test_what_a_request_is_for_is_told_unless_nothing_is_known_of_it() -> None:
    told = [details_of(body, stream=False, size=None).operation for body in ({"prompt": "x"}, {"input": "x"}, {})]
    assert told == ["text_completion", "embeddings", None]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://api.openai.com", "api.openai.com:443"),
        ("http://user:secret@host/openai", "host:80"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_an_address_has_no_credentials(url: str, address: str) -> None:
    assert address_of(url) == address


def test_a_provider_is_told_in_its_own_words_at_a_bounded_length() -> None:
    head = {"id": "chatcmpl-1", "model": "gpt-4o-2024-08-06", "system_fingerprint": None, "choices": ["SECRET"]}
    assert provider_of("h:1", 200, "req-1", head) == Provider(
        address="h:1", status=200, request_id="req-1", response_id="chatcmpl-1", model="gpt-4o-2024-08-06"
    )
    assert provider_of("h:1") == Provider(address="h:1")
    assert len(provider_of("h:1", head={"model": "m" * 10_000}).model or "") == LONGEST_TEXT


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["messages", "tools", "max_tokens", "max_completion_tokens", "temperature", "user"])
headers = st.dictionaries(st.sampled_from(["User-Agent", "x-forwarded-for"]) | st.text(), json_values, max_size=3)


@given(st.dictionaries(names, json_values), st.none() | st.fixed_dictionaries({"headers": json_values | headers}))
def test_no_request_breaks_its_billing(body: dict[str, Any], metadata: dict[str, Any] | None) -> None:
    told = msgspec.json.encode([details_of(body, stream=False, size=0), client_of(metadata, body)])
    assert len(json.loads(told)) == 2


@given(st.text(min_size=20, max_size=30))
def test_content_is_never_told(text: str) -> None:
    content = f"SECRET{text}"
    body = {"messages": [{"role": "user", "content": content}], "tools": [content], "metadata": {"a": content}}
    told = msgspec.json.encode([details_of(body, stream=True, size=9), client_of(None, body)])
    assert b"SECRET" not in told
