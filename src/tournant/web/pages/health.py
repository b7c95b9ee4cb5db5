"""How a deployment is doing now: one status, the reason, and the strip of the last days."""

from collections.abc import Sequence
from dataclasses import dataclass

from tournant.domain.alerts import Alert, AlertKind, AlertState, Monitor, Severity
from tournant.domain.deployment import Deployment, Revision
from tournant.domain.profile import ReferenceProfile, WindowProfile, merge_profiles
from tournant.domain.registry import ModelVersion
from tournant.domain.rollout import Phase, Rollout
from tournant.web.pages.ask import Ask
from tournant.web.pages.formats import stamp, value_of
from tournant.web.pages.marks import Cell, Sparkline, sparkline, strip
from tournant.web.pages.quality import (
    ColumnDrift,
    Quality,
    Unit,
    column_drifts,
    quality,
    read_profiles,
    unit_seconds,
    units_of,
)
from tournant.web.pages.traffic import Served, read_traffic, served

__all__ = ["SPANS", "Health", "Mark", "Span", "describe_quality", "read_health", "stable_at"]

DAY = 86_400.0
RANK = {"failing": 0, "warning": 1, "no_labels": 2, "waiting": 3, "unserved": 4, "healthy": 5, "retired": 6}
TONES = {"failing": "crit", "warning": "warn", "healthy": "ok"}
WORDS = {"no_labels": "No labels", "unserved": "Not served"}


@dataclass(frozen=True, slots=True)
class Span:
    """A range of time cut into cells."""

    name: str
    seconds: float
    cells: int
    cell: str


SPANS = {
    "24h": Span("24 h", DAY, 24, "1 h"),
    "7d": Span("7 d", 7 * DAY, 42, "4 h"),
    "30d": Span("30 d", 30 * DAY, 30, "1 d"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A release (◆) or rollback (▼) on a strip."""

    x: float
    released: bool
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """One deployment as the overview shows it."""

    deployment: str
    status: str
    stable: str
    model_version: str
    stable_since: float | None
    cells: tuple[Cell, ...]
    marks: tuple[Mark, ...]
    trend: Sparkline
    quality: Quality
    columns: tuple[ColumnDrift, ...]
    served: Served
    slo_p99_ms: float
    rollout: Rollout | None
    candidate: str
    last_rollout: Rollout | None
    alerts: tuple[Alert, ...]
    monitors: tuple[Monitor, ...]
    labels_late_seconds: float | None

    @property
    def tone(self) -> str:
        """The colour of the status."""
        return TONES.get(self.status, "idle")

    @property
    def words(self) -> str:
        """The status as people read it."""
        return WORDS.get(self.status, self.status.capitalize())

    @property
    def rank(self) -> tuple[int, str]:
        """Worst first."""
        return RANK[self.status], self.deployment

    @property
    def drifted(self) -> int:
        """How many columns reach the drift limit."""
        return sum(column.drifted for column in self.columns)


def read_health(ask: Ask, deployment: Deployment, span: Span = SPANS["7d"]) -> Health:
    """Read all that says how a deployment is doing."""
    revisions = {r.id: r for r in ask.uow.find(Revision, deployment=deployment.name, order="number")}
    rollouts = ask.uow.find(Rollout, deployment=deployment.name, order="-started_at", limit=20)
    start = ask.now - span.seconds
    alerts = ask.uow.find(Alert, deployment=deployment.name, order="-opened_at", limit=200)
    monitors = tuple(ask.uow.find(Monitor, deployment=deployment.name, order="id"))
    stable = revisions.get(deployment.stable)
    reference = ask.uow.get(ReferenceProfile, stable.model_version) if stable else None
    history = max(span.seconds, 2 * deployment.config.monitors.window * unit_seconds(deployment.config.monitors))
    profiles = read_profiles(ask, deployment.name, ask.now - max(history, 14 * DAY))
    units = units_of(profiles)
    by_kind = {monitor.kind: monitor for monitor in monitors}
    version = ask.uow.get(ModelVersion, stable.model_version) if stable else None
    found = quality(deployment, version, units, reference, by_kind.get(AlertKind.PERFORMANCE))
    opened = tuple(alert for alert in alerts if alert.state is AlertState.OPEN)
    current = next((r for r in rollouts if not r.phase.final), None)
    return Health(
        deployment=deployment.name,
        status=_status(deployment, opened, monitors, found, units),
        stable=deployment.stable,
        model_version=stable.model_version if stable else "",
        stable_since=_stable_since(rollouts, deployment, stable),
        cells=strip(_cells(ask.now, span, units, alerts)),
        marks=_marks(rollouts, start, span),
        trend=sparkline(_trend(units, rollouts, deployment.stable), found.limit),
        quality=found,
        columns=_columns(deployment, profiles, reference, by_kind.get(AlertKind.DRIFT)),
        served=served((t for t in read_traffic(ask, deployment.name, ask.now - DAY) if t.role != "shadow"), DAY),
        slo_p99_ms=deployment.config.slo_p99_ms,
        rollout=current,
        candidate=revisions[current.revision].model_version if current and current.revision in revisions else "",
        last_rollout=next((r for r in rollouts if r.phase.final), None),
        alerts=tuple(sorted(opened, key=lambda a: (list(Severity).index(a.severity), a.opened_at))),
        monitors=monitors,
        labels_late_seconds=_labels_late(ask.now, deployment, units),
    )


def _status(
    deployment: Deployment, opened: Sequence[Alert], monitors: Sequence[Monitor], found: Quality, units: Sequence[Unit]
) -> str:
    severities = {alert.severity for alert in opened}
    performance = next((m for m in monitors if m.kind is AlertKind.PERFORMANCE), None)
    if deployment.retired_at is not None:
        return "retired"
    if not deployment.stable:
        return "unserved"
    if Severity.CRITICAL in severities:
        return "failing"
    if Severity.WARNING in severities:
        return "warning"
    if found.now is None and units:
        return "no_labels"
    if performance is None or performance.status == "waiting" or found.now is None:
        return "waiting"
    return "no_labels" if performance.status == "no_labels" else "healthy"


def _stable_since(rollouts: Sequence[Rollout], deployment: Deployment, stable: Revision | None) -> float | None:
    promoted = next((r for r in rollouts if r.revision == deployment.stable and r.phase is Phase.PROMOTED), None)
    return promoted.ended_at if promoted else stable.created_at if stable else None


def _labels_late(now: float, deployment: Deployment, units: Sequence[Unit]) -> float | None:
    """How long labels are overdue: since the newest labelled unit, less what they may take."""
    labelled = [unit.end for unit in units if unit.labelled]
    allowed = deployment.config.labels.delay_seconds + deployment.config.labels.maturity_seconds
    late = now - labelled[-1] - allowed - unit_seconds(deployment.config.monitors) if labelled else None
    return late if late and late > 0 else None


def _cells(now: float, span: Span, units: Sequence[Unit], alerts: Sequence[Alert]) -> list[tuple[str, str]]:
    width = span.seconds / span.cells
    cells = []
    for i in range(span.cells):
        start = now - span.seconds + i * width
        tone = _tone(start, start + width, units, alerts)
        words = {"none": "no labels", "ok": "in its limits", "warn": "warning", "crit": "failing"}[tone]
        cells.append((tone, f"{stamp(start, now)}: {words}"))
    return cells


def _tone(start: float, end: float, units: Sequence[Unit], alerts: Sequence[Alert]) -> str:
    lasting = [a.severity for a in alerts if a.opened_at < end and (a.closed_at is None or a.closed_at > start)]
    if Severity.CRITICAL in lasting:
        return "crit"
    if Severity.WARNING in lasting:
        return "warn"
    return "ok" if any(u.labelled and u.start < end and u.end > start for u in units) else "none"


def _marks(rollouts: Sequence[Rollout], start: float, span: Span) -> tuple[Mark, ...]:
    marks = []
    for rollout in rollouts:
        if rollout.ended_at and rollout.ended_at >= start and rollout.phase in (Phase.PROMOTED, Phase.FAILED):
            released = rollout.phase is Phase.PROMOTED
            words = "released" if released else "rolled back"
            x = 231 * (rollout.ended_at - start) / span.seconds
            marks.append(Mark(x=round(min(227, max(4, x)), 1), released=released, title=f"{rollout.revision} {words}"))
    return tuple(marks)


def stable_at(rollouts: Sequence[Rollout], time: float, default: str) -> str:
    """Give the revision that was stable at a time, by the rollouts that promoted one."""
    promoted = sorted(
        ((r.ended_at, r) for r in rollouts if r.phase is Phase.PROMOTED and r.ended_at is not None),
        key=lambda pair: pair[0],
    )
    before = [r.revision for ended, r in promoted if ended <= time]
    if before:
        return before[-1]
    return (promoted[0][1].stable or promoted[0][1].revision) if promoted else default


def _trend(units: Sequence[Unit], rollouts: Sequence[Rollout], stable: str) -> list[float | None]:
    """The mean loss by unit of whichever revision was stable then."""
    starts = sorted({unit.start for unit in units})
    loss = {(unit.start, unit.revision): unit.loss for unit in units}
    return [loss.get((start, stable_at(rollouts, start, stable))) for start in starts]


def _columns(
    deployment: Deployment,
    profiles: Sequence[WindowProfile],
    reference: ReferenceProfile | None,
    monitor: Monitor | None,
) -> tuple[ColumnDrift, ...]:
    config = deployment.config.monitors
    ours = [p for p in profiles if p.revision == deployment.stable and p.columns]
    if reference is None or not ours:
        return ()
    current = merge_profiles([p.columns for p in ours[-config.window :]])
    return column_drifts(merge_profiles(reference.units), current, config.drift_psi, monitor)


def describe_quality(found: Quality) -> str:
    """Say the metric's value beside its reference."""
    metric = found.metric.replace("_", " ")
    if found.now is None:
        return f"No labels yet, so its {metric} is unknown"
    text = f"{metric.capitalize()} {value_of(found.now, 'loss')} over {found.labelled:,} labels"
    return text if found.reference is None else f"{text}, {value_of(found.reference, 'loss')} expected"
