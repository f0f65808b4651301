"""What a task is to do, and how a description that is wrong is refused. Frozen; the rules that a type can hold."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from coordinator.graph.references import Place, pointer
from core.errors import BadMessage

# Ten years: what is later than that cannot be meant, and no date can be made of it some day.
_SECONDS = Meta(gt=0, le=10 * 365 * 86400)
_PLAIN = r"^[^\x00-\x1f\x7f]"

Seconds = Annotated[float, _SECONDS]


class NodeSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A node: a call of `model`, once everything it depends on has completed. Its `body` has `messages`, `prompt` or
    `input`: a chat, a text completion or embeddings.

    `depends_on`: ids; `parse` adds those that the references of `body` and `for_each` name. `for_each`: a reference
    to a list; the node becomes one instance for each item. `retries`: how often a failed call is made again.
    `deadline_seconds`: for each call, from its dispatch on.
    """

    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
    model: Annotated[str, Meta(pattern=_PLAIN + r"{1,256}\Z")]
    body: dict[str, Any]
    depends_on: list[str] = []
    for_each: str | None = None
    retries: Annotated[int, Meta(ge=0, le=100)] = 0
    deadline_seconds: Seconds | None = None


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a task may use: tokens, and US dollars."""

    tokens: Annotated[int, Meta(ge=1, le=2**53)] | None = None
    money: Annotated[float, Meta(gt=0, le=1e12)] | None = None


class PipelineRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task that is a request of a pipeline. `input`: where the reference `${{ input }}` leads. `slo_seconds`: from
    its arrival to the end of its last stage.
    """

    name: str
    input: Any
    slo_seconds: float


class Description(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A task. `priority`: higher first. `open`: it does not end with its nodes, more may come. `pipeline`: whose
    request it is; the door for tasks does not take it.
    """

    nodes: list[NodeSpec]
    user: Annotated[str, Meta(pattern=_PLAIN + r"{0,256}\Z")] = ""
    priority: Annotated[int, Meta(ge=-100, le=100)] = 0
    deadline_seconds: Seconds | None = None
    budget: Budget | None = None
    metadata: dict[str, str] = {}
    on_failure: Literal["stop", "continue"] = "stop"
    open: bool = False
    pipeline: PipelineRequest | None = None


class Patch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be changed of a description: more nodes; whether it is open."""

    nodes: list[NodeSpec] = []
    open: bool | None = None


class DescriptionRefused(BadMessage):
    """A description is wrong at `pointer` (RFC 6901). `message`: what is wrong there, and what would be right."""

    def __init__(self, place: Place, message: str) -> None:
        self.pointer = pointer(place)
        self.message = message
        super().__init__(f"{self.pointer or 'the description'}: {message}")
