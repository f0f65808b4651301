"""The JSON object in `progress.result`: what became of a node. Its response is a document beside it."""

from __future__ import annotations

from typing import Any

import msgspec

from bus.messages import Outcome, Usage


class NodeResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """`error`: the inside of an OpenAI error object, `status` its HTTP status. `document`: the response's number.
    `seconds`: of the worker's time, its part where it was served in a batch; None where nothing was called.
    """

    outcome: Outcome
    status: int
    usage: Usage
    estimated: bool = False
    error: dict[str, Any] | None = None
    document: int | None = None
    seconds: float | None = None


decode_node_result = msgspec.json.Decoder(NodeResult).decode
