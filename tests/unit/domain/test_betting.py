"""The betting test of two arms keeps its promise under peeking and drift, and needs little more than a fixed sample."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tournant.domain.betting import Trials, difference_bounds, log_wealth
from tournant.domain.clusters import cluster_bounds
from tournant.domain.latency import LATENCY_BOUNDS_MS, latency_bucket
from tournant.domain.request_gates import StepCounts, distribution_gate, slowdown_gate
from tournant.domain.rollout import Observation, Phase, Rollout, RolloutStrategy, Verdict
from tournant.domain.rollout_gates import Judge
from tournant.domain.verdicts import Evidence, judge_step

ALPHA = 0.1
SHARES = st.sampled_from([0.0, 0.05, 0.5, 0.9])


@st.composite
def trials(draw):
    """Counts that can be."""
    requests = draw(st.integers(1, 5_000))
    candidate = draw(st.integers(0, requests))
    return Trials(
        share=draw(SHARES), requests=requests, candidate=candidate, stable=draw(st.integers(0, requests - candidate))
    )


@given(st.lists(trials(), min_size=1, max_size=3), st.floats(-0.5, 0.5), st.floats(0.001, 0.4))
def test_wealth_falls_as_the_limit_rises(steps, limit, more):
    """Who is refuted at a limit is refuted at every lower one."""
    assert log_wealth(steps, limit) >= log_wealth(steps, limit + more) - 1e-9


@given(st.lists(trials(), min_size=1, max_size=3))
def test_bounds_agree_with_the_wealth(steps):
    """What lies under the lower bound is refuted, what lies over it is not; the upper bound is not under it."""
    bounds = difference_bounds(steps, alpha=ALPHA)
    assert -1 <= bounds.lower <= bounds.upper <= 1
    if bounds.lower > -1:
        assert log_wealth(steps, bounds.lower) >= -math.log(ALPHA) - 1e-9
    if bounds.lower < 0.99:
        assert log_wealth(steps, bounds.lower + 1e-4) < -math.log(ALPHA)


@pytest.mark.parametrize("share", [0.05, 0.5])
@pytest.mark.parametrize("rates", ["steady", "drifting", "bursts"])
def test_equal_arms_are_rarely_told_apart_though_looked_at_all_the_time(share, rates):
    """A/A, common rates of any shape: at most alpha (.1) of 400 paths are ever refuted, plus 3 standard errors."""
    dice = np.random.default_rng(2013)
    paths, looks = 400, 150
    p = {
        "steady": np.full((paths, looks), 0.03),
        "drifting": np.tile(np.linspace(0.005, 0.2, looks), (paths, 1)),
        "bursts": np.where(dice.random((paths, looks)) < 0.1, 0.3, 0.01),
    }[rates]
    own = dice.binomial(20, share, (paths, looks))
    candidate, stable = dice.binomial(own, p).cumsum(axis=1), dice.binomial(20 - own, p).cumsum(axis=1)
    refuted = sum(
        any(
            log_wealth([Trials(share=share, requests=20 * (t + 1), candidate=int(c[t]), stable=int(s[t]))], 0.0)
            >= -math.log(ALPHA)
            for t in range(looks)
        )
        for c, s in zip(candidate, stable, strict=True)
    )
    assert refuted / paths <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / paths)


def test_steps_of_other_shares_add_up():
    """Weak evidence of three steps is strong together."""
    steps = [
        Trials(share=share, requests=900, candidate=c, stable=s)
        for share, c, s in ((0, 9, 3), (0.1, 4, 8), (0.5, 14, 4))
    ]
    assert all(log_wealth([step], 0.0) < -math.log(0.01) for step in steps)
    assert log_wealth(steps, 0.0) >= -math.log(0.01)


def test_it_takes_little_more_than_a_fixed_sample():
    """1 % against 5 % errors, half and half: the median stop is under 1.5 times the fixed-sample test's size (222 an arm)."""
    dice = np.random.default_rng(5)
    stops = []
    for _ in range(200):
        own = dice.random(4_000) < 0.5
        failed = dice.random(4_000) < np.where(own, 0.05, 0.01)
        c, s, n = (failed & own).cumsum(), (failed & ~own).cumsum(), own.cumsum()
        looks = range(9, 4_000, 10)
        stop = next(
            t
            for t in looks
            if log_wealth([Trials(share=0.5, requests=t + 1, candidate=int(c[t]), stable=int(s[t]))], 0.0)
            >= -math.log(0.05)
        )
        stops.append(n[stop])
    assert np.median(stops) <= 1.5 * 222


def test_alone_it_is_held_against_the_limit():
    """With all the traffic there is nobody to compare with: the candidate's own rate is bounded."""
    bounds = difference_bounds([Trials(share=1, requests=1_000, candidate=100)], alpha=0.05)
    assert 0.06 < bounds.lower < 0.1
    assert bounds.upper == 1.0


def test_impossible_counts_are_refused():
    """A share over 1 is a mistake, not evidence."""
    with pytest.raises(ValueError, match="no trials"):
        Trials(share=1.2, requests=3, candidate=0)


def sticky(dice, entities, share, looks):
    """A/A where entities differ much in traffic and luck, and each stays on its side: group counts look by look."""
    weight = dice.pareto(1.5, entities) + 0.2
    luck = np.minimum(dice.gamma(0.5, 2.0, entities) * 0.05, 1.0)
    group, own = dice.integers(0, 64, entities), dice.random(entities) < share
    requests = dice.multinomial(40, weight / weight.sum(), size=looks).cumsum(axis=0)
    failures = dice.binomial(np.diff(requests, axis=0, prepend=0), luck).cumsum(axis=0)
    for t in range(5, looks, 5):
        yield tuple(
            {
                str(g): (int(requests[t][mine & (group == g)].sum()), int(failures[t][mine & (group == g)].sum()))
                for g in np.unique(group[mine])
            }
            for mine in (own, ~own)
        )


def test_entities_not_requests_are_the_sample_of_a_sticky_split():
    """A/A by groups of entities: at most alpha (.1) of 120 paths are ever refuted; by requests far more are."""
    dice = np.random.default_rng(11)
    by_group = by_request = 0
    for _ in range(120):
        refuted = [False, False]
        for own, theirs in sticky(dice, 200, 0.3, 100):
            refuted[0] |= cluster_bounds(own, theirs, alpha=ALPHA).lower > 0
            totals = [[sum(pair[i] for pair in counts.values()) for i in (0, 1)] for counts in (own, theirs)]
            counted = Trials(
                share=0.3, requests=totals[0][0] + totals[1][0], candidate=totals[0][1], stable=totals[1][1]
            )
            refuted[1] |= log_wealth([counted], 0.0) >= -math.log(ALPHA)
        by_group, by_request = by_group + refuted[0], by_request + refuted[1]
    assert by_group <= 120 * ALPHA
    assert by_request > 120 * ALPHA


def test_a_broken_candidate_is_found_among_few_entities():
    """Nine groups that all fail, against fifty that do not, are enough."""
    own = {str(g): (40, 40) for g in range(9)}
    theirs = {str(g): (60, 0) for g in range(50)}
    assert cluster_bounds(own, theirs, alpha=0.0125).lower > 0.3


def test_distributions_of_scores_are_told_apart_only_when_far():
    """The same shape passes; a candidate that says the opposite fails; a moderate shift is no gross change."""
    dice = np.random.default_rng(17)

    def seen(revision, role, scores):
        bins = tuple(np.bincount((scores * 9.999).astype(int), minlength=10).tolist())
        return Observation(
            rollout="r", epoch=2, revision=revision, role=role, rows=len(scores), requests=len(scores), score_bins=bins
        )

    stable = dice.beta(2, 8, 2_000)
    for scores, verdict in (
        (dice.beta(2, 8, 2_000), Verdict.SUCCESSFUL),
        (dice.beta(3, 7, 2_000), Verdict.SUCCESSFUL),
        (dice.beta(8, 2, 2_000), Verdict.FAILED),
    ):
        for share in (0.0, 0.5):
            step = StepCounts(
                share=share, stable=seen("d/1", "stable", stable), candidate=seen("d/2", "canary", scores)
            )
            assert distribution_gate(Judge(RolloutStrategy()), [step]).verdict is verdict


def _timed(revision, role, latencies):
    """Count latencies as gateways do."""
    counts = np.bincount(np.searchsorted(LATENCY_BOUNDS_MS, latencies), minlength=len(LATENCY_BOUNDS_MS) + 1)
    histogram = {latency_bucket(index): int(count) for index, count in enumerate(counts) if count}
    return Observation(rollout="r", epoch=2, revision=revision, role=role, requests=len(latencies), histogram=histogram)


def test_a_candidate_much_slower_than_stable_is_stopped_though_it_keeps_the_slo():
    """As fast, or a little slower, passes; where its median is stable's p95, it fails, and the worst time is named."""
    dice = np.random.default_rng(18)
    judge = Judge(RolloutStrategy(max_slower_share=0.2))
    stable = dice.lognormal(1.0, 0.5, 2_000)  # median 2.7 ms, p95 6.2 ms
    for factor, verdict in ((1.0, Verdict.SUCCESSFUL), (1.1, Verdict.SUCCESSFUL), (2.3, Verdict.FAILED)):
        candidate = factor * dice.lognormal(1.0, 0.5, 2_000)
        step = StepCounts(
            share=0.5, stable=_timed("d/1", "stable", stable), candidate=_timed("d/2", "canary", candidate)
        )
        gate = slowdown_gate(judge, [step])
        assert gate.verdict is verdict, gate.reason
    assert "candidate share slower than 5 ms is above stable by at least" in gate.reason


def test_only_timed_requests_are_evidence_of_speed():
    """Those whose latency was not counted are neither fast nor slow: what is concluded is as if there were none of them."""
    judge = Judge(RolloutStrategy(max_slower_share=0.2))
    own, theirs = _timed("d/2", "canary", np.full(300, 40.0)), _timed("d/1", "stable", np.full(300, 2.0))
    alone, among = (
        slowdown_gate(
            judge,
            [
                StepCounts(
                    share=0.5,
                    stable=replace(theirs, requests=factor * theirs.requests),
                    candidate=replace(own, requests=factor * own.requests),
                )
            ],
        )
        for factor in (1, 10)
    )
    assert alone == among
    assert alone.verdict is Verdict.FAILED and alone.samples == 300


def test_as_fast_as_stable_is_hardly_ever_stopped():
    """Looked at after every 50 requests, over all times at once: no more than alpha says."""
    dice = np.random.default_rng(19)
    judge = Judge(RolloutStrategy(max_slower_share=0.0))
    stopped = 0
    for _ in range(40):
        own, theirs = dice.lognormal(1.0, 0.5, 500), dice.lognormal(1.0, 0.5, 500)
        looks = (
            StepCounts(
                share=0.5, stable=_timed("d/1", "stable", theirs[:n]), candidate=_timed("d/2", "canary", own[:n])
            )
            for n in range(50, 501, 50)
        )
        stopped += any(slowdown_gate(judge, [look]).verdict is Verdict.FAILED for look in looks)
    assert stopped <= 2


def test_only_those_who_ask_are_judged_by_stables_speed():
    """By default a candidate may be as slow as the SLO allows."""
    step = StepCounts(
        share=0.5,
        stable=_timed("d/1", "stable", np.full(500, 2.0)),
        candidate=_timed("d/2", "canary", np.full(500, 40.0)),
    )
    for limit, verdict in ((None, Verdict.SUCCESSFUL), (0.2, Verdict.FAILED)):
        strategy = RolloutStrategy(max_slower_share=limit, shadow=False, canary_percents=(50.0,))
        rollout = Rollout(
            id="r",
            deployment="d",
            revision="d/2",
            stable="d/1",
            strategy=strategy,
            started_at=0.0,
            step_started_at=0.0,
            phase=Phase.CANARY,
            step=1,
        )
        evidence = Evidence(slo_p99_ms=100.0, stable=step.stable, candidate=step.candidate)
        assert judge_step(rollout, evidence).verdict is verdict
