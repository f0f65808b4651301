"""Logs: one line an event, to standard error, in UTC. They never hold prompts, completions, keys or tokens."""

from __future__ import annotations

import logging
import sys
import time


def set_up(*, debug: bool) -> None:
    """Sends this process's logs to standard error. Libraries are heard from `WARNING` up unless `debug`."""
    formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO if debug else logging.WARNING)
    # While Postgres is away it logs a trace a second; the bus and the store say the same in a line of theirs.
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)
    # It logs objects as they are, with what is secret in them; the operator says what has ended its watches.
    logging.getLogger("kopf").setLevel(logging.CRITICAL)
    for ours in ("core", "bus", "store", "workernode", "coordinator", "agentos"):
        logging.getLogger(ours).setLevel(logging.DEBUG if debug else logging.INFO)
