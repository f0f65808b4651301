"""`python -m tests.nodeagent SETTINGS.json`"""

from __future__ import annotations

import logging
import sys
from functools import partial
from pathlib import Path

from core.run import run
from tests.nodeagent import agent, settings

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    sys.exit(run(partial(agent.run, settings.read(Path(sys.argv[1])))))
