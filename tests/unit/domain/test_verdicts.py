"""The pure decision: properties, and its error rates by simulation."""

from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from tournant.domain.blocks import block_interval, concurrent_pairs
from tournant.domain.control import RevisionStatus
from tournant.domain.pairing import LabelEvidence
from tournant.domain.rollout import Observation, Phase, Rollout, RolloutStrategy, Verdict
from tournant.domain.verdicts import Evidence, decide, judge_step

STRATEGY = RolloutStrategy(canary_percents=(50.0,), minimum_requests=200, minimum_labels=100, alpha=0.05)


def canary(strategy=STRATEGY, **changes):
    rollout = Rollout(
        id="r", deployment="d", revision="d/2", stable="d/1", strategy=strategy, started_at=0.0, step_started_at=0.0
    )
    return replace(rollout, phase=Phase.CANARY, step=1, epoch=3, **changes)


def counts(revision="d/2", role="canary", **sums):
    return Observation(rollout="r", epoch=3, revision=revision, role=role, **sums)


observations = st.integers(0, 5000).flatmap(
    lambda requests: st.builds(
        counts,
        requests=st.just(requests),
        errors=st.integers(0, requests),
        fallbacks=st.integers(0, requests),
        over_slo=st.integers(0, requests),
        pairs=st.just(0),
    )
)
rollouts = st.builds(
    canary,
    strategy=st.builds(
        RolloutStrategy,
        canary_percents=st.lists(st.integers(1, 100), max_size=3, unique=True).map(lambda w: tuple(sorted(w))),
        minimum_requests=st.integers(1, 1000),
        minimum_labels=st.sampled_from([0, 50]),
        hold_seconds=st.sampled_from([0.0, 100.0]),
        limit_seconds=st.sampled_from([50.0, 1000.0]),
        strict=st.booleans(),
        approval=st.sampled_from(["none", "promotion", "steps"]),
        shadow=st.booleans(),
    ).filter(lambda strategy: strategy.canary_percents),
    paused=st.booleans(),
)
evidence = st.builds(
    Evidence,
    slo_p99_ms=st.just(100.0),
    gateways=st.just(("g",)),
    stable=st.none() | observations,
    candidate=st.none() | observations,
)


@given(rollouts, evidence, st.floats(0, 2000))
def test_decision_is_safe(rollout, evidence, now):
    """Moving on needs the minimum, the hold and no failed gate; a hold asked again is the same hold."""
    decision = decide(rollout, evidence, now)
    assert decision == decide(rollout, evidence, now)
    if decision.action in ("advance", "promote"):
        assert evidence.candidate.requests >= rollout.strategy.minimum_requests
        assert not rollout.strategy.minimum_labels  # there were no labels
        assert now >= rollout.strategy.hold_seconds
        assert rollout.strategy.approval != "steps" and not rollout.paused
        assert decision.action == "advance" or rollout.strategy.approval == "none"
        assert {gate.verdict for gate in decision.gates} == {Verdict.SUCCESSFUL}
    if decision.action == "hold":
        assert decide(decision.rollout, evidence, now) == decision
    if decision.rollout.phase.final and decision.rollout.phase is not Phase.PROMOTED:
        assert decision.rollout.canary_percent == 0
        assert decision.rollout.ended_at == now


@given(rollouts, evidence, st.floats(0, 2000))
def test_ended_rollouts_never_move(rollout, evidence, now):
    """What has ended stays as it is."""
    for phase in (Phase.PROMOTED, Phase.FAILED, Phase.INCONCLUSIVE, Phase.ABORTED):
        ended = replace(rollout, phase=phase)
        assert decide(ended, evidence, now).rollout == ended


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.WARMING])
def test_loading_waits_for_every_live_gateway(phase):
    """One ready gateway of two is not enough; none at all is waited for."""
    ready = RevisionStatus(revision="d/2", state="ready", probes=50)
    rollout = replace(canary(), phase=phase, step=0)
    waiting = Evidence(slo_p99_ms=100.0, gateways=("a", "b"), statuses=(("a", ready),))
    assert decide(rollout, waiting, 1.0).action == "hold"
    assert decide(rollout, Evidence(slo_p99_ms=100.0), 1.0).action == "hold"
    loaded = replace(waiting, statuses=(("a", ready), ("b", ready)))
    assert decide(rollout, loaded, 1.0).action == "advance"


def test_reason_says_what_a_person_wants_to_know():
    """The figures, the confidence and the sample."""
    seen = Evidence(
        slo_p99_ms=100.0,
        stable=counts("d/1", "stable", requests=790, errors=2),
        candidate=counts(requests=812, errors=60),
    )
    decision = decide(canary(), seen, 1.0)
    assert decision.action == "fail"
    assert decision.rollout.reason == (
        "candidate error rate is above stable by at least 4.34 points (limit 1 points), at 95 % confidence, after 812 requests"
    )


def test_clock_set_back_by_a_replay_starts_the_step_with_it():
    """A rollout of today, in a replay of 2013, is not held for eleven years."""
    today = canary(started_at=1.8e9, step_started_at=1.8e9)
    held = decide(today, Evidence(slo_p99_ms=100.0), 1.3e9).rollout
    assert (held.started_at, held.step_started_at) == (1.3e9, 1.3e9)


def test_model_without_an_example_is_left_to_real_requests():
    """There is nothing to replay; it must load all the same."""
    ready = RevisionStatus(revision="d/2", state="ready", probes=0)
    warming = replace(canary(), phase=Phase.WARMING, step=0)
    seen = Evidence(slo_p99_ms=100.0, gateways=("a",), statuses=(("a", ready),))
    assert decide(warming, seen, 1.0).rollout.phase is Phase.SHADOW


def test_strict_asks_for_proof():
    """Strict: the whole interval within the limit, which takes more requests than the minimum."""
    few = Evidence(
        slo_p99_ms=100.0,
        stable=counts("d/1", "stable", requests=300),
        candidate=counts(requests=300),
    )
    relaxed = replace(STRATEGY, minimum_labels=0)
    strict = replace(relaxed, strict=True)
    assert judge_step(canary(relaxed), few).verdict is Verdict.SUCCESSFUL
    assert judge_step(canary(strict), few).verdict is Verdict.WAITING
    many = replace(few, stable=counts("d/1", "stable", requests=9000), candidate=counts(requests=9000))
    assert judge_step(canary(strict), many).verdict is Verdict.SUCCESSFUL


def test_false_failures_stay_below_alpha_under_peeking_and_drift():
    """A/A: two equal arms, a common error rate that drifts from 0.5 % to 15 %, looked at eight times.

    300 simulated canaries at alpha 5 % (all gates together, margins of zero): at most 15 fail by chance, plus three
    standard deviations of the binomial count (11). A fixed-sample test that peeks as often fails that.
    """
    strategy = replace(STRATEGY, max_error_increase=0.0, minimum_labels=0, shadow=False)
    random = np.random.default_rng(2013)
    looks, batch, runs, allowed = 8, 250, 300, 26
    rates = np.linspace(0.005, 0.15, looks)
    errors = random.binomial(batch, rates, size=(2, runs, looks)).cumsum(axis=2)
    slow = random.binomial(batch, rates, size=(2, runs, looks)).cumsum(axis=2)
    failed = 0
    for run in range(runs):
        for look in range(looks):
            stable, candidate = (
                {
                    "requests": batch * (look + 1),
                    "errors": int(errors[arm, run, look]),
                    "over_slo": int(slow[arm, run, look]),
                }
                for arm in (0, 1)
            )
            seen = Evidence(slo_p99_ms=100.0, stable=counts("d/1", "stable", **stable), candidate=counts(**candidate))
            if judge_step(canary(strategy), seen).verdict is Verdict.FAILED:
                failed += 1
                break
    shares = errors / (batch * np.arange(1, looks + 1))
    deviation = np.sqrt(1e-9 + 2 * shares.mean(axis=0) * (1 - shares.mean(axis=0)) / (batch * np.arange(1, looks + 1)))
    peeked = ((shares[1] - shares[0]) / deviation > 1.645).any(axis=1).sum()
    assert failed <= allowed < peeked


def test_a_worse_candidate_is_found():
    """Five points more errors are seen within 2,000 requests an arm, in nearly every run."""
    random = np.random.default_rng(7)
    found = 0
    for _ in range(50):
        bad, good = (int(random.binomial(2000, rate)) for rate in (0.07, 0.01))
        seen = Evidence(
            slo_p99_ms=100.0,
            stable=counts("d/1", "stable", requests=2000, errors=good),
            candidate=counts(requests=2000, errors=bad),
        )
        found += judge_step(canary(), seen).verdict is Verdict.FAILED
    assert found >= 48


def test_block_interval_covers_under_peeking():
    """Gaussian days with unknown variance, looked at each day for 60 days: misses at most alpha (plus 3 deviations)."""
    days = np.random.default_rng(5).normal(0.1, 0.3, size=(2000, 60))
    n = np.arange(1, 61)
    means = days.cumsum(axis=1) / n
    variances = np.maximum((days**2).cumsum(axis=1) / n - means**2, 0)
    missed = 0
    for mean, variance in zip(means, variances, strict=True):
        intervals = (block_interval(int(k), float(mean[k - 1]), float(variance[k - 1]), alpha=0.1) for k in n)
        missed += any(not interval.lower <= 0.1 <= interval.upper for interval in intervals)
    assert missed <= 200 + 3 * np.sqrt(2000 * 0.1 * 0.9)


def test_days_not_rows_are_the_evidence():
    """A day effect that row-wise statistics would take for certain leaves the verdict open."""
    random = np.random.default_rng(3)
    day = np.repeat(np.arange(4), 500)
    effect = np.repeat([0.2, -0.1, 0.15, -0.05], 500)
    stable = random.normal(0.5, 0.1, 2000)
    pairs = concurrent_pairs(day, stable, day, stable + effect + random.normal(0, 0.05, 2000))
    assert (pairs.rows, pairs.blocks) == (2000, 4)
    interval = block_interval(pairs.blocks, pairs.mean, pairs.variance, alpha=0.01)
    assert interval.lower < 0 < interval.upper


def test_consistently_worse_loss_fails_within_a_week_of_days():
    """What predicts badly every day is stopped after days, not weeks."""
    random = np.random.default_rng(3)
    strategy = replace(STRATEGY, canary_percents=(5.0, 25.0, 50.0))
    day = np.repeat(np.arange(7), 180)
    stable = random.normal(0.5, 0.3, 7 * 180)
    candidate = stable + 0.3 + np.repeat(random.normal(0, 0.03, 7), 180) + random.normal(0, 0.3, 7 * 180)
    shadow = replace(canary(strategy), phase=Phase.SHADOW, step=0)
    seen = Evidence(
        slo_p99_ms=100.0,
        stable=counts("d/1", "stable", requests=1260),
        candidate=counts(role="shadow", requests=1260),
        labels=LabelEvidence(loss=concurrent_pairs(day, stable, day, candidate)),
    )
    decision = decide(shadow, seen, 1.0)
    assert decision.action == "fail"
    assert "candidate log loss is above stable by at least" in decision.rollout.reason


def test_concurrent_pairs_cancel_the_days_effect():
    """Canary and stable have requests of their own, but the same days; a day only one had counts for nothing."""
    day = np.array([0, 0, 1, 1, 1, 1, 2])
    loss = np.array([0.1, 0.1, 0.9, 0.9, 0.9, 0.9, 5.0])
    pairs = concurrent_pairs(day, loss, np.array([0, 0, 1, 1]), np.array([0.2, 0.2, 1.0, 1.0]))
    assert (pairs.rows, pairs.blocks) == (4, 2)
    assert pairs.mean == pytest.approx(0.1) and pairs.variance == pytest.approx(0.0)
    assert pairs.candidate - pairs.stable == pytest.approx(0.1)


def test_a_day_just_begun_is_no_block_yet():
    """Three rows of a new day do not weigh as much as the 100 of each other day."""
    day = np.repeat([0, 1, 2, 3], [100, 100, 100, 3])
    pairs = concurrent_pairs(day, np.zeros(303), day, np.where(day == 3, 9.0, 0.1))
    assert pairs.blocks == 3 and pairs.mean == pytest.approx(0.1)


@pytest.mark.parametrize("weights", [(0.0,), (101.0,), (50.0, 25.0), (25.0, 25.0)])
def test_strategy_refuses_weights_that_do_not_rise(weights):
    """A weight that falls would move users back to stable."""
    with pytest.raises(ValueError, match="rise"):
        RolloutStrategy(canary_percents=weights)
