"""Alerts: opened and closed as a monitor's status changes."""

from dataclasses import replace

from tournant.domain.alerts import Alert, AlertKind, AlertState, Monitor, Severity
from tournant.domain.control import Event
from tournant.domain.deployment import Deployment
from tournant.domain.watch import new_monitor
from tournant.ports import UnitOfWork
from tournant.services.context import Context, new_id

__all__ = ["find_monitor", "reconcile_alert"]

_DETAILS = ("columns", "evidence", "recent", "empty", "unlabelled", "failure")


def find_monitor(uow: UnitOfWork, deployment: str, kind: AlertKind, *, lock: bool = False) -> Monitor:
    """Read a deployment's monitor; one that does not exist yet has seen nothing."""
    return uow.get(Monitor, f"{deployment}/{kind.value}", lock=lock) or new_monitor(deployment, kind)


def reconcile_alert(
    ctx: Context, uow: UnitOfWork, deployment: Deployment, monitor: Monitor, severity: Severity
) -> None:
    """Open or close a monitor's alert by its status, with an event."""
    opened = uow.find(Alert, monitor=monitor.id, state=AlertState.OPEN.value, order="opened_at")
    if monitor.status == "alert" and not opened:
        alert = _new_alert(ctx, deployment, monitor, severity)
        uow.add(alert)
        uow.record(_event(ctx, alert, "opened", alert.summary))
    if monitor.status == "alert":
        return
    for alert in opened:
        uow.save(replace(alert, state=AlertState.CLOSED, closed_at=ctx.clock.now()))
        uow.record(_event(ctx, alert, "closed", f"{_words(monitor)} alert closed: {monitor.reason}"))


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
