"""How a Pulsar is had where no address of a running one is given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agentos.parts.pulsar import StandalonePulsar
from agentos.parts.pulsar_container import ContainerPulsar, docker_answers
from agentos.parts.pulsar_home import fetch_home, find_home


def local_pulsar(directory: Path, say: Callable[[str], object]) -> StandalonePulsar | ContainerPulsar:
    """A broker to be started, with its data in `directory`. Raises `PartError`.

    A distribution in PULSAR_HOME or ~/apache-pulsar-*; else a container, where a Docker engine answers; else the
    distribution fetched with Maven, which `say` tells of.
    """
    home = find_home()
    if home is None and docker_answers():
        return ContainerPulsar(directory)
    return StandalonePulsar(home or fetch_home(say), directory)
