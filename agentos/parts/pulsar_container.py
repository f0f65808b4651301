"""Apache Pulsar in a container, where a Docker engine answers."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from agentos.parts.pulsar import free_ports, wait_until_healthy
from agentos.parts.pulsar_config import ADDRESS, SETTINGS
from agentos.parts.pulsar_home import VERSION
from core.errors import PartError

IMAGE = f"apachepulsar/pulsar:{VERSION}"
_COMMAND = "bin/apply-config-from-env.py conf/standalone.conf && exec bin/pulsar standalone -nfw -nss"


def docker_answers() -> bool:
    """Whether a Docker engine can be used from here."""
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


class ContainerPulsar:
    """A broker in a container of its own, removed at `stop`. Its data are a volume that belongs to `directory`."""

    def __init__(self, directory: Path) -> None:
        self.token = ""
        self.name = "agentos-pulsar-" + hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:12]
        self._log = directory / "pulsar.log"
        self._ports = free_ports(2)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"pulsar://{ADDRESS}:{self._ports[0]}"

    @property
    def admin_url(self) -> str:
        """Where the admin API answers."""
        return f"http://{ADDRESS}:{self._ports[1]}"

    def start(self) -> str:
        """Starts the container, waits until the broker is healthy, returns its address. Raises `PartError`."""
        self._run(["docker", "pull", "--quiet", IMAGE], "the image could not be pulled")
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            # In the foreground: our child passes signals on, so that the container ends with those who end it.
            process = self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            wait_until_healthy(self.admin_url, "", ended=lambda: process.poll() is not None)
        except PartError as error:
            self.stop()
            raise PartError(f"{error} in a container of {IMAGE}; its log is {self._log}") from error
        return self.url

    def stop(self) -> None:
        """Stops and removes the container. A second stop does nothing."""
        process, self._process = self._process, None
        if process is not None:
            subprocess.run(["docker", "stop", "--time", "15", self.name], capture_output=True)
            subprocess.run(["docker", "rm", "--force", self.name], capture_output=True)
            process.wait()

    def _command(self) -> list[str]:
        broker, web = map(str, self._ports)
        # The broker hands its address to clients, so its ports are the same inside and outside. Inside it has to
        # listen to all of the container's interfaces; outside only the loopback interface leads there.
        settings = SETTINGS | {"bindAddress": "0.0.0.0", "brokerServicePort": broker, "webServicePort": web}
        return [
            *("docker", "run", "--rm", "--name", self.name, "--env", "PULSAR_MEM=-Xms256m -Xmx1g"),
            *("--publish", f"{ADDRESS}:{broker}:{broker}", "--publish", f"{ADDRESS}:{web}:{web}"),
            *("--volume", f"{self.name}:/pulsar/data"),
            *(part for name, value in settings.items() for part in ("--env", f"PULSAR_PREFIX_{name}={value}")),
            *(IMAGE, "bash", "-c", _COMMAND),
        ]

    def _run(self, command: list[str], problem: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise PartError(f"Pulsar in a container: {problem}: {done.stderr.strip()[-500:]}")
