"""Rollouts: the strategy, the state, what was observed, and (in `decide`) what to do next."""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from tournant.domain.checks import MetricCheck
from tournant.domain.freeze import FreezeWindow

__all__ = [
    "APPROVALS",
    "EVIDENCE",
    "SCORE_BINS",
    "CostModel",
    "Gate",
    "GateVerdict",
    "Observation",
    "Phase",
    "Rollout",
    "RolloutDecision",
    "RolloutStrategy",
    "Verdict",
    "advance",
    "describe_steps",
    "end",
    "split_of",
]


SCORE_BINS = 10
EVIDENCE = ("unit", "row")
APPROVALS = ("none", "promotion", "steps")


class Phase(StrEnum):
    """Where a rollout is. The last four are final."""

    PENDING = "pending"  # gateways load the candidate
    WARMING = "warming"  # self-test and latency gate on replayed requests
    SHADOW = "shadow"
    CANARY = "canary"
    PROMOTED = "promoted"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    ABORTED = "aborted"

    @property
    def final(self) -> bool:
        """Whether nothing more happens to the rollout."""
        return self in (Phase.PROMOTED, Phase.FAILED, Phase.INCONCLUSIVE, Phase.ABORTED)


class Verdict(StrEnum):
    """What the evidence says of a gate, or of a step's gates together."""

    WAITING = "waiting"
    SUCCESSFUL = "successful"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """What wrong decisions cost: predictions from `threshold` on are acted on. `max_increase` is the allowed increase a request."""

    false_positive: float = 1.0
    false_negative: float = 1.0
    threshold: float = 0.5
    max_increase: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStrategy:
    """How a candidate becomes stable.

    `canary_percents` are the canary steps' weights. A step is held for `hold_seconds` of business time and until
    `minimum_requests` of the candidate (and, when labels are judged, `minimum_labels` pairs) are seen; after
    `limit_seconds` in one step without a verdict the rollout is inconclusive. Limits are on candidate minus stable.
    A canary of 100 % is blue/green: the switch is whole, stable stays loaded and answers what the candidate does not.

    Labels are judged by the deployment's unit of evidence; with `evidence` "row", by rows, which is right where these do not
    depend on each other. `slices` names input columns: where one value's loss is worse, that alone stops the candidate.
    `approval` says what waits for `promote` by hand: "none", "promotion" (to stable), or "steps" (each rise of its share).
    `checks` are queries of Prometheus whose values must stay within their limits, in every step.
    In a `freeze` window no share rises; whatever fails is still rolled back.
    """

    shadow: bool = True
    shadow_hold_seconds: float = 0.0
    canary_percents: tuple[float, ...] = (5.0, 25.0, 50.0)
    hold_seconds: float = 0.0
    limit_seconds: float = 30 * 86_400.0
    minimum_requests: int = 200
    minimum_labels: int = 0  # 0: loss is not judged
    alpha: float = 0.05
    max_error_increase: float = 0.01
    max_loss_increase: float = 0.02
    max_score_shift: float = 0.25
    max_score_distance: float = 0.5
    max_slower_share: float | None = None  # None: stable's own speed is no limit, the SLO is
    warmup_requests: int = 50
    strict: bool = False  # True: a gate succeeds only once its whole interval is within its limit
    evidence: str = "unit"
    slices: tuple[str, ...] = ()
    costs: CostModel | None = None
    checks: tuple[MetricCheck, ...] = ()
    approval: str = "none"
    freeze: tuple[FreezeWindow, ...] = ()

    def __post_init__(self) -> None:
        """Refuse weights that are no shares, or that would move users back to stable, and levels that say nothing."""
        weights = self.canary_percents
        if any(not 0 < weight <= 100 for weight in weights) or list(weights) != sorted(set(weights)):
            raise ValueError(f"canary weights are percents that rise from step to step, not {list(weights)}")
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha is a probability between 0 and 1, not {self.alpha}")
        if self.max_slower_share is not None and not 0 <= self.max_slower_share < 1:
            raise ValueError(f"max_slower_share is a share of requests below 1, not {self.max_slower_share}")
        for name, options in (("evidence", EVIDENCE), ("approval", APPROVALS)):
            if getattr(self, name) not in options:
                raise ValueError(f"{name} is one of {', '.join(options)}, not {getattr(self, name)!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One check's numbers against its limit. `difference`, `lower`, `upper` are candidate minus stable, anytime-valid."""

    name: str
    verdict: Verdict
    stable: float | None = None
    candidate: float | None = None
    difference: float | None = None
    lower: float | None = None
    upper: float | None = None
    limit: float | None = None
    samples: int = 0
    minimum: int = 0
    unit: str = ""  # of the values: "share", "ms", "loss", "score"
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdict:
    """The gates of a step and what they say together."""

    verdict: Verdict
    gates: tuple[Gate, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One candidate revision on its way to stable. `step` counts shadow as 0 and canary weights from 1.

    `epoch` changes whenever the split does, so that only concurrently randomised requests are ever compared.
    """

    id: str
    deployment: str
    revision: str
    stable: str
    strategy: RolloutStrategy
    phase: Phase = Phase.PENDING
    step: int = 0
    epoch: int = 0
    started_at: float
    step_started_at: float
    ended_at: float | None = None
    paused: bool = False
    waits: bool = False  # for an approval by hand
    gates: tuple[Gate, ...] = ()
    reason: str = ""
    actor: str = ""
    superseded_by: str = ""  # the newer revision for which it was aborted, unjudged
    decided_at: float = 0.0  # real time of its end, to tell how long gateways took to follow
    decided_routes: int = 0  # the routing table's version with its end in it
    restored_seconds: float | None = None  # from its end until every live gateway had followed

    @property
    def canary_percent(self) -> float:
        """The candidate's share of traffic now: 0 in every phase but the canary steps and after promotion."""
        if self.phase is Phase.PROMOTED:
            return 100.0
        return self.strategy.canary_percents[self.step - 1] if self.phase is Phase.CANARY else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutDecision:
    """One recorded decision of a rollout, with the gates it was taken on."""

    id: str
    rollout: str
    number: int
    time: float
    phase: Phase
    action: str  # "advance", "hold", "promote", "fail", "abort", "inconclusive"
    weight_percent: float
    reason: str
    actor: str = ""
    gates: tuple[Gate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Counts of one revision in one role within one epoch of a rollout, summed over gateways.

    `over_slo` counts requests answered slower than the deployment's SLO, or no longer waited for; `score_sum` and
    `score_squares` are over the `rows` answered; `pair_*` over shadow pairs: candidate minus stable score on the same
    row. `histogram` counts latencies, whose sum is `latency_sum_ms`: of all requests, or where many share a model's run of a
    sample that did not. `score_bins` counts scores from 0 to 1 in ten equal bins. `clusters` has, where a canary's split is by entity, requests, errors and over SLO by group of entities.
    """

    rollout: str
    epoch: int
    revision: str
    role: str  # "stable", "canary", "shadow"
    rows: int = 0
    requests: int = 0
    errors: int = 0
    fallbacks: int = 0
    over_slo: int = 0
    latency_sum_ms: float = 0.0
    score_sum: float = 0.0
    score_squares: float = 0.0
    pairs: int = 0
    pair_sum: float = 0.0
    pair_squares: float = 0.0
    histogram: dict[str, int] = field(default_factory=dict)
    clusters: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    score_bins: tuple[int, ...] = ()

    @property
    def timed(self) -> int:
        """How many of the requests were counted by their latency."""
        return sum(self.histogram.values())


def advance(rollout: Rollout, *, now: float) -> Rollout:
    """Give the rollout one step on: its next phase or canary weight, in an epoch of its own.

    >>> strategy = RolloutStrategy(canary_percents=(50.0,))
    >>> rollout = Rollout(id="r", deployment="d", revision="d/2", stable="d/1", strategy=strategy, started_at=0.0, step_started_at=0.0)
    >>> path = [rollout]
    >>> while not path[-1].phase.final:
    ...     path.append(advance(path[-1], now=1.0))
    >>> [str(rollout.phase) for rollout in path]
    ['pending', 'warming', 'shadow', 'canary', 'promoted']
    """
    phase, step = _next_step(rollout)
    moved = replace(
        rollout, phase=phase, step=step, epoch=rollout.epoch + 1, step_started_at=now, waits=False, gates=()
    )
    return replace(moved, ended_at=now, paused=False, gates=rollout.gates) if phase.final else moved


def _next_step(rollout: Rollout) -> tuple[Phase, int]:
    if rollout.phase is Phase.PENDING:
        return Phase.WARMING, 0
    if not rollout.stable:
        return Phase.PROMOTED, rollout.step  # a deployment's first revision: nothing to compare it with
    if rollout.phase is Phase.WARMING and rollout.strategy.shadow:
        return Phase.SHADOW, 0
    if rollout.step < len(rollout.strategy.canary_percents):
        return Phase.CANARY, rollout.step + 1
    return Phase.PROMOTED, rollout.step


def split_of(strategy: RolloutStrategy, epoch: int) -> tuple[Phase, float]:
    """Give the phase and the canary's percents that a rollout with a stable revision had in an epoch.

    >>> strategy = RolloutStrategy(canary_percents=(5.0, 50.0))
    >>> [split_of(strategy, epoch)[1] for epoch in (1, 2, 3, 4)]
    [0.0, 0.0, 5.0, 50.0]
    """
    path = [(Phase.PENDING, 0.0), (Phase.WARMING, 0.0), *([(Phase.SHADOW, 0.0)] if strategy.shadow else [])]
    path += [(Phase.CANARY, percent) for percent in strategy.canary_percents]
    return path[epoch] if epoch < len(path) else (Phase.PROMOTED, 100.0)


def describe_steps(rollout: Rollout) -> tuple[str, ...]:
    """Tell a rollout's steps and what each asks for.

    >>> strategy = RolloutStrategy(canary_percents=(50.0,), hold_seconds=7200.0, minimum_labels=300, approval="promotion")
    >>> rollout = Rollout(id="r", deployment="d", revision="d/2", stable="d/1", strategy=strategy, started_at=0.0, step_started_at=0.0)
    >>> for step in describe_steps(rollout):
    ...     print(step)
    warm-up: 50 replayed requests
    shadow: 200 requests, 300 labels
    50 % canary: 200 requests, 300 labels, held 2 h
    stable: after an approval
    """
    strategy = rollout.strategy
    if not rollout.stable:
        return (f"warm-up: {strategy.warmup_requests} replayed requests", "stable: there is nothing to compare it with")
    asks = f"{strategy.minimum_requests} requests" + (
        f", {strategy.minimum_labels} labels" if strategy.minimum_labels else ""
    )
    steps = [f"warm-up: {strategy.warmup_requests} replayed requests"]
    if strategy.shadow:
        steps.append(f"shadow: {asks}{_held(strategy.shadow_hold_seconds)}")
    approved = ", after an approval" if strategy.approval == "steps" else ""
    steps += [f"{p:g} % canary: {asks}{_held(strategy.hold_seconds)}{approved}" for p in strategy.canary_percents]
    return (*steps, "stable" if strategy.approval == "none" else "stable: after an approval")


def _held(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if seconds >= size:
            return f", held {seconds / size:g} {unit}"
    return ""


def end(rollout: Rollout, phase: Phase, *, now: float, reason: str) -> Rollout:
    """Give the rollout ended without promotion: all traffic is on stable from here on."""
    return replace(
        rollout, phase=phase, epoch=rollout.epoch + 1, ended_at=now, paused=False, waits=False, reason=reason
    )
