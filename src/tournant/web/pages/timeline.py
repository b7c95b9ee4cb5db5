"""`/timeline`: who did what, when and why."""

from dataclasses import dataclass
from urllib.parse import urlencode

from tournant.domain.control import Event
from tournant.web.pages.ask import Ask, Crumb, Page, Verdict, View
from tournant.web.pages.formats import stamp

__all__ = ["PAGES", "TimelinePage", "event_href"]

PAGE = 100
KINDS = ("rollout", "deployment", "revision", "alert", "retraining", "model", "run", "dataset", "gateway")
SCAN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelinePage(View):
    """Events, newest first."""

    events: tuple[Event, ...]
    noun: str
    kinds: tuple[str, ...]
    subject: str
    filtered: bool
    older: str


def show_timeline(ask: Ask) -> TimelinePage:
    """List events, 100 a page; keyset by time and id, for many events may share a time in a replay."""
    noun, subject = ask.query.get("kind", ""), ask.query.get("subject", "")
    events, cursor = _read(ask, noun, subject)
    query = {key: value for key, value in (("kind", noun), ("subject", subject)) if value}
    command = "tournant events list" + (f" --subject {subject}" if subject else "")
    return TimelinePage(
        title="Timeline",
        crumbs=(Crumb(text="Timeline"),),
        command=command,
        verdict=_verdict(events, ask.now) if events else None,
        now=ask.now,
        events=tuple(events),
        noun=noun,
        kinds=KINDS,
        subject=subject,
        filtered=bool(query or ask.query.get("before")),
        older="/timeline?" + urlencode({**query, "before": cursor}) if cursor else "",
    )


def _read(ask: Ask, noun: str, subject: str) -> tuple[list[Event], str]:
    """Read one page, and the cursor of the next (an event's id: ids sort by when they were recorded)."""
    where: dict[str, object] = {"subject": subject} if subject else {}
    before, found = ask.query.get("before", ""), []
    for _ in range(SCAN):
        page = {**where, "id__lt": before} if before else where
        order, limit = "-id", PAGE
        batch = ask.uow.find(Event, order=order, limit=limit, **page)
        found += [event for event in batch if not noun or event.kind.split(".")[0] == noun]
        if len(batch) < PAGE:
            return found[:PAGE], found[PAGE - 1].id if len(found) > PAGE else ""
        before = batch[-1].id
        if len(found) >= PAGE:
            return found[:PAGE], found[PAGE - 1].id
    return found, before


def _verdict(events: list[Event], now: float) -> Verdict:
    newest = events[0]
    text = f"{newest.subject}: {newest.summary}"
    return Verdict(tone="idle", head=f"Last change {stamp(newest.time, now)} UTC by {newest.actor}.", text=text)


def event_href(event: Event) -> str:
    """Give the page an event is about, or nothing."""
    noun, _, name = event.subject.partition("/")
    rollout = event.data.get("rollout")
    if noun == "deployment" and isinstance(rollout, str) and rollout:
        return f"/deployments/{name}/rollouts/{rollout}"
    if noun in ("model", "model_version", "version") and "@" in name:
        model, _, number = name.partition("@")
        return f"/models/{model}/versions/{number}"
    folder = {"deployment": "deployments", "run": "runs", "dataset": "datasets", "dataset_version": "datasets"}
    folder |= {"model": "models", "alert": "alerts", "monitor": "monitors"}
    return f"/{folder[noun]}/{name}" if noun in folder else "/retrainings" if noun == "retraining" else ""


PAGES = (Page(path="/timeline", template="timeline.html", section="timeline", view=show_timeline),)
