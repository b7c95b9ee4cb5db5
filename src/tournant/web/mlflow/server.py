"""What MLflow's clients ask of the server itself, and the table of all its operations."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from tournant.api.openapi import openapi_document
from tournant.api.operation import Empty, Operation
from tournant.services.context import Context
from tournant.web.mlflow import artifacts, experiments, logged_models, metrics, models, runs, versions
from tournant.web.mlflow.app import MlflowApi
from tournant.web.mlflow.requests import Message

__all__ = ["OPERATIONS", "mlflow_routes"]

SPOKEN_VERSION = "3.17.2"  # of MLflow, whose REST is spoken here


class ServerInfo(Message, frozen=True, kw_only=True):
    """What the server can do."""

    store_type: str
    workspaces_enabled: bool
    trace_archival_enabled: bool
    multipart_uploads_enabled: bool
    multipart_downloads_enabled: bool


def server_info(_ctx: Context, _request: Empty) -> ServerInfo:
    """Say what the server can do."""
    return ServerInfo(
        store_type="SqlStore",
        workspaces_enabled=False,
        trace_archival_enabled=False,
        multipart_uploads_enabled=True,
        multipart_downloads_enabled=False,
    )


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    *experiments.OPERATIONS,
    *runs.OPERATIONS,
    *metrics.OPERATIONS,
    *artifacts.OPERATIONS,
    *logged_models.OPERATIONS,
    *models.OPERATIONS,
    *versions.OPERATIONS,
    Operation(
        name="mlflow.server-info",
        method="GET",
        path="/3.0/mlflow/server-info",
        request=Empty,
        response=ServerInfo,
        handler=server_info,
    ),
)


def mlflow_routes(ctx: Context) -> list[BaseRoute]:
    """Give the routes of MLflow's REST."""
    api = MlflowApi(ctx, OPERATIONS)

    document = msgspec.json.encode(openapi_document(OPERATIONS, version=SPOKEN_VERSION))

    async def spoken(_request: Request) -> Response:
        return PlainTextResponse(SPOKEN_VERSION)

    async def openapi(_request: Request) -> Response:
        return Response(document, media_type="application/json")

    return [
        Route("/api/2.0/mlflow/openapi.json", openapi),
        *(
            Route(f"{prefix}/{number}/mlflow/{{rest:path}}", api)
            for prefix in ("/api", "/ajax-api")
            for number in ("2.0", "3.0")
        ),
        *artifacts.artifact_routes(ctx),
        Route("/version", spoken),
    ]
