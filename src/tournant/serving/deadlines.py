"""Deadlines: those that clients ask for, and those of many short waits, looked at together now and then."""

import asyncio
from types import TracebackType

from tournant.errors import Invalid
from tournant.serving.headers import Headers, header

__all__ = ["Deadline", "Deadlines", "asked_seconds"]

TICK_SECONDS = 0.25
_ASKED = b"x-request-timeout-ms"


def asked_seconds(headers: Headers) -> float | None:
    """Give how long a client says it will wait (`X-Request-Timeout-Ms`), or None; Invalid if that is no positive number.

    >>> asked_seconds([(b"x-request-timeout-ms", b"250")]), asked_seconds([])
    (0.25, None)
    """
    given = header(headers, _ASKED)
    if not given:
        return None
    try:
        asked = float(given)
    except ValueError:
        asked = 0.0
    if not 0 < asked < float("inf"):
        told = given.decode("latin-1")[:40]
        message = f"the header X-Request-Timeout-Ms is {told!r}: expected milliseconds, a number above 0"
        raise Invalid(message, place="X-Request-Timeout-Ms")
    return asked / 1e3


class Deadlines:
    """Ends what waits too long, up to `TICK_SECONDS` late. Belongs to the event loop.

    `asyncio.timeout` sets and cancels a timer for each wait, which was an eighth of a small request's CPU here.
    """

    def __init__(self) -> None:
        """Watch nothing yet."""
        self._watched: set[Deadline] = set()
        self._handle: asyncio.TimerHandle | None = None

    def within(self, seconds: float) -> "Deadline":
        """Give a context that raises TimeoutError if its body is still waiting after `seconds`."""
        return Deadline(self, seconds)

    def watch(self, deadline: "Deadline") -> None:
        """Look at a deadline from now on."""
        self._watched.add(deadline)
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_later(TICK_SECONDS, self._look)

    def forget(self, deadline: "Deadline") -> None:
        """Look at it no more."""
        self._watched.discard(deadline)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for deadline in [one for one in self._watched if one.due < now]:
            deadline.pass_()
        self._handle = loop.call_later(TICK_SECONDS, self._look) if self._watched else None


class Deadline:
    """One wait of one task."""

    __slots__ = ("_among", "_passed", "_seconds", "_task", "due")

    def __init__(self, among: Deadlines, seconds: float) -> None:
        """Belong to `among`; the time runs from `with` on."""
        self._among = among
        self._seconds = seconds
        self._passed = False

    def pass_(self) -> None:
        """Interrupt the wait."""
        self._passed = True
        self._among.forget(self)
        self._task.cancel()

    def __enter__(self) -> None:
        """Begin."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task
        self._task = task
        self.due = loop.time() + self._seconds
        self._among.watch(self)

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; TimeoutError if it was this deadline that interrupted, and nobody else did."""
        self._among.forget(self)
        if self._passed and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise TimeoutError from exc
