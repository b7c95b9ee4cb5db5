"""Heads of requests that were read before: a client sends the same few again and again, and parsing one costs as much as decoding its body."""

from typing import NamedTuple

from tournant.serving.exchange import Call
from tournant.serving.headers import Headers

__all__ = ["Heads"]

KNOWN_HEADS = 1024
KNOWN_BYTES = 2048  # of a head; longer ones are parsed each time
_END = b"\r\n\r\n"
_MORE = frozenset((b"transfer-encoding", b"upgrade", b"expect"))  # say that the head is not all there is to say


class _Head(NamedTuple):
    method: str
    path: str
    headers: Headers
    body_bytes: int


class Heads:
    """What whole requests in one piece say, by the exact bytes of their heads: as the parser read them the first time."""

    def __init__(self) -> None:
        """Know none."""
        self._known: dict[bytes, _Head] = {}

    def read(self, data: bytes) -> Call | None:
        """Give the one request that `data` is, if its head is known; None where it is to be parsed."""
        end = data.find(_END) + 4
        head = self._known.get(data[:end])
        if head is None or len(data) != end + head.body_bytes:
            return None
        return Call(head.method, head.path, head.headers, data[end:])

    def learn(self, data: bytes, call: Call, body_bytes: int) -> None:
        """Know the head of a request that was just parsed, if `data` is that request and nothing else."""
        end = data.find(_END) + 4
        if end > KNOWN_BYTES or len(data) != end + body_bytes or any(name in _MORE for name, _ in call.headers):
            return
        if len(self._known) >= KNOWN_HEADS:
            self._known.clear()
        self._known[data[:end]] = _Head(call.method, call.path, tuple(call.headers), body_bytes)
