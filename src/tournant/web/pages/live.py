"""Live pages: one stream a page that sends the sections that changed, at most once a second.

A page that is slow to draw is drawn less often: no more than a tenth of the time goes into it. The first drawing of a
stream sets no pace, for it is slower than those after it (nothing is cached yet).
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

__all__ = ["Snapshot", "stream_sections"]

PERIOD_SECONDS = 1.0
SHARE = 0.1  # of the time that drawing may take
BEAT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The live sections of a page by id, and the mark of the state they show."""

    mark: str
    sections: dict[str, str]


def stream_sections(
    request: Request, peek: Callable[[], Awaitable[str]], render: Callable[[], Awaitable[Snapshot]]
) -> Response:
    """Stream a page's changed sections as server-sent events.

    `peek` gives the current mark cheaply, `render` the sections. A browser that comes back sends the mark it knows in
    `Last-Event-ID` (a page just loaded, in the query's `seen`); it gets everything if that is not the current one.
    """
    seen = request.headers.get("last-event-id") or request.query_params.get("seen", "")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}
    return StreamingResponse(_events(seen, peek, render), headers=headers, media_type="text/event-stream")


async def _events(
    seen: str, peek: Callable[[], Awaitable[str]], render: Callable[[], Awaitable[Snapshot]]
) -> AsyncIterator[str]:
    first = await render()
    pause = PERIOD_SECONDS
    sent = {name: _digest(text) for name, text in first.sections.items()}
    mark = first.mark
    yield _event(mark, first.sections if mark != seen else {})
    beat = time.monotonic()
    while True:
        await asyncio.sleep(pause)
        if await peek() != mark:
            began = time.monotonic()
            snapshot = await render()
            pause = _pause(began)
            mark = snapshot.mark
            changed = {name: text for name, text in snapshot.sections.items() if sent.get(name) != _digest(text)}
            sent.update({name: _digest(text) for name, text in changed.items()})
            yield _event(mark, changed)
            beat = time.monotonic()
        elif time.monotonic() - beat > BEAT_SECONDS:
            yield _event(mark, {})
            beat = time.monotonic()


def _pause(began: float) -> float:
    """Give the seconds from a drawing that began then to the next one."""
    return max(PERIOD_SECONDS, (time.monotonic() - began) / SHARE)


def _event(mark: str, sections: dict[str, str]) -> str:
    """Write one event. Without sections it is a named `beat`, which says only that all is well."""
    if not sections:
        return f"id: {mark}\nevent: beat\ndata: {mark}\n\n"
    partials = "\n".join(
        f'<hx-partial hx-target="#{name}" hx-swap="outerMorph">{text}</hx-partial>' for name, text in sections.items()
    )
    data = "\n".join(f"data: {line}" for line in partials.splitlines() if line.strip())
    return f"id: {mark}\n{data}\n\n"


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
