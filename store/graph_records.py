"""What the store keeps of task graphs, and who owns them. Frozen, and without I/O. Times are Unix seconds."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from store.records import Epoch


class TaskState(StrEnum):
    """What became of a graph. Everything but `open` is for ever."""

    OPEN = "open"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class NewTask(msgspec.Struct, frozen=True, kw_only=True):
    """A graph to be kept. `user`: a name, made known with the first task. `fingerprint`: of the whole request, so
    that an idempotency key used for another one is seen. `owner`: the coordinator that takes it at once, if any.
    """

    user: str
    description: str
    fingerprint: str
    region: str
    priority: int = 0
    deadline: float | None = None
    idempotency_key: str | None = None
    owner: str | None = None


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a submission. `fresh`: false where its idempotency key was there before: `task_id` is that of
    the earlier one, and `same` says whether that was the same request. `weight`: the user's; `created_at`: of a fresh
    one.
    """

    task_id: int
    fresh: bool
    same: bool
    user_id: int
    weight: float
    created_at: float


class OwnedTask(msgspec.Struct, frozen=True, kw_only=True):
    """A graph that is open and now ours, under `epoch`."""

    task_id: int
    user_id: int
    weight: float
    epoch: Epoch
    description: str
    priority: int
    deadline: float | None
    created_at: float


class NodeRow(msgspec.Struct, frozen=True, kw_only=True):
    """What the store knows of a node that was dispatched or has a result (JSON text, see `coordinator.noderesult`).

    In flight: `result` is None. A node whose result an owner wrote itself has no `request_id`.
    """

    task_id: int
    node_id: str
    request_id: str | None
    model: str | None
    attempt: int
    dispatched_at: float | None
    result: str | None


class Dispatch(msgspec.Struct, frozen=True, kw_only=True):
    """A node's request and the message that must leave for it; committed only under the task's own epoch.

    `attempt` counts the dispatches of the node, from 1; a later one forgets the failed result of the one before.
    `owner` publishes the message itself, and has `lease_seconds` for it before others may.
    """

    task_id: int
    epoch: Epoch
    node_id: str
    attempt: int
    request_id: str
    model: str
    topic: str
    subscription: str
    envelope: str
    body: str
    owner: str
    lease_seconds: float


class Finish(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a graph. `summary`: JSON text: what it used, why it failed."""

    task_id: int
    epoch: Epoch
    state: TaskState
    summary: str


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """A graph as it is read. `running`: some node was dispatched. `summary` is there once it has ended."""

    task_id: int
    user: str
    state: TaskState
    running: bool
    epoch: Epoch
    owner: str | None
    description: str
    priority: int
    deadline: float | None
    created_at: float
    finished_at: float | None
    summary: str | None


class InFlight(msgspec.Struct, frozen=True):
    """A call that is to be stopped."""

    model: str
    request_id: str


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a graph: a node was dispatched (`running`) or settled (`settled`, with its result),
    or the graph has ended (`ended`, with its state as `result`). `cursor` is where to go on from.
    """

    cursor: str
    kind: str
    node_id: str
    at: float
    result: str | None


class Peer(msgspec.Struct, frozen=True):
    """A coordinator that lives."""

    name: str
    region: str


class UserRow(msgspec.Struct, frozen=True):
    """Somebody who submits tasks. `weight`: the share of the fleet, beside others'."""

    name: str
    weight: float
