"""The state directory belongs to one `agentos up` at a time."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agentos.processes import started
from core.errors import ConfigurationError

# A guardian that ends a killed run holds the lock a little longer than its owner lived.
PATIENCE_SECONDS = 20.0


@contextmanager
def held(state: Path) -> Iterator[int]:
    """Holds the directory's lock; gives its file descriptor. Raises `ConfigurationError` naming who has it."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"the state directory {state} cannot be used: {error.strerror}; set AGENTOS_HOME to another"
        ) from error
    try:
        _take(lock, state)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield lock
    finally:
        os.close(lock)


def _take(lock: int, state: Path) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(lock, 32, 0).decode() or "0"
            if started(int(owner)) or time.monotonic() > until:
                raise ConfigurationError(
                    f"AgentOS runs already in {state} (process {owner}); stop that one, or set AGENTOS_HOME to "
                    "another directory and PORT to another port"
                ) from None
            time.sleep(0.1)
