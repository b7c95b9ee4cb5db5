"""Rollouts of synthetic versions under a deployment's own settings: what each verdict would take, before anyone relies on it.

Requests, failures, slow answers and labels are drawn from seeded dice and judged by the very decision that judges real ones.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tournant.domain.blocks import Pairs, concurrent_pairs
from tournant.domain.clusters import CLUSTERS
from tournant.domain.control import RevisionStatus
from tournant.domain.pairing import LabelEvidence
from tournant.domain.performance import losses
from tournant.domain.request_gates import StepCounts
from tournant.domain.rollout import Gate, Observation, Phase, Rollout, RolloutStrategy, Verdict
from tournant.domain.verdicts import Evidence, decide

__all__ = ["Simulated", "Stream", "Version", "loss_increase", "simulate_rollout"]

Dice = np.random.Generator
_LABELLED_MOST = 2_000  # rows a unit of evidence are drawn at most: more would only take longer
_STABLE_NOISE = 0.5  # how far stable's logit is from the truth
_COMPARING = (Phase.SHADOW, Phase.CANARY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """How a synthetic version does: shares of its requests that fail or are over the SLO, and what it adds to its logits.

    `noise` and `bias` of 0 make predictions as good as stable's, but not the same.
    """

    error_rate: float = 0.0
    slow_share: float = 0.0
    noise: float = 0.0
    bias: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """The traffic: `requests_per_second`; with `entities`, that many of unequal weight and luck, split by entity.

    `bursts` makes failures come in bursts (ten times the rate a tenth of the time) that hit both versions alike.
    `labelled` is the share of requests that get a label, a unit of evidence of `unit_seconds` after the request.
    """

    requests_per_second: float
    entities: int = 0
    bursts: bool = False
    labelled: float = 1.0
    unit_seconds: float = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """How one simulated rollout ended, after how many of the candidate's requests (shadow included), labels and seconds."""

    phase: Phase
    gate: str
    requests: int
    labels: int
    seconds: float


@dataclass(slots=True)
class _Arm:
    """What one version was counted with in the present step."""

    requests: int = 0
    errors: int = 0
    over: int = 0
    pairs: int = 0
    groups: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((CLUSTERS, 3), dtype=np.int64))

    def seen(self, rollout: Rollout, revision: str, role: str, *, sticky: bool) -> Observation:
        """Give the counts as gateways would have reported them."""
        groups = (
            {str(g): (int(c[0]), int(c[1]), int(c[2])) for g, c in enumerate(self.groups) if c[0]} if sticky else {}
        )
        return Observation(
            rollout=rollout.id,
            epoch=rollout.epoch,
            revision=revision,
            role=role,
            rows=self.requests - self.errors,
            requests=self.requests,
            errors=self.errors,
            over_slo=self.over,
            pairs=self.pairs,
            pair_squares=0.01 * self.pairs,
            clusters=groups,
        )


class _Traffic:
    """Draws requests and their fates."""

    def __init__(self, stream: Stream, stable: Version, candidate: Version, dice: Dice) -> None:
        self.stream, self.versions, self.dice = stream, (stable, candidate), dice
        self.burst = False
        count = max(stream.entities, 1)
        weight = dice.pareto(1.5, count) + 0.2
        self.weight = weight / weight.sum()
        luck = dice.gamma(0.5, 2.0, count)  # of entities: some fail again and again, most never
        self.luck = luck / float(luck @ self.weight) if stream.entities else np.ones(1)
        self.bucket = dice.random(count)
        self.group = dice.integers(0, CLUSTERS, count)

    def draw(self, seconds: float, share: float, arms: tuple[_Arm, _Arm], *, shadow: bool) -> None:
        """Let `seconds` of traffic go to (stable, candidate)."""
        requests = int(self.dice.poisson(self.stream.requests_per_second * seconds))
        factor = self._burst_factor()
        if self.stream.entities and not shadow:
            self._draw_sticky(requests, share, arms, factor)
            return
        own = requests if shadow else int(self.dice.binomial(requests, share))
        for arm, version, count in zip(arms, self.versions, (requests if shadow else requests - own, own), strict=True):
            errors, over = (self.dice.binomial(count, min(1.0, p)) for p in self._rates(version, factor))
            arm.requests, arm.errors, arm.over = arm.requests + count, arm.errors + int(errors), arm.over + int(over)
        if shadow:
            arms[1].pairs = arms[1].requests - arms[1].errors

    def _draw_sticky(self, requests: int, share: float, arms: tuple[_Arm, _Arm], factor: float) -> None:
        counts = self.dice.multinomial(requests, self.weight)
        chosen = self.bucket < share
        for arm, version, mine in zip(arms, self.versions, (~chosen, chosen), strict=True):
            own = counts[mine]
            fates = (np.minimum(1.0, p * self.luck[mine]) for p in self._rates(version, factor))
            errors, over = (self.dice.binomial(own, p) for p in fates)
            for place, numbers in enumerate((own, errors, over)):
                arm.groups[:, place] += np.bincount(self.group[mine], weights=numbers, minlength=CLUSTERS).astype(int)
            arm.requests += int(own.sum())
            arm.errors += int(errors.sum())
            arm.over += int(over.sum())

    def _rates(self, version: Version, factor: float) -> tuple[float, float]:
        return version.error_rate * factor, version.slow_share * factor

    def _burst_factor(self) -> float:
        if not self.stream.bursts:
            return 1.0
        self.burst = self.dice.random() < (0.8 if self.burst else 0.022)  # a tenth of the time, five looks at a stretch
        return 5.3 if self.burst else 0.53  # one on average


class _Labels:
    """Draws labelled rows by unit of evidence, and pairs both versions' losses on them."""

    def __init__(self, stream: Stream, candidate: Version, metric: str, dice: Dice) -> None:
        self.stream, self.candidate, self.metric, self.dice = stream, candidate, metric, dice
        self.units = 0
        self.blocks: list[npt.NDArray[np.float64]] = []
        self.pairs: Pairs | None = None

    def ripen(self, seconds: float) -> Pairs | None:
        """Give the pairs of the units that are complete after `seconds`."""
        complete = math.floor(seconds / self.stream.unit_seconds)
        if complete > self.units:
            self.blocks += [self._unit() for _ in range(complete - self.units)]
            self.units = complete
            rows = np.concatenate(self.blocks)
            unit = np.repeat(np.arange(len(self.blocks), dtype=float), [len(block) for block in self.blocks])
            self.pairs = concurrent_pairs(unit, rows[:, 0], unit, rows[:, 1]) if len(rows) else None
        return self.pairs

    def _unit(self) -> npt.NDArray[np.float64]:
        expected = self.stream.requests_per_second * self.stream.unit_seconds * self.stream.labelled
        count = int(self.dice.poisson(min(expected, _LABELLED_MOST)))
        truth = self.dice.normal(-1.0 + self.dice.normal(0, 0.4), 1.2, count)  # days differ, for both
        label = (self.dice.random(count) < _sigmoid(truth)).astype(float)
        stable = _sigmoid(truth + self.dice.normal(0, _STABLE_NOISE, count))
        noise = math.hypot(_STABLE_NOISE, self.candidate.noise)
        own = _sigmoid(truth + self.candidate.bias + self.dice.normal(0, noise, count))
        return np.column_stack([losses(self.metric, stable, label), losses(self.metric, own, label)])


def loss_increase(bias: float, metric: str) -> float:
    """Give how much more a version with this `bias` loses than stable, on average.

    >>> loss_increase(0.0, "log_loss")
    0.0
    >>> 0.05 < loss_increase(1.0, "log_loss") < 0.3
    True
    """
    dice = np.random.default_rng(0)
    truth = dice.normal(-1.0, math.hypot(0.4, 1.2), 20_000)
    label = (dice.random(len(truth)) < _sigmoid(truth)).astype(float)
    noise = dice.normal(0, _STABLE_NOISE, len(truth))
    own, stable = (losses(metric, _sigmoid(truth + noise + b), label).mean() for b in (bias, 0.0))
    return float(own - stable)


def simulate_rollout(
    strategy: RolloutStrategy,
    *,
    stream: Stream,
    stable: Version,
    candidate: Version,
    seed: int,
    look_seconds: float = 1.0,
    metric: str = "log_loss",
    slo_p99_ms: float = 100.0,
) -> Simulated:
    """Roll one synthetic version out, decided every `look_seconds`, and tell how it ended."""
    dice = np.random.default_rng(seed)
    traffic = _Traffic(stream, stable, candidate, dice)
    labels = _Labels(stream, candidate, metric, dice) if strategy.minimum_labels else None
    rollout = Rollout(
        id="simulated", deployment="d", revision="d/2", stable="d/1", strategy=strategy, started_at=0, step_started_at=0
    )
    probed = RevisionStatus(revision="d/2", state="ready", probes=strategy.warmup_requests)
    loaded = Evidence(slo_p99_ms=slo_p99_ms, gateways=("g",), statuses=(("g", probed),))
    while rollout.phase not in _COMPARING:
        rollout = decide(rollout, loaded, 0.0).rollout
    run = _Run(rollout, traffic, labels, slo_p99_ms)
    while not run.rollout.phase.final:
        run.look(look_seconds)
    return run.outcome()


class _Run:
    """A rollout under simulated traffic."""

    def __init__(self, rollout: Rollout, traffic: _Traffic, labels: _Labels | None, slo_p99_ms: float) -> None:
        self.rollout, self.traffic, self.labels, self.slo_p99_ms = rollout, traffic, labels, slo_p99_ms
        self.now, self.requests = 0.0, 0
        self.gates: tuple[Gate, ...] = ()
        self.earlier: tuple[StepCounts, ...] = ()
        self.arms = (_Arm(), _Arm())

    def look(self, seconds: float) -> None:
        """Let traffic come for `seconds`, then decide."""
        rollout, shadow = self.rollout, self.rollout.phase is Phase.SHADOW
        self.traffic.draw(seconds, rollout.canary_percent / 100, self.arms, shadow=shadow)
        self.now += seconds
        step = self._step()
        loss = self.labels.ripen(self.now - self.labels.stream.unit_seconds) if self.labels else None
        evidence = Evidence(
            slo_p99_ms=self.slo_p99_ms,
            gateways=("g",),
            stable=step.stable,
            candidate=step.candidate,
            earlier=self.earlier,
            labels=LabelEvidence(loss=loss),
        )
        decision = decide(rollout, evidence, self.now)
        if decision.rollout.epoch != rollout.epoch:
            self.earlier = (*self.earlier, step)
            self.requests += step.candidate.requests
            self.arms = (_Arm(), _Arm())
        self.rollout, self.gates = decision.rollout, decision.gates

    def _step(self) -> StepCounts:
        sticky = bool(self.traffic.stream.entities)
        role = "shadow" if self.rollout.phase is Phase.SHADOW else "canary"
        stable, candidate = self.arms
        return StepCounts(
            share=self.rollout.canary_percent / 100,
            stable=stable.seen(self.rollout, self.rollout.stable, "stable", sticky=sticky),
            candidate=candidate.seen(self.rollout, self.rollout.revision, role, sticky=sticky),
        )

    def outcome(self) -> Simulated:
        """Tell how it ended."""
        failed = [gate.name for gate in self.gates if gate.verdict is Verdict.FAILED]
        pairs = self.labels.pairs if self.labels else None
        return Simulated(
            phase=self.rollout.phase,
            gate=failed[0] if failed else "",
            requests=self.requests,
            labels=pairs.rows if pairs else 0,
            seconds=self.now,
        )


def _sigmoid(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-logits)))
