"""The gateway's HTTP face: what answers the requests of its connections. Of ASGI it is the lifespan only."""

import hmac
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

import msgspec
import structlog

from tournant.errors import Denied, NotFound, Overloaded, TournantError, Unavailable
from tournant.serving.access import AccessLog, request_id, trace_id
from tournant.serving.body import unpacked
from tournant.serving.exchange import Call, Face, Reply, allow
from tournant.serving.failures import WorkerLost, error_body, status_of
from tournant.serving.gateway import Gateway
from tournant.serving.headers import header
from tournant.serving.identifiers import identifiers
from tournant.serving.invocations import Invocations
from tournant.serving.metrics import CONTENT_TYPE, render
from tournant.serving.open_inference_http import OpenInference
from tournant.serving.openapi import OpenApi
from tournant.serving.shedding import Shedder
from tournant.serving.tracing import Tracing

__all__ = ["App"]

PREDICT = "/predict/"
# Asked by whoever watches the process, without a token.
OPEN = frozenset(("/health", "/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"))
RETRY_AFTER = (b"retry-after", b"1")
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
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
            return Reply(200, await self._gateway.predict(call.path[len(PREDICT) :], call.body, call.headers))
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
        self.arrived, self.turned = gateway.load.arrived, gateway.load.turned
        self._metrics = gateway.metrics
        self._life = life
        self._proof = f"Bearer {token}".encode() if token else b""
        self._named: Face = Named(gateway)
        self._faces: tuple[Face, ...] = (OpenInference(gateway), Invocations(gateway), OpenApi(gateway))
        self._tracing = tracing
        self._access = access or AccessLog(None, 0)
        self._shedder = Shedder(gateway, self._face, self.check, _refusal, self._count)
        self._log = structlog.get_logger("tournant.gateway")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Follow the server's life; requests come through its connections."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    def check(self, call: Call) -> None:
        """Raise Denied if the gateway has a token and the request does not."""
        if self._proof and call.path not in OPEN:
            _demand(call.headers, self._proof)

    async def respond(self, call: Call) -> Reply:
        """Answer one request."""
        started = time.perf_counter()
        face = self._face(call.path)
        if self._tracing:
            with self._tracing.request(face.protocol, call.method, call.path, call.headers) as span:
                reply, error = await self._reply(face, call)
                span.end(reply.status, face.deployment(call.path), error)
        else:
            reply, error = await self._reply(face, call)
        return self._noted(face, call, reply, error, started)

    def refuse(self, call: Call, error: TournantError) -> Reply:
        """Say what is wrong with a request that is not whole."""
        face = self._face(call.path)
        return self._noted(face, call, _refusal(face, error), error.code, time.perf_counter())

    def shed(self, data: bytes) -> bytes | None:
        """Refuse a request by its bytes, unread, where it would be refused anyhow; None where it is to be read."""
        if not self._gateway.load.refusing or self._tracing:
            return None
        return self._shedder.shed(data)

    def _face(self, path: str) -> Face:
        if path.startswith(PREDICT):
            return self._named
        return next((one for one in self._faces if one.takes(path)), self._named)

    async def _reply(self, face: Face, call: Call) -> tuple[Reply, str]:
        """Give the answer to a request, and the code of its error if it is one."""
        try:
            plain = unpacked(call.body, call.headers)
            return await face.answer(call if plain is call.body else call._replace(body=plain)), ""
        except TournantError as exc:
            return _refusal(face, exc), exc.code
        except Exception as exc:
            self._log.exception("request failed", path=call.path)
            fault = TournantError(f"the gateway has a fault ({type(exc).__name__}); see its log")
            return _refusal(face, fault), fault.code

    def _noted(self, face: Face, call: Call, reply: Reply, error: str, started: float) -> Reply:
        """Count an answer, and give it with the request's id."""
        identity = self._count(face, call, reply.status, error, started)
        return Reply(reply.status, reply.body, (*reply.headers, (b"x-request-id", identity)))

    def _count(self, face: Face, call: Call, status: int, error: str, started: float) -> bytes:
        """Count and log what a request came to, and give its id."""
        seconds = time.perf_counter() - started
        identity = request_id(header(call.headers, b"x-request-id")) or next(_new_ids).encode()
        deployment = face.deployment(call.path)
        if deployment:
            known = deployment if deployment in self._gateway.fleet.endpoints else ""
            self._metrics.answered(known, face.protocol, status, seconds)
            if error:
                self._metrics.failed(known, face.protocol, error)
        if self._access.on:
            trace = trace_id(header(call.headers, b"traceparent"))
            self._access.note(call.method, call.path, status, seconds, identity.decode(), trace, error)
        return identity

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


def _refusal(face: Face, error: TournantError) -> Reply:
    reply = face.refusal(error)
    if isinstance(error, Overloaded | Unavailable | WorkerLost):
        return reply._replace(headers=(*reply.headers, RETRY_AFTER))
    return reply


def _demand(headers: Any, proof: bytes) -> None:
    if not hmac.compare_digest(header(headers, b"authorization"), proof):
        raise Denied(
            "a token is needed: send it as 'Authorization: Bearer …'; it is in the file token of the home folder"
        )
