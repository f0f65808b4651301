"""The wire messages: typed here, once, at the border. Unknown fields of incoming messages are ignored.

The request's and the result's formats are contracts that other programs rely on: fields are added, never
renamed or removed. Bodies of OpenAI requests and responses stay as they are, byte for byte (`msgspec.Raw`).
"""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from core.errors import BadMessage

# The default of raw fields: the field is missing. (A union of Raw and None cannot be decoded.)
MISSING = msgspec.Raw(b"")

Outcome = Literal["completed", "failed", "cancelled", "expired", "retried"]
NodeType = Literal["mock", "remote", "local"]


class TaskRef(msgspec.Struct, frozen=True, kw_only=True):
    """Which node of which task a request carries out, and the epoch under which it was dispatched."""

    task_id: int
    node_id: str
    global_epoch: int
    regional_epoch: int


class RequestMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request on `model-<name>`. Programs outside send the first five fields alone.

    `data` is the OpenAI request body; `{}` where `data_ref` names a blob that holds it. `deadline` and
    `submitted_at` are Unix times in seconds.
    """

    request_id: str
    data: msgspec.Raw
    stream: bool = False
    endpoint: str | None = None
    metadata: dict[str, Any] | None = None
    reply_channel: str | None = None
    task: TaskRef | None = None
    data_ref: str | None = None
    deadline: float | None = None
    submitted_at: float | None = None


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Token counts as OpenAI names them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, Any] | None = None
    completion_tokens_details: dict[str, Any] | None = None


NO_USAGE = Usage(0, 0, 0)


class Timestamps(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Unix times in seconds."""

    submitted_at: float | None = None
    received_at: float
    started_at: float | None = None
    first_token_at: float | None = None
    finished_at: float


class ResultMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one attempt, on the result topic. `event_id` names the attempt, everywhere and for ever.

    `response` is the OpenAI response body, sent only for requests that carry a `task`; `response_ref` names a
    blob that holds it where it is large. `error` is the OpenAI error object's inside, `status` its HTTP status.
    `reached_provider`: the attempt may have cost money. `estimated`: the usage was counted by us.
    """

    request_id: str
    usage: Usage
    model: str
    ai_model_name: str | None
    ai_model_namespace: str | None
    event_id: str
    outcome: Outcome
    node: str
    node_type: NodeType
    stream: bool
    reached_provider: bool
    estimated: bool = False
    attempt: int = 1
    status: int = 200
    error: dict[str, Any] | None = None
    response: msgspec.Raw = MISSING
    response_ref: str | None = None
    request_ref: str | None = None
    task: TaskRef | None = None
    timestamps: Timestamps | None = None


class ReplyFrame(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A piece of an answer on its way to the gateway that waits for it.

    `event_id` names the attempt and `seq` counts its frames from 0: a gap or a second attempt is seen.
    `data`: a chunk, a whole response, or an error object; missing on the bare end of a stream. `stored`: the
    answer is too large for a frame; it is in the store once it has been folded.
    """

    request_id: str
    event_id: str
    seq: int
    end: bool = False
    status: int = 200
    data: msgspec.Raw = MISSING
    stored: bool = False


class Control(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """To a model's workers: stop these requests, whether they run or still wait."""

    cancel: list[str]


class WorkerNotice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="worker"):
    """A worker tells that it serves a model. Sent at the start, when asked, and every few seconds."""

    node: str
    model: str
    node_type: NodeType
    slots: int
    leaving: bool = False


class RollCall(msgspec.Struct, frozen=True, tag="roll_call"):
    """A gateway asks every worker for its notice."""


class EndpointReply(msgspec.Struct, frozen=True, kw_only=True):
    """A plain answer to a request's `endpoint`."""

    request_id: str
    data: msgspec.Raw


class EndpointChunk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A piece of a streamed answer to a request's `endpoint`."""

    request_id: str
    end: bool
    data: msgspec.Raw = MISSING


_QUOTED_VALUE = re.compile(r"value (['\"]).*\1", re.DOTALL)
_encoder = msgspec.json.Encoder()
_request = msgspec.json.Decoder(RequestMessage)
_result = msgspec.json.Decoder(ResultMessage)
_frames = msgspec.json.Decoder(list[ReplyFrame])
_control = msgspec.json.Decoder(Control)
_notice: msgspec.json.Decoder[WorkerNotice | RollCall] = msgspec.json.Decoder(WorkerNotice | RollCall)


def encode(message: msgspec.Struct | list[ReplyFrame]) -> bytes:
    """JSON, as it goes onto the wire."""
    return _encoder.encode(message)


def _reason(error: Exception) -> str:
    """The decoder quotes values where a field takes only some: they are content, and are left out."""
    return _QUOTED_VALUE.sub("value", str(error))


def decode_request(body: bytes) -> RequestMessage:
    """Raises `BadMessage` with the place and the reason, never with the content."""
    try:
        message = _request.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage(f"not a request message: {_reason(error)}") from error
    if not bytes(message.data).lstrip().startswith(b"{"):
        raise BadMessage("not a request message: Expected `object` - at `$.data`")
    return message


def decode_result(body: bytes) -> ResultMessage:
    """Raises `BadMessage`."""
    try:
        return _result.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage(f"not a result message: {_reason(error)}") from error


def decode_frames(body: bytes) -> list[ReplyFrame]:
    """Raises `BadMessage`."""
    try:
        return _frames.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage(f"not reply frames: {_reason(error)}") from error


def decode_control(body: bytes) -> Control:
    """Raises `BadMessage`."""
    try:
        return _control.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage(f"not a control message: {_reason(error)}") from error


def decode_notice(body: bytes) -> WorkerNotice | RollCall:
    """Raises `BadMessage`."""
    try:
        return _notice.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage(f"not a worker notice: {_reason(error)}") from error
