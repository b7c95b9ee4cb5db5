"""Rollouts: how one starts, moves and ends, and steering it by hand."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from tournant.domain.control import Event, GatewayState
from tournant.domain.deployment import Deployment, Revision, RevisionState
from tournant.domain.freeze import find_freeze
from tournant.domain.rollout import Gate, Phase, Rollout, RolloutDecision, Verdict, advance, end
from tournant.errors import Conflict, NotFound
from tournant.ports import UnitOfWork
from tournant.services.context import Context, new_id
from tournant.services.routing import bump_routes, routes_version

__all__ = [
    "abort_rollout",
    "ask_for_approval",
    "move_rollout",
    "note_restored",
    "pause_rollout",
    "promote_rollout",
    "resume_rollout",
    "start_rollout",
    "supersede_rollout",
]

_DONE = {
    "start": "started",
    "advance": "advanced",
    "promote": "promoted",
    "fail": "failed",
    "inconclusive": "inconclusive",
    "abort": "aborted",
    "pause": "paused",
    "resume": "resumed",
}


def start_rollout(ctx: Context, uow: UnitOfWork, deployment: Deployment, revision: Revision, reason: str) -> Rollout:
    """Put a revision on its way to stable, in the caller's transaction."""
    now = ctx.clock.now()
    rollout = Rollout(
        id=new_id(),
        deployment=deployment.name,
        revision=revision.id,
        stable=deployment.stable,
        strategy=deployment.config.rollout,
        started_at=now,
        step_started_at=now,
        reason=reason or "gateways load the candidate",
        actor=ctx.actor,
    )
    move_rollout(ctx, uow, rollout, action="start")
    return rollout


def move_rollout(ctx: Context, uow: UnitOfWork, rollout: Rollout, *, action: str, gates: tuple[Gate, ...] = ()) -> None:
    """Store a rollout's new state with the decision behind it, its event, and what it means for revisions and routes.

    `action` is `start`, `advance`, `promote`, `fail`, `inconclusive`, `abort`, `pause` or `resume`.
    """
    bump_routes(uow)
    if rollout.phase.final:
        rollout = replace(rollout, decided_at=time.time(), decided_routes=routes_version(uow))
    uow.save(rollout)
    uow.add(
        RolloutDecision(
            id=new_id(),
            rollout=rollout.id,
            number=uow.count(RolloutDecision, rollout=rollout.id) + 1,
            time=ctx.clock.now(),
            phase=rollout.phase,
            action=action,
            weight_percent=rollout.canary_percent,
            reason=rollout.reason,
            actor=ctx.actor,
            gates=gates,
        )
    )
    uow.record(
        ctx.event(
            f"rollout.{_DONE[action]}",
            f"deployment/{rollout.deployment}",
            f"{rollout.revision}: {rollout.reason}",
            rollout=rollout.id,
            revision=rollout.revision,
            phase=rollout.phase.value,
            weight_percent=rollout.canary_percent,
        )
    )
    _settle_revisions(uow, rollout)


def note_restored(ctx: Context, gateways: Sequence[GatewayState]) -> bool:
    """Keep, for rollouts that have ended, how long it took until every live gateway followed; true if one did now."""
    with ctx.transactions.begin(write=False) as uow:
        ended = uow.find(Rollout, restored_seconds=None, decided_routes__gt=0, order="id")
    followed = min((gateway.routes_version for gateway in gateways), default=0)
    restored = [rollout for rollout in ended if rollout.decided_routes <= followed]
    if not restored:
        return False
    heard = max(gateway.seen_at for gateway in gateways)
    with ctx.transactions.begin() as uow:
        uow.save(*(replace(found, restored_seconds=max(0.0, heard - found.decided_at)) for found in restored))
    return True


def ask_for_approval(ctx: Context, rollout: Rollout) -> Event:
    """Give the event that a rollout has come to where somebody has to promote it."""
    return ctx.event(
        "rollout.waits",
        f"deployment/{rollout.deployment}",
        f"{rollout.revision} {rollout.reason}: tournant rollouts promote {rollout.deployment}",
        rollout=rollout.id,
        revision=rollout.revision,
    )


def _settle_revisions(uow: UnitOfWork, rollout: Rollout) -> None:
    if rollout.phase is Phase.PROMOTED:
        deployment = uow.get(Deployment, rollout.deployment, lock=True)
        assert deployment
        if deployment.stable and deployment.stable != rollout.revision:
            _set_state(uow, deployment.stable, RevisionState.RETIRED, f"replaced by {rollout.revision}")
        uow.save(replace(deployment, stable=rollout.revision))
        _set_state(uow, rollout.revision, RevisionState.STABLE, rollout.reason)
    elif rollout.phase.final:
        _set_state(uow, rollout.revision, RevisionState.REJECTED, rollout.reason)
    else:
        _set_state(uow, rollout.revision, RevisionState.CANDIDATE, "")


def _set_state(uow: UnitOfWork, revision_id: str, state: RevisionState, reason: str) -> None:
    revision = uow.get(Revision, revision_id, lock=True)
    if revision and (revision.state, revision.reason) != (state, reason):
        uow.save(replace(revision, state=state, reason=reason))


def supersede_rollout(ctx: Context, uow: UnitOfWork, rollout: Rollout, by: str) -> None:
    """Abort a rollout, unjudged, because a newer revision takes its place."""
    ended = end(rollout, Phase.ABORTED, now=ctx.clock.now(), reason=f"superseded by {by}")
    move_rollout(ctx, uow, replace(ended, superseded_by=by), action="abort", gates=rollout.gates)


def promote_rollout(ctx: Context, rollout_id: str, *, reason: str = "", force: bool = False) -> Rollout:
    """Move a rollout to its next step by hand, without waiting for the hold or for gates that are undecided.

    It still asks for the step's minimum sample and that no gate failed; with `force` it asks for neither, and makes the
    candidate stable at once. Conflict says what is missing.
    """
    with ctx.transactions.begin() as uow:
        rollout = _open(uow, rollout_id)
        if rollout.phase is Phase.PENDING:
            raise Conflict(f"{rollout.revision} is still pending: wait until gateways have loaded it")
        if not force:
            _ask_for_minimum(rollout)
            _refuse_frozen(rollout, ctx.clock.now())
        moved = advance(rollout, now=ctx.clock.now())
        if force:
            moved = replace(moved, phase=Phase.PROMOTED, ended_at=ctx.clock.now(), gates=rollout.gates)
        words = reason or ("forced by hand" if force else "moved on by hand")
        moved = replace(moved, paused=False, reason=f"{words} ({ctx.actor})")
        move_rollout(
            ctx, uow, moved, action="promote" if moved.phase is Phase.PROMOTED else "advance", gates=rollout.gates
        )
    return moved


def _ask_for_minimum(rollout: Rollout) -> None:
    failed = [gate for gate in rollout.gates if gate.verdict is Verdict.FAILED]
    if failed:
        raise Conflict(f"{rollout.revision} may not move on: {failed[0].reason}")
    short = [gate for gate in rollout.gates if gate.samples < gate.minimum]
    if short or not rollout.gates:
        missing = short[0].reason if short else "nothing has been seen of it yet"
        raise Conflict(f"{rollout.revision} has not been seen enough to move on: {missing}")


def _refuse_frozen(rollout: Rollout, now: float) -> None:
    frozen = find_freeze(rollout.strategy.freeze, now) if rollout.stable else None
    if frozen:
        until = datetime.fromtimestamp(frozen.until, UTC).strftime("%Y-%m-%d %H:%M UTC")
        raise Conflict(
            f"no share rises until {until}{frozen.why}. To move {rollout.revision} on all the same: "
            f"tournant rollouts promote {rollout.deployment} --force"
        )


def pause_rollout(ctx: Context, rollout_id: str, *, reason: str = "") -> Rollout:
    """Hold a rollout where it is; a gate that fails still rolls it back."""
    with ctx.transactions.begin() as uow:
        rollout = _open(uow, rollout_id)
        if rollout.paused:
            return rollout
        paused = replace(rollout, paused=True, reason=reason or f"paused by {ctx.actor}")
        move_rollout(ctx, uow, paused, action="pause", gates=rollout.gates)
    return paused


def resume_rollout(ctx: Context, rollout_id: str, *, reason: str = "") -> Rollout:
    """Let a paused rollout go on; the step's hold and limit start anew, its evidence is kept."""
    with ctx.transactions.begin() as uow:
        rollout = _open(uow, rollout_id)
        if not rollout.paused:
            return rollout
        words = reason or f"resumed by {ctx.actor}"
        resumed = replace(rollout, paused=False, step_started_at=ctx.clock.now(), reason=words)
        move_rollout(ctx, uow, resumed, action="resume", gates=rollout.gates)
    return resumed


def abort_rollout(ctx: Context, rollout_id: str, *, reason: str = "") -> Rollout:
    """End a rollout with all traffic on stable."""
    with ctx.transactions.begin() as uow:
        rollout = _open(uow, rollout_id)
        words = reason or f"aborted by {ctx.actor}"
        aborted = end(rollout, Phase.ABORTED, now=ctx.clock.now(), reason=words)
        move_rollout(ctx, uow, aborted, action="abort", gates=rollout.gates)
    return aborted


def _open(uow: UnitOfWork, rollout_id: str) -> Rollout:
    rollout = uow.get(Rollout, rollout_id, lock=True)
    if rollout is None:
        raise NotFound(f"there is no rollout {rollout_id!r}; list them: tournant rollouts list")
    if rollout.phase.final:
        raise Conflict(f"rollout {rollout_id} of {rollout.revision} has ended ({rollout.phase}): {rollout.reason}")
    return rollout
