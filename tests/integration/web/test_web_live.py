"""The live stream: what is sent when, over the generator that a browser reads through HTTP (see acceptance)."""

import asyncio

from tournant.web.pages.live import Snapshot, stream_sections


class Page:
    """A page whose sections a test changes."""

    def __init__(self) -> None:
        self.snapshot = Snapshot("1.a", {"verdict": "<div>fine</div>", "list": "<p>one</p>"})

    async def peek(self) -> str:
        """Give the mark."""
        return self.snapshot.mark

    async def render(self) -> Snapshot:
        """Give the sections."""
        return self.snapshot


class Request:
    """As much of a request as the stream reads."""

    def __init__(self, *, seen: str = "", last: str = "") -> None:
        self.headers = {"last-event-id": last} if last else {}
        self.query_params = {"seen": seen}


async def _first(page: Page, request: Request, change: Snapshot | None = None) -> list[str]:
    response = stream_sections(request, page.peek, page.render)  # type: ignore[arg-type]
    body = response.body_iterator  # type: ignore[attr-defined]
    events = [await anext(body)]
    if change:
        page.snapshot = change
        events.append(await anext(body))
    await body.aclose()
    return events


def test_a_current_page_gets_only_a_beat() -> None:
    """Nothing is sent again to a page that shows the newest state."""
    (event,) = asyncio.run(_first(Page(), Request(seen="1.a")))
    assert event.startswith("id: 1.a\nevent: beat\n")


def test_a_page_that_comes_back_gets_what_it_missed() -> None:
    """`Last-Event-ID` wins over what the page was loaded with."""
    (event,) = asyncio.run(_first(Page(), Request(seen="1.a", last="0.z")))
    assert 'hx-target="#verdict"' in event and 'hx-target="#list"' in event
    assert "id: 1.a" in event


def test_only_changed_sections_are_sent() -> None:
    """A change sends the sections that differ, under the new mark."""
    change = Snapshot("2.b", {"verdict": "<div>bad</div>", "list": "<p>one</p>"})
    _, event = asyncio.run(_first(Page(), Request(seen="1.a"), change))
    assert "id: 2.b" in event
    assert 'hx-target="#verdict"' in event and "<div>bad</div>" in event
    assert 'hx-target="#list"' not in event
