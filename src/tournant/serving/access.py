"""The structured access log: one JSON line a request, sampled, written beside the event loop's work."""

import time
from pathlib import Path
from random import Random

import msgspec

__all__ = ["AccessLog", "request_id", "trace_id"]

ROTATE_BYTES = 64 << 20
LIMIT_LINES = 20_000  # that wait to be written
_SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/+=@")
_HEX = frozenset(b"0123456789abcdef")


class Line(msgspec.Struct, omit_defaults=True, gc=False):
    """One request."""

    time: float
    method: str
    path: str
    status: int
    milliseconds: float
    request_id: str
    trace_id: str = ""
    error: str = ""


class AccessLog:
    """Collects lines on the event loop; `write` puts what `take` gives on disk. A `share` of 0 writes nothing, 1 every request; errors of the server always."""

    def __init__(self, path: Path | None, share: float, random: Random | None = None) -> None:
        """Append to `path`, which is rotated once, at 64 MB."""
        self._path = path if share > 0 else None
        self._share = share
        self._random = random or Random()  # noqa: S311 - samples, keeps no secret
        self._lines: list[Line] = []
        self.dropped = 0

    @property
    def on(self) -> bool:
        """Whether anything is written at all."""
        return self._path is not None

    def note(
        self, method: str, path: str, status: int, seconds: float, request: str, trace: str = "", error: str = ""
    ) -> None:
        """Remember a request, if it is one of the sample."""
        if status < 500 and self._share < 1 and self._random.random() >= self._share:
            return
        if len(self._lines) >= LIMIT_LINES:
            self.dropped += 1
            return
        self._lines.append(Line(time.time(), method, path, status, round(seconds * 1e3, 3), request, trace, error))

    def take(self) -> list[Line]:
        """Give what was remembered, and remember anew."""
        lines, self._lines = self._lines, []
        return lines

    def write(self, lines: list[Line]) -> None:
        """Append lines to the file; may run in a thread."""
        if not lines or self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists() and self._path.stat().st_size > ROTATE_BYTES:
            self._path.replace(self._path.with_suffix(".1.ndjson"))
        with self._path.open("ab") as file:
            file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def request_id(given: bytes) -> bytes | None:
    """Give a client's request id back if it is one: at most 128 safe characters.

    >>> request_id(b"a-7"), request_id(b"a b"), request_id(b"")
    (b'a-7', None, None)
    """
    return given if 0 < len(given) <= 128 and _SAFE.issuperset(given) else None


def trace_id(traceparent: bytes) -> str:
    """Give the trace id of a W3C `traceparent` header; empty if it is none.

    >>> trace_id(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    '0af7651916cd43dd8448eb211c80319c'
    >>> trace_id(b"00-00000000000000000000000000000000-b7ad6b7169203331-01"), trace_id(b"x")
    ('', '')
    """
    parts = traceparent.split(b"-")
    lengths = [len(part) for part in parts[:4]]
    if lengths != [2, 32, 16, 2] or not all(_HEX.issuperset(part) for part in parts[:4]):
        return ""
    if parts[0] == b"ff" or parts[1].strip(b"0") == b"" or parts[2].strip(b"0") == b"":
        return ""
    return parts[1].decode()
