"""What to do next with a rollout: a pure decision over its state, the evidence and business time.

All gates of a rollout share its alpha (union bound over the gates), and each is an interval that stays valid however
often one looks. A rollout moves on only with the minimum sample, the hold elapsed, and every gate
successful; a gate that fails ends it at once; a step without a verdict for `limit_seconds` makes it inconclusive. No
data never promotes.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tournant.domain.control import RevisionStatus
from tournant.domain.freeze import find_freeze
from tournant.domain.label_gates import label_gates
from tournant.domain.pairing import LabelEvidence
from tournant.domain.request_gates import (
    StepCounts,
    distribution_gate,
    error_gate,
    latency_gate,
    score_gate,
    slowdown_gate,
)
from tournant.domain.rollout import (
    Gate,
    GateVerdict,
    Observation,
    Phase,
    Rollout,
    RolloutStrategy,
    Verdict,
    advance,
    end,
)
from tournant.domain.rollout_gates import Judge, probe_gates

__all__ = ["Decision", "Evidence", "decide", "judge_step"]

_LOADING = (Phase.PENDING, Phase.WARMING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a rollout's current step.

    `gateways` are the ids of those that live, `statuses` what they say of the candidate, by gateway; gateways that are
    gone say nothing. `stable` and `candidate` are counts of the current epoch only, so of concurrent requests, and
    `earlier` those of the steps before. `labels` is over all labelled pairs of the rollout, or None. `score_range` is 1 for probabilities, and four standard
    deviations of stable's scores for other numbers; 0 leaves scores unjudged. With `probabilities` their distribution is judged too, where the
    split is not by entity: entities differ in their scores.
    """

    slo_p99_ms: float
    gateways: tuple[str, ...] = ()
    statuses: tuple[tuple[str, RevisionStatus], ...] = ()
    stable: Observation | None = None
    candidate: Observation | None = None
    earlier: tuple[StepCounts, ...] = ()
    labels: LabelEvidence | None = None
    metric: str = "log_loss"
    score_range: float = 1.0
    probabilities: bool = False
    checks: tuple[Gate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do: `action` is hold, advance, promote, fail or inconclusive, `rollout` its state after that.

    `gates` are those the decision was taken on.
    """

    action: str
    rollout: Rollout
    gates: tuple[Gate, ...] = ()


def decide(rollout: Rollout, evidence: Evidence, now: float) -> Decision:
    """Decide a rollout's next move; the same question gets the same answer, and deciding on a hold again changes nothing."""
    if rollout.phase.final:
        return Decision(action="hold", rollout=rollout, gates=rollout.gates)
    if now < rollout.step_started_at:  # a replay began in the past: the step begins with it
        rollout = replace(rollout, started_at=min(rollout.started_at, now), step_started_at=now)
    broken = next((pair for pair in evidence.statuses if pair[1].state == "failed"), None)
    if broken:
        reason = f"gateway {broken[0]} cannot serve {rollout.revision}: {broken[1].error or 'it does not load'}"
        return _ended(rollout, Phase.FAILED, reason, now)
    step = judge_step(rollout, evidence)
    judged = replace(rollout, gates=step.gates, waits=False)
    if step.verdict is Verdict.FAILED:
        return _ended(judged, Phase.FAILED, step.reason, now)
    if rollout.paused:
        return _hold(judged, rollout.reason)
    if step.verdict is Verdict.SUCCESSFUL:
        return _succeeded(judged, step, now)
    if now - rollout.step_started_at >= rollout.strategy.limit_seconds:
        reason = f"no verdict within {_duration(rollout.strategy.limit_seconds)}: {step.reason}"
        return _ended(judged, Phase.INCONCLUSIVE, reason, now)
    return _hold(judged, step.reason)


def _succeeded(rollout: Rollout, step: GateVerdict, now: float) -> Decision:
    held_until = rollout.step_started_at + _hold_seconds(rollout)
    if now < held_until:
        return _hold(rollout, f"all gates are successful; held until {_time(held_until)}")
    moved = advance(rollout, now=now)
    rises = rollout.stable and moved.canary_percent > 0
    frozen = find_freeze(rollout.strategy.freeze, now) if rises else None
    if frozen:
        return _hold(rollout, f"all gates are successful; no share rises until {_time(frozen.until)}{frozen.why}")
    if rises and _needs_approval(rollout.strategy, moved):
        return _hold(replace(rollout, waits=True), f"waits for an approval to go to {moved.canary_percent:g} %")
    moved = replace(moved, reason=step.reason)
    return Decision(
        action="promote" if moved.phase is Phase.PROMOTED else "advance", rollout=moved, gates=rollout.gates
    )


def _needs_approval(strategy: RolloutStrategy, moved: Rollout) -> bool:
    return strategy.approval == "steps" or (strategy.approval == "promotion" and moved.phase is Phase.PROMOTED)


def _hold_seconds(rollout: Rollout) -> float:
    if rollout.phase in _LOADING:
        return 0.0
    return rollout.strategy.shadow_hold_seconds if rollout.phase is Phase.SHADOW else rollout.strategy.hold_seconds


def _hold(rollout: Rollout, reason: str) -> Decision:
    return Decision(action="hold", rollout=replace(rollout, reason=reason), gates=rollout.gates)


def _ended(rollout: Rollout, phase: Phase, reason: str, now: float) -> Decision:
    action = "fail" if phase is Phase.FAILED else "inconclusive"
    return Decision(action=action, rollout=end(rollout, phase, now=now, reason=reason), gates=rollout.gates)


def judge_step(rollout: Rollout, evidence: Evidence) -> GateVerdict:
    """Judge the gates of the rollout's current step, and say what they mean together."""
    if rollout.phase in _LOADING:
        waiting = _loading_reason(evidence)
        if waiting or rollout.phase is Phase.PENDING:
            verdict = Verdict.WAITING if waiting else Verdict.SUCCESSFUL
            return GateVerdict(verdict=verdict, reason=waiting or "every gateway has loaded it")
    return _together(_gates(rollout, evidence))


def _loading_reason(evidence: Evidence) -> str:
    """Say what loading waits for; empty when every live gateway has the candidate ready."""
    ready = {gateway for gateway, status in evidence.statuses if status.state == "ready"}
    missing = [gateway for gateway in evidence.gateways if gateway not in ready]
    if not evidence.gateways:
        return "no gateway lives; waits for one"
    return f"gateway {missing[0]} is loading it" if missing else ""


def _gates(rollout: Rollout, evidence: Evidence) -> tuple[Gate, ...]:
    judge = Judge(rollout.strategy)
    if rollout.phase is Phase.WARMING:
        statuses = [status for _, status in evidence.statuses if status.state == "ready"]
        return probe_gates(judge, statuses, evidence.slo_p99_ms)
    shadow = rollout.phase is Phase.SHADOW
    stable = evidence.stable or _nothing(rollout, rollout.stable, "stable")
    candidate = evidence.candidate or _nothing(rollout, rollout.revision, "shadow" if shadow else "canary")
    now = StepCounts(share=rollout.canary_percent / 100, stable=stable, candidate=candidate)
    steps = (*evidence.earlier, now)
    gates = [error_gate(judge, steps), latency_gate(judge, steps, evidence.slo_p99_ms)]
    if rollout.strategy.max_slower_share is not None and 0 < now.share < 1 and not now.sticky:
        gates.append(slowdown_gate(judge, [step for step in steps if 0 < step.share < 1 and not step.sticky]))
    if shadow and candidate.pairs and evidence.score_range > 0:
        gates.append(score_gate(judge, candidate, evidence.score_range))
    if evidence.probabilities and now.share < 1 and not now.sticky and stable.rows and candidate.rows:
        comparable = [step for step in steps if not step.sticky and step.stable.rows and step.candidate.rows]
        gates.append(distribution_gate(judge, comparable))
    if rollout.strategy.minimum_labels:
        gates += label_gates(judge, evidence.labels, evidence.metric)
    gates += evidence.checks
    return tuple(gates)


def _nothing(rollout: Rollout, revision: str, role: str) -> Observation:
    return Observation(rollout=rollout.id, epoch=rollout.epoch, revision=revision, role=role)


def _together(gates: tuple[Gate, ...]) -> GateVerdict:
    for verdict in (Verdict.FAILED, Verdict.WAITING):
        found = next((gate for gate in gates if gate.verdict is verdict), None)
        if found:
            return GateVerdict(verdict=verdict, gates=gates, reason=found.reason)
    words = "all gates are successful: " + "; ".join(gate.reason for gate in gates)
    return GateVerdict(verdict=Verdict.SUCCESSFUL, gates=gates, reason=words)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _duration(seconds: float) -> str:
    """Say a duration in its largest whole unit.

    >>> _duration(86_400), _duration(5_400)
    ('1 d', '90 min')
    """
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"
