"""`/alerts` and one alert."""

from dataclasses import dataclass
from urllib.parse import urlencode

from tournant.domain.alerts import Alert, AlertState, Monitor, Severity
from tournant.domain.control import Event
from tournant.domain.retraining import Retraining
from tournant.domain.rollout import Rollout
from tournant.errors import Invalid
from tournant.web.pages.ask import Ask, Crumb, Page, Verdict, View
from tournant.web.pages.episodes import alert_words
from tournant.web.pages.formats import duration, headline, sentence, stamp, value_of

__all__ = ["PAGES", "AlertPage", "AlertsPage", "alert_tone"]

PAGE = 50
DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertsPage(View):
    """Alerts, newest first."""

    alerts: tuple[Alert, ...]
    state: str
    deployment: str
    filtered: bool
    older: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertPage(View):
    """One episode: what, since when, what was near it, what was done."""

    alert: Alert
    tone: str
    monitor: Monitor | None
    rollouts: tuple[Rollout, ...]
    retraining: Retraining | None
    events: tuple[Event, ...]
    details: dict[str, object]


def alert_tone(alert: Alert) -> str:
    """Give an alert's colour: none once it is closed."""
    if alert.state is AlertState.CLOSED:
        return "idle"
    return {Severity.CRITICAL: "crit", Severity.WARNING: "warn"}.get(alert.severity, "prog")


def list_alerts(ask: Ask) -> AlertsPage:
    """List alerts, 50 a page."""
    state, deployment = ask.query.get("state", ""), ask.query.get("deployment", "")
    if state not in ("", *AlertState):
        raise Invalid(f"state must be one of {', '.join(AlertState)}, not {state!r}", place="state")
    query = {key: value for key, value in (("state", state), ("deployment", deployment)) if value}
    where: dict[str, object] = dict(query)
    before = ask.number("before")
    if before is not None:
        where["opened_at__lt"] = before
    order, limit = "-opened_at", PAGE + 1
    found = ask.uow.find(Alert, order=order, limit=limit, **where)
    opened = ask.uow.find(Alert, state=AlertState.OPEN.value, order="opened_at")
    more = len(found) > PAGE
    return AlertsPage(
        title="Alerts",
        crumbs=(Crumb(text="Alerts"),),
        command="tournant alerts list" + (" --open" if state == "open" else ""),
        verdict=_list_verdict(opened, ask.now),
        now=ask.now,
        alerts=tuple(found[:PAGE]),
        state=state,
        deployment=deployment,
        filtered=bool(query or before),
        older="/alerts?" + urlencode({**query, "before": repr(found[PAGE - 1].opened_at)}) if more else "",
    )


def _list_verdict(opened: list[Alert], now: float) -> Verdict:
    if not opened:
        return Verdict(tone="idle", head="No alert is open.", text="Monitors without labels raise none: see Monitors.")
    worst = min(opened, key=lambda a: list(Severity).index(a.severity))
    head = f"{len(opened)} alert{'s are' if len(opened) > 1 else ' is'} open."
    text = sentence(f"{worst.deployment}: {alert_words(worst)}, for {duration(now - worst.opened_at)}")
    return Verdict(tone=alert_tone(worst), head=head, text=text, href=f"/alerts/{worst.id}", link="Open")


def show_alert(ask: Ask) -> AlertPage:
    """Show one alert."""
    alert = ask.get(Alert, ask.path["id"], noun="alert")
    start, end = alert.opened_at - 14 * DAY, (alert.closed_at or ask.now) + DAY
    rollouts = ask.uow.find(Rollout, deployment=alert.deployment, started_at__gt=start, order="-started_at", limit=20)
    subject = f"deployment/{alert.deployment}"
    events = ask.uow.find(
        Event, subject=subject, time__gt=alert.opened_at - DAY, time__lt=end, order="-time,-id", limit=20
    )
    return AlertPage(
        title=f"{headline(alert.kind)} alert on {alert.deployment}",
        crumbs=(
            Crumb(text="Alerts", href="/alerts"),
            Crumb(text=f"{alert.kind.replace('_', ' ')}, {alert.deployment}"),
        ),
        command=f"tournant alerts list --deployment {alert.deployment}",
        verdict=_verdict(alert, ask.now),
        now=ask.now,
        alert=alert,
        tone=alert_tone(alert),
        monitor=ask.uow.get(Monitor, alert.monitor),
        rollouts=tuple(r for r in rollouts if r.started_at < end),
        retraining=ask.uow.get(Retraining, alert.retraining) if alert.retraining else None,
        events=tuple(events),
        details={key: value for key, value in alert.details.items() if not isinstance(value, list | dict)},
    )


def _verdict(alert: Alert, now: float) -> Verdict:
    numbers = ""
    if alert.value is not None and alert.limit is not None:
        numbers = f"{value_of(alert.value, 'loss')} against a limit of {value_of(alert.limit, 'loss')}; unit of evidence: the {alert.unit}."
    if alert.closed_at is not None:
        lasted = duration(alert.closed_at - alert.opened_at)
        head = f"Closed {stamp(alert.closed_at, now)} UTC after {lasted}."
        return Verdict(tone="idle", head=head, text=sentence(alert_words(alert)), note=numbers)
    head = f"Open for {duration(now - alert.opened_at)}, since {stamp(alert.opened_at, now)} UTC."
    return Verdict(tone=alert_tone(alert), head=head, text=sentence(alert_words(alert)), note=numbers)


PAGES = (
    Page(path="/alerts", template="alerts.html", section="alerts", view=list_alerts),
    Page(path="/alerts/{id}", template="alert.html", section="alerts", view=show_alert),
)
