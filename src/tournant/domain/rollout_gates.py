"""The gates of a rollout: one check each, from counts to a verdict with its reason in words.

A gate fails when its anytime-valid interval is wholly beyond the limit. It succeeds when it has its minimum sample and
the observed difference is within the limit (with `strict`, when the whole interval is). Until then it waits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tournant.domain.blocks import Pairs, block_interval
from tournant.domain.control import RevisionStatus
from tournant.domain.rollout import Gate, Observation, RolloutStrategy, Verdict
from tournant.domain.sequential import (
    Interval,
    difference_interval,
    mean_interval,
    proportion_difference_interval,
    proportion_interval,
)

__all__ = [
    "OVER_SLO_SHARE",
    "Judge",
    "error_gate",
    "fallback_gate",
    "latency_gate",
    "loss_gate",
    "probe_gates",
    "score_gate",
]

OVER_SLO_SHARE = 0.01  # what a p99 allows


@dataclass(frozen=True, slots=True)
class Judge:
    """How all gates of a rollout are judged; `alpha` is one gate's part of the strategy's (union bound)."""

    strategy: RolloutStrategy
    alpha: float

    @classmethod
    def of(cls, strategy: RolloutStrategy) -> "Judge":
        """Split the strategy's alpha over every gate of every step the rollout can reach."""
        labelled = int(strategy.minimum_labels > 0)
        shadow = (3 + labelled) if strategy.shadow else 0
        return cls(strategy, strategy.alpha / (2 + shadow + (3 + labelled) * len(strategy.canary_percents)))

    @property
    def confidence(self) -> str:
        """The whole rollout's confidence, in words."""
        return f"at {100 * (1 - self.strategy.alpha):g} % confidence"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measure:
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


def _gate(judge: Judge, measure: _Measure) -> Gate:
    verdict = _verdict(measure, strict=judge.strategy.strict)
    return Gate(
        name=measure.name,
        verdict=verdict,
        stable=measure.stable,
        candidate=measure.candidate,
        difference=_finite(measure.point),
        lower=_finite(measure.interval.lower),
        upper=_finite(measure.interval.upper),
        limit=measure.limit,
        samples=measure.samples,
        minimum=measure.minimum,
        unit=measure.unit,
        reason=_reason(judge, measure, verdict),
    )


def _verdict(measure: _Measure, *, strict: bool) -> Verdict:
    if measure.interval.lower > measure.limit:
        return Verdict.FAILED
    judged = measure.interval.upper if strict else measure.point
    # written so that NaN, which is no data, waits
    return Verdict.SUCCESSFUL if measure.samples >= measure.minimum and judged <= measure.limit else Verdict.WAITING


def _reason(judge: Judge, measure: _Measure, verdict: Verdict) -> str:
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


def _amount(value: float, measure: _Measure) -> str:
    """A share in percent, a difference of shares in points."""
    if measure.unit == "share":
        return f"{100 * value:.3g} {'points' if measure.relation else '%'}"
    return f"{value:.3g}"


def _finite(value: float) -> float | None:
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
    measure = _Measure(
        name=name,
        what=what,
        unit="share",
        counted="replayed requests",
        point=count / probes if probes else math.nan,
        interval=proportion_interval(min(count, probes), probes, alpha=judge.alpha),
        limit=limit,
        samples=probes,
        minimum=judge.strategy.warmup_requests,
        candidate=count / probes if probes else None,
        relation="",
    )
    gate = _gate(judge, measure)
    if not probes:  # every gateway has it ready and had nothing to replay
        return _passed(replace(gate, minimum=0), f"{what}: no example to replay; real requests will judge")
    if gate.verdict is Verdict.WAITING and probes >= measure.minimum:
        return _passed(gate, f"{what}: {count} of {probes}, too few to judge; real requests will")
    return gate


def _passed(gate: Gate, reason: str) -> Gate:
    return replace(gate, verdict=Verdict.SUCCESSFUL, reason=reason)


def error_gate(judge: Judge, stable: Observation, candidate: Observation) -> Gate:
    """Judge the error rate against that of stable on concurrent requests."""
    counts = (_errors(candidate), candidate.requests, _errors(stable), stable.requests)
    interval = proportion_difference_interval(*counts, alpha=judge.alpha)
    rates = _share(counts[2], counts[3]), _share(counts[0], counts[1])
    return _gate(
        judge,
        _Measure(
            name="errors",
            what="error rate",
            unit="share",
            counted="requests",
            point=rates[1] - rates[0],
            interval=interval,
            limit=judge.strategy.max_error_increase,
            samples=candidate.requests,
            minimum=judge.strategy.minimum_requests,
            stable=_finite(rates[0]),
            candidate=_finite(rates[1]),
        ),
    )


def latency_gate(judge: Judge, stable: Observation, candidate: Observation, slo_p99_ms: float) -> Gate:
    """Judge the share of answers over the SLO, of which a p99 allows 1 %.

    Judged against stable at the same moment: what stable is itself over that 1 % is forgiven, as it is the machine's.
    """
    candidate_over, stable_over = min(candidate.over_slo, candidate.requests), min(stable.over_slo, stable.requests)
    mine = proportion_interval(candidate_over, candidate.requests, alpha=judge.alpha / 2)
    theirs = proportion_interval(stable_over, stable.requests, alpha=judge.alpha / 2)
    forgiven = Interval(_excess(theirs.lower), _excess(theirs.upper))
    shares = _share(stable_over, stable.requests), _share(candidate_over, candidate.requests)
    return _gate(
        judge,
        _Measure(
            name="latency",
            what=f"share over {slo_p99_ms:g} ms",
            unit="share",
            counted="requests",
            point=shares[1] - _excess(shares[0]),
            interval=difference_interval(mine, forgiven),
            limit=OVER_SLO_SHARE,
            samples=candidate.requests,
            minimum=judge.strategy.minimum_requests,
            stable=_finite(shares[0]),
            candidate=_finite(shares[1]),
            relation="above what stable and the machine explain",
        ),
    )


def fallback_gate(judge: Judge, candidate: Observation) -> Gate:
    """Judge how often stable had to answer for the candidate."""
    fallbacks = min(candidate.fallbacks, candidate.requests)
    share = _share(fallbacks, candidate.requests)
    return _gate(
        judge,
        _Measure(
            name="fallbacks",
            what="fallback rate",
            unit="share",
            counted="requests",
            point=share,
            interval=proportion_interval(fallbacks, candidate.requests, alpha=judge.alpha),
            limit=judge.strategy.max_error_increase,
            samples=candidate.requests,
            minimum=judge.strategy.minimum_requests,
            candidate=_finite(share),
            relation="",
        ),
    )


def score_gate(judge: Judge, candidate: Observation, score_range: float) -> Gate:
    """Judge the mean shift of scores on the same requests, as a share of `score_range`; only gross change fails."""
    pairs = candidate.pairs
    mean = candidate.pair_sum / pairs / score_range
    variance = max(candidate.pair_squares / pairs / score_range**2 - mean**2, 0.0) * pairs / max(pairs - 1, 1)
    shift = mean_interval(pairs, mean, variance, alpha=judge.alpha)
    nearest = max(shift.lower, -shift.upper, 0.0)
    return _gate(
        judge,
        _Measure(
            name="scores",
            what="mean score",
            unit="score",
            counted="pairs",
            point=abs(mean),
            interval=Interval(nearest, max(abs(shift.lower), abs(shift.upper))),
            limit=judge.strategy.max_score_shift,
            samples=pairs,
            minimum=judge.strategy.minimum_requests,
            relation="off stable's",
        ),
    )


def loss_gate(judge: Judge, pairs: Pairs | None, metric: str) -> Gate:
    """Judge the loss on labels, by blocks, against that of stable."""
    measure = _Measure(
        name="loss",
        what=metric.replace("_", " "),
        unit="loss",
        counted="labels",
        point=pairs.candidate - pairs.stable if pairs else math.nan,
        interval=_pairs_interval(pairs, judge.alpha),
        limit=judge.strategy.max_loss_increase,
        samples=pairs.rows if pairs else 0,
        minimum=judge.strategy.minimum_labels,
        stable=_finite(pairs.stable) if pairs else None,
        candidate=_finite(pairs.candidate) if pairs else None,
    )
    return _gate(judge, measure)


def _pairs_interval(pairs: Pairs | None, alpha: float) -> Interval:
    if pairs is None or pairs.blocks < 2:
        return Interval(-math.inf, math.inf)
    return block_interval(pairs.blocks, pairs.mean, pairs.variance, alpha=alpha)


def _errors(observation: Observation) -> int:
    return min(observation.errors, observation.requests)


def _share(count: int, total: int) -> float:
    return count / total if total else math.nan


def _excess(share: float) -> float:
    return max(0.0, share - OVER_SLO_SHARE)
