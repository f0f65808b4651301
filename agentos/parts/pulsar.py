"""Apache Pulsar, standalone, as a child process: broker and storage in one JVM, on the loopback interface only."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from agentos.parts.pulsar_config import ADDRESS, OWNER, make_token, standalone_conf
from core.errors import PartError

START_SECONDS = 180.0
STOP_SECONDS = 15.0
SHOWN_LINES = 15
# Below those that systems give to whoever asks for any port (Linux from 32768 on, others from 49152): a broker takes
# its ports seconds after they were chosen, and by then one of those may be somebody's.
_PORTS = range(15_000, 32_000)
_NAMESPACE = "namespaces/public/default"
# Started without touching all of its memory first; its own choice of garbage collector wants 2 GiB and more.
_JVM = {
    "PULSAR_MEM": "-Xms256m -Xmx1g -XX:MaxDirectMemorySize=1g",
    "PULSAR_GC": "-XX:+UseG1GC -XX:+PerfDisableSharedMem",
    "PULSAR_GC_LOG": " ",
}


class StandalonePulsar:
    """A broker of the distribution in `home`; its data, settings and log in `directory`. Use as a context manager.

    Ports are picked at the first start and kept with the data. `token_secret` (32 bytes or more): clients need a
    token signed with it, such as `token`.
    """

    def __init__(self, home: Path, directory: Path, *, token_secret: bytes | None = None) -> None:
        self.home = home
        self.directory = directory
        self.log = directory / "pulsar.log"
        self.token = make_token(token_secret, OWNER) if token_secret else ""
        self._secret = token_secret
        self._ports: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Starts the broker, waits until it is healthy, returns its address. Raises `PartError`.

        A `stop` or `kill` from another thread ends the wait.
        """
        try:
            self._ports = self._kept_ports()
            self._write_conf()
            process = self._process = self._spawn()
        except OSError as error:
            raise PartError(f"Pulsar did not start from {self.home}: {error}") from error
        try:
            wait_until_healthy(self.admin_url, self.token, ended=lambda: process.poll() is not None)
        except PartError as error:
            self.kill()
            raise PartError(f"{error}; the end of {self.log}:{self._last_lines()}") from error
        return self.url

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"pulsar://{ADDRESS}:{self._ports['broker']}"

    @property
    def admin_url(self) -> str:
        """Where the admin API answers."""
        return f"http://{ADDRESS}:{self._ports['web']}"

    @property
    def pid(self) -> int:
        """The broker's process id. Raises `PartError` if it has not been started."""
        if self._process is None:
            raise PartError("Pulsar is not running")
        return self._process.pid

    def stop(self) -> None:
        """Stops the broker; kills it if it takes too long. A second stop does nothing."""
        process = self._process
        if process is not None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            self.kill()

    def kill(self) -> None:
        """SIGKILL. The data stay; `start` continues on them."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def _kept_ports(self) -> dict[str, int]:
        # The storage knows itself by its port: on another one it would not accept its own data.
        file = self.directory / "ports.json"
        if not file.exists():
            self.directory.mkdir(parents=True, exist_ok=True)
            new = file.with_suffix(".new")
            new.write_text(json.dumps(dict(zip(("broker", "web", "storage"), free_ports(3), strict=True))))
            new.replace(file)
        ports: dict[str, int] = json.loads(file.read_text())
        return ports

    def _write_conf(self) -> None:
        conf = self.directory / "standalone.conf"
        conf.touch(mode=0o600)  # it may hold the secret
        conf.write_text(
            standalone_conf(
                (self.home / "conf" / "standalone.conf").read_text(),
                broker_port=self._ports["broker"],
                web_port=self._ports["web"],
                token_secret=self._secret,
            )
        )

    def _spawn(self) -> subprocess.Popen[bytes]:
        require_java()
        directory = self.directory.resolve()
        command = [
            *(str(self.home.resolve() / "bin" / "pulsar"), "standalone", "-nfw", "-nss"),
            *("--config", str(directory / "standalone.conf")),
            *("--metadata-dir", str(directory / "metadata"), "--bookkeeper-dir", str(directory / "bookkeeper")),
            *("--bookkeeper-port", str(self._ports["storage"])),
        ]
        environment = {**os.environ, **_JVM, "PULSAR_LOG_DIR": str(directory / "logs")}
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C in a terminal must not reach it before those who still need it.
            return subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _last_lines(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "".join(f"\n  {line}" for line in lines[-SHOWN_LINES:])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def wait_until_healthy(admin_url: str, token: str, *, ended: Callable[[], bool]) -> None:
    """Returns when the broker takes clients. Raises `PartError` if `ended` or if it takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while not _healthy(admin_url, token):
        if ended():
            raise PartError("Pulsar ended while it was starting")
        if time.monotonic() > deadline:
            raise PartError(f"Pulsar was not healthy within {START_SECONDS:g} s")
        time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that are free now. Raises `PartError`."""
    free: list[int] = []
    with contextlib.ExitStack() as stack:
        # Not by a seed that another process may share.
        for port in secrets.SystemRandom().sample(_PORTS, len(_PORTS)):
            with contextlib.suppress(OSError):  # it is taken
                stack.enter_context(socket.socket()).bind((ADDRESS, port))
                free.append(port)
            if len(free) == count:
                return free
    raise PartError(f"no {count} ports from {_PORTS.start} on are free")


def require_java() -> None:
    """Raises `PartError` with the command that installs Java where there is none."""
    home = os.environ.get("JAVA_HOME")
    if not (shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")):
        raise PartError(
            "Apache Pulsar needs Java 17 or newer, which is not there: apt-get install -y default-jre-headless"
        )


# A proxy of the environment has no business between us and the loopback interface.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _healthy(admin_url: str, token: str) -> bool:
    # The broker is healthy before its first namespace has been made, and refuses clients until then.
    return all(_answers(f"{admin_url}/admin/v2/{path}", token) for path in ("brokers/health", _NAMESPACE))


def _answers(url: str, token: str) -> bool:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with _opener.open(urllib.request.Request(url, headers=headers), timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
