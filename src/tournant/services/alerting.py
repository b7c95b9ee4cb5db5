"""Alerts: opened and closed as a monitor's status changes, with an outbox so that people hear of each."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tournant.domain.alerts import Alert, AlertKind, AlertState, Monitor, Severity
from tournant.domain.control import Event
from tournant.domain.deployment import Deployment
from tournant.domain.watch import new_monitor
from tournant.ports import UnitOfWork
from tournant.services.context import Context, new_id

__all__ = ["Notice", "find_monitor", "forget_notices", "list_notices", "reconcile_alert", "save_with_notices"]

_OUTBOX = "outbox"  # in the liveness monitor's state
_DETAILS = ("columns", "evidence", "recent", "empty", "unlabelled", "failure")


@dataclass(frozen=True, slots=True)
class Notice:
    """That an alert opened or closed, which people are yet to be told."""

    alert: str
    opened: bool


def find_monitor(uow: UnitOfWork, deployment: str, kind: AlertKind, *, lock: bool = False) -> Monitor:
    """Read a deployment's monitor; one that does not exist yet has seen nothing."""
    return uow.get(Monitor, f"{deployment}/{kind.value}", lock=lock) or new_monitor(deployment, kind)


def reconcile_alert(
    ctx: Context, uow: UnitOfWork, deployment: Deployment, monitor: Monitor, severity: Severity
) -> list[Notice]:
    """Open or close a monitor's alert by its status, with an event; give what people are to be told."""
    opened = uow.find(Alert, monitor=monitor.id, state=AlertState.OPEN.value, order="opened_at")
    if monitor.status == "alert" and not opened:
        alert = _new_alert(ctx, deployment, monitor, severity)
        uow.add(alert)
        uow.record(_event(ctx, alert, "opened", alert.summary))
        return [Notice(alert.id, opened=True)]
    if monitor.status == "alert":
        return []
    for alert in opened:
        uow.save(replace(alert, state=AlertState.CLOSED, closed_at=ctx.clock.now()))
        uow.record(_event(ctx, alert, "closed", f"{_words(monitor)} alert closed: {monitor.reason}"))
    return [Notice(alert.id, opened=False) for alert in opened]


def _new_alert(ctx: Context, deployment: Deployment, monitor: Monitor, severity: Severity) -> Alert:
    shown = {name: monitor.state[name] for name in _DETAILS if name in monitor.state}
    return Alert(
        id=new_id(),
        deployment=deployment.name,
        monitor=monitor.id,
        kind=monitor.kind,
        severity=severity,
        state=AlertState.OPEN,
        opened_at=ctx.clock.now(),
        value=monitor.value,
        limit=monitor.limit,
        unit=deployment.config.monitors.unit,
        summary=f"{_words(monitor)}: {monitor.reason}",
        details={"stable": deployment.stable, **shown},
    )


def _words(monitor: Monitor) -> str:
    return f"{monitor.deployment}: {monitor.kind.value.replace('_', ' ')}"


def _event(ctx: Context, alert: Alert, verb: str, summary: str) -> Event:
    data = {"alert": alert.id, "alert_kind": alert.kind.value, "severity": alert.severity.value}
    return ctx.event(f"alert.{verb}", f"deployment/{alert.deployment}", summary, **data)


def save_with_notices(uow: UnitOfWork, liveness: Monitor, notices: Sequence[Notice]) -> None:
    """Save the liveness monitor with what is to be told, so that a kill before telling forgets nothing."""
    waiting: Any = liveness.state.get(_OUTBOX, [])
    uow.save(replace(liveness, state={**liveness.state, _OUTBOX: [*waiting, *map(asdict, notices)]}))


def list_notices(ctx: Context) -> dict[str, list[Notice]]:
    """Give what is yet to be told, by deployment."""
    with ctx.transactions.begin(write=False) as uow:
        monitors = [monitor for monitor in uow.find(Monitor, order="id") if monitor.kind is AlertKind.LIVENESS]
    waiting: dict[str, Any] = {monitor.deployment: monitor.state.get(_OUTBOX) for monitor in monitors}
    return {name: [Notice(**notice) for notice in notices] for name, notices in waiting.items() if notices}


def forget_notices(ctx: Context, deployment: str, told: Sequence[Notice]) -> None:
    """Take delivered notices off the outbox."""
    with ctx.transactions.begin() as uow:
        monitor = find_monitor(uow, deployment, AlertKind.LIVENESS, lock=True)
        waiting: Any = monitor.state.get(_OUTBOX, [])
        left = [notice for notice in waiting if Notice(**notice) not in told]
        uow.save(replace(monitor, state={**monitor.state, _OUTBOX: left}))
