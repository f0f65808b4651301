"""What the node asks of a backend: answer one call, whole or in chunks."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from bus.billing import Provider
from bus.messages import NodeType, Usage
from workernode.errors import CallFailed
from workernode.resources import Capacity

# Names the attempt in the provider's own log, so that it can be compared with the ledger.
# Source: https://platform.openai.com/docs/api-reference/debugging-requests
CLIENT_REQUEST_ID = "x-client-request-id"


def nothing_yet() -> None:
    """What is known of a call before anything of its answer has arrived."""


def nobody_hears(headers: Mapping[str, str]) -> None:
    """Where nobody learns from headers."""


@dataclass(slots=True)
class Progress:
    """How far a call has come, for whoever bills it, however it ends.

    `usage()`: what a cancelled stream has used so far, estimated; None if nothing. `provider()`: who was called and
    what they said of themselves. `connected_at`: a connection was there and the request left; `first_token_at`: the
    first part of the answer arrived; both Unix times in seconds. `heard()` is called with the headers of the
    upstream's answer when they are there: a stream may last for minutes after them. `batch_size`: requests that
    share the call.
    """

    usage: Callable[[], Usage | None] = nothing_yet
    provider: Callable[[], Provider | None] = nothing_yet
    connected_at: float | None = None
    first_token_at: float | None = None
    heard: Callable[[Mapping[str, str]], None] = nobody_hears
    batch_size: int = 1


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `body` is the OpenAI request as its client sent it; `headers` are forwarded upstream.

    `progress` is kept by the backend while the call runs.
    """

    request_id: str
    body: dict[str, Any]
    stream: bool
    headers: dict[str, str] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)


class Sink(Protocol):
    """Where the chunks of a streamed call go, in order."""

    def chunk(self, data: bytes) -> None:
        """Takes the JSON of one chat.completion.chunk, as the client should see it. Does not wait."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A call's outcome.

    `response`: JSON of a chat.completion, for a stream put together from its chunks. `estimated`: the usage was
    counted by us. `first_token_at`: Unix time in seconds.
    """

    response: bytes
    usage: Usage
    estimated: bool
    first_token_at: float | None


class Joint(Protocol):
    """Answers several calls in one piece of work: one upstream call, one pass of a model."""

    def likeness(self, call: Call) -> Hashable | None:
        """Equal for calls that can be answered together; None for one that runs by itself."""

    async def call_many(self, calls: Sequence[tuple[Call, Sink | None]]) -> Sequence[Answer | CallFailed]:
        """Answers calls that are alike, in their order; one that fails fails alone. Raises as `Backend.call` does
        where all have failed. Cancelling the task stops the work upstream.
        """


class Backend(Protocol):
    """A way to have calls answered. `slots`: how many at once."""

    node_type: NodeType
    slots: int

    @property
    def joint(self) -> Joint | None:
        """How several calls are answered together; None where each runs by itself."""

    async def start(self) -> None:
        """Gets ready to serve. Raises `BackendUnavailable` or `PartError`."""

    async def close(self) -> None:
        """Ends what `start` began. A second close, or one before the start, does nothing."""

    async def check(self) -> None:
        """Returns if calls can be served now; raises `BackendUnavailable`."""

    def capacity(self) -> Capacity:
        """How many calls it takes at once now, of its `slots`."""

    async def call(self, call: Call, sink: Sink | None) -> Answer:
        """Answers; chunks of a streamed call go to `sink` on the way.

        Raises `CallFailed`; `BackendUnavailable` where the call was not made, because the backend has no capacity.

        Cancelling the task stops the work upstream; `call.progress` says what it had used.
        """
