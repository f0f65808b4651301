"""Starts a WorkerNode, or, where neither NODE_TYPE nor MODEL_NAME is set, everything with a mock worker.

`python3 WorkerNode.py` and the container's `docker run -e PULSAR_URL=… -e PORT=8081 workernode` are known to users
of the earlier system. All else is `agentos --help`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = str(Path(__file__).resolve().parent)


def arguments() -> list[str]:
    """What `agentos` is asked to do."""
    if os.environ.get("NODE_TYPE") or os.environ.get("MODEL_NAME"):
        return ["worker"]
    return ["up", "--no-local", *(["--pulsar"] if os.environ.get("PULSAR_URL") else [])]


if __name__ == "__main__":
    # From a checkout that is not installed, the processes that `up` starts find the packages here, too.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [HERE, os.environ.get("PYTHONPATH")]))
    from agentos.cli import main

    sys.argv[1:] = arguments()
    main()
