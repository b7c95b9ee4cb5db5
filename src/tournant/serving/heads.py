"""Heads of requests that were read before: a client sends the same few again and again, and parsing one costs as much as decoding its body."""

from typing import NamedTuple, TypeVar

from tournant.serving.exchange import Call
from tournant.serving.headers import Headers

__all__ = ["Heads", "KnownHeads", "head_of"]

T = TypeVar("T")
KNOWN_HEADS = 1024
KNOWN_BYTES = 2048  # of a head; longer ones are looked at each time
_MORE = frozenset((b"transfer-encoding", b"upgrade", b"expect"))  # say that the head is not all there is to say


def head_of(data: bytes) -> bytes:
    r"""Give the head that `data` begins with, to the empty line that ends it.

    >>> head_of(b"GET / HTTP/1.1\r\n\r\nbody")
    b'GET / HTTP/1.1\r\n\r\n'
    """
    return data[: data.find(b"\r\n\r\n") + 4]


class KnownHeads(dict[bytes, T]):
    """What was found out about heads, by their exact bytes; all of it is forgotten where it becomes too much."""

    def keep(self, head: bytes, found: T) -> None:
        """Know a head, unless it is long."""
        if len(head) > KNOWN_BYTES:
            return
        if len(self) >= KNOWN_HEADS:
            self.clear()
        self[head] = found


class _Head(NamedTuple):
    method: str
    path: str
    headers: Headers
    body_bytes: int


class Heads:
    """What whole requests in one piece say, by their heads: as the parser read them the first time."""

    def __init__(self) -> None:
        """Know none."""
        self._known: KnownHeads[_Head] = KnownHeads()

    def read(self, data: bytes) -> Call | None:
        """Give the one request that `data` is, if its head is known; None where it is to be parsed."""
        head = head_of(data)
        known = self._known.get(head)
        if known is None or len(data) != len(head) + known.body_bytes:
            return None
        return Call(known.method, known.path, known.headers, data[len(head) :])

    def learn(self, data: bytes, call: Call, body_bytes: int) -> None:
        """Know the head of a request that was just parsed, if `data` is that request and nothing else."""
        head = head_of(data)
        if len(data) == len(head) + body_bytes and not any(name in _MORE for name, _ in call.headers):
            self._known.keep(head, _Head(call.method, call.path, tuple(call.headers), body_bytes))
