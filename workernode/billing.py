"""What a billing event tells beside the usage: stages, client, size and parameters, provider. Counts, never content.

Pure: the request, the times and what the provider said of itself come in; parts of the event go out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from bus.billing import LONGEST_TEXT, Client, Provider, RequestDetails, Stages, Timestamps
from bus.operations import operation_of


def stages_of(times: Timestamps) -> Stages:
    """How long each stage took, in seconds. Clocks that disagree make no stage negative."""
    ended = times.answered_at or times.finished_at
    whole = times.connected_at if times.answered_at else None
    return Stages(
        queued=_between(times.published_at or times.submitted_at, times.received_at),
        admission=_between(times.received_at, times.admitted_at),
        connecting=_between(times.started_at, times.connected_at),
        first_token=_between(times.connected_at, times.first_token_at),
        generating=_between(times.first_token_at or whole, ended),
        replying=_between(times.answered_at, times.replied_at),
    )


def _between(begin: float | None, end: float | None) -> float | None:
    return None if begin is None or end is None else round(max(end - begin, 0.0), 6)


def client_of(metadata: Mapping[str, Any] | None, body: Mapping[str, Any]) -> Client | None:
    """Who asked, by the request's own words; None if it says nothing of it."""
    headers = _headers(metadata)
    told = Client(
        user_agent=_text(headers.get("user-agent")),
        user=_text(body.get("safety_identifier")) or _text(body.get("user")),
        address=_text(headers.get("x-forwarded-for", "").partition(",")[0].strip()),
    )
    return None if told == _NOBODY else told


_NOBODY = Client()


def _headers(metadata: Mapping[str, Any] | None) -> dict[str, str]:
    """The first value of each header, names in lower case; what has another form is left out."""
    headers = metadata.get("headers") if metadata else None
    if not isinstance(headers, dict):
        return {}
    values = (
        (name.lower(), value[0] if isinstance(value, list) and value else value) for name, value in headers.items()
    )
    return {name: value for name, value in values if isinstance(value, str)}


def details_of(body: Mapping[str, Any], *, stream: bool, size: int | None) -> RequestDetails:
    """The request's size and parameters. `size`: of its body, in bytes. What has a wrong type is left out."""
    return RequestDetails(
        operation=operation_of(body) if body else None,
        stream=stream,
        bytes=size,
        messages=_length(body.get("messages")),
        tools=_length(body.get("tools")),
        max_tokens=_count(body.get("max_completion_tokens")) or _count(body.get("max_tokens")),
        temperature=_number(body.get("temperature")),
        reasoning_effort=_text(body.get("reasoning_effort")),
    )


def provider_of(
    address: str, status: int | None = None, request_id: str | None = None, head: Mapping[str, Any] | None = None
) -> Provider:
    """Who answered. `head`: the OpenAI response, or a stream's chunks put together."""
    head = head or {}
    return Provider(
        address=address,
        status=status,
        request_id=_text(request_id),
        response_id=_text(head.get("id")),
        model=_text(head.get("model")),
        system_fingerprint=_text(head.get("system_fingerprint")),
    )


def address_of(url: str) -> str:
    """host:port of an http(s) address, without credentials and path."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _text(value: Any) -> str | None:
    return value[:LONGEST_TEXT] if isinstance(value, str) and value else None


def _length(value: Any) -> int | None:
    return len(value) if isinstance(value, list) else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**63 else None


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and abs(value) < 1e9 else None
