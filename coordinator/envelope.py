"""The envelope of a request message as the outbox keeps it: all but `task` and `data`, which the relay adds."""

from __future__ import annotations

import msgspec

from bus.messages import RequestMessage


def envelope_of(message: RequestMessage) -> str:
    """JSON text."""
    fields = msgspec.structs.asdict(message)
    return msgspec.json.encode({name: value for name, value in fields.items() if name != "data" and value}).decode()
