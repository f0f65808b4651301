"""What the answer to a pipeline's request tells of its way through the stages. Pure."""

from __future__ import annotations

import msgspec

from core.errors import BadMessage

UNFINISHED = "unfinished"


class StagePassage(msgspec.Struct, frozen=True):
    """A stage of it: a node of the task. `seconds`: its part of the service time of the batch that it was in."""

    id: str
    status: str
    seconds: float | None = None


class _Error(msgspec.Struct, frozen=True):
    code: str | None = None


class Passage(msgspec.Struct, frozen=True):
    """A task object, as far as figures need it."""

    status: str
    nodes: list[StagePassage] = []
    error: _Error | None = None

    @property
    def failure(self) -> str | None:
        """The name of what kept it from its end; None where it has completed."""
        if self.status == "completed":
            return None
        if self.status in ("queued", "running"):
            return UNFINISHED
        return (self.error and self.error.code) or self.status

    @property
    def dropped_at(self) -> str | None:
        """The stage where it was dropped, or was when its deadline passed; None where neither happened."""
        if self.status != "expired":
            return None
        left = [node for node in self.nodes if node.status != "completed"] or self.nodes[-1:]
        return next((node.id for node in left if node.status == "expired"), left[0].id if left else "")


_passage = msgspec.json.Decoder(Passage)


def passage_of(task: bytes) -> Passage:
    """Raises `BadMessage` where it is no task object."""
    try:
        return _passage.decode(task)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadMessage(f"not a task object: {error}") from None
