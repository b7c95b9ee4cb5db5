"""A raw HTTP/1.1 keep-alive connection: a client that costs so little that a replay measures the gateway, not itself.

A general HTTP client costs about 1.8 ms of CPU a request; this one 0.04 to 0.08.
"""

import asyncio
from typing import cast
from urllib.parse import urlsplit

from tournant.errors import Invalid

__all__ = ["ReplayConnection", "request_head"]

_END = b"\r\n\r\n"


def request_head(url: str, path: str, *, token: str = "") -> bytes:
    """Give the head of a POST of JSON to `url` + `path`, up to where the body's length is to be written."""
    lines = [f"POST {urlsplit(url).path.rstrip('/')}{path} HTTP/1.1", f"host: {urlsplit(url).netloc}"]
    if token:
        lines.append(f"authorization: Bearer {token}")
    return ("\r\n".join([*lines, "content-type: application/json", "content-length: "])).encode()


class ReplayConnection(asyncio.Protocol):
    """One connection with one request in flight."""

    def __init__(self) -> None:
        """Start unconnected; `open` gives connected ones."""
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._lost: Exception | None = None

    @classmethod
    async def open(cls, url: str) -> "ReplayConnection":
        """Connect to the host and port of `url`; an OSError if nothing answers there."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Invalid(f"{url!r} is no address of a gateway: give one such as http://127.0.0.1:8080", place="url")
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, parts.hostname, port, ssl=secure or None)
        return connection

    @property
    def usable(self) -> bool:
        """Whether it can take another request."""
        return self._lost is None

    async def post(self, head: bytes, body: bytes, *, timeout_seconds: float) -> tuple[int, bytes]:
        """Send a request and give the answer's status and body.

        A ConnectionError if the connection is lost before the answer is whole, a TimeoutError if it takes too long; the
        connection is unusable after either.
        """
        if self._lost is not None or self._transport is None:
            raise self._lost or ConnectionError("not connected")
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        self._transport.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
        expiry = loop.call_later(timeout_seconds, self._fail, TimeoutError(f"no answer in {timeout_seconds:g} s"))
        try:
            return await self._answer
        finally:
            expiry.cancel()

    def close(self) -> None:
        """Hang up."""
        self._fail(ConnectionError("closed"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits that there will be no answer."""
        self._fail(ConnectionError(f"the gateway closed the connection{f' ({exc})' if exc else ''}"))

    def data_received(self, data: bytes) -> None:
        """Take in a part of an answer; once it is whole, give it to who waits."""
        if self._answer is None or self._answer.done():
            self._fail(ConnectionError("the gateway answered what was not asked"))
            return
        self._buffer += data
        end = self._buffer.find(_END)
        if end < 0:
            return
        head = bytes(self._buffer[:end]).lower()
        field = head.find(b"\r\ncontent-length:")
        if field < 0:
            self._fail(ConnectionError("the answer has no content-length"))
            return
        size = int(head[field + 17 :].split(b"\r\n", 1)[0])
        start = end + len(_END)
        if len(self._buffer) < start + size:
            return
        body = bytes(self._buffer[start : start + size])
        self._buffer.clear()
        self._answer.set_result((int(head[9:12]), body))

    def _fail(self, reason: Exception) -> None:
        self._lost = self._lost or reason
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(reason)
        if self._transport is not None:
            self._transport.close()
