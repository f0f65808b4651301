"""Probes and hooks: https://kubernetes.io/docs/concepts/workloads/pods/probes/."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from tests.nodeagent.environment import Command
from tests.nodeagent.process import start
from tests.nodeagent.sources import not_supported
from tests.nodeagent.spec import Action, Container, HttpGet, Probe, TcpSocket


class Streak:
    """Results of a probe in a row."""

    def __init__(self, probe: Probe) -> None:
        self._wanted = {True: probe.success_threshold, False: probe.failure_threshold}
        self._last: bool | None = None
        self._count = 0

    def add(self, result: bool) -> bool:
        """Whether there are as many of this one as the probe wants."""
        self._count = self._count + 1 if result == self._last else 1
        self._last = result
        return self._count >= self._wanted[result]


class Doer:
    """Does one container's probes and hooks. `log`: what the commands among them write."""

    def __init__(self, container: Container, command: Command, address: str, log: Path) -> None:
        self._ports = {each.name: each.container_port for each in container.ports}
        self._command = command
        self._address = address
        self._log = log

    async def does(self, action: Action) -> bool:
        """Whether it succeeded. Cancelled, it leaves nothing behind."""
        try:
            return await self._do(action)
        except (aiohttp.ClientError, OSError):
            return False

    async def tells(self, probe: Probe) -> bool:
        """One try of a probe, within its time."""
        try:
            return await asyncio.wait_for(self.does(probe), probe.timeout_seconds)
        except TimeoutError:
            return False

    async def _do(self, action: Action) -> bool:
        if action.http_get is not None:
            return await self._get(action.http_get)
        if action.exec is not None:
            return await self._execute(action.exec.command)
        if action.tcp_socket is not None:
            return await self._connect(action.tcp_socket)
        assert action.sleep is not None, "checked before the container starts"
        await asyncio.sleep(action.sleep.seconds)
        return True

    async def _get(self, wanted: HttpGet) -> bool:
        host = wanted.host or self._address
        url = f"{wanted.scheme.lower()}://{host}:{self._port(wanted.port)}{wanted.path}"
        headers = {each.name: each.value for each in wanted.http_headers}
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers=headers, ssl=False, allow_redirects=False) as response,
        ):
            return 200 <= response.status < 400

    async def _connect(self, wanted: TcpSocket) -> bool:
        _, writer = await asyncio.open_connection(wanted.host or self._address, self._port(wanted.port))
        writer.close()
        return True

    async def _execute(self, argv: list[str]) -> bool:
        process = await start(self._command._replace(argv=argv), self._log)
        try:
            await process.ended.wait()
        finally:
            process.kill()
        return process.code == 0

    def _port(self, port: int | str) -> int:
        if isinstance(port, str) and port not in self._ports:
            raise ConnectionError(f"the container has no port {port}")
        return port if isinstance(port, int) else self._ports[port]


async def results(probe: Probe, doer: Doer) -> AsyncIterator[bool]:
    """What the probe says, for ever; a result only counts when there are enough of it in a row."""
    streak = Streak(probe)
    await asyncio.sleep(probe.initial_delay_seconds)
    while True:
        result = await doer.tells(probe)
        if streak.add(result):
            yield result
        await asyncio.sleep(probe.period_seconds)


def check(container: Container) -> None:
    """Raises `NotYet` for what is not done here."""
    probes = [container.startup_probe, container.readiness_probe, container.liveness_probe]
    for action in [*probes, container.lifecycle.pre_stop]:
        if action is not None and not action.known:
            raise not_supported("such probe or hook")
    if container.lifecycle.post_start is not None:
        raise not_supported("postStart")
    if container.restart_policy:
        raise not_supported("sidecar containers")
