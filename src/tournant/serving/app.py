"""The gateway's HTTP face: a bare ASGI application."""

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec
import structlog

from tournant.errors import Denied, NotFound, Overloaded, TournantError, Unavailable
from tournant.serving.access import AccessLog, request_id, trace_id
from tournant.serving.body import BODY_LIMIT_BYTES, Message, Receive, read_body
from tournant.serving.deadlines import Deadlines
from tournant.serving.exchange import Call, Face, Reply, allow
from tournant.serving.failures import WorkerLost, error_body, status_of
from tournant.serving.gateway import Gateway
from tournant.serving.headers import header
from tournant.serving.identifiers import identifiers
from tournant.serving.invocations import Invocations
from tournant.serving.metrics import CONTENT_TYPE, render
from tournant.serving.open_inference_http import OpenInference
from tournant.serving.openapi import OpenApi
from tournant.serving.tracing import Tracing

__all__ = ["BODY_LIMIT_BYTES", "App"]

LINGER_BYTES = 32 << 20
LINGER_SECONDS = 2.0
PREDICT = "/predict/"
OPEN = ("/health", "/health/live", "/health/ready")  # asked by whoever watches the process, without a token
RETRY_AFTER = (b"retry-after", b"1")
Send = Callable[[Message], Awaitable[None]]
_new_ids = identifiers(8)


class Life(Protocol):
    """What starts with the application and ends with it."""

    async def start(self) -> None:
        """Start, on the event loop that will serve."""
        ...

    async def stop(self) -> None:
        """Stop within a few seconds."""
        ...


class Named:
    """What is tournant's own: `POST /predict/{deployment}`, health and metrics."""

    protocol = "predict"

    def __init__(self, gateway: Gateway) -> None:
        """Answer by `gateway`."""
        self._gateway = gateway

    def takes(self, path: str) -> bool:
        """Take what no other protocol does."""
        return bool(path)

    def deployment(self, path: str) -> str:
        """Name the deployment that a path asks for predictions."""
        return path[len(PREDICT) :] if path.startswith(PREDICT) else ""

    async def answer(self, call: Call) -> Reply:
        """Answer a call."""
        if call.path.startswith(PREDICT):
            allow(call, "POST")
            return Reply(200, await self._gateway.predict(call.path[len(PREDICT) :], await call.read(), call.headers))
        if call.path == "/health":
            status, told = self._gateway.health()
            return Reply(status, msgspec.json.encode(told))
        if call.path == "/metrics":
            allow(call, "GET")
            return Reply(200, render(self._gateway.samples()), ((b"content-type", CONTENT_TYPE),))
        there = "POST /predict/DEPLOYMENT, GET /health, GET /metrics or GET /openapi.json, which lists what predicts"
        raise NotFound(f"there is nothing at {call.path!r}: {there}")

    def refusal(self, error: TournantError) -> Reply:
        """Say an error with its code and place."""
        return Reply(status_of(error), error_body(error))


class App:
    """Finds the protocol a request speaks, and knows what they have in common: tokens, ids, limits, metrics, errors."""

    def __init__(
        self,
        gateway: Gateway,
        life: Life | None = None,
        *,
        token: str = "",
        access: AccessLog | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """Serve `gateway`, to whoever sends `token` if there is one; `life` starts and stops what works beside it."""
        self._gateway = gateway
        self._metrics = gateway.metrics
        self._life = life
        self._proof = f"Bearer {token}".encode() if token else b""
        self._named: Face = Named(gateway)
        self._faces: tuple[Face, ...] = (OpenInference(gateway), Invocations(gateway), OpenApi(gateway))
        self._deadlines = Deadlines()
        self._tracing = tracing
        self._access = access or AccessLog(None, 0)
        self._log = structlog.get_logger("tournant.gateway")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or follow the server's life."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        path: str = scope["path"]
        headers = scope["headers"]
        face = self._named
        if not path.startswith(PREDICT):
            face = next((one for one in self._faces if one.takes(path)), face)
        if self._tracing:
            with self._tracing.request(face.protocol, scope["method"], path, headers) as span:
                reply, error = await self._reply(face, scope, receive)
                span.end(reply.status, face.deployment(path), error)
        else:
            reply, error = await self._reply(face, scope, receive)
        seconds = time.perf_counter() - started
        identity = _identity(headers)
        await _respond(send, receive, reply, identity)
        self._note(face, scope, reply.status, seconds, identity, error)

    async def _reply(self, face: Face, scope: Message, receive: Receive) -> tuple[Reply, str]:
        """Give the answer to a request, and the code of its error if it is one."""
        path, headers = scope["path"], scope["headers"]
        try:
            if self._proof and not path.endswith(OPEN):
                _demand(headers, self._proof)
            call = Call(scope["method"], path, headers, lambda: read_body(headers, receive, self._deadlines))
            return await face.answer(call), ""
        except TournantError as exc:
            return _refusal(face, exc), exc.code
        except Exception as exc:
            self._log.exception("request failed", path=path)
            fault = TournantError(f"the gateway has a fault ({type(exc).__name__}); see its log")
            return _refusal(face, fault), fault.code

    def _note(self, face: Face, scope: Message, status: int, seconds: float, identity: bytes, error: str) -> None:
        path = scope["path"]
        deployment = face.deployment(path)
        if deployment:
            known = deployment if deployment in self._gateway.fleet.endpoints else ""
            self._metrics.answered(known, face.protocol, status, seconds)
            if error:
                self._metrics.failed(known, face.protocol, error)
        if self._access.on:
            trace = header(scope["headers"], b"traceparent")
            told = (scope["method"], path, status, seconds, identity.decode(), trace_id(trace), error)
            self._access.note(*told)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            self._gateway.start()
            if self._life:
                await self._life.start()
        except Exception as exc:
            self._log.exception("start failed")
            await send({"type": "lifespan.startup.failed", "message": str(exc)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._life:
            await self._life.stop()
        await self._gateway.close()
        await send({"type": "lifespan.shutdown.complete"})


def _identity(headers: Any) -> bytes:
    """Give the request's id: its client's, or a new one."""
    return request_id(header(headers, b"x-request-id")) or next(_new_ids).encode()


def _refusal(face: Face, error: TournantError) -> Reply:
    reply = face.refusal(error)
    if isinstance(error, Overloaded | Unavailable | WorkerLost):
        return reply._replace(headers=(*reply.headers, RETRY_AFTER))
    return reply


async def _respond(send: Send, receive: Receive, reply: Reply, identity: bytes) -> None:
    headers = [
        *reply.headers,
        (b"content-length", str(len(reply.body)).encode()),
        (b"x-request-id", identity),
    ]
    if reply.status not in (408, 413):
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})
        return
    # The rest of the body is on its way. Closing at once would reset the connection under the answer, so the client is
    # told first, and what still comes is thrown away for a moment.
    headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body, "more_body": True})
    await _discard(receive)
    await send({"type": "http.response.body", "body": b""})


async def _discard(receive: Receive) -> None:
    left, deadline = LINGER_BYTES, time.monotonic() + LINGER_SECONDS
    try:
        async with asyncio.timeout_at(asyncio.get_running_loop().time() + LINGER_SECONDS):
            while left > 0 and time.monotonic() < deadline:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body"):
                    return
    except TimeoutError:
        return


def _demand(headers: Any, proof: bytes) -> None:
    if not hmac.compare_digest(header(headers, b"authorization"), proof):
        raise Denied(
            "a token is needed: send it as 'Authorization: Bearer …'; it is in the file token of the home folder"
        )
