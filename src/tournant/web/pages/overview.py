"""`/`: is my model fine now, what needs me, what changed."""

from collections.abc import Sequence
from dataclasses import dataclass

from tournant.domain.alerts import Alert
from tournant.domain.control import Event
from tournant.domain.deployment import Deployment
from tournant.domain.retraining import Retraining, RetrainingState
from tournant.domain.rollout import Phase, Rollout
from tournant.errors import Invalid
from tournant.web.pages.ask import Ask, Crumb, Page, Verdict, View
from tournant.web.pages.episodes import alert_words
from tournant.web.pages.formats import duration, label, plural, sentence, stamp, value_of
from tournant.web.pages.health import SPANS, Health, describe_quality, read_health

__all__ = ["PAGES", "Change", "Need", "Overview", "latest_change", "show_overview"]

DAY = 86_400.0
QUIET = ("run.", "dataset.", "environment.", "code.")  # the timeline has them


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Something a person should look at or decide."""

    id: str
    time: float
    tone: str
    subject: str
    text: str
    detail: str
    href: str
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The newest thing that happened to a deployment."""

    text: str
    href: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview(View):
    """All deployments, worst first, with what needs someone and what changed."""

    span: str
    spans: tuple[tuple[str, str], ...]
    cell: str
    deployments: tuple[Health, ...]
    changes: dict[str, Change]
    needs: tuple[Need, ...]
    events: tuple[Event, ...]


def show_overview(ask: Ask) -> Overview:
    """Read every deployment's health."""
    name = ask.query.get("since", "7d")
    if name not in SPANS:
        raise Invalid(f"since must be one of {', '.join(SPANS)}, not {name!r}", place="since")
    span = SPANS[name]
    found = sorted((read_health(ask, d, span) for d in ask.uow.find(Deployment)), key=lambda h: h.rank)
    events = ask.uow.find(Event, time__gt=ask.now - DAY, order="-id", limit=200)
    waiting = ask.uow.find(Retraining, state=RetrainingState.AWAITING_APPROVAL.value, order="started_at")
    return Overview(
        title="Overview",
        crumbs=(Crumb(text="Overview"),),
        command="tournant status",
        verdict=_verdict(found, ask.now),
        now=ask.now,
        span=name,
        spans=tuple((key, value.name) for key, value in SPANS.items()),
        cell=span.cell,
        deployments=tuple(found),
        changes={health.deployment: latest_change(health, ask.now) for health in found},
        needs=_needs(found, waiting, ask.now),
        events=tuple(e for e in events if not e.kind.startswith(QUIET))[:8],
    )


def _verdict(found: Sequence[Health], now: float) -> Verdict | None:
    if not found:
        return None
    worst = found[0]
    note = _tally(found)
    link = f"/monitors/{worst.deployment}"
    if worst.status in ("failing", "warning"):
        alert = worst.alerts[0]
        verb = "is failing" if worst.status == "failing" else "has a warning"
        since = f"since {stamp(alert.opened_at, now)} UTC"
        text = f"{sentence(f'{alert_words(alert)}, {since}')} {_cause(worst, alert)}"
        return Verdict(tone=worst.tone, head=f"{worst.deployment} {verb}.", text=text, note=note, href=link, link="Why")
    if all(health.status in ("healthy", "retired") for health in found):
        head = f"All {len(found)} deployments are healthy." if len(found) > 1 else f"{worst.deployment} is healthy."
        return Verdict(
            tone="ok", head=head, text=f"{describe_quality(worst.quality)}." if len(found) == 1 else "", note=note
        )
    head = {
        "no_labels": f"{worst.deployment} gets no labels.",
        "waiting": f"{worst.deployment} is waiting for its first evidence.",
        "unserved": f"{worst.deployment} has no stable revision yet.",
    }.get(worst.status, f"{worst.deployment} is {worst.status}.")
    late = worst.labels_late_seconds
    text = (
        f"They are {duration(late)} late; how good it is now is unknown."
        if late and worst.status == "no_labels"
        else ""
    )
    return Verdict(tone="idle", head=head, text=text, note=note, href=link, link="Details")


def _cause(health: Health, alert: Alert) -> str:
    last = health.last_rollout
    drifted = [column.name for column in health.columns if column.drifted]
    parts = []
    if drifted:
        parts.append(f"{len(drifted)} of {len(health.columns)} columns drifted, led by {drifted[0]}.")
    if last and last.ended_at and last.phase is Phase.PROMOTED and 0 <= alert.opened_at - last.ended_at <= 14 * DAY:
        parts.append(f"{last.revision} was released {duration(alert.opened_at - last.ended_at)} before.")
    else:
        parts.append("No release shortly before it.")
    return " ".join(parts)


def _tally(found: Sequence[Health]) -> str:
    words: dict[str, int] = {}
    for health in found:
        words[health.words.lower()] = words.get(health.words.lower(), 0) + 1
    rollouts = sum(health.rollout is not None for health in found)
    parts = [f"{n} {word}" for word, n in words.items()]
    if rollouts:
        parts.append(f"{plural(rollouts, 'rollout')} in progress")
    return " · ".join(parts)


def latest_change(health: Health, now: float) -> Change:
    """Say the newest thing of a deployment: a rollout in progress, an open alert, or its last rollout."""
    rollout, last = health.rollout, health.last_rollout
    if rollout:
        step = f"canary {rollout.canary_percent:g} %" if rollout.phase is Phase.CANARY else rollout.phase.value
        return Change(text=f"{rollout.revision} {step}", href=f"/deployments/{health.deployment}")
    if health.alerts:
        alert = health.alerts[0]
        return Change(
            text=f"Open alert {duration(now - alert.opened_at)}", href=f"/alerts/{alert.id}", detail=label(alert.kind)
        )
    if health.labels_late_seconds:
        return Change(text=f"Labels late {duration(health.labels_late_seconds)}", href=f"/monitors/{health.deployment}")
    if last and last.ended_at:
        outcome = "Released" if last.phase is Phase.PROMOTED else "Rolled back"
        href = f"/deployments/{health.deployment}/rollouts/{last.id}"
        return Change(text=f"{outcome} {last.revision}", href=href, detail=f"{duration(now - last.ended_at)} ago")
    return Change(text="Nothing yet")


def _needs(found: Sequence[Health], waiting: Sequence[Retraining], now: float) -> tuple[Need, ...]:
    needs = [_alert_need(alert, now) for health in found for alert in health.alerts]
    needs += [_rollout_need(h.rollout) for h in found if h.rollout and _asks(h.rollout)]
    needs += [
        Need(
            id=r.id,
            time=r.started_at,
            tone="prog",
            subject=r.deployment,
            text=f"{r.challenger} waits for approval",
            detail=r.gate.reason if r.gate else r.reason,
            href=f"/retrainings#r-{r.id}",
            action="Review",
        )
        for r in waiting
    ]
    order = {"crit": 0, "warn": 1, "prog": 2, "idle": 3}
    return tuple(sorted(needs, key=lambda need: (order[need.tone], need.time)))


def _asks(rollout: Rollout) -> bool:
    return rollout.paused or rollout.waits


def _rollout_need(rollout: Rollout) -> Need:
    return Need(
        id=rollout.id,
        time=rollout.step_started_at,
        tone="prog",
        subject=rollout.deployment,
        text=f"{rollout.revision} is paused" if rollout.paused else f"{rollout.revision} needs approval to go on",
        detail=rollout.reason,
        href=f"/deployments/{rollout.deployment}",
        action="Review",
    )


def _alert_need(alert: Alert, now: float) -> Need:
    numbers = ""
    if alert.value is not None and alert.limit is not None:
        numbers = f"{value_of(alert.value, 'loss')} against {value_of(alert.limit, 'loss')}, "
    return Need(
        id=alert.id,
        time=alert.opened_at,
        tone={"critical": "crit", "warning": "warn"}.get(alert.severity.value, "idle"),
        subject=alert.deployment,
        text=alert_words(alert),
        detail=f"{numbers}open for {duration(now - alert.opened_at)}",
        href=f"/alerts/{alert.id}",
        action="Open",
    )


PAGES = (Page(path="/", template="overview.html", section="overview", view=show_overview),)
