"""`agentos up`: everything on one machine, watched until a signal, and nothing left afterwards.

Start: lock, guardian, Postgres, tables, Pulsar if asked for, coordinator, workers, those of pipelines, which follow
the planner. Stop: the same backwards. Exit code 0 after SIGINT, SIGTERM or SIGHUP and a clean stop, 1 if something
could not be started or kept running.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from agentos import databases, stack
from agentos.children import Child, ChildSpec
from agentos.guardian import Guardian
from agentos.parts.postgres import EmbeddedPostgres
from agentos.parts.pulsar_choice import local_pulsar
from agentos.parts.pulsar_container import ContainerPulsar
from agentos.parts.tiny_model import write_tiny_model
from agentos.processes import RUN_VARIABLE, Run, end, of_run
from agentos.progress import Progress
from agentos.readiness import free_port, wait_until_ready
from agentos.runs import RunFile, end_run, run_file, stale, write
from agentos.site import Kept, Site, following, put_pipelines, read_pipelines
from agentos.state import held
from agentos.up_settings import UpSettings, pipeline_files, state_directory
from core.errors import AgentOSError
from core.run import Stop, run
from core.settings import CONFIG_FILE
from policy.slo.pipeline import Pipeline
from store.migrate import upgrade

LEFTOVER_GRACE_SECONDS = 5.0
INTERRUPT_SECONDS = 1.0

Result = TypeVar("Result")


def run_up(settings: UpSettings, *, config: Path | None = None, as_json: bool = False) -> int:
    """Runs `up` until a signal; returns the exit code. The ready line goes to standard output.

    `config`: a file that `settings` came from; what it holds for coordinator and workers reaches them. Raises
    `ConfigurationError` where a pipeline is wrong.
    """
    if config is not None:
        os.environ[CONFIG_FILE] = str(config)
    pipelines = read_pipelines(pipeline_files(settings))
    progress = Progress()
    failures: list[AgentOSError] = []

    async def daemon(stop: Stop) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, stop.signal)
        try:
            await up(settings, pipelines, stop, progress, as_json=as_json)
        except AgentOSError as error:
            failures.append(error)
        finally:
            progress.done()

    code = run(daemon)
    for error in failures:
        progress.say(f"AgentOS has stopped: {error}")
    return 1 if failures else code


async def up(
    settings: UpSettings, pipelines: Sequence[Pipeline], stop: Stop, progress: Progress, *, as_json: bool
) -> None:
    """Starts everything, waits for `stop`, stops everything. Raises `AgentOSError` by name."""
    state = state_directory(settings)
    with held(state) as lock:
        for path, old in stale(state):
            progress.step("ending what an earlier run left")
            await asyncio.to_thread(end_run, old, path, grace=LEFTOVER_GRACE_SECONDS)
        settings = settings.model_copy(update={"port": free_port(settings.host, settings.port)})
        this = Run.new()
        path = run_file(state, this)
        write(path, RunFile(run=str(this)))
        guardian = await Guardian.start(this, path, lock=lock)
        os.environ[RUN_VARIABLE] = str(this)
        try:
            await Up(settings, pipelines, state, this, progress, as_json=as_json).until(stop, guardian)
        finally:
            for line in await asyncio.to_thread(end_run, this, path, grace=LEFTOVER_GRACE_SECONDS):
                progress.say(f"ended {line}")
            await guardian.dismiss()


class Up:
    """One run: what has been started, and what is watched."""

    def __init__(
        self,
        settings: UpSettings,
        pipelines: Sequence[Pipeline],
        state: Path,
        this: Run,
        progress: Progress,
        *,
        as_json: bool,
    ) -> None:
        self._settings, self._pipelines = settings, pipelines
        self._state = state
        self._run = this
        self._progress = progress
        self._as_json = as_json
        self._started = AsyncExitStack()
        self._ready = asyncio.Event()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._failed.add_done_callback(lambda failed: failed.exception())  # it may come after a stop
        self._record = RunFile(run=str(this))

    async def until(self, stop: Stop, guardian: Guardian) -> None:
        """Starts, waits, stops. Raises the first failure, unless `stop` came before it."""
        watching = self._watch(guardian.watch())
        starting = self._watch(self._start(stop))
        asked = asyncio.create_task(stop.asked.wait())
        ends: list[asyncio.Future[Any]] = [asked, self._failed]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            failure = None if asked.done() else self._failed.exception()
        finally:
            asked.cancel()
            await self._interrupt(starting)
            self._progress.step("stopping")
            await self._started.aclose()
            watching.cancel()
        if failure:
            raise failure

    async def _interrupt(self, starting: asyncio.Task[None]) -> None:
        starting.cancel()
        _, busy = await asyncio.wait([starting], timeout=INTERRUPT_SECONDS)
        if busy:  # with a broker that takes its time, or a download: their processes are all that runs yet
            await asyncio.to_thread(end, of_run(self._run), grace=LEFTOVER_GRACE_SECONDS)
            await asyncio.wait([starting])

    def _watch(self, side: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(side)
        task.add_done_callback(self._settle)
        return task

    def _settle(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error and not self._failed.done():
            self._failed.set_exception(error)

    async def _start(self, stop: Stop) -> None:
        settings, step = self._settings, self._progress.step
        addresses = await self._addresses()
        step("starting the coordinator")
        await self._keep(stack.coordinator(settings, addresses, self._run), stop)
        step("starting the workers")
        if settings.mock:
            await self._keep(stack.worker("mock", settings, addresses, self._run, None), stop)
        if settings.local:
            model = await asyncio.to_thread(self._model_file)
            await self._keep(stack.worker("local", settings, addresses, self._run, model), stop)
        await self._open_pipelines(addresses, stop)
        url = f"http://{settings.host}:{settings.port}"
        await wait_until_ready(url, stack.models(settings, self._pipelines))
        await put_pipelines(url, self._pipelines)
        self._ready.set()
        self._progress.done()
        self._announce(url + "/v1")

    async def _addresses(self) -> stack.Addresses:
        self._progress.step("starting Postgres")
        database = self._settings.database_url.get_secret_value() or await self._embedded()
        await _in_thread(lambda: upgrade(database))
        if self._settings.pulsar:
            self._progress.step("starting Apache Pulsar")
            return await self._pulsar(database)
        await databases.make_bus(database)
        if not self._settings.database_url.get_secret_value():
            return stack.Addresses(database, bus=database, worker_bus=await databases.make_worker_role(database))
        own = self._settings.bus_url.get_secret_value()
        if not own:
            self._progress.say(
                "workers reach the bus with the store's credentials; AGENTOS_BUS_URL gives them their own"
            )
        return stack.Addresses(database, bus=database, worker_bus=own or database)

    async def _pulsar(self, database: str) -> stack.Addresses:
        settings = self._settings
        if settings.pulsar_url:
            return stack.Addresses(database, pulsar=settings.pulsar_url, pulsar_admin=settings.pulsar_admin_url)
        broker = await _in_thread(lambda: local_pulsar(self._state / "pulsar", self._progress.say))
        if isinstance(broker, ContainerPulsar):
            self._note(container=broker.name)
        self._started.push_async_callback(_in_thread, broker.stop)
        url = await _in_thread(broker.start)
        return stack.Addresses(database, pulsar=url, pulsar_admin=broker.admin_url)

    async def _embedded(self) -> str:
        directory = self._state / "postgres"
        self._note(pgdata=str(directory))
        # A killed owner stays in this list of the wheel's, and the server is stopped by its last owner only.
        (directory / ".handle_pids.json").unlink(missing_ok=True)
        server = EmbeddedPostgres(directory)
        self._started.push_async_callback(_in_thread, server.stop)
        return await databases.make_database(await _in_thread(server.start))

    async def _open_pipelines(self, addresses: stack.Addresses, stop: Stop) -> None:
        """Starts their workers and follows the planner."""
        if not self._pipelines:
            return
        site = Site(self._kept, self._watch, self._progress.say, stop)
        self._started.push_async_callback(site.close)
        for pipeline in self._pipelines:
            site.open(pipeline, stack.stage_workers(pipeline, self._settings, addresses, self._run))
        await self._started.enter_async_context(following(site, stack.bus(self._settings, addresses)))

    async def _keep(self, spec: ChildSpec, stop: Stop) -> None:
        kept = self._kept(spec)
        self._started.push_async_callback(kept.child.stop, kept.keeping, stop)

    def _kept(self, spec: ChildSpec) -> Kept:
        child = Child(spec, self._run, self._state / "logs", self._progress.say)
        return Kept(child, self._watch(child.keep(self._ready)))

    def _model_file(self) -> Path:
        if self._settings.model_file:
            return Path(self._settings.model_file)
        self._progress.say("local: no model file given; using a tiny random model that answers nonsense")
        path = self._state / "tiny.gguf"
        write_tiny_model(path)
        return path

    def _note(self, **changes: Any) -> None:
        self._failed.add_done_callback(lambda failed: failed.exception())  # it may come after a stop
        self._record = msgspec.structs.replace(self._record, **changes)
        write(run_file(self._state, self._run), self._record)

    def _announce(self, url: str) -> None:
        models, bus = stack.models(self._settings, self._pipelines), "Pulsar" if self._settings.pulsar else "Postgres"
        line = f"AgentOS is ready: {url} (models: {', '.join(models)}; bus: {bus}) — try ./ai.sh; Ctrl-C stops it"
        if self._as_json:
            line = msgspec.json.encode({"url": url, "models": models, "bus": bus, "pid": os.getpid()}).decode()
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


async def _in_thread(function: Callable[[], Result]) -> Result:
    """Runs blocking work to its end even if the caller is cancelled: half-started parts cannot be stopped."""
    work = asyncio.ensure_future(asyncio.to_thread(function))
    work.add_done_callback(lambda done: done.exception())  # nobody may be left to see it
    try:
        return await asyncio.shield(work)
    finally:
        await asyncio.wait([work])
