"""Watches the API server with kopf, and hands on what it hears.

kopf runs in a thread with an event loop of its own: it takes every task of its loop for its own and cancels them all
when it ends, and it replaces the handlers of signals. It keeps no state here: there are handlers of raw events only,
so it never writes to an object, and registry, settings and credentials are a run's own. What it cannot bear ends the
run, and the next begins after a pause; what was missed meanwhile, the resync brings.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

import kopf
import uvloop

from coordinator.operator.cluster import metrics
from coordinator.operator.cluster.kinds import LOOKED_AT, Kind
from coordinator.operator.cluster.kube import Object, found
from core.errors import PartError
from core.loopwatch import now

log = logging.getLogger(__name__)

# The API server ends a stream after so long, and it is begun again where it ended.
SERVER_SECONDS = 45
# A stream that is silent, whatever has become of it, is given up after so long.
CLIENT_SECONDS = 60.0
CALL_SECONDS = 15.0
# What ends at once again and again, such as for want of rights, is begun ever less often.
PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 60.0
ENDING_SECONDS = 8.0

# Of a kind; the object; whether it is deleted.
Take = Callable[[Kind, Object, bool], None]


class Watches:
    """All that is looked at, in `namespaces`; everywhere if none is named. `take` is called on the loop of `run`."""

    def __init__(self, take: Take, namespaces: Collection[str]) -> None:
        self._take = take
        self._namespaces = list(namespaces)
        self._again = asyncio.Event()

    def renew(self) -> None:
        """Begins all streams anew."""
        self._again.set()

    async def run(self) -> None:
        """Until cancelled. Raises `PartError` where kopf does not end."""
        pause = PAUSE_SECONDS
        while True:
            began = now()
            why = await self._once()
            pause = PAUSE_SECONDS if now() - began > STEADY_SECONDS else min(2 * pause, LONGEST_PAUSE_SECONDS)
            metrics.WATCHES_ENDED.inc()
            log.warning("the watches begin again in %g s: %s", pause, why)
            await asyncio.sleep(pause)

    async def _once(self) -> str:
        """One run; why it has ended."""
        self._again.clear()
        run = _Run(self._take, self._namespaces)
        again = asyncio.ensure_future(self._again.wait())
        try:
            await asyncio.wait((run.ended, again), return_when=asyncio.FIRST_COMPLETED)
            return run.ended.result() if run.ended.done() else "they were silent"
        finally:
            again.cancel()
            await run.end()


class _Run:
    """One run of kopf, in its thread. `ended`: with what has ended it."""

    def __init__(self, take: Take, namespaces: list[str]) -> None:
        self._take = take
        self._namespaces = namespaces
        self._outer = asyncio.get_running_loop()
        self.ended: asyncio.Future[str] = self._outer.create_future()
        self._stop = threading.Event()
        self._heard: deque[tuple[Kind, Object, bool]] = deque()
        self._inner: asyncio.AbstractEventLoop | None = None
        self._asked: asyncio.Event | None = None
        threading.Thread(target=self._thread, name="watches", daemon=True).start()

    async def end(self) -> None:
        """Returns when the thread has ended. Raises `PartError`."""
        self._stop.set()
        if self._inner is not None and self._asked is not None and not self.ended.done():
            self._inner.call_soon_threadsafe(self._asked.set)
        await asyncio.wait((self.ended,), timeout=ENDING_SECONDS)
        if not self.ended.done():
            raise PartError(f"kopf has not ended within {ENDING_SECONDS:g} s")

    def _thread(self) -> None:
        why = "its thread has failed"
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                why = runner.run(self._operate())
        finally:
            self._outer.call_soon_threadsafe(self.ended.set_result, why)

    async def _operate(self) -> str:
        asked = asyncio.Event()
        self._asked, self._inner = asked, asyncio.get_running_loop()
        if self._stop.is_set():
            return ""
        operator = asyncio.create_task(
            kopf.operator(
                registry=self._registry(),
                settings=_settings(),
                standalone=True,
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=asked,
            )
        )
        await asyncio.wait((operator,))
        return _why(None if operator.cancelled() else operator.exception())

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry, errors=kopf.ErrorsMode.PERMANENT)(_login)
        for kind in LOOKED_AT:
            kopf.on.event(*_named(kind), registry=registry, id=kind.plural)(self._hears(kind))
        return registry

    def _hears(self, kind: Kind) -> Callable[..., Any]:
        async def hear(event: Any, **_: Any) -> None:
            if not self._stop.is_set():
                # No arguments: what a loop says of a callback that fails would show them.
                self._heard.append((kind, event["object"], event["type"] == "DELETED"))
                self._outer.call_soon_threadsafe(self._hand_on)

        return hear

    def _hand_on(self) -> None:
        if not self._stop.is_set():
            self._take(*self._heard.popleft())


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.process.ultimate_exiting_timeout = None
    settings.networking.request_timeout = CALL_SECONDS
    settings.watching.server_timeout = SERVER_SECONDS
    settings.watching.client_timeout = CLIENT_SECONDS
    settings.watching.connect_timeout = CALL_SECONDS
    for kind, (labels, fields) in LOOKED_AT.items():
        if labels:
            settings.watching.label_selectors[_named(kind)] = labels
        if fields:
            settings.watching.field_selectors[_named(kind)] = fields
    return settings


def _named(kind: Kind) -> tuple[str, str, str] | tuple[str, str]:
    return (kind.group, kind.version, kind.plural) if kind.group else (kind.version, kind.plural)


async def _login(**_: Any) -> kopf.ConnectionInfo:
    """Credentials, read anew each time that the API server takes the old ones no more."""
    settings = await found()
    scheme, _, token = settings.api_key.get("BearerToken", "").partition(" ")
    return kopf.ConnectionInfo(
        server=settings.host,
        ca_path=settings.ssl_ca_cert,
        ca_data=settings.ca_cert_data,
        insecure=not settings.verify_ssl,
        scheme=scheme or None,
        token=token.strip() or None,
        certificate_path=settings.cert_file,
        private_key_path=settings.key_file,
    )


def _why(error: BaseException | None) -> str:
    """For the log: what kopf says may hold an object's body."""
    return f"{type(error).__name__} {getattr(error, 'code', None) or ''}".strip() if error else "kopf has ended"
