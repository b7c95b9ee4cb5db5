"""The control plane's side of its gateways: routes by long poll, reports, segments and content by digest."""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from tournant.errors import Invalid, TournantError
from tournant.messages.gateway import GatewayReport, SegmentUpload
from tournant.messages.routing import RoutingTable
from tournant.services import gateways
from tournant.services.context import Context
from tournant.web.changes import Changes
from tournant.web.errors import error_response, unexpected_response
from tournant.web.routes import read_body
from tournant.web.streams import receive

__all__ = ["gateway_routes"]

Message = TypeVar("Message")
LONGEST_POLL_SECONDS = 30.0
Handler = Callable[[Request], Awaitable[Response]]


def gateway_routes(ctx: Context, changes: Changes) -> list[Route]:
    """Give the routes that gateways call; `changes` wakes those who wait for a new routing table."""
    plane = GatewayPlane(ctx, changes)
    return [
        Route("/api/gateway/routes", _guarded(plane.routes)),
        Route("/api/gateway/report", _guarded(plane.report), methods=["POST"]),
        Route("/api/gateway/segments", _guarded(plane.segment), methods=["POST"]),
        Route("/api/blobs/{digest}", _guarded(plane.blob)),
        Route("/api/blobs/{digest}", _guarded(plane.put_blob), methods=["PUT"]),
        Route("/api/blobs/{digest}/tree", _guarded(plane.tree)),
    ]


class GatewayPlane:
    """Handlers over one context."""

    def __init__(self, ctx: Context, changes: Changes) -> None:
        """Answer from `ctx`; wait on `changes`."""
        self._ctx = ctx
        self._changes = changes

    async def routes(self, request: Request) -> Response:
        """Answer with the routing table once it differs from the asker's, or 204 after the wait it named."""
        known = (int(request.query_params.get("version", -1)), int(request.query_params.get("barrier", -1)))
        wait = min(float(request.query_params.get("wait", 0)), LONGEST_POLL_SECONDS)
        deadline = time.monotonic() + wait
        while True:
            seen = self._changes.count
            table: RoutingTable = await run_in_threadpool(gateways.routing_table, self._ctx)
            if (table.version, table.barrier) != known:
                return _json(table)
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return Response(status_code=204)
            await self._changes.wait(seen, remaining)

    async def report(self, request: Request) -> Response:
        """Apply a gateway's report once."""
        report = _decode(await read_body(request), GatewayReport)
        answer = await run_in_threadpool(gateways.apply_report, self._ctx, report)
        return _json(answer)

    async def segment(self, request: Request) -> Response:
        """Register an uploaded segment of predictions."""
        upload = _decode(await read_body(request), SegmentUpload)
        await run_in_threadpool(gateways.register_segment, self._ctx, upload)
        return _json({})

    async def blob(self, request: Request) -> Response:
        """Send content."""
        path = await run_in_threadpool(self._ctx.blobs.path, request.path_params["digest"])
        return FileResponse(path, media_type="application/octet-stream")

    async def put_blob(self, request: Request) -> Response:
        """Store content that is what its digest says."""
        digest = request.path_params["digest"]
        stored = await receive(request.stream(), self._ctx.blobs.put)
        if stored != digest:
            raise Invalid(f"the content sent as {digest[:12]}… has the digest {stored[:12]}…: send it again")
        return _json({"digest": stored})

    async def tree(self, request: Request) -> Response:
        """Send a tree manifest."""
        return _json(await run_in_threadpool(self._ctx.blobs.tree, request.path_params["digest"]))


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _decode(body: bytes, kind: type[Message]) -> Message:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as exc:
        raise Invalid(f"not a {kind.__name__}: {exc}") from exc


def _guarded(handler: Handler) -> Handler:
    async def endpoint(request: Request) -> Response:
        try:
            return await handler(request)
        except TournantError as exc:
            return error_response(exc)
        except Exception as exc:
            return unexpected_response(request, exc)

    return endpoint
