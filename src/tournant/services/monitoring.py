"""Monitoring: mature units of evidence are profiled and taken in by every monitor, one transaction a unit."""

import math
from collections.abc import Sequence
from dataclasses import replace

from tournant.domain.alerts import AlertKind, Monitor, Severity
from tournant.domain.deployment import Deployment, Revision
from tournant.domain.predictions import Label, LabelState, Segment
from tournant.domain.profile import ReferenceProfile, WindowProfile
from tournant.domain.rollout import Phase, Rollout
from tournant.domain.watch import (
    drift_severity,
    rebase,
    watch_drift,
    watch_liveness,
    watch_performance,
)
from tournant.ports import UnitOfWork
from tournant.services.alerting import find_monitor, reconcile_alert
from tournant.services.context import Context
from tournant.services.evidence import DueUnit, Unit
from tournant.services.references import UNIT_SECONDS

__all__ = ["evaluate_unit", "find_due_units", "report_failure"]


def find_due_units(ctx: Context) -> list[DueUnit]:
    """Give each deployment's next mature unit of evidence, where there is one; cheap when there is none."""
    now = ctx.clock.now()
    with ctx.transactions.begin(write=False) as uow:
        deployments = uow.find(Deployment, stable__ne="", order="name")
        served = [deployment for deployment in deployments if deployment.retired_at is None]
        found = [_next_unit(uow, deployment, now) for deployment in served]
    return [due for due in found if due]


def _next_unit(uow: UnitOfWork, deployment: Deployment, now: float) -> DueUnit | None:
    config = deployment.config
    seconds = UNIT_SECONDS[config.monitors.unit]
    mature_to = math.floor((now - config.labels.maturity_seconds) / seconds) * seconds
    liveness = find_monitor(uow, deployment.name, AlertKind.LIVENESS)
    cursor = _cursor(uow, deployment, liveness, now, seconds)
    if cursor is None or cursor + seconds > mature_to:
        return None
    late = now - config.labels.maturity_seconds - cursor - seconds
    following = uow.find(Segment, deployment=deployment.name, end__ge=cursor, order="start", limit=1)
    first = math.floor(following[0].start / seconds) * seconds if following else mature_to
    end = cursor + seconds if first <= cursor else min(first, mature_to)
    units = round((end - cursor) / seconds)
    return DueUnit(
        deployment=deployment,
        start=cursor,
        end=end,
        units=units,
        overdue_seconds=late,
        seen=liveness.evaluated_to,
    )


def _cursor(uow: UnitOfWork, deployment: Deployment, liveness: Monitor, now: float, seconds: float) -> float | None:
    """Where monitoring goes on: after the last unit, or at the first prediction, or where the deployment waits for one."""
    if 0 < liveness.evaluated_to <= now + seconds:  # later than now: a replay set the clock back
        return liveness.evaluated_to
    first = uow.find(Segment, deployment=deployment.name, start__le=now, order="start", limit=1)
    if first:
        return math.floor(first[0].start / seconds) * seconds
    stable = uow.get(Revision, deployment.stable)
    return math.ceil(stable.created_at / seconds) * seconds if stable and stable.created_at <= now else None


def evaluate_unit(ctx: Context, unit: Unit) -> bool:
    """Let every monitor take in a unit that was read, and its labels: all of it in one transaction, or nothing.

    False when somebody else has done it meanwhile.
    """
    due, settled = unit.due, _settled_labels(ctx, unit.due)
    name = due.deployment.name
    with ctx.transactions.begin() as uow:
        liveness = find_monitor(uow, name, AlertKind.LIVENESS, lock=True)
        deployment = uow.get(Deployment, name)
        if deployment is None or liveness.evaluated_to != due.seen:
            return False
        uow.save(*unit.profiles, *unit.grown)
        _settle_labels(ctx, uow, name, settled)
        _watch_performance(ctx, uow, deployment, unit)
        _watch_drift(ctx, uow, deployment, unit)
        expected = deployment.config.labels.maturity_seconds > 0 or deployment.config.labels.delay_seconds > 0
        after = watch_liveness(liveness, unit.evidence, deployment.config.monitors, labels_expected=expected)
        uow.save(after)
        reconcile_alert(ctx, uow, deployment, after, Severity.WARNING)
    return True


def _settled_labels(ctx: Context, due: DueUnit) -> list[Label]:
    """Find which pending labels have met a prediction by now, and which have waited past their deadline."""
    deadline = _label_deadline(due.deployment)
    with ctx.transactions.begin(write=False) as uow:
        pending = uow.find(Label, deployment=due.deployment.name, state=LabelState.PENDING.value)
        if not pending:
            return []
        segments = uow.find(Segment, deployment=due.deployment.name, end__ge=due.start - deadline)
    references = ctx.predictions.matched(segments, pending)
    late = due.end + due.deployment.config.labels.maturity_seconds - deadline
    matched = [replace(label, state=LabelState.MATCHED) for label in pending if label.reference in references]
    left = [label for label in pending if label.reference not in references and label.received_at < late]
    return [*matched, *(replace(label, state=LabelState.UNMATCHED) for label in left)]


def _label_deadline(deployment: Deployment) -> float:
    """How long a label may wait for its prediction: a window longer than labels take."""
    config = deployment.config
    longest = max(config.labels.maturity_seconds, config.labels.delay_seconds)
    return longest + config.monitors.window * UNIT_SECONDS[config.monitors.unit]


def _settle_labels(ctx: Context, uow: UnitOfWork, name: str, settled: Sequence[Label]) -> None:
    """Save the labels' new state, except of those that were corrected meanwhile."""
    if not settled:
        return
    pending = {label.reference: label for label in uow.find(Label, deployment=name, state=LabelState.PENDING.value)}
    same = [label for label in settled if replace(label, state=LabelState.PENDING) == pending.get(label.reference)]
    uow.save(*same)
    if lost := sum(label.state is LabelState.UNMATCHED for label in same):
        uow.record(ctx.event("labels.unmatched", f"deployment/{name}", f"{lost} labels met no prediction", count=lost))


def _watch_performance(ctx: Context, uow: UnitOfWork, deployment: Deployment, unit: Unit) -> None:
    before = find_monitor(uow, deployment.name, AlertKind.PERFORMANCE)
    based = rebase(before, deployment.stable, _stable_since(uow, deployment, before))
    reference = _stable_reference(uow, deployment, unit)
    after = watch_performance(based, unit.evidence, reference, deployment.config.monitors)
    uow.save(after)
    reconcile_alert(ctx, uow, deployment, after, Severity.CRITICAL)


def _watch_drift(ctx: Context, uow: UnitOfWork, deployment: Deployment, unit: Unit) -> None:
    config = deployment.config.monitors
    before = find_monitor(uow, deployment.name, AlertKind.DRIFT)
    based = rebase(before, deployment.stable, _stable_since(uow, deployment, before))
    since = based.state.get("since")
    start = max(unit.due.end - config.window * UNIT_SECONDS[config.unit], float(str(since or 0.0)))
    windows = uow.find(
        WindowProfile,
        deployment=deployment.name,
        revision=deployment.stable,
        unit_start__ge=start,
        unit_start__lt=unit.due.end,
        order="unit_start",
    )
    reference = _stable_reference(uow, deployment, unit)
    after = watch_drift(based, unit.due.end, windows, reference.units if reference else (), config)
    uow.save(after)
    reconcile_alert(ctx, uow, deployment, after, drift_severity(after))


def _stable_reference(uow: UnitOfWork, deployment: Deployment, unit: Unit) -> ReferenceProfile | None:
    stable = unit.revisions.get(deployment.stable) or uow.get(Revision, deployment.stable)
    if stable is None:
        return None
    return unit.references.get(stable.model_version) or uow.get(ReferenceProfile, stable.model_version)


def _stable_since(uow: UnitOfWork, deployment: Deployment, monitor: Monitor) -> float:
    """When the stable revision became so; a first one, that nothing came before, from the beginning."""
    promoted = uow.find(Rollout, deployment=deployment.name, phase=Phase.PROMOTED.value, order="-ended_at", limit=1)
    if promoted and promoted[0].revision == deployment.stable:
        return promoted[0].ended_at or 0.0 if promoted[0].stable else 0.0
    return monitor.evaluated_to  # returned to by hand: from the next unit on


def report_failure(ctx: Context, due: DueUnit, problem: str) -> bool:
    """Open a liveness alert when a unit cannot be taken in and the monitors fall behind; tell whether that is new."""
    config = due.deployment.config.monitors
    if due.overdue_seconds < config.liveness_units * UNIT_SECONDS[config.unit]:
        return False
    with ctx.transactions.begin() as uow:
        before = find_monitor(uow, due.deployment.name, AlertKind.LIVENESS, lock=True)
        if before.status == "alert" and before.state.get("failure") == problem:
            return False
        after = replace(
            before,
            status="alert",
            reason=f"the monitors are behind: {problem}",
            state={**before.state, "failure": problem},
        )
        uow.save(after)
        reconcile_alert(ctx, uow, due.deployment, after, Severity.WARNING)
    return True
