"""What coordinators and their planner say on `SCALING_CHANNEL`: the load, and how many workers there are to be.

Channels lose frames, so both are said again and again, and the latest is true.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from core.errors import BadMessage

_Count = Annotated[int, Meta(ge=0)]


class FrontendInformation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="frontend"):
    """A coordinator tells the load of pipelines since it last did, about each half second.

    `offered` by pipeline: the requests that came, by spans of `seconds`, the last of which ends now; those that were
    dropped at once too. `waiting` by pipeline and stage: the requests that are there and not done. `ready` by model,
    of pipelines or not: nodes whose turn has not come, so that the broker does not know of them yet.
    """

    sender: str
    seconds: Annotated[float, Meta(gt=0)]
    offered: dict[str, list[_Count]] = {}
    waiting: dict[str, dict[str, _Count]] = {}
    ready: dict[str, _Count] | None = None


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="order"):
    """The planner orders so many workers for each stage of a pipeline, said again every few seconds.

    `at`: Unix time in seconds. `planner`: the coordinator that has planned. `models`: of the stages.
    """

    pipeline: str
    workers: dict[str, _Count]
    at: float
    planner: str
    models: dict[str, str] | None = None


_decoder: msgspec.json.Decoder[FrontendInformation | Order] = msgspec.json.Decoder(FrontendInformation | Order)


def decode_scaling(body: bytes) -> FrontendInformation | Order:
    """Raises `BadMessage`."""
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage(f"not a scaling message: {type(error).__name__}") from error
