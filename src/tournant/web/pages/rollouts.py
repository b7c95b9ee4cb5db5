"""The parts of a rollout that pages show: its steps, its gates, its outcome in words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tournant.domain.deployment import Revision
from tournant.domain.rollout import Gate, Phase, Rollout, RolloutDecision
from tournant.domain.rollout import Verdict as Outcome
from tournant.web.pages.ask import Verdict
from tournant.web.pages.formats import count, duration, headline, sentence, signed, stamp, value_of
from tournant.web.pages.marks import IntervalMark, interval_mark

__all__ = ["Action", "GateRow", "Step", "actions", "gate_rows", "outcome", "reached", "rollout_verdict", "steps", "why"]

TONES = {Outcome.SUCCESSFUL: "ok", Outcome.FAILED: "crit", Outcome.WAITING: "idle", Outcome.INCONCLUSIVE: "warn"}
WORDS = {
    Outcome.SUCCESSFUL: "Pass",
    Outcome.FAILED: "Fail",
    Outcome.WAITING: "Waiting",
    Outcome.INCONCLUSIVE: "Undecided",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a rollout: `state` is done, now, todo or failed; `progress` goes from 0 to 1."""

    text: str
    state: str
    detail: str
    progress: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRow:
    """A gate with its interval's geometry."""

    gate: Gate
    name: str
    tone: str
    words: str
    mark: IntervalMark


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A button; a locked one says why. `effect` is what its dialog states."""

    verb: str
    text: str
    post: str
    effect: str
    seen: str
    danger: bool = False
    primary: bool = False
    locked: str = ""


def gate_rows(gates: Sequence[Gate]) -> tuple[GateRow, ...]:
    """Prepare gates for a table, failing ones first."""
    order = sorted(gates, key=lambda gate: gate.verdict is not Outcome.FAILED)
    return tuple(
        GateRow(
            gate=gate,
            name=headline(gate.name),
            tone=TONES[gate.verdict],
            words=WORDS[gate.verdict],
            mark=interval_mark(gate.difference, gate.lower, gate.upper, gate.limit),
        )
        for gate in order
    )


def steps(rollout: Rollout, decisions: Sequence[RolloutDecision], now: float) -> tuple[Step, ...]:
    """Give the steps from warm-up to 100 %, as far as this rollout has come."""
    strategy = rollout.strategy
    names = ["Warm-up", *(["Shadow"] if strategy.shadow else []), *(f"{p:g} %" for p in strategy.canary_percents)]
    at = _position(rollout, decisions)
    spans = _spans(rollout, decisions, now)
    found = []
    for i, name in enumerate([*names, "100 %"]):
        state = _state(i, at, rollout, last=i == len(names))
        found.append(
            Step(
                text=name,
                state=state,
                detail=_detail(rollout, state, spans.get(i), i, len(names)),
                progress=_progress(rollout, now, i) if state == "now" else float(state in ("done", "failed")),
            )
        )
    return tuple(found)


def _position(rollout: Rollout, decisions: Sequence[RolloutDecision]) -> int:
    phase = rollout.phase
    if phase.final:
        before = [d.phase for d in decisions if not d.phase.final]
        phase = before[-1] if before else Phase.PENDING
    first_canary = 1 + rollout.strategy.shadow
    if phase is Phase.CANARY:
        return first_canary + max(rollout.step, 1) - 1
    return 1 if phase is Phase.SHADOW and rollout.strategy.shadow else 0


def _state(i: int, at: int, rollout: Rollout, *, last: bool) -> str:
    if rollout.phase is Phase.PROMOTED:
        return "done"
    if i == at and not last:
        return "failed" if rollout.phase.final else "now"
    return "done" if i < at else "todo"


def _spans(rollout: Rollout, decisions: Sequence[RolloutDecision], now: float) -> dict[int, float]:
    """How long each step lasted, by the decisions that moved on."""
    moves = [d.time for d in decisions if d.action in ("start", "advance", "promote")]
    skipped = 1 if len(moves) > 1 and decisions and decisions[0].phase is Phase.PENDING else 0
    ends = [*moves[1:], rollout.ended_at or now]
    spans = [end - begin for begin, end in zip(moves, ends, strict=False)]
    if skipped and len(spans) > 1:
        spans = [spans[0] + spans[1], *spans[2:]]  # loading and warming up are one step here
    return dict(enumerate(spans))


def _detail(rollout: Rollout, state: str, span: float | None, i: int, canaries_end: int) -> str:
    strategy = rollout.strategy
    if state == "done":
        return (
            duration(span)
            if span is not None and i < canaries_end
            else "all traffic"
            if i == canaries_end
            else "passed"
        )
    if state == "failed":
        return f"ended here after {duration(span)}" if span is not None else "ended here"
    passed = sum(gate.verdict is Outcome.SUCCESSFUL for gate in rollout.gates)
    gates = f"{passed} of {len(rollout.gates)} gates" if rollout.gates else "no gate judged yet"
    hold = strategy.shadow_hold_seconds if i == 1 and strategy.shadow else strategy.hold_seconds
    if state == "now":
        spent = f"{duration(span)} of {duration(hold)}" if hold and i else duration(span)
        return f"paused · {gates}" if rollout.paused else f"{spent} · {gates}"
    if i == canaries_end:
        return "becomes stable" if strategy.approval == "none" else "becomes stable · needs approval"
    held = f"held {duration(hold)}" if hold else f"{count(strategy.minimum_requests)} requests"
    return f"{held} · needs approval" if strategy.approval == "steps" else held


def _progress(rollout: Rollout, now: float, i: int) -> float:
    strategy = rollout.strategy
    hold = strategy.shadow_hold_seconds if rollout.phase is Phase.SHADOW else strategy.hold_seconds
    shares = [gate.samples / gate.minimum for gate in rollout.gates if gate.minimum]
    if hold and i:
        shares.append((now - rollout.step_started_at) / hold)
    return round(max(0.04, min(0.98, *shares)), 3) if len(shares) > 1 else round(max(0.04, min([0.98, *shares])), 3)


def outcome(rollout: Rollout) -> tuple[str, str]:
    """Give a rollout's tone and outcome in words."""
    if rollout.superseded_by:
        return "idle", "Superseded"
    return {
        Phase.PROMOTED: ("ok", "Released"),
        Phase.FAILED: ("crit", "Rolled back"),
        Phase.INCONCLUSIVE: ("warn", "Undecided"),
        Phase.ABORTED: ("warn", "Aborted"),
    }.get(rollout.phase, ("prog", "Paused" if rollout.paused else "Rolling out"))


def reached(rollout: Rollout, decisions: Sequence[RolloutDecision] = ()) -> str:
    """Say how far a rollout came."""
    if rollout.phase is Phase.PROMOTED:
        return "100 %"
    if rollout.step:
        return f"{rollout.strategy.canary_percents[rollout.step - 1]:g} %"
    phases = {d.phase for d in decisions}
    return "shadow" if Phase.SHADOW in phases or rollout.phase is Phase.SHADOW else "warm-up" if decisions else "–"


def describe_gate(gate: Gate) -> str:
    """Say a gate's difference, interval and limit."""
    if gate.difference is None:
        return gate.reason or f"{headline(gate.name)}: {value_of(gate.candidate, gate.unit)}"
    interval = ""
    if gate.lower is not None and gate.upper is not None and math.isfinite(gate.lower + gate.upper):
        interval = f" (interval {signed(gate.lower, gate.unit)} to {signed(gate.upper, gate.unit)})"
    limit = f" > {signed(gate.limit, gate.unit)}" if gate.limit is not None and gate.verdict is Outcome.FAILED else ""
    return f"{headline(gate.name)} {signed(gate.difference, gate.unit)}{interval}{limit}"


def why(rollout: Rollout) -> str:
    """Say why a rollout ended as it did: the failing gate's numbers, or its recorded reason."""
    failed = [gate for gate in rollout.gates if gate.verdict is Outcome.FAILED]
    if rollout.phase is Phase.FAILED and failed and failed[0].difference is not None:
        return f"{describe_gate(failed[0])}; {rollout.stable} answers"
    if (
        rollout.phase is Phase.PROMOTED
        and rollout.gates
        and all(g.verdict is Outcome.SUCCESSFUL for g in rollout.gates)
    ):
        loss = next((g for g in rollout.gates if g.name == "loss" and g.difference is not None), None)
        words = f"; loss {signed(loss.difference, loss.unit)} over {count(loss.samples)} labels" if loss else ""
        return f"All {len(rollout.gates)} gates passed{words}"
    return rollout.reason or "–"


def rollout_verdict(
    rollout: Rollout, candidate: Revision | None, decisions: Sequence[RolloutDecision], now: float
) -> Verdict:
    """Open a page about a rollout: who takes what share and passes what, or why it was rolled back."""
    name = f"{candidate.model_version if candidate else rollout.revision}"
    tone, words = outcome(rollout)
    if rollout.phase is Phase.PROMOTED:
        took = duration((rollout.ended_at or 0) - rollout.started_at)
        return Verdict(tone=tone, head=f"{name} was released after {took}.", text=sentence(why(rollout)))
    if rollout.phase.final:
        took = duration((rollout.ended_at or 0) - rollout.started_at)
        head = f"{name} was {'rolled back' if tone == 'crit' else words.lower()} at {reached(rollout, decisions)}."
        followed = (
            f"all gateways answered with {rollout.stable or 'nothing'} {duration(rollout.restored_seconds)} after the verdict"
            if rollout.restored_seconds is not None
            else "gateways have yet to follow"
        )
        note = f"{took} from its start to its end; {followed}. {_first(rollout.reason, why(rollout))}"
        return Verdict(tone=tone, head=head, text=sentence(why(rollout)), note=sentence(note))
    share = (
        f"takes {rollout.canary_percent:g} % of traffic"
        if rollout.phase is Phase.CANARY
        else {
            Phase.PENDING: "is being loaded by gateways",
            Phase.WARMING: "is warming up on replayed requests",
            Phase.SHADOW: "answers copies of requests in shadow",
        }.get(rollout.phase, rollout.phase.value)
    )
    passed = sum(gate.verdict is Outcome.SUCCESSFUL for gate in rollout.gates)
    gates = f" and passes {passed} of {len(rollout.gates)} gates" if rollout.gates else ""
    head = f"{name} {'is paused: it ' if rollout.paused else ''}{share}{gates}."
    return Verdict(tone="prog", head=head, text=_waiting(rollout, now), note=_rules(rollout))


def _first(text: str, unless: str) -> str:
    return "" if text == unless else text


def _waiting(rollout: Rollout, now: float) -> str:
    """Say which samples are missing, and when they are complete at the rate since the step began."""
    short = [gate for gate in rollout.gates if gate.samples < gate.minimum]
    if rollout.paused or not short:
        return sentence(rollout.reason) if rollout.paused or not rollout.gates else ""
    last = min(short, key=lambda gate: gate.samples / gate.minimum)
    text = f"{headline(last.name)} has {count(last.samples)} of {count(last.minimum)} samples"
    spent = now - rollout.step_started_at
    if spent <= 0 or last.samples < 5:
        return text + "."
    ready = now + spent * (last.minimum - last.samples) / last.samples
    return f"{text}; at the rate so far it decides at about {stamp(ready, now)} UTC."


def _rules(rollout: Rollout) -> str:
    stable = rollout.stable or "nothing"
    text = f"Rolls back to {stable} by itself as soon as a gate fails; undecided after {duration(rollout.strategy.limit_seconds)} in a step."
    needs = {"steps": " Each step up needs one approval.", "promotion": " Becoming stable needs an approval."}
    return text + needs.get(rollout.strategy.approval, "")


def actions(rollout: Rollout) -> tuple[Action, ...]:
    """Give the buttons of a rollout in progress."""
    base, seen = f"/rollouts/{rollout.id}", str(rollout.epoch)
    hold = Action(
        verb="resume" if rollout.paused else "pause",
        text="Resume" if rollout.paused else "Pause",
        post=f"{base}/{'resume' if rollout.paused else 'pause'}",
        effect=f"{rollout.revision} goes on from where it is."
        if rollout.paused
        else f"{rollout.revision} stays at its share of traffic; a failing gate still rolls it back.",
        seen=seen,
    )
    target = rollout.stable or "nothing"
    abort = Action(
        verb="abort",
        text=f"Roll back to {target}…" if rollout.stable else "Abort…",
        post=f"{base}/abort",
        effect=f"All traffic goes to {target} within a second, and {rollout.revision} is rejected.",
        seen=seen,
        danger=True,
    )
    promote = Action(
        verb="promote",
        text=f"Promote to {_next(rollout)}",
        post=f"{base}/promote",
        effect=f"{rollout.revision} moves on to {_next(rollout)} now, without waiting for the hold.",
        seen=seen,
        primary=True,
        locked=_locked(rollout),
    )
    return hold, abort, promote


def _next(rollout: Rollout) -> str:
    strategy = rollout.strategy
    if rollout.phase in (Phase.PENDING, Phase.WARMING) and strategy.shadow:
        return "shadow"
    done = rollout.step
    return f"{strategy.canary_percents[done]:g} %" if done < len(strategy.canary_percents) else "100 %"


def _locked(rollout: Rollout) -> str:
    """Why promotion is refused now, after services.rollouts.promote_rollout; empty when it is not."""
    if rollout.phase in (Phase.PENDING, Phase.WARMING):
        return "Locked: gateways are still loading and trying it"
    failed = [g for g in rollout.gates if g.verdict is Outcome.FAILED]
    short = [g for g in rollout.gates if g.samples < g.minimum]
    if failed:
        return f"Locked: {headline(failed[0].name)} fails"
    if short:
        return f"Locked: {headline(short[0].name)} has {count(short[0].samples)} of {count(short[0].minimum)} samples"
    return "" if rollout.gates else "Locked: nothing has been seen of it yet"
