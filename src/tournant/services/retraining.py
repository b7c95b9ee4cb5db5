"""Retrainings: starting, deciding and moving them from state to state."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tournant.domain.alerts import Alert, AlertState
from tournant.domain.control import Event
from tournant.domain.deployment import Deployment, MonitorConfig, Revision
from tournant.domain.predictions import Label, LabelState, Segment
from tournant.domain.retraining import (
    Retraining,
    RetrainingPolicy,
    RetrainingState,
    Trigger,
    decide_trigger,
    plan_window,
)
from tournant.errors import Conflict, NotFound
from tournant.ports import UnitOfWork
from tournant.services.context import Context, new_id
from tournant.services.references import UNIT_SECONDS

__all__ = [
    "ACTIVE",
    "approve_retraining",
    "find_active",
    "find_due",
    "get_retraining",
    "list_retrainings",
    "move_retraining",
    "reject_retraining",
    "retraining_folder",
    "start_retraining",
    "unit_seconds",
]

ACTIVE = tuple(state.value for state in RetrainingState if not state.final)


def unit_seconds(monitors: MonitorConfig) -> float:
    """Give the length of a deployment's unit of evidence."""
    return UNIT_SECONDS[monitors.unit]


def retraining_folder(ctx: Context, retraining_id: str) -> Path:
    """Give the folder where a retraining keeps its frozen files, its project checked out, and its job's log."""
    return ctx.settings.home / "retrainings" / retraining_id


def get_retraining(ctx: Context, retraining_id: str) -> Retraining:
    """Read one retraining."""
    with ctx.transactions.begin(write=False) as uow:
        retraining = uow.get(Retraining, retraining_id)
    if retraining is None:
        raise NotFound(f"there is no retraining {retraining_id!r}; list them: tournant retrainings list")
    return retraining


def list_retrainings(ctx: Context, deployment: str | None = None, *, limit: int = 50) -> list[Retraining]:
    """List the newest retrainings."""
    where = {"deployment": deployment} if deployment else {}
    with ctx.transactions.begin(write=False) as uow:
        return uow.find(Retraining, order="-started_at,-id", limit=limit, **where)


def find_active(ctx: Context) -> list[Retraining]:
    """List the retrainings that are not final, oldest first."""
    with ctx.transactions.begin(write=False) as uow:
        return uow.find(Retraining, order="started_at,id", state__in=ACTIVE)


def start_retraining(
    ctx: Context, deployment: str, *, reason: str = "by hand", trigger: str = "manual", alert: str = ""
) -> Retraining:
    """Start renewing a deployment's model; Conflict while its model is being retrained, or when it cannot be."""
    with ctx.transactions.begin() as uow:
        found = uow.get(Deployment, deployment, lock=True)
        model = _retrainable_model(uow, deployment, found)
        _refuse_second(uow, model)
        retraining = Retraining(
            id=new_id(),
            deployment=deployment,
            model=model,
            state=RetrainingState.PENDING,
            trigger=trigger,
            reason=reason,
            started_at=ctx.clock.now(),
            alert=alert,
        )
        uow.add(retraining)
        _mark_alert(uow, retraining)
        uow.record(_event(ctx, retraining, "started", f"retraining of {model} started: {reason}"))
    return retraining


def _retrainable_model(uow: UnitOfWork, name: str, deployment: Deployment | None) -> str:
    if deployment is None:
        names = ", ".join(known.name for known in uow.find(Deployment, order="name")) or "none"
        raise NotFound(f"there is no deployment {name!r} (there is: {names})")
    if deployment.config.retraining is None:
        raise Conflict(
            f"deployment {name!r} has no retraining policy; add `retraining:` to it in tournant.yaml and apply"
        )
    if not deployment.project:
        raise Conflict(
            f"deployment {name!r} was made without a project, so nothing says how to train; use tournant apply"
        )
    stable = uow.get(Revision, deployment.stable) if deployment.stable else None
    if stable is None:
        raise Conflict(f"deployment {name!r} has no stable revision yet; a champion is what a challenger must beat")
    return stable.model_version.partition("@")[0]


def _refuse_second(uow: UnitOfWork, model: str) -> None:
    for active in uow.find(Retraining, model=model, state__in=ACTIVE, limit=1):
        raise Conflict(f"model {model!r} is being retrained already ({active.id} is {active.state.value})")


def _mark_alert(uow: UnitOfWork, retraining: Retraining) -> None:
    if retraining.alert and (alert := uow.get(Alert, retraining.alert, lock=True)):
        uow.save(replace(alert, retraining=retraining.id))


def approve_retraining(ctx: Context, retraining_id: str, *, reason: str = "") -> Retraining:
    """Let a challenger that passed the gate roll out."""
    return _decide(ctx, retraining_id, RetrainingState.ROLLING_OUT, "approved", reason, approved_by=ctx.actor)


def reject_retraining(ctx: Context, retraining_id: str, *, reason: str = "") -> Retraining:
    """Keep a challenger that passed the gate from rolling out."""
    outcome = f"not approved by {ctx.actor}" + (f": {reason}" if reason else "")
    return _decide(ctx, retraining_id, RetrainingState.REJECTED, "rejected", reason, outcome=outcome)


def _decide(
    ctx: Context, retraining_id: str, to: RetrainingState, verb: str, reason: str, **changes: str
) -> Retraining:
    retraining = get_retraining(ctx, retraining_id)
    if retraining.state is not RetrainingState.AWAITING_APPROVAL:
        raise Conflict(f"retraining {retraining_id} is {retraining.state.value}: it does not wait for approval")
    summary = f"{retraining.challenger} {verb} by {ctx.actor}" + (f": {reason}" if reason else "")
    moved = move_retraining(ctx, retraining, to, verb, summary, **changes)
    if moved.state is not to:
        raise Conflict(f"retraining {retraining_id} is {moved.state.value} by now")
    return moved


def move_retraining(
    ctx: Context, retraining: Retraining, to: RetrainingState, verb: str, summary: str, **changes: Any
) -> Retraining:
    """Change a retraining's state and append `retraining.<verb>`, unless it has left the state it was read in.

    The same state may be moved to itself with `changes`, provided `attempts` and `rollout` are as they were read.
    """
    with ctx.transactions.begin() as uow:
        current = uow.get(Retraining, retraining.id, lock=True)
        if current is None:
            raise NotFound(f"there is no retraining {retraining.id!r}")
        if _position(current) != _position(retraining):
            return current
        ended_at = ctx.clock.now() if to.final else None
        moved = replace(current, state=to, ended_at=ended_at, **changes)
        uow.save(moved)
        uow.record(_event(ctx, moved, verb, summary))
    return moved


def _position(retraining: Retraining) -> tuple[object, ...]:
    return retraining.state, retraining.attempts, retraining.rollout


def _event(ctx: Context, retraining: Retraining, verb: str, summary: str) -> Event:
    return ctx.event(
        f"retraining.{verb}",
        f"deployment/{retraining.deployment}",
        summary,
        retraining=retraining.id,
        model=retraining.model,
        state=retraining.state.value,
    )


def find_due(ctx: Context) -> list[tuple[Deployment, Trigger]]:
    """List the deployments whose policy asks for a retraining now, and whose log has enough mature units to judge one."""
    with ctx.transactions.begin(write=False) as uow:
        deployments = [d for d in uow.find(Deployment, order="name") if d.config.retraining and d.stable and d.project]
        found = [(deployment, _trigger(ctx, uow, deployment)) for deployment in deployments]
    return [(deployment, trigger) for deployment, trigger in found if trigger]


def _trigger(ctx: Context, uow: UnitOfWork, deployment: Deployment) -> Trigger | None:
    policy, now = deployment.config.retraining, ctx.clock.now()
    stable = uow.get(Revision, deployment.stable)
    if policy is None or stable is None:
        return None
    model = stable.model_version.partition("@")[0]
    last = next(iter(uow.find(Retraining, model=model, order="-started_at,-id", limit=1)), None)
    if last and not last.state.final:
        return None
    opening = next(iter(uow.find(Segment, deployment=deployment.name, order="start", limit=1)), None)
    if opening is None or not _enough_evidence(deployment, policy, now, opening.start):
        return None
    # a model version deployed before a replay was set to an earlier time counts from the first prediction
    since = stable.created_at if stable.created_at <= now else opening.start
    return decide_trigger(
        policy,
        now=now,
        stable_since=since,
        open_alerts=uow.find(Alert, deployment=deployment.name, state=AlertState.OPEN.value),
        last_retraining=last,
        labelled_rows_since=_labelled_since(uow, deployment, policy, last.started_at if last else since),
        recent_retrainings=uow.count(Retraining, model=model, started_at__gt=now - policy.budget_seconds),
    )


def _enough_evidence(deployment: Deployment, policy: RetrainingPolicy, now: float, first: float) -> bool:
    """Whether the gate's units and at least one unit to learn from lie in the prediction log."""
    seconds = unit_seconds(deployment.config.monitors)
    window = plan_window(
        policy, now=now, unit_seconds=seconds, maturity_seconds=deployment.config.labels.maturity_seconds
    )
    return window.cut >= first // seconds * seconds + seconds


def _labelled_since(uow: UnitOfWork, deployment: Deployment, policy: RetrainingPolicy, since: float) -> int:
    if policy.new_rows <= 0:
        return 0
    return uow.count(Label, deployment=deployment.name, received_at__gt=since, state__ne=LabelState.UNMATCHED.value)
