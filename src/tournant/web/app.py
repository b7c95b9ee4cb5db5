"""The control plane's HTTP application."""

from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Lifespan

from tournant.api.openapi import openapi_document
from tournant.api.table import OPERATIONS
from tournant.config import VERSION
from tournant.errors import NotFound
from tournant.services.context import Context
from tournant.web.auth import Authentication
from tournant.web.changes import Changes
from tournant.web.errors import error_response
from tournant.web.gateways import gateway_routes
from tournant.web.mlflow.server import mlflow_routes
from tournant.web.routes import operation_routes

__all__ = ["create_app"]


def create_app(
    ctx: Context, changes: Changes, *, pages: Sequence[BaseRoute] = (), lifespan: Lifespan[Starlette] | None = None
) -> Starlette:
    """Assemble API, gateway routes and the dashboard's pages."""
    document = msgspec.json.encode(openapi_document(OPERATIONS, version=VERSION))

    async def health(_request: Request) -> Response:
        return PlainTextResponse("ok")

    async def openapi(_request: Request) -> Response:
        return Response(document, media_type="application/json")

    async def unknown(request: Request) -> Response:
        return error_response(NotFound(f"there is no {request.method} {request.url.path}; see /api/openapi.json"))

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    routes: list[BaseRoute] = [
        *mlflow_routes(ctx),
        Route("/health", health),
        Route("/api/openapi.json", openapi),
        *gateway_routes(ctx, changes),
        *operation_routes(ctx, list[Any](OPERATIONS)),
        Route("/api/{rest:path}", unknown, methods=methods),
        *pages,
    ]
    return Starlette(routes=routes, middleware=[Middleware(Authentication, ctx.settings)], lifespan=lifespan)
