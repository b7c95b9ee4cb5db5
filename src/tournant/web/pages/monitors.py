"""`/monitors` and the monitors of one deployment."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tournant.domain.alerts import Alert, AlertState, Monitor, Severity
from tournant.domain.deployment import Deployment, Revision
from tournant.domain.profile import ColumnProfile, ReferenceProfile, WindowProfile, merge_profiles
from tournant.domain.rollout import Phase, Rollout
from tournant.errors import Invalid
from tournant.web.pages.ask import Ask, Crumb, Page, Verdict, View
from tournant.web.pages.charts import Chart, Flag, Series, loss_chart, rollout_flags
from tournant.web.pages.episodes import alert_words
from tournant.web.pages.formats import duration, sentence, stamp, value_of
from tournant.web.pages.health import Health, describe_quality, read_health, stable_at
from tournant.web.pages.marks import Cell, Histogram, histogram, strip
from tournant.web.pages.quality import (
    ColumnDrift,
    Unit,
    column_drifts,
    read_profiles,
    unit_seconds,
    units_of,
)

__all__ = ["PAGES", "ColumnRow", "Episode", "MonitorPage", "MonitorsPage"]

DAY = 86_400.0
SPANS = {"7d": 7, "30d": 30, "90d": 90, "365d": 365}
NEAR = 14 * DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnRow:
    """A column's drift, its window's index at the end of each last unit as a strip, and both distributions as a small histogram."""

    drift: ColumnDrift
    cells: tuple[Cell, ...]
    histogram: Histogram


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """An alert with the release that was near it."""

    alert: Alert
    near: Rollout | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorsPage(View):
    """What is watched, over all deployments."""

    deployments: tuple[Health, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorPage(View):
    """What the monitors of one deployment saw."""

    deployment: Deployment
    health: Health
    span: str
    spans: tuple[str, ...]
    monitors: tuple[Monitor, ...]
    charts: tuple[Chart, ...]
    columns: tuple[ColumnRow, ...]
    episodes: tuple[Episode, ...]


def list_monitors(ask: Ask) -> MonitorsPage:
    """List what is watched."""
    found = sorted((read_health(ask, d) for d in ask.uow.find(Deployment)), key=lambda h: h.rank)
    alerting = [m.id for health in found for m in health.monitors if m.status == "alert"]
    total = sum(len(health.monitors) for health in found)
    head = (
        f"{len(alerting)} of {total} monitors are beyond their limit." if total else "Nothing has been evaluated yet."
    )
    return MonitorsPage(
        title="Monitors",
        crumbs=(Crumb(text="Monitors"),),
        command="tournant monitors list",
        verdict=Verdict(tone="crit" if alerting else "idle", head=head, text=", ".join(alerting[:5]))
        if found
        else None,
        now=ask.now,
        deployments=tuple(found),
    )


def show_monitor(ask: Ask) -> MonitorPage:
    """Show what the monitors of a deployment saw."""
    deployment = ask.get(Deployment, ask.path["name"], noun="deployment")
    span = ask.query.get("since", "30d")
    if span not in SPANS:
        raise Invalid(f"since must be one of {', '.join(SPANS)}, not {span!r}", place="since")
    start = ask.now - SPANS[span] * DAY
    health = read_health(ask, deployment)
    rollouts = ask.uow.find(Rollout, deployment=deployment.name, order="-started_at", limit=500)
    profiles = read_profiles(ask, deployment.name, start)
    alerts = ask.uow.find(Alert, deployment=deployment.name, order="-opened_at", limit=50)
    return MonitorPage(
        title=deployment.name,
        crumbs=(Crumb(text="Monitors", href="/monitors"), Crumb(text=deployment.name)),
        command=f"tournant monitors show {deployment.name}",
        verdict=_verdict(deployment, health, alerts, rollouts, ask.now),
        now=ask.now,
        deployment=deployment,
        health=health,
        span=span,
        spans=tuple(SPANS),
        monitors=health.monitors,
        charts=_charts(ask, deployment, health, profiles, rollouts, start),
        columns=_columns(ask, deployment, health),
        episodes=tuple(Episode(alert=alert, near=_near(alert, rollouts)) for alert in alerts),
    )


def _verdict(
    deployment: Deployment, health: Health, alerts: Sequence[Alert], rollouts: Sequence[Rollout], now: float
) -> Verdict:
    opened = [a for a in alerts if a.state is AlertState.OPEN and a.severity is not Severity.INFO]
    late = health.labels_late_seconds
    if opened:
        first = min(opened, key=lambda a: (a.severity is not Severity.CRITICAL, a.opened_at))
        near = _near(first, rollouts)
        cause = (
            f"{near.revision} was released {duration(first.opened_at - (near.ended_at or 0))} before."
            if near
            else "No release near it."
        )
        drift = f"{health.drifted} of {len(health.columns)} columns drifted." if health.drifted else ""
        head = sentence(f"{alert_words(first)}, first breach {stamp(first.opened_at, now)} UTC")
        return Verdict(
            tone=health.tone, head=head, text=f"{cause} {drift}".strip(), note=f"{describe_quality(health.quality)}."
        )
    if health.status in ("no_labels", "waiting"):
        text = (
            f"Labels are {duration(late)} late."
            if late
            else f"Labels are expected {duration(deployment.config.labels.delay_seconds)} after a prediction."
        )
        return Verdict(
            tone="idle", head=f"How good {deployment.name} is now is unknown: {health.words.lower()}.", text=text
        )
    if health.status == "unserved":
        return Verdict(tone="idle", head=f"{deployment.name} has no stable revision: nothing is watched.")
    found = health.quality
    limit = f", limit {value_of(found.limit, 'loss')}" if found.limit is not None else ""
    drift = f"{health.drifted} of {len(health.columns)} columns drifted." if health.columns else ""
    return Verdict(tone=health.tone, head=f"{describe_quality(found)}{limit}.", text=drift)


def _near(alert: Alert, rollouts: Sequence[Rollout]) -> Rollout | None:
    """The last release in the two weeks before an alert."""
    for rollout in rollouts:
        if rollout.phase is Phase.PROMOTED and rollout.ended_at and 0 <= alert.opened_at - rollout.ended_at <= NEAR:
            return rollout
    return None


def _charts(
    ask: Ask,
    deployment: Deployment,
    health: Health,
    profiles: Sequence[WindowProfile],
    rollouts: Sequence[Rollout],
    start: float,
) -> tuple[Chart, ...]:
    config = deployment.config
    units = units_of(profiles)
    names = {r.id: r.model_version for r in ask.uow.find(Revision, deployment=deployment.name)}
    flags = rollout_flags([r for r in rollouts if r.phase in (Phase.PROMOTED, Phase.FAILED)], start)
    answered = _answered(units, rollouts, deployment.stable)
    shadows = [unit for unit in units if unit.revision in deployment.shadows]
    pending = ask.now - config.labels.delay_seconds - config.labels.maturity_seconds
    quality = loss_chart(
        [*answered, *shadows],
        {"answered": "stable", **dict.fromkeys(deployment.shadows, "shadow")},
        {**names, "answered": "answering revision,"},
        metric=health.quality.metric,
        limit=health.quality.limit,
        flags=flags,
    )
    note = f"a point a {config.monitors.unit}; labels are complete up to {stamp(pending, ask.now)} UTC"
    charts = [replace(quality, note=note, pending=pending)]
    if any(unit.auroc is not None for unit in units):
        charts.append(_auroc(answered, shadows, names, flags))
    charts.append(_volume(answered, flags, pending))
    return tuple(charts)


def _answered(units: Sequence[Unit], rollouts: Sequence[Rollout], stable: str) -> list[Unit]:
    """Follow the revision that was stable at each time as one line."""
    return [replace(u, revision="answered") for u in units if u.revision == stable_at(rollouts, u.start, stable)]


def _auroc(answered: Sequence[Unit], shadows: Sequence[Unit], names: dict[str, str], flags: Sequence[Flag]) -> Chart:
    chart = loss_chart(
        [replace(unit, loss=unit.auroc) for unit in (*answered, *shadows)],
        {"answered": "stable", **{unit.revision: "shadow" for unit in shadows}},
        {**names, "answered": "answering revision,"},
        metric="auroc",
        limit=None,
    )
    return replace(chart, id="auroc", title="Realised AUROC", flags=tuple(flags), worse="below")


def _volume(answered: Sequence[Unit], flags: Sequence[Flag], pending: float) -> Chart:
    """Chart predictions and labels; the newest units have no label yet and are a gap, not a zero."""
    times = tuple(sorted({unit.start for unit in answered}))
    rows = {unit.start: unit for unit in answered}
    return Chart(
        id="volume",
        title="Predictions and labels",
        unit="",
        times=times,
        series=(
            Series(label="predictions", role="stable", values=tuple(float(rows[t].rows) for t in times)),
            Series(label="labelled", role="canary", values=tuple(_labelled(rows[t], pending) for t in times)),
        ),
        flags=tuple(flags),
        zero=True,
    )


def _labelled(unit: Unit, pending: float) -> float | None:
    return float(unit.labelled) if unit.labelled or unit.end <= pending else None


def _columns(ask: Ask, deployment: Deployment, health: Health) -> tuple[ColumnRow, ...]:
    config = deployment.config.monitors
    limit, length = config.drift_psi, unit_seconds(config)
    reference = _reference(ask, health.model_version)
    start = ask.now - (2 * config.window + 2) * length
    ours = [p for p in read_profiles(ask, deployment.name, start) if p.columns and p.revision == deployment.stable]
    windows = [ours[max(0, i + 1 - config.window) : i + 1] for i in range(len(ours))][-config.window :]
    moved = [
        (
            window[-1],
            {c.name: c.psi for c in column_drifts(reference, merge_profiles([p.columns for p in window]), limit)},
        )
        for window in windows
    ]
    rows = []
    for drift in health.columns:
        days = [(values[drift.name], p) for p, values in moved if drift.name in values]
        tones = [(_tone(psi, limit), f"window to {stamp(p.unit_end, ask.now)}: PSI {psi or 0:.2f}") for psi, p in days]
        bars = histogram(drift.reference, drift.current)
        rows.append(ColumnRow(drift=drift, cells=strip(tones, width=8.0 * max(1, len(tones))), histogram=bars))
    return tuple(rows)


def _reference(ask: Ask, model_version: str) -> dict[str, ColumnProfile]:
    found = ask.uow.get(ReferenceProfile, model_version) if model_version else None
    return merge_profiles(found.units) if found else {}


def _tone(psi: float | None, limit: float) -> str:
    if psi is None:
        return "none"
    return "warn" if psi >= limit else "ok"


PAGES = (
    Page(path="/monitors", template="monitors.html", section="monitors", view=list_monitors),
    Page(path="/monitors/{name}", template="monitor.html", section="monitors", view=show_monitor, charts=True),
)
