"""HTTP routes made from the table of operations."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tournant.api.operation import Operation
from tournant.errors import Invalid, TournantError
from tournant.services.context import Context
from tournant.web.errors import error_response, unexpected_response

__all__ = ["operation_routes"]

BODY_LIMIT = 32 * 1024 * 1024


def operation_routes(ctx: Context, operations: Sequence[Operation[Any, Any]]) -> list[Route]:
    """Give one route an operation, below `/api`."""
    return [_route(ctx, operation) for operation in operations]


def _route(ctx: Context, operation: Operation[Any, Any]) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            typed = await _read(operation, request)
            actor = request.headers.get("tournant-actor", "") or ctx.actor
            answer = await run_in_threadpool(operation.handler, ctx.acting_as(actor), typed)
            return Response(encode_answer(answer), media_type="application/json")
        except TournantError as exc:
            return error_response(exc)
        except Exception as exc:
            return unexpected_response(request, exc)

    return Route("/api" + operation.path, endpoint, methods=[operation.method], name=operation.name)


def encode_answer(answer: object) -> bytes:
    """Write JSON; NaN and infinities, for which it has no word, as the texts that protobuf's JSON has for them.

    >>> encode_answer({"loss": float("nan"), "end": None})
    b'{"loss":"NaN","end":null}'
    """
    encoded = msgspec.json.encode(answer)
    if b"null" not in encoded:  # which is what msgspec writes for them
        return encoded
    return msgspec.json.encode(_with_texts(msgspec.to_builtins(answer)))


def _with_texts(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _with_texts(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_with_texts(inner) for inner in value]
    return value


async def _read(operation: Operation[Any, Any], request: Request) -> Any:
    values: dict[str, object] = dict(request.path_params)
    if operation.method == "GET":
        return operation.read({**request.query_params, **values}, strict=False)
    body = await read_body(request)
    if body:
        try:
            decoded = msgspec.json.decode(body)
        except msgspec.DecodeError as exc:
            raise Invalid(f"the body is not JSON: {exc}") from exc
        if not isinstance(decoded, dict):
            raise Invalid(f"the body must be a JSON object, not {type(decoded).__name__}")
        values = {**decoded, **values}
    return operation.read(values)


async def read_body(request: Request, limit: int = BODY_LIMIT) -> bytes:
    """Read a body of at most `limit` bytes."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise Invalid(f"the body is larger than {limit} bytes; send it in parts")
        chunks.append(chunk)
    return b"".join(chunks)
