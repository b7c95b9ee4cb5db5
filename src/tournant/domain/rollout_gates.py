"""The gates of a rollout: one check each, from counts to a verdict with its reason in words.

A gate fails when its anytime-valid interval is wholly beyond the limit. It succeeds when it has its minimum sample and
the observed difference is within the limit (with `strict`, when the whole interval is). Until then it waits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tournant.domain.control import RevisionStatus
from tournant.domain.rollout import Gate, RolloutStrategy, Verdict
from tournant.domain.sequential import Interval, proportion_interval

__all__ = ["OVER_SLO_SHARE", "Judge", "Measure", "finite", "judge_measure", "probe_gates"]

OVER_SLO_SHARE = 0.01  # what a p99 allows


# How a rollout's alpha is shared out: most to what tells most. A gate judges all steps together, so steps cost nothing.
_PARTS = {
    "probe errors": 1,
    "probe latency": 1,
    "errors": 6,
    "latency": 3,
    "slowdown": 2,
    "scores": 1,
    "distribution": 1,
    "loss": 12,
    "cost": 6,
    "slices": 6,
}


@dataclass(frozen=True, slots=True)
class Judge:
    """How all gates of a rollout are judged: each has a part of the strategy's alpha, which sum to it (union bound)."""

    strategy: RolloutStrategy

    def alpha(self, gate: str) -> float:
        """Give a gate's part of alpha.

        >>> judge = Judge(RolloutStrategy(alpha=0.05))
        >>> round(judge.alpha("errors"), 3), round(judge.alpha("latency"), 4)
        (0.023, 0.0115)
        """
        labelled, strategy = self.strategy.minimum_labels > 0, self.strategy
        used = {
            **dict.fromkeys(_PARTS, True),
            "slowdown": strategy.max_slower_share is not None,
            "loss": labelled,
            "cost": labelled and strategy.costs is not None,
            "slices": labelled and bool(strategy.slices),
        }
        return strategy.alpha * _PARTS[gate] / sum(part for name, part in _PARTS.items() if used[name])

    @property
    def confidence(self) -> str:
        """The whole rollout's confidence, in words."""
        return f"at {100 * (1 - self.strategy.alpha):g} % confidence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A gate before its verdict: `point` and `interval` are held against `limit`."""

    name: str
    what: str  # "error rate", for the reason
    unit: str
    counted: str  # "requests"
    point: float
    interval: Interval
    limit: float
    samples: int
    minimum: int
    stable: float | None = None
    candidate: float | None = None
    relation: str = "above stable"  # empty: the value itself is held against the limit, no difference


def judge_measure(judge: Judge, measure: Measure) -> Gate:
    """Give the gate of a measure, with its verdict and the reason in words."""
    verdict = _verdict(measure, strict=judge.strategy.strict)
    return Gate(
        name=measure.name,
        verdict=verdict,
        stable=measure.stable,
        candidate=measure.candidate,
        difference=finite(measure.point),
        lower=finite(measure.interval.lower),
        upper=finite(measure.interval.upper),
        limit=measure.limit,
        samples=measure.samples,
        minimum=measure.minimum,
        unit=measure.unit,
        reason=_reason(judge, measure, verdict),
    )


def _verdict(measure: Measure, *, strict: bool) -> Verdict:
    if measure.interval.lower > measure.limit:
        return Verdict.FAILED
    judged = measure.interval.upper if strict else measure.point
    # written so that NaN, which is no data, waits
    return Verdict.SUCCESSFUL if measure.samples >= measure.minimum and judged <= measure.limit else Verdict.WAITING


def _reason(judge: Judge, measure: Measure, verdict: Verdict) -> str:
    seen = f"after {measure.samples:,} {measure.counted}"
    limit = f"limit {_amount(measure.limit, measure)}"
    relation = f" {measure.relation}" if measure.relation else ""
    if verdict is Verdict.FAILED:
        related = f"{relation} by" if relation else ""
        least = _amount(measure.interval.lower, measure)
        return f"candidate {measure.what} is{related} at least {least} ({limit}), {judge.confidence}, {seen}"
    if measure.samples < measure.minimum:
        return f"{measure.what}: {measure.samples:,} of {measure.minimum:,} {measure.counted}"
    if math.isnan(measure.point):
        return f"{measure.what}: nothing to compare yet"
    words = f"{measure.what}: {_amount(measure.point, measure)}{relation}, {limit}, {seen}"
    return words if verdict is Verdict.SUCCESSFUL else f"{words}; not certain yet"


def _amount(value: float, measure: Measure) -> str:
    """A share in percent, a difference of shares in points."""
    if measure.unit == "share":
        return f"{100 * value:.3g} {'points' if measure.relation else '%'}"
    return f"{value:.3g}"


def finite(value: float) -> float | None:
    """Give a value, or None for what is not known."""
    return value if math.isfinite(value) else None


def probe_gates(judge: Judge, statuses: Sequence[RevisionStatus], slo_p99_ms: float) -> tuple[Gate, ...]:
    """Judge the warm-up: answers that failed, and answers over the SLO, on replayed requests of all live gateways.

    A screen for gross failure: what is undecided after all probes is left to the steps that see real requests. Where
    stable too was over the SLO at the same moment the machine is slow, not the candidate, and latency decides nothing.
    """
    probes = sum(status.probes for status in statuses)
    errors = sum(status.probe_errors for status in statuses)
    over = sum(status.probe_over_slo for status in statuses)
    p99 = max((status.p99_ms for status in statuses), default=0.0)
    stable_p99 = max((status.stable_p99_ms for status in statuses), default=0.0)
    error = _probe_gate(judge, "probe errors", "error rate", errors, probes, judge.strategy.max_error_increase)
    latency = _probe_gate(judge, "probe latency", f"share over {slo_p99_ms:g} ms", over, probes, OVER_SLO_SHARE)
    details = f"p99 {p99:.3g} ms" + (f", stable {stable_p99:.3g} ms at the same moment" if stable_p99 else "")
    if latency.verdict is Verdict.FAILED and stable_p99 > slo_p99_ms:
        return error, _passed(latency, f"stable is over {slo_p99_ms:g} ms too: the machine is slow ({details})")
    return error, replace(latency, reason=f"{latency.reason} ({details})")


def _probe_gate(judge: Judge, name: str, what: str, count: int, probes: int, limit: float) -> Gate:
    measure = Measure(
        name=name,
        what=what,
        unit="share",
        counted="replayed requests",
        point=count / probes if probes else math.nan,
        interval=proportion_interval(min(count, probes), probes, alpha=judge.alpha(name)),
        limit=limit,
        samples=probes,
        minimum=judge.strategy.warmup_requests,
        candidate=count / probes if probes else None,
        relation="",
    )
    gate = judge_measure(judge, measure)
    if not probes:  # every gateway has it ready and had nothing to replay
        return _passed(replace(gate, minimum=0), f"{what}: no example to replay; real requests will judge")
    if gate.verdict is Verdict.WAITING and probes >= measure.minimum:
        return _passed(gate, f"{what}: {count} of {probes}, too few to judge; real requests will")
    return gate


def _passed(gate: Gate, reason: str) -> Gate:
    return replace(gate, verdict=Verdict.SUCCESSFUL, reason=reason)
