"""What each of the AIModels that serve one model has of its work. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from coordinator.operator.scaling.fleet import Scaled
from policy.parts import divided
from policy.scaling import Ordered, Sample, Scaling


class Look(NamedTuple):
    """One look at a model, at a time in seconds: see `policy.scaling.Sample`."""

    at: float
    waiting: int
    running: int
    moved: bool


class Share(NamedTuple):
    """One AIModel's."""

    scaled: Scaled
    scaling: Scaling
    sample: Sample
    ordered: Ordered | None


def shares(members: Sequence[Scaled], look: Look, order: Ordered | None) -> list[Share]:
    """Of those that are scaled, in proportion to what they may become; little work is the first one's.

    What the others can hold is theirs. One that has failed gets work only where all have.
    """
    scaled = sorted((each for each in members if each.scaling is not None), key=lambda each: each.key)
    others = [each for each in members if each.scaling is None and not each.failed]
    held = sum(each.ready * each.slots for each in others)
    work = max(0, max(look.waiting + look.running, int(look.moved)) - held)
    rooms = _rooms(scaled)
    piece = min((each.scaling.target for each in scaled if each.scaling is not None), default=1)
    parts = divided(work, rooms, piece)
    left = 0 if order is None else max(0, order.replicas - sum(each.ready for each in others))
    return [
        Share(each, each.scaling, _sample(look, part, each), order and order._replace(replicas=count))
        for each, part, count in zip(scaled, parts, divided(left, rooms, 1), strict=True)
        if each.scaling is not None
    ]


def _rooms(scaled: Sequence[Scaled]) -> list[int]:
    all_failed = all(each.failed for each in scaled)
    return [
        each.scaling.max * each.scaling.target if each.scaling is not None and (all_failed or not each.failed) else 0
        for each in scaled
    ]


def _sample(look: Look, part: int, scaled: Scaled) -> Sample:
    everything = look.waiting + look.running
    running = part * look.running // everything if everything else 0
    waiting = part - running if everything else 0
    return Sample(look.at, waiting, running, look.moved and part > 0, scaled.ready)
