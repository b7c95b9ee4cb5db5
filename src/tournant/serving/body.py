"""A request's body: read whole, within a size and a time, and unpacked."""

import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tournant.errors import Invalid
from tournant.serving.deadlines import Deadlines
from tournant.serving.failures import Malformed, SlowClient, TooLarge
from tournant.serving.headers import Headers

__all__ = ["BODY_LIMIT_BYTES", "Message", "Receive", "read_body"]

BODY_LIMIT_BYTES = 8 << 20
BODY_SECONDS = 10.0
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


async def read_body(headers: Headers, receive: Receive, deadlines: Deadlines) -> bytes:
    """Give the whole body; TooLarge, SlowClient or Malformed says why there is none."""
    encoding = b""
    for name, value in headers:
        if name == b"content-length" and int(value) > BODY_LIMIT_BYTES:
            raise _too_large(int(value))
        if name == b"content-encoding":
            encoding = value
    try:
        with deadlines.within(BODY_SECONDS):
            body = await _whole(receive)
    except TimeoutError as exc:
        raise SlowClient(f"the body did not arrive within {BODY_SECONDS:.0f} s: send it in one go") from exc
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
