"""Leads, or waits to: one operator at a time works, by a Lease of coordination.k8s.io.

Of the official client's `leaderelection` nothing is used: see docs/decisions/0016-the-operator.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from coordinator.operator.cluster import metrics
from coordinator.operator.cluster.health import Contact
from coordinator.operator.cluster.kinds import LEASES
from coordinator.operator.cluster.kube import Kube
from coordinator.operator.cluster.lease import Candidacy, Object
from core.cluster import ClusterError
from core.errors import PartError
from core.liveness import Beat
from core.loopwatch import now
from core.run import Stop, wait_for_any

log = logging.getLogger(__name__)

# What leads is cancelled and has ended within so many seconds, or this process ends instead.
ENDING_SECONDS = 10.0

Work = Callable[[], Awaitable[None]]


class Leader:
    """One candidate. `work` runs while it leads, is cancelled when it does not, and begins anew with each term."""

    def __init__(self, kube: Kube, candidacy: Candidacy, contact: Contact, *, namespace: str, name: str) -> None:
        self._kube = kube
        self._candidacy = candidacy
        self._contact = contact
        self._namespace = namespace
        self._name = name
        self._refusal = "the Lease was not looked at yet"

    def check_contact(self) -> None:
        """Raises `ClusterError` where the last look at the Lease has failed."""
        if self._refusal:
            raise ClusterError(self._refusal, again=True)

    def check(self) -> None:
        """Raises `ClusterError` where this process does not lead."""
        if not self._candidacy.holds(now()):
            raise ClusterError("another may lead by now", again=True)

    async def run(self, work: Work, stop: Stop, beat: Beat) -> None:
        """Until `stop`. Raises what `work` raises, and `PartError` where it does not end."""
        try:
            while not stop.asked.is_set():
                self._contact.beat(beat)
                await self._try()
                if self._candidacy.holds(now()):
                    await self._lead(work, stop, beat)
                else:
                    await wait_for_any(stop.asked, seconds=self._candidacy.look_every)
        finally:
            metrics.LEADS.set(0)

    async def _lead(self, work: Work, stop: Stop, beat: Beat) -> None:
        log.info("leads: %s", self._candidacy.identity)
        metrics.LEADS.set(1)
        term = asyncio.ensure_future(work())
        try:
            await self._renew(term, stop, beat)
        finally:
            metrics.LEADS.set(0)
            log.info("leads no more: %s", self._candidacy.identity)
            await _ended(term)
            await self._release()
        if not term.cancelled():
            term.result()

    async def _renew(self, term: asyncio.Future[None], stop: Stop, beat: Beat) -> None:
        """Until it no longer leads, its work has ended, or `stop`."""
        asked = asyncio.ensure_future(stop.asked.wait())
        try:
            while self._candidacy.holds(now()) and not term.done() and not asked.done():
                self._contact.beat(beat)
                pause = min(self._candidacy.look_every, self._candidacy.left(now()))
                await asyncio.wait((term, asked), timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                if not term.done() and not asked.done():
                    await self._try()
        finally:
            asked.cancel()

    async def _try(self) -> None:
        """Looks at the Lease, and makes, takes or renews it where that is to be done."""
        candidacy = self._candidacy
        # Where it leads, one that hangs must leave time for another.
        seconds = candidacy.left(now()) / 2 if candidacy.holds(now()) else candidacy.look_every * 2
        try:
            async with asyncio.timeout(seconds):
                candidacy.saw(await self._found(), now())
                await self._move()
            self._refusal = ""
        except TimeoutError:
            self._failed("the API server does not answer")
        except ClusterError as error:
            self._failed(str(error))

    async def _move(self) -> None:
        candidacy, sent = self._candidacy, now()
        move = candidacy.move(sent)
        if move == "wait":
            candidacy.lose()
            return
        lease = candidacy.written(self._name, datetime.now(UTC))
        try:
            candidacy.wins(await self._write(lease, made=move == "make"), sent, now())
        except ClusterError as error:
            if error.status != 409:  # another has written it: the next look shows who leads
                raise

    async def _found(self) -> Object | None:
        try:
            return await self._kube.get(LEASES, self._namespace, self._name)
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    async def _write(self, lease: Object, *, made: bool) -> Object:
        if made:
            return await self._kube.create(LEASES, self._namespace, lease)
        return await self._kube.ask("PUT", LEASES.path(self._namespace, self._name), lease)

    async def _release(self) -> None:
        """The next may lead at once. What led has ended."""
        if not self._candidacy.holds(now()):
            return
        lease = self._candidacy.written(self._name, datetime.now(UTC), release=True)
        self._candidacy.lose()
        try:
            await self._write(lease, made=False)
        except ClusterError as error:
            log.warning("the Lease is left to run out: %s", error)

    def _failed(self, why: str) -> None:
        if why != self._refusal:
            log.warning("the Lease %s/%s is not had: %s", self._namespace, self._name, why)
        self._refusal = why


async def _ended(term: asyncio.Future[None]) -> None:
    term.cancel()
    await asyncio.wait((term,), timeout=ENDING_SECONDS)
    if not term.done():
        raise PartError(f"what this operator does as the leader has not ended within {ENDING_SECONDS:g} s")
