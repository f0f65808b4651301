"""The wire messages: typed here, once, at the border. Unknown fields of incoming messages are ignored.

The request's and the result's formats are contracts that other programs rely on: fields are added, never
renamed or removed. Bodies of OpenAI requests and responses stay as they are, byte for byte (`msgspec.Raw`).
"""

from __future__ import annotations

import contextlib
import re
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from bus.billing import Client, Provider, RequestDetails, Stages, Timestamps
from core.errors import BadMessage

# The default of raw fields: the field is missing. (A union of Raw and None cannot be decoded.)
MISSING = msgspec.Raw(b"")

Outcome = Literal["completed", "failed", "cancelled", "expired", "retried", "quarantined", "abandoned"]
NodeType = Literal["mock", "remote", "local"]
# The five reasons that management knows.
Reason = Literal[
    "ConfigurationError",
    "AuthenticationError",
    "MessageQueueConnectionError",
    "APIQuotaExceededError",
    "GeneralError",
]


class TaskRef(msgspec.Struct, frozen=True, kw_only=True):
    """Which node of which task a request carries out, and the epoch under which it was dispatched."""

    task_id: int
    node_id: str
    global_epoch: int
    regional_epoch: int


class RequestMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request on `model-<name>`. Programs outside send the first five fields alone.

    `data` is the OpenAI request body; `{}` where `data_ref` names a blob that holds it. `deadline`, `serve_by` and
    `submitted_at` are Unix times in seconds; by `serve_by` the answer must be there, or the stages of the pipeline
    that come after cannot make the deadline. `traceparent` is W3C's; the message's property of that name means the
    same where the field is missing.
    """

    request_id: str
    data: Annotated[msgspec.Raw, Meta(description="The OpenAI request body, unchanged.")]
    stream: bool = False
    endpoint: str | None = None
    metadata: dict[str, Any] | None = None
    reply_channel: str | None = None
    task: TaskRef | None = None
    data_ref: str | None = None
    deadline: float | None = None
    serve_by: float | None = None
    submitted_at: float | None = None
    traceparent: str | None = None


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Token counts as OpenAI names them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, Any] | None = None
    completion_tokens_details: dict[str, Any] | None = None


NO_USAGE = Usage(0, 0, 0)


class ResultMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The billing event of one attempt, on the result topic: what became of it, what it used, how long it took.

    `event_id` names the attempt, everywhere and for ever: the same event may come twice.
    """

    request_id: str
    usage: Usage
    model: Annotated[str, Meta(description="MODEL_NAME of the worker.")]
    ai_model_name: Annotated[str | None, Meta(description="Name of the AIModel in Kubernetes.")]
    ai_model_namespace: Annotated[str | None, Meta(description="Its namespace.")]
    event_id: Annotated[str, Meta(description="Names the attempt; the same in every copy of this event.")]
    outcome: Annotated[
        Outcome,
        Meta(
            description="completed; failed: the client was told why; cancelled by whoever asked; expired: the "
            "deadline passed; retried: given back, another attempt follows; quarantined: it took its worker down "
            "too often and is not tried again; abandoned: another worker has the request, nobody was told."
        ),
    ]
    node: Annotated[str, Meta(description="The worker, host and process id.")]
    node_type: NodeType
    stream: Annotated[bool, Meta(description="Whether chunks were asked for.")]
    reached_provider: Annotated[bool, Meta(description="Whether the attempt may have cost money.")]
    estimated: Annotated[bool, Meta(description="Whether the usage was counted here, not by the provider.")] = False
    attempt: Annotated[int, Meta(description="Which delivery of the request this was, from 1.")] = 1
    status: Annotated[int, Meta(description="HTTP status that the client was told, or would have been.")] = 200
    error: Annotated[dict[str, Any] | None, Meta(description="The inside of an OpenAI error object.")] = None
    response: Annotated[msgspec.Raw, Meta(description="The OpenAI response; only for requests with a `task`.")] = (
        MISSING
    )
    response_ref: Annotated[str | None, Meta(description="Blob with the response, where it is large.")] = None
    request_ref: Annotated[str | None, Meta(description="Blob with the request, where it was large.")] = None
    task: TaskRef | None = None
    batch_size: Annotated[int, Meta(description="How many requests were served together, this one included.")] = 1
    timestamps: Timestamps | None = None
    stages: Stages | None = None
    client: Client | None = None
    request: RequestDetails | None = None
    provider: Provider | None = None
    node_version: Annotated[str | None, Meta(description="Version of the worker's AgentOS.")] = None

    @property
    def final(self) -> bool:
        """Whether the request is settled with this attempt."""
        return self.outcome not in ("retried", "abandoned")


class NodeEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A worker became unavailable for a reason that only a person can mend, or is well again. On the result topic.

    Told apart from billing events by `event`. `request_id` is empty and `usage` zero: consumers that know billing
    events alone find their fields and count nothing.
    """

    event: Annotated[Literal["unavailable", "recovered"], Meta(description="Billing events have no such field.")]
    event_id: Annotated[str, Meta(description="Names the event; the same in every copy of it.")]
    node: Annotated[str, Meta(description="The worker, host and process id.")]
    node_type: NodeType
    model: Annotated[str, Meta(description="MODEL_NAME of the worker.")]
    ai_model_name: Annotated[str | None, Meta(description="Name of the AIModel in Kubernetes.")]
    ai_model_namespace: Annotated[str | None, Meta(description="Its namespace.")]
    reason: Annotated[Reason, Meta(description="Why it is, or was, unavailable.")]
    message: Annotated[str, Meta(description="A sentence for a person; no content, no secrets.")]
    at: Annotated[float, Meta(description="When this was told: Unix time in seconds.")]
    since: Annotated[float, Meta(description="When it became unavailable: Unix time in seconds.")]
    request_id: Literal[""] = ""
    usage: Usage = NO_USAGE


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


class BatchOrder(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a model's workers are to batch. `size`: the most in one batch. `policy`: see `policy.slo`. `seconds`: what
    a batch takes, by its size.
    """

    size: Annotated[int, Meta(ge=1)]
    policy: Literal["none", "lazy", "nexus", "pard", "agentos"]
    seconds: dict[Annotated[int, Meta(ge=1)], Annotated[float, Meta(gt=0)]]


class Control(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """To a model's workers: stop these requests, whether they run or still wait; from now on batch like this."""

    cancel: list[str] = []
    batch: BatchOrder | None = None


class KeyUse(msgspec.Struct, frozen=True):
    """What a worker used of its provider key's limits of late: a part from 0 to 1; `held_back`: it wanted more.

    `key` is a fingerprint: it names the key to those who have it, and tells nobody else anything.
    """

    key: str
    used: float
    held_back: bool


class BatchUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker that batches has done since its last notice.

    `size`: the most in one batch, in force now. `queued`: requests that wait for a batch now. `waits`: the seconds
    that requests waited for their batch here: mean, and 10th percentile. `service`: mean seconds of a batch.
    """

    size: int
    queued: int
    batches: int
    requests: int
    wait: float
    wait_p10: float
    service: float


class WorkerNotice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="worker"):
    """A worker tells that it serves a model. Sent at the start, when asked, when it changes, and every few seconds.

    `available`: false while it takes nothing for a reason that management was told. `held`: requests in its hands;
    `taken`: all that came into them since its start. `slots`: of one that batches, the size of its batches.
    """

    node: str
    model: str
    node_type: NodeType
    slots: int
    leaving: bool = False
    available: bool = True
    held: int = 0
    taken: int = 0
    key_use: KeyUse | None = None
    batch: BatchUse | None = None


class RollCall(msgspec.Struct, frozen=True, tag="roll_call"):
    """A gateway asks every worker for its notice."""


class ModelNotice(msgspec.Struct, frozen=True, kw_only=True, tag="model"):
    """The operator tells gateways that there is a model, whether it has workers now or not."""

    model: str
    node_type: NodeType


class EndpointReply(msgspec.Struct, frozen=True, kw_only=True):
    """A plain answer to a request's `endpoint`."""

    request_id: str
    data: msgspec.Raw


class EndpointChunk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A piece of a streamed answer to a request's `endpoint`."""

    request_id: str
    end: bool
    data: msgspec.Raw = MISSING


Notice: TypeAlias = WorkerNotice | RollCall | ModelNotice

_QUOTED_VALUE = re.compile(r"value (['\"]).*\1", re.DOTALL)
_encoder = msgspec.json.Encoder()
_request = msgspec.json.Decoder(RequestMessage)
_result = msgspec.json.Decoder(ResultMessage)
_node_event = msgspec.json.Decoder(NodeEvent)
_frames = msgspec.json.Decoder(list[ReplyFrame])
_control = msgspec.json.Decoder(Control)
_notice: msgspec.json.Decoder[Notice] = msgspec.json.Decoder(Notice)


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


def decode_event(body: bytes) -> ResultMessage | NodeEvent:
    """Whatever is on the result topic. Raises `BadMessage`."""
    try:
        return decode_result(body)
    except BadMessage:
        # Few messages are node events: billing events, which lack nothing, do not pay for the question.
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            return _node_event.decode(body)
        raise


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


def decode_notice(body: bytes) -> Notice:
    """Raises `BadMessage`."""
    try:
        return _notice.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage(f"not a worker notice: {_reason(error)}") from error
