"""Which models there are: told by their workers, remembered in the store (a model may be scaled to zero)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from bus import messages
from bus.hearing import hearing
from bus.messages import BatchUse, ModelNotice, Notice, RollCall, WorkerNotice, decode_notice
from bus.port import Bus, Listening
from bus.topics import WORKERS_CHANNEL
from coordinator.crew import Crew
from core.errors import StoreUnavailable
from core.liveness import Beat
from policy.window import Fleet
from store import KnownModel, Store

log = logging.getLogger(__name__)

REMEMBER_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 1.0


class Models:
    """The models that requests may name. `unserved` hears of a model whose requests nobody has in his hands, and
    nobody will take until a person has mended something.
    """

    def __init__(self, bus: Bus, store: Store, unserved: Callable[[str], None]) -> None:
        self._unserved = unserved
        self._bus = bus
        self._store = store
        self._known: dict[str, KnownModel] = {}
        self._heard: dict[str, str] = {}
        self._looked_at = 0.0
        self._crew = Crew()

    async def start(self) -> Listening:
        """Learns what the store knows, listens to workers, and asks them who they are."""
        await self._look()
        listening = await self._bus.listen(WORKERS_CHANNEL, hearing(WORKERS_CHANNEL, decode_notice, self._hear))
        await self._bus.send(WORKERS_CHANNEL, messages.encode(RollCall()))
        return listening

    async def knows(self, name: str) -> bool:
        """Whether requests for this model can be taken. An unknown name is looked up, not more than once a second."""
        if name in self._known or name in self._heard:
            return True
        if time.monotonic() - self._looked_at > LOOK_AGAIN_SECONDS:
            await self._look()
        return name in self._known or name in self._heard

    def serves(self, name: str) -> bool:
        """False while this model has workers and all have told that they are unavailable.

        A model without any may be scaled to zero: its requests wait.
        """
        notices = self._crew.notices(name, time.monotonic())
        return not notices or any(notice.available for notice in notices)

    def fleets(self) -> dict[str, Fleet]:
        """The workers that can serve, by model."""
        now = time.monotonic()
        return {model: _fleet(self._crew.notices(model, now)) for model in self._crew.models()}

    def batches(self, model: str) -> list[BatchUse]:
        """What its workers that batch have told last."""
        notices = self._crew.notices(model, time.monotonic())
        return [notice.batch for notice in notices if notice.batch is not None]

    async def all(self) -> list[KnownModel]:
        """Every model, by name."""
        await self._remember()
        await self._look()
        return sorted(self._known.values(), key=lambda model: model.name)

    async def remember(self, beat: Beat) -> None:
        """Writes what was heard to the store now and then, for ever."""
        while True:
            beat.beat()
            try:
                await self._remember()
            except StoreUnavailable as error:
                log.warning("models are not remembered yet: %s", error)
            await asyncio.sleep(REMEMBER_SECONDS)

    async def _remember(self) -> None:
        heard = list(self._heard.items())
        if not heard:
            return
        await self._store.saw_models(heard)
        await self._look()
        for name, _ in heard:  # until now it was known by this alone
            self._heard.pop(name, None)

    async def _look(self) -> None:
        self._looked_at = time.monotonic()
        self._known = {model.name: model for model in await self._store.known_models()}

    def _hear(self, notice: Notice) -> None:
        if isinstance(notice, ModelNotice):
            self._heard[notice.model] = notice.node_type
        elif isinstance(notice, WorkerNotice):
            self._hear_worker(notice)

    def _hear_worker(self, notice: WorkerNotice) -> None:
        now = time.monotonic()
        self._crew.hear(notice, now)
        if notice.leaving:
            return
        held = any(each.held for each in self._crew.notices(notice.model, now))
        if not held and not self.serves(notice.model):
            self._unserved(notice.model)
        self._heard[notice.model] = notice.node_type


def _fleet(notices: list[WorkerNotice]) -> Fleet:
    slots = [notice.slots for notice in notices if notice.available]
    return Fleet(len(slots), sum(slots))
