"""What a billing event tells of its attempt: when, for whom, of what size, by whom it was answered.

Counts, names and parameters only: never a prompt, a completion, a key. Each field has a default: fields are added,
never renamed, removed or made required.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from bus.operations import Operation

# Of a text that others choose.
LONGEST_TEXT = 200


class Timestamps(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Unix times in seconds, in the order in which they happen; one that did not happen is missing.

    They come from the clocks of several machines: a gateway's, the broker's, the worker's.
    """

    submitted_at: Annotated[float | None, Meta(description="A gateway took the request.")] = None
    published_at: Annotated[float | None, Meta(description="The message was first published.")] = None
    received_at: Annotated[float, Meta(description="The worker received the message.")]
    admitted_at: Annotated[float | None, Meta(description="The node's limits admitted the request.")] = None
    started_at: Annotated[float | None, Meta(description="The call of the provider began.")] = None
    connected_at: Annotated[float | None, Meta(description="A connection was there, the request leaves.")] = None
    first_token_at: Annotated[float | None, Meta(description="The first part of the answer arrived.")] = None
    answered_at: Annotated[float | None, Meta(description="The provider's answer was complete.")] = None
    replied_at: Annotated[float | None, Meta(description="The answer had been sent to whoever asked.")] = None
    finished_at: Annotated[float, Meta(description="The attempt was over.")]


class Stages(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How long each stage of the attempt took, in seconds; a stage that did not happen is missing."""

    queued: Annotated[
        float | None,
        Meta(description="From the first publication to this worker; earlier attempts and their delays included."),
    ] = None
    admission: Annotated[float | None, Meta(description="Waiting until the node's limits admitted it.")] = None
    connecting: Annotated[float | None, Meta(description="Until a connection to the provider was there.")] = None
    first_token: Annotated[float | None, Meta(description="From there to the first part of a streamed answer.")] = (
        None
    )
    generating: Annotated[
        float | None,
        Meta(description="From the first part to the last; the whole wait where the answer came in one piece."),
    ] = None
    replying: Annotated[float | None, Meta(description="Sending the answer to whoever asked.")] = None


class Client(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who asked, as the request itself says: not verified, cut at 200 characters."""

    user_agent: Annotated[str | None, Meta(description="The client's User-Agent header.")] = None
    user: Annotated[str | None, Meta(description="OpenAI's `safety_identifier`, else `user`.")] = None
    address: Annotated[str | None, Meta(description="The first address in X-Forwarded-For.")] = None


class RequestDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The request's size and parameters; never its content."""

    operation: Annotated[
        Operation | None, Meta(description="Which call of the OpenAI API it is, by OpenTelemetry's names.")
    ] = None
    stream: Annotated[bool, Meta(description="Whether chunks were asked for.")] = False
    bytes: Annotated[int | None, Meta(description="Length of the OpenAI request body, in bytes.")] = None
    messages: Annotated[int | None, Meta(description="How many messages it holds.")] = None
    tools: Annotated[int | None, Meta(description="How many tools it defines.")] = None
    max_tokens: Annotated[int | None, Meta(description="`max_completion_tokens`, else `max_tokens`.")] = None
    temperature: Annotated[float | None, Meta(description="As given.")] = None
    reasoning_effort: Annotated[str | None, Meta(description="As given.")] = None


class Provider(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who answered, in the provider's own words, cut at 200 characters."""

    address: Annotated[str | None, Meta(description="host:port that was called; no path, no credentials.")] = None
    status: Annotated[int | None, Meta(description="HTTP status of its response.")] = None
    request_id: Annotated[str | None, Meta(description="Its x-request-id header.")] = None
    response_id: Annotated[str | None, Meta(description="The response's `id`.")] = None
    model: Annotated[str | None, Meta(description="The response's `model`: which version answered.")] = None
    system_fingerprint: Annotated[str | None, Meta(description="The response's `system_fingerprint`.")] = None
