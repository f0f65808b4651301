"""The figures of a running load as event files, which TensorBoard reads."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from core.errors import ConfigurationError
from workload.scalars import scalars
from workload.snapshot import Snapshot


@contextlib.contextmanager
def event_files(directory: Path) -> Iterator[Callable[[Snapshot], None]]:
    """Takes a snapshot for each step, a second; all are in the file at the end.

    Raises `ConfigurationError` where none can be made there.
    """
    # It takes a third of a second, for a part that few ask for.
    from tensorboardX import SummaryWriter

    try:
        writer = SummaryWriter(str(directory), max_queue=10_000, flush_secs=1)
    except OSError as error:
        raise ConfigurationError(f"--tensorboard {directory}: {error.strerror}") from None

    def tell(now: Snapshot) -> None:
        for name, value, stage in scalars(now):
            writer.add_scalar(f"{name}/{stage}" if stage else f"load/{name}", value, round(now.seconds))

    try:
        yield tell
    finally:
        writer.close()
