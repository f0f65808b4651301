"""The process of a local model: how it is started, and that it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections import deque
from pathlib import Path

import aiohttp

from core.errors import ConfigurationError, PartError
from workernode import lifeline, llama_server

log = logging.getLogger(__name__)

TERM_SECONDS = 5.0
HEALTH_SECONDS = 0.05
# Models of hundreds of gigabytes on slow disks take minutes.
LOAD_SECONDS = 1800.0
# Lines of its log that are kept to say why it did not start.
LAST_LINES = 15

_GGUF = b"GGUF"


def command(file: Path, *, port: int, parallel: int, threads: int, alias: str, pooling: str = "") -> list[str]:
    """The command line that serves `file`, a GGUF file, a llamafile or another llama.cpp server.

    `pooling`: see `llama_server`. Raises `ConfigurationError` if it is none of them.
    """
    try:
        with file.open("rb") as content:
            is_model = content.read(len(_GGUF)) == _GGUF
    except OSError as error:
        raise ConfigurationError(f"AGENTOS_MODEL_FILE: {file}: {error.strerror}") from error
    address = ["--port", str(port), "--parallel", str(parallel), "--threads", str(threads), "--alias", alias]
    if is_model:
        embedding = ["--pooling", pooling] if pooling else []
        return [*_program(llama_server.__file__), "--model", str(file), *address, *embedding]
    if not os.access(file, os.X_OK):
        raise ConfigurationError(f"AGENTOS_MODEL_FILE: {file}: is neither a GGUF file nor executable (chmod +x?)")
    llamafile = ["--server", "--nobrowser"] if "llamafile" in file.name.lower() else []
    start = [*_program(lifeline.__file__), str(os.getpid()), str(file.absolute())]
    return [*start, *llamafile, "--host", "127.0.0.1", *address, *_embedding(pooling)]


def _embedding(pooling: str) -> list[str]:
    """The options of llama.cpp's own server for what `llama_server` does."""
    if not pooling:
        return []
    longest = str(llama_server.LONGEST_TEXT)
    options = ["--embedding", "--batch-size", longest, "--ubatch-size", longest]
    return options if pooling == "model" else [*options, "--pooling", pooling]


def _program(file: str) -> list[str]:
    """By its file, and without that file's folder in the path: it starts wherever our process stands."""
    return [sys.executable, "-P", file]


class ModelProcess:
    """One run of a model's server on a port of its own. Its log goes to ours, at debug."""

    def __init__(self, file: Path, *, parallel: int, threads: int, alias: str, pooling: str) -> None:
        port = _free_port()
        self.address = f"http://127.0.0.1:{port}"
        self._file = file
        self._command = command(file, port=port, parallel=parallel, threads=threads, alias=alias, pooling=pooling)
        # Only of our own server it is known that its slots share one context.
        self.shares_context = llama_server.__file__ in self._command
        self._process: asyncio.subprocess.Process | None = None
        self._log: asyncio.Task[None] | None = None
        self._last: deque[str] = deque(maxlen=LAST_LINES)

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Returns once the model is loaded. Raises `PartError`, with the end of its log, if it ends or hangs."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,  # our end of it is the lifeline of workernode.llama_server
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in a terminal is for us: we finish calls first
        )
        self._log = asyncio.create_task(self._read_log(), name="log of the model process")
        try:
            why = await self._until_loaded()
        except asyncio.CancelledError:
            await self.stop()
            raise
        if why:
            await self.stop()
            raise PartError(f"{self._file} is not served: {why}:\n" + "\n".join(self._last))

    async def _until_loaded(self) -> str:
        """Why it is not; empty once it is."""
        assert self._process is not None
        loaded = asyncio.create_task(self._loaded())
        ended = asyncio.create_task(self.wait())
        try:
            await asyncio.wait([loaded, ended], timeout=LOAD_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            loaded.cancel()
            ended.cancel()
            await asyncio.wait([loaded, ended])  # its connection is closed by then
        if self._process.returncode is not None:
            return f"its process ended with {self._process.returncode}"
        return f"it was not loaded within {LOAD_SECONDS:g} s" if loaded.cancelled() else ""

    async def wait(self) -> None:
        """Returns when the process has ended, as it may at any time."""
        if self._process is not None:
            await self._process.wait()

    def kill(self) -> None:
        """SIGKILL to it and what it has started."""
        if self._process is not None:
            self._signal(signal.SIGKILL)

    async def stop(self) -> None:
        """Ends the process and what it has started: SIGTERM, after a while SIGKILL.

        A second stop does nothing, unless the first was cancelled.
        """
        if self._process is None:
            return
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(TERM_SECONDS):
                await self._process.wait()
        except TimeoutError:
            log.warning("the model process did not end on SIGTERM")
        finally:
            self._signal(signal.SIGKILL)
        await self._process.wait()
        if self._log is not None:
            await asyncio.shield(self._log)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):  # the group is gone
            os.killpg(self._process.pid, number)

    async def _loaded(self) -> None:
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while not await _healthy(session, self.address):  # noqa: ASYNC110 - another process, no event
                await asyncio.sleep(HEALTH_SECONDS)

    async def _read_log(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while text := await self._process.stdout.read(1 << 16):
            lines = text.decode(errors="replace").splitlines()
            self._last.extend(lines)
            for line in lines:
                log.debug("model process: %s", line)


async def _healthy(session: aiohttp.ClientSession, address: str) -> bool:
    try:
        async with session.get(f"{address}/health") as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


def _free_port() -> int:
    """A port that is free now. Should another program take it first, the server ends and is started anew."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
