"""Answers what MLflow's clients ask: finds the operation of an address, reads the request, runs it in a thread, writes JSON."""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from tournant.api.operation import Operation
from tournant.errors import Invalid, TournantError
from tournant.services.context import Context
from tournant.web.mlflow.errors import EndpointNotFound, error_answer, unexpected_answer
from tournant.web.mlflow.requests import read_request

__all__ = ["MlflowApi"]

BODY_LIMIT = 32 * 1024 * 1024
_LIMITS = {"/2.0/mlflow/runs/log-batch": 1_000_000}
_THREADS = 8
_PARAMETER = re.compile(r"{(\w+)}")


class MlflowApi:
    """An ASGI application of MLflow's JSON operations, below `/api` and `/ajax-api`."""

    def __init__(self, ctx: Context, operations: tuple[Operation[Any, Any], ...]) -> None:
        """Answer from `ctx`."""
        self._ctx = ctx
        self._static = {(each.method, each.path): each for each in operations if "{" not in each.path}
        self._patterns = [
            (each.method, re.compile(_PARAMETER.sub(r"(?P<\1>[^/]+)", each.path)), each)
            for each in operations
            if "{" in each.path
        ]
        self._threads = ThreadPoolExecutor(_THREADS, "mlflow")
        self._encoder = msgspec.json.Encoder()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            operation, values = self._find(scope["method"], scope["path"])
            body = await _read_body(receive, _LIMITS.get(operation.path, BODY_LIMIT))
            status, content = await asyncio.get_running_loop().run_in_executor(
                self._threads, self._answer, operation, values, body, scope
            )
        except TournantError as exc:
            status, content = error_answer(exc)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def _find(self, method: str, path: str) -> tuple[Operation[Any, Any], dict[str, str]]:
        path = "/" + path.lstrip("/").partition("/")[2]
        found = self._static.get((method, path))
        if found:
            return found, {}
        for known, pattern, operation in self._patterns:
            match = pattern.fullmatch(path) if known == method else None
            if match:
                return operation, match.groupdict()
        raise EndpointNotFound(f"tournant does not serve {method} {path} of MLflow's API")

    def _answer(
        self, operation: Operation[Any, Any], values: dict[str, str], body: bytes, scope: Scope
    ) -> tuple[int, bytes]:
        try:
            request = read_request(operation.request, body, scope["query_string"], values)
            answer = operation.handler(self._ctx.acting_as(_actor(scope) or self._ctx.actor), request)
            return 200, self._encoder.encode(answer)
        except TournantError as exc:
            return error_answer(exc)
        except Exception as exc:
            return unexpected_answer(scope["path"], exc)


def _actor(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"tournant-actor":
            return str(value.decode("latin-1"))
    return ""


async def _read_body(receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Invalid("the request broke off")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise Invalid(f"Batched logging API requests must be at most {limit} bytes; send it in parts")
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)
