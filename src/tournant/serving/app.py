"""The gateway's HTTP face: a bare ASGI application."""

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol
from urllib.parse import unquote

import msgspec
import structlog

from tournant.errors import Denied, NotFound, TournantError
from tournant.serving.failures import NotAllowed, TooLarge, error_body, status_of
from tournant.serving.gateway import Gateway

__all__ = ["BODY_LIMIT_BYTES", "App"]

BODY_LIMIT_BYTES = 8 << 20
LINGER_BYTES = 32 << 20
LINGER_SECONDS = 2.0
PREDICT = "/predict/"
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_JSON = (b"content-type", b"application/json")


class Life(Protocol):
    """What starts with the application and ends with it."""

    async def start(self) -> None:
        """Start, on the event loop that will serve."""
        ...

    async def stop(self) -> None:
        """Stop within a few seconds."""
        ...


class App:
    """Routes requests to a gateway, and nothing else: what happens to them is `Gateway.predict`'s."""

    def __init__(self, gateway: Gateway, life: Life | None = None, *, token: str = "") -> None:
        """Serve `gateway`, to whoever sends `token` if there is one; `life` starts and stops what works beside it."""
        self._gateway = gateway
        self._life = life
        self._proof = f"Bearer {token}".encode() if token else b""
        self._log = structlog.get_logger("tournant.gateway")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or follow the server's life."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        try:
            if path.startswith(PREDICT):
                _allow(scope, "POST")
                if self._proof:
                    _demand(scope, self._proof)
                body = await _read(scope, receive)
                status, answer = 200, await self._gateway.predict(path[len(PREDICT) :], body, scope["headers"])
            elif path == "/health":
                status, told = self._gateway.health()
                answer = msgspec.json.encode(told)
            else:
                raise NotFound(f"there is nothing at {unquote(path)!r}: POST /predict/DEPLOYMENT or GET /health")
        except TournantError as exc:
            await _refuse(exc, receive, send)
            return
        except Exception as exc:
            self._log.exception("request failed", path=path)
            await _refuse(TournantError(f"the gateway has a fault ({type(exc).__name__}); see its log"), receive, send)
            return
        await _respond(send, status, answer)

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


async def _respond(send: Send, status: int, body: bytes, *more: tuple[bytes, bytes]) -> None:
    headers = [_JSON, (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _refuse(error: TournantError, receive: Receive, send: Send) -> None:
    status, body = status_of(error), error_body(error)
    if status != 413:
        await _respond(send, status, body)
        return
    # The rest of the body is on its way. Closing at once would reset the connection under the answer, so the client is
    # told first, and what still comes is thrown away for a moment.
    headers = [_JSON, (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
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


async def _read(scope: Message, receive: Receive) -> bytes:
    for name, value in scope["headers"]:
        if name == b"content-length" and int(value) > BODY_LIMIT_BYTES:
            raise _too_large(int(value))
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    parts, size = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > BODY_LIMIT_BYTES:
            raise _too_large(size)
    return b"".join(parts)


def _too_large(size_bytes: int) -> TooLarge:
    megabytes = size_bytes / (1 << 20)
    limit = BODY_LIMIT_BYTES >> 20
    return TooLarge(f"the body has {megabytes:.1f} MB or more, and one request may have {limit} MB: send it in parts")


def _demand(scope: Message, proof: bytes) -> None:
    given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    if not hmac.compare_digest(given, proof):
        raise Denied(
            "a token is needed: send it as 'Authorization: Bearer …'; it is in the file token of the home folder"
        )


def _allow(scope: Message, method: str) -> None:
    if scope["method"] != method:
        raise NotAllowed(f"{scope['method']} {scope['path']} is not possible: use {method}")
