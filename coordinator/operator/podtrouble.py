"""Why Pods do not start. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

# A container that waits for a thing of its namespace may get it meanwhile.
LASTS_SECONDS = 15.0


class Trouble(NamedTuple):
    """`reason`: Kubernetes' own. `fails`: nobody but a person ends it, as far as one can tell."""

    reason: str
    message: str
    fails: bool = True


def trouble_of(deployment: Mapping[str, Any] | None, pods: Iterable[Mapping[str, Any]], now: float) -> Trouble | None:
    """The worst, or None. `pods`: the Deployment's; none need be given of one that is `settled`."""
    raise NotImplementedError
