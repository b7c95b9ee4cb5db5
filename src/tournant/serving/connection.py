"""A client's connection: uvicorn's, with two things added: answers leave in one piece, and headers must come in time."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["Connection"]

HEAD_SECONDS = 10.0
_SLOW_HEAD = b'{"error":{"code":"slow_client","message":"the headers did not arrive within 10 s: send them in one go","place":""}}'
_TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: "
    + str(len(_SLOW_HEAD)).encode()
    + b"\r\n\r\n"
    + _SLOW_HEAD
)


class Connection(HttpToolsProtocol):
    """One client's connection.

    A connection that has sent no whole head `HEAD_SECONDS` after it began one, or after it was opened, is closed: whoever
    opens many of them and says little holds none for long. What waits between two requests is uvicorn's keep-alive.
    """

    _patience: asyncio.TimerHandle | None = None
    _began = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(_OneWrite(transport, self.loop))  # type: ignore[arg-type]
        self._patience = self.loop.call_later(HEAD_SECONDS, self._lose_patience)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in bytes; a head that is not whole with them has to be so soon."""
        super().data_received(data)
        if self._began and self._patience is None:
            self._patience = self.loop.call_later(HEAD_SECONDS, self._lose_patience)

    def on_message_begin(self) -> None:
        """Note that a head has begun."""
        self._began = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that the head is there."""
        self._arrived()
        super().on_headers_complete()

    def _arrived(self) -> None:
        self._began = False
        if self._patience:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        if not self.transport.is_closing():
            if self._began:
                self.transport.write(_TOO_SLOW)
            self.transport.close()


class _OneWrite:
    """A transport that sends what is written within one turn of the event loop together.

    uvicorn writes an answer's head and body apart: two system calls, which wake the client twice.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pending: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._pending:
            data = b"".join(self._pending)
            self._pending.clear()
            if not self._transport.is_closing():
                self._transport.write(data)
