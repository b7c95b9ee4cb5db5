"""The gateway's HTTP face: a bare ASGI application."""

import asyncio
import hmac
import time
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

import msgspec
import structlog

from tournant.errors import Denied, Invalid, NotFound, TournantError
from tournant.serving.exchange import Call, Face, Reply
from tournant.serving.failures import Malformed, NotAllowed, TooLarge, error_body, status_of
from tournant.serving.gateway import Gateway
from tournant.serving.invocations import Invocations
from tournant.serving.open_inference_http import OpenInference
from tournant.serving.openapi import OpenApi

__all__ = ["BODY_LIMIT_BYTES", "App"]

BODY_LIMIT_BYTES = 8 << 20
LINGER_BYTES = 32 << 20
LINGER_SECONDS = 2.0
PREDICT = "/predict/"
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
OPEN = ("/health", "/health/live", "/health/ready")  # asked by whoever watches the process, without a token


class Life(Protocol):
    """What starts with the application and ends with it."""

    async def start(self) -> None:
        """Start, on the event loop that will serve."""
        ...

    async def stop(self) -> None:
        """Stop within a few seconds."""
        ...


class NamedColumns:
    """What is tournant's own: `POST /predict/{deployment}`, whose hot path is `App`'s, and the gateway's health."""

    def __init__(self, gateway: Gateway) -> None:
        """Tell of `gateway`."""
        self._gateway = gateway

    def takes(self, path: str) -> bool:
        """Take what no other protocol does."""
        return bool(path)

    async def answer(self, call: Call) -> Reply:
        """Answer `GET /health`."""
        if call.path == "/health":
            status, told = self._gateway.health()
            return Reply(status, msgspec.json.encode(told))
        raise NotFound(
            f"there is nothing at {call.path!r}: POST /predict/DEPLOYMENT, GET /health or GET /openapi.json, which lists all"
        )

    def refusal(self, error: TournantError) -> Reply:
        """Say an error with its code and place."""
        return Reply(status_of(error), error_body(error))


class App:
    """Routes requests to a gateway, and nothing else: what happens to them is `Gateway.predict`'s."""

    def __init__(self, gateway: Gateway, life: Life | None = None, *, token: str = "") -> None:
        """Serve `gateway`, to whoever sends `token` if there is one; `life` starts and stops what works beside it."""
        self._gateway = gateway
        self._life = life
        self._proof = f"Bearer {token}".encode() if token else b""
        self._named = NamedColumns(gateway)
        self._faces: tuple[Face, ...] = (OpenInference(gateway), Invocations(gateway), OpenApi(gateway))
        self._log = structlog.get_logger("tournant.gateway")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or follow the server's life."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        face: Face = self._named
        try:
            if path.startswith(PREDICT):
                _allow(scope, "POST")
                if self._proof:
                    _demand(scope, self._proof)
                body = await _read(scope, receive)
                reply = Reply(200, await self._gateway.predict(path[len(PREDICT) :], body, scope["headers"]))
            else:
                face = next((one for one in self._faces if one.takes(path)), face)
                if self._proof and not path.endswith(OPEN):
                    _demand(scope, self._proof)
                reply = await face.answer(Call(scope["method"], path, scope["headers"], lambda: _read(scope, receive)))
        except TournantError as exc:
            await _refuse(face.refusal(exc), receive, send)
            return
        except Exception as exc:
            self._log.exception("request failed", path=path)
            fault = TournantError(f"the gateway has a fault ({type(exc).__name__}); see its log")
            await _refuse(face.refusal(fault), receive, send)
            return
        await _respond(send, reply)

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


async def _respond(send: Send, reply: Reply) -> None:
    headers = [*reply.headers, (b"content-length", str(len(reply.body)).encode())]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def _refuse(reply: Reply, receive: Receive, send: Send) -> None:
    if reply.status != 413:
        await _respond(send, reply)
        return
    # The rest of the body is on its way. Closing at once would reset the connection under the answer, so the client is
    # told first, and what still comes is thrown away for a moment.
    headers = [*reply.headers, (b"content-length", str(len(reply.body)).encode()), (b"connection", b"close")]
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


async def _read(scope: Message, receive: Receive) -> bytes:
    encoding = b""
    for name, value in scope["headers"]:
        if name == b"content-length" and int(value) > BODY_LIMIT_BYTES:
            raise _too_large(int(value))
        if name == b"content-encoding":
            encoding = value
    body = await _whole(receive)
    return _unpacked(body, encoding.strip().lower()) if encoding else body


async def _whole(receive: Receive) -> bytes:
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


def _unpacked(body: bytes, encoding: bytes) -> bytes:
    if encoding == b"identity":
        return body
    if encoding not in (b"gzip", b"deflate"):
        raise Invalid(f"the body's Content-Encoding is {encoding.decode('latin-1')[:40]!r}: expected gzip or deflate")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)  # finds out by itself which of the two it is
    try:
        plain = unpacker.decompress(body, BODY_LIMIT_BYTES + 1)
    except zlib.error as exc:
        raise Malformed(f"the body cannot be unpacked as {encoding.decode()}: {exc}") from exc
    if len(plain) > BODY_LIMIT_BYTES:
        raise _too_large(len(plain))
    if not unpacker.eof:
        raise Malformed(f"the body ends before its {encoding.decode()} stream does")
    return plain


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
