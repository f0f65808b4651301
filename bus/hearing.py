"""What comes over a channel, typed at the border."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from core.errors import BadMessage

log = logging.getLogger(__name__)

Message = TypeVar("Message")


def hearing(
    channel: str, decode: Callable[[bytes], Message], take: Callable[[Message], None]
) -> Callable[[bytes], None]:
    """A handler for `Bus.listen`. What `decode` refuses by `BadMessage` is told to the log and harms nobody else."""

    def hear(frame: bytes) -> None:
        try:
            message = decode(frame)
        except BadMessage as error:
            log.warning("on %s: %s", channel, error)
            return
        take(message)

    return hear
