"""Users and their weights over HTTP: who shares the fleet, and in which parts."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from coordinator.tasks.incoming import body_of
from coordinator.tasks.refusals import invalid
from store import Store

LARGEST_WEIGHT = 1e6
BODY_BYTES = 1024


class _Weight(msgspec.Struct, forbid_unknown_fields=True):
    weight: float


_weight = msgspec.json.Decoder(_Weight)


class UserApi:
    """Lists users, and sets their weights for tasks that come from then on."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def routes(self) -> list[Route]:
        """Under `/v1`."""
        return [
            Route("/users", self._list, methods=["GET"]),
            Route("/users/{name}", self._set, methods=["PUT"]),
        ]

    async def _list(self, _: Request) -> Response:
        data = [{"object": "user", "name": user.name, "weight": user.weight} for user in await self._store.users()]
        return JSONResponse({"object": "list", "data": data})

    async def _set(self, request: Request) -> Response:
        name = request.path_params["name"]
        try:
            weight = _weight.decode(await body_of(request, BODY_BYTES)).weight
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise invalid(f'The body must look like {{"weight": 2}}: {error}.', "/weight") from None
        if not 0 < weight <= LARGEST_WEIGHT:
            raise invalid(f"A weight is over 0 and at most {LARGEST_WEIGHT:g}; 1 is everybody's at first.", "/weight")
        await self._store.set_weight(name, weight)
        return JSONResponse({"object": "user", "name": name, "weight": weight})
