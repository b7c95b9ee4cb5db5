"""What is refused unread: as little of a request is looked at as tells what it is and where it ends.

Where more is asked than can be answered, what refusing costs is what answering lacks.
"""

import re
import time
from collections.abc import Callable
from typing import NamedTuple

from tournant.errors import Overloaded, TournantError
from tournant.serving.exchange import Call, Face, Reply
from tournant.serving.gateway import Gateway
from tournant.serving.heads import KnownHeads, head_of
from tournant.serving.wire import encoded

__all__ = ["Glance", "Shedder", "glance"]

_LINE = re.compile(rb"POST (/[!-$&->@-~]*) HTTP/1\.1\r\n")  # no query, nothing quoted
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*\r\n(?![ \t])")
_ODD = re.compile(rb"\r\n(?:transfer-encoding|upgrade|expect|connection(?!: keep-alive\r))")
_TOLD = re.compile(rb"\r\n(x-request-id|traceparent|authorization):[ \t]*([!-~]+(?: [!-~]+)?)(?=\r)", re.IGNORECASE)
_MARK = b"0123456789abcdef"  # stands in a refusal for the request's id


class Glance(NamedTuple):
    """A request by its head: few of its headers, no body but its length."""

    call: Call
    body_bytes: int

    @property
    def unique(self) -> bool:
        """Whether it names itself, so that the same head is not seen again."""
        return any(name != b"authorization" for name, _ in self.call.headers)


def glance(head: bytes) -> Glance | None:
    r"""Read a head, to the empty line that ends it; None where that takes a closer look.

    Only a `POST` with one length is told this way: where a request ends is never guessed.

    >>> glance(b"POST /predict/flights HTTP/1.1\r\nX-Request-Id: 7\r\nContent-Length: 2\r\n\r\n")
    Glance(call=Call(method='POST', path='/predict/flights', headers=[(b'x-request-id', b'7')], body=b''), body_bytes=2)
    >>> glance(b"POST /predict/flights HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    """
    line = _LINE.match(head)
    if not line or not head.endswith(b"\r\n\r\n"):
        return None
    rest = head[line.end() - 2 : -2]
    lower = rest.lower()
    length = _LENGTH.search(lower)
    if not length or lower.count(b"\ncontent-length") > 1 or _ODD.search(lower):
        return None
    told = [(name.lower(), value) for name, value in _TOLD.findall(rest)]
    return Glance(Call("POST", line[1].decode(), told), int(length[1]))


class _Known(NamedTuple):
    """A head that was looked at: what `whole_bytes` with it ask for, and whom."""

    call: Call
    whole_bytes: int
    face: Face
    deployment: str


class Shedder:
    """Refuses whole requests by their bytes. Clients send the same head again and again: it is looked at once."""

    def __init__(
        self,
        gateway: Gateway,
        face: Callable[[str], Face],
        check: Callable[[Call], None],
        refusal: Callable[[Face, TournantError], Reply],
        noted: Callable[[Face, Call, int, str, float], bytes],
    ) -> None:
        """Refuse for `gateway`: by its path a request has a `face`, whose `refusal` says an error.

        `check` raises a TournantError for who may not ask; `noted` counts an answer (its status, its error's code, and when
        it was begun), and gives the request's id.
        """
        self._gateway = gateway
        self._face = face
        self._check = check
        self._refusal = refusal
        self._noted = noted
        self._heads: KnownHeads[_Known | None] = KnownHeads()
        self._said: dict[tuple[str, float], tuple[int, bytes, bytes]] = {}  # by protocol and limit

    def shed(self, data: bytes) -> bytes | None:
        """Give the refusal of the one request that `data` is, if there is too much to do for it; None where it is to be read."""
        started = time.perf_counter()
        head = head_of(data)
        known = self._heads[head] if head in self._heads else self._look(head)
        if known is None or len(data) != known.whole_bytes:
            return None
        endpoint = self._gateway.fleet.endpoints.get(known.deployment)
        limit_ms = self._gateway.too_long_ms(endpoint) if endpoint else 0.0
        if not limit_ms:
            return None
        said = self._said.get((known.face.protocol, limit_ms)) or self._say(known.face, limit_ms)
        status, before, after = said
        return before + self._noted(known.face, known.call, status, Overloaded.code, started) + after

    def _look(self, head: bytes) -> _Known | None:
        found = glance(head)
        known = None
        if found:
            face = self._face(found.call.path)
            known = _Known(found.call, len(head) + found.body_bytes, face, face.deployment(found.call.path))
            try:
                self._check(found.call)
            except TournantError:
                known = None
        if not (found and found.unique):
            self._heads.keep(head, known)
        return known

    def _say(self, face: Face, limit_ms: float) -> tuple[int, bytes, bytes]:
        reply = self._refusal(face, Gateway.overloaded(limit_ms))
        reply = reply._replace(headers=(*reply.headers, (b"x-request-id", _MARK)))
        before, _, after = encoded(reply, b"", bodiless=False).partition(_MARK)
        self._said[face.protocol, limit_ms] = reply.status, before, after
        return reply.status, before, after
