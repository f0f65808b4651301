"""Documents over HTTP: inputs that are too large for a description, and outputs."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from coordinator.tasks.incoming import body_of, number_of
from coordinator.tasks.refusals import invalid, not_found
from coordinator.tasks.views import DOCUMENT
from core.errors import NotFound
from store import Store


class DocumentApi:
    """Keeps, reads and forgets texts of up to `max_body_bytes`."""

    def __init__(self, store: Store, max_body_bytes: int) -> None:
        self._store = store
        self._max_body_bytes = max_body_bytes

    def routes(self) -> list[Route]:
        """Under `/v1`."""
        return [
            Route("/documents", self._keep, methods=["POST"]),
            Route("/documents/{document}", self._read, methods=["GET"]),
            Route("/documents/{document}", self._forget, methods=["DELETE"]),
        ]

    async def _keep(self, request: Request) -> Response:
        body = await body_of(request, self._max_body_bytes)
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise invalid(f"A document is UTF-8 text: {error.reason} at byte {error.start}.") from None
        if "\0" in text:
            raise invalid(f"A document holds no zero byte; there is one at character {text.index(chr(0))}.")
        number = await self._store.store_document("document", text)
        return JSONResponse({"id": f"{DOCUMENT}{number}", "object": "document", "bytes": len(body)}, 201)

    async def _read(self, request: Request) -> Response:
        number = number_of(request.path_params["document"], DOCUMENT)
        try:
            content = await self._store.get_document(number)
        except NotFound:
            raise not_found(f"document {DOCUMENT}{number}") from None
        return Response(content, media_type="text/plain; charset=utf-8")

    async def _forget(self, request: Request) -> Response:
        await self._store.delete_document(number_of(request.path_params["document"], DOCUMENT))
        return Response(status_code=204)
