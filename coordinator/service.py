"""Everything that a coordinator needs for task graphs, put together."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any

from starlette.routing import Route

from bus.port import Bus
from coordinator.metrics import OWNED
from coordinator.models import Models
from coordinator.pipelines.api import PipelineApi
from coordinator.pipelines.pipelines import Pipelines
from coordinator.relay import Relay
from coordinator.settings import CoordinatorSettings
from coordinator.tasks.api import TaskApi
from coordinator.tasks.board import Board
from coordinator.tasks.departures import Departures
from coordinator.tasks.dispatcher import Dispatcher
from coordinator.tasks.documents import DocumentApi
from coordinator.tasks.entry import Entry
from coordinator.tasks.looking import Looking
from coordinator.tasks.news import Newsroom, Settled
from coordinator.tasks.ownership import Ownership
from coordinator.tasks.prices import Prices, prices_of
from coordinator.tasks.responses import Responses
from coordinator.tasks.stopping import Stopping
from coordinator.tasks.users import UserApi
from coordinator.tracing import Traces
from core.liveness import Beat
from store import Store


class TaskService:
    """One coordinator's. `offered` hears of each request of a pipeline, the pipeline's name."""

    def __init__(
        self,
        settings: CoordinatorSettings,
        *,
        process: str,
        store: Store,
        bus: Bus,
        relay: Relay,
        models: Models,
        traces: Traces,
        offered: Callable[[str], None],
    ) -> None:
        prices = prices_of(settings.prices)
        self.pipelines = Pipelines(
            store, models, changed=lambda models: self._dispatcher.stages_changed(models), offered=offered
        )
        board = Board(process, settings.dispatch_order, self.pipelines.desks.get)
        self._board = board
        self._ownership = Ownership(store, process, settings.region, lambda: self._dispatcher.lose())
        self._newsroom = Newsroom(
            bus,
            process,
            has_peers=lambda: not self._ownership.alone,
            owns=lambda task_id: board.get(task_id) is not None,
        )
        self._responses = Responses(store)
        self._departures = Departures(self._responses, relay, traces)
        self._stopping = Stopping(bus)
        self._dispatcher = Dispatcher(
            store=store,
            board=board,
            ownership=self._ownership,
            newsroom=self._newsroom,
            departures=self._departures,
            stopping=self._stopping,
            fleets=models.fleets,
            prices=prices,
            ended=lambda held: self.pipelines.end(held.graph, held.task.created_at),
        )
        self._routes = self._made_routes(settings, store, models, board, prices)
        OWNED.set_function(lambda: len(board))

    def _made_routes(
        self, settings: CoordinatorSettings, store: Store, models: Models, board: Board, prices: Prices
    ) -> list[Route]:
        entry, looking = Entry(store, board, self._dispatcher, self._ownership), Looking(store)
        tasks = TaskApi(
            store=store,
            models=models,
            entry=entry,
            looking=looking,
            newsroom=self._newsroom,
            stopping=self._stopping,
            prices=prices,
            max_body_bytes=settings.max_body_bytes,
            max_nodes=settings.max_task_nodes,
        )
        pipelines = PipelineApi(
            pipelines=self.pipelines,
            store=store,
            entry=entry,
            looking=looking,
            newsroom=self._newsroom,
            holds=lambda task_id: board.get(task_id) is not None,
            max_body_bytes=settings.max_body_bytes,
        )
        documents = DocumentApi(store, settings.max_body_bytes)
        return [*tasks.routes(), *pipelines.routes(), *documents.routes(), *UserApi(store).routes()]

    def owner(self) -> str:
        """The name under which this coordinator owns tasks now."""
        return self._ownership.name

    def peers(self) -> list[str]:
        """The names of all coordinators that live, this one's included."""
        return [peer.name for peer in self._ownership.peers]

    def ready(self) -> dict[str, int]:
        """Nodes whose turn has not come, by model."""
        return {model: demand.waiting for model, demand in self._board.demands().items() if demand.waiting}

    def routes(self) -> list[Route]:
        """Under `/v1`."""
        return self._routes

    def settled(self, nodes: Sequence[Settled], responses: Mapping[int, str]) -> None:
        """These nodes have their results, folded here; `responses` by document."""
        self._responses.keep(responses)
        self._newsroom.tell(settled=nodes)

    def end_streams(self) -> None:
        """Ends the streams of events: their clients go on at another gateway."""
        self._newsroom.end()

    @contextlib.asynccontextmanager
    async def joined(self) -> AsyncIterator[None]:
        """Owns tasks and hears of them; at the end others take the tasks over. Raises `StoreUnavailable`."""
        await self._ownership.join()
        listening = await self._newsroom.listen()
        try:
            yield
        finally:
            await self._departures.drain()
            self._stopping.close()
            await self._ownership.leave()
            await self._newsroom.drain()
            await listening.close()

    def sides(self, expect: Callable[[str], Beat]) -> dict[str, Coroutine[Any, Any, None]]:
        """What runs until it is cancelled, by name."""
        return {
            "lease": self._ownership.keep(expect("the lease of tasks")),
            "dispatcher": self._dispatcher.run(expect("the dispatcher of tasks")),
            "pipelines": self.pipelines.registry.keep(expect("the look for pipelines")),
        }
