"""Operations on monitors, alerts, retrainings and events."""

from typing import Any

import msgspec

from tournant.api.operation import Operation, Page
from tournant.domain.alerts import Alert, AlertState, Monitor
from tournant.domain.control import Event
from tournant.domain.profile import WindowProfile
from tournant.domain.retraining import Retraining
from tournant.services import retraining
from tournant.services.context import Context
from tournant.services.lookup import find_newest, get_record

__all__ = ["OPERATIONS"]


class ListMonitors(msgspec.Struct, frozen=True, kw_only=True):
    """Which monitors."""

    deployment: str | None = None


class GetMonitor(msgspec.Struct, frozen=True, kw_only=True):
    """Which deployment's monitors, over how many units of evidence."""

    deployment: str
    units: int = 30


class MonitorDetails(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment's monitors with the profiles they saw, newest first."""

    monitors: list[Monitor]
    profiles: list[WindowProfile]


class ListAlerts(Page, frozen=True, kw_only=True):
    """Which alerts."""

    deployment: str | None = None
    state: AlertState | None = None


class ById(msgspec.Struct, frozen=True, kw_only=True):
    """Which one."""

    id: str


class ListRetrainings(Page, frozen=True, kw_only=True):
    """Which retrainings."""

    deployment: str | None = None


class StartRetraining(msgspec.Struct, frozen=True, kw_only=True):
    """What to retrain, and why."""

    deployment: str
    reason: str = "by hand"


class DecideRetraining(msgspec.Struct, frozen=True, kw_only=True):
    """Which retraining, and why."""

    id: str
    reason: str = ""


class ListEvents(Page, frozen=True, kw_only=True):
    """Which events: of one subject (`deployment/flights`) or kind (`rollout.promoted`)."""

    subject: str | None = None
    kind: str | None = None


def list_monitors(ctx: Context, request: ListMonitors) -> list[Monitor]:
    """List monitors with their latest value and limit."""
    with ctx.transactions.begin(write=False) as uow:
        if request.deployment:
            return uow.find(Monitor, order="id", deployment=request.deployment)
        return uow.find(Monitor, order="id")


def get_monitor(ctx: Context, request: GetMonitor) -> MonitorDetails:
    """Show what the monitors of a deployment saw."""
    with ctx.transactions.begin(write=False) as uow:
        monitors = uow.find(Monitor, order="id", deployment=request.deployment)
        newest = uow.find(
            WindowProfile, order="-unit_start", deployment=request.deployment, limit=min(max(request.units, 1), 1000)
        )
    return MonitorDetails(monitors=monitors, profiles=newest)


def list_alerts(ctx: Context, request: ListAlerts) -> list[Alert]:
    """List the newest alerts."""
    wanted = {"deployment": request.deployment, "state": request.state}
    return find_newest(ctx, Alert, time_field="opened_at", limit=request.limit, before=request.before, **wanted)


def get_alert(ctx: Context, request: ById) -> Alert:
    """Show one alert."""
    return get_record(ctx, Alert, request.id, noun="alert", hint="tournant alerts list")


def list_retrainings(ctx: Context, request: ListRetrainings) -> list[Retraining]:
    """List the newest retrainings."""
    return find_newest(
        ctx,
        Retraining,
        time_field="started_at",
        limit=request.limit,
        before=request.before,
        deployment=request.deployment,
    )


def get_retraining(ctx: Context, request: ById) -> Retraining:
    """Show one retraining."""
    return get_record(ctx, Retraining, request.id, noun="retraining", hint="tournant retrainings list")


def start_retraining(ctx: Context, request: StartRetraining) -> Retraining:
    """Retrain a deployment's model now."""
    return retraining.start_retraining(ctx, request.deployment, reason=request.reason)


def approve_retraining(ctx: Context, request: DecideRetraining) -> Retraining:
    """Let a challenger that passed the gate roll out."""
    return retraining.approve_retraining(ctx, request.id, reason=request.reason)


def reject_retraining(ctx: Context, request: DecideRetraining) -> Retraining:
    """Keep a challenger that passed the gate from rolling out."""
    return retraining.reject_retraining(ctx, request.id, reason=request.reason)


def list_events(ctx: Context, request: ListEvents) -> list[Event]:
    """List the newest events: who did what, when and why."""
    wanted = {"subject": request.subject, "kind": request.kind}
    return find_newest(ctx, Event, time_field="time", limit=request.limit, before=request.before, **wanted)


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        name="monitors.list",
        method="GET",
        path="/monitors",
        request=ListMonitors,
        response=list[Monitor],
        handler=list_monitors,
    ),
    Operation(
        name="monitors.get",
        method="GET",
        path="/monitors/{deployment}",
        request=GetMonitor,
        response=MonitorDetails,
        handler=get_monitor,
    ),
    Operation(
        name="alerts.list", method="GET", path="/alerts", request=ListAlerts, response=list[Alert], handler=list_alerts
    ),
    Operation(name="alerts.get", method="GET", path="/alerts/{id}", request=ById, response=Alert, handler=get_alert),
    Operation(
        name="retrainings.list",
        method="GET",
        path="/retrainings",
        request=ListRetrainings,
        response=list[Retraining],
        handler=list_retrainings,
    ),
    Operation(
        name="retrainings.get",
        method="GET",
        path="/retrainings/{id}",
        request=ById,
        response=Retraining,
        handler=get_retraining,
    ),
    Operation(
        name="retrainings.start",
        method="POST",
        path="/retrainings",
        request=StartRetraining,
        response=Retraining,
        handler=start_retraining,
    ),
    Operation(
        name="retrainings.approve",
        method="POST",
        path="/retrainings/{id}/approve",
        request=DecideRetraining,
        response=Retraining,
        handler=approve_retraining,
    ),
    Operation(
        name="retrainings.reject",
        method="POST",
        path="/retrainings/{id}/reject",
        request=DecideRetraining,
        response=Retraining,
        handler=reject_retraining,
    ),
    Operation(
        name="events.list", method="GET", path="/events", request=ListEvents, response=list[Event], handler=list_events
    ),
)
