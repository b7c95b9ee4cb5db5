"""Confidence sequences and the e-detector keep their promises under peeking, by simulation."""

import functools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaln

from tournant.domain.sequential import (
    MINIMUM_COUNT,
    Interval,
    MeanDetector,
    detector_value,
    difference_interval,
    is_alarmed,
    mean_interval,
    proportion_difference_interval,
    proportion_interval,
    tightest_rho,
    update,
)


@given(st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.001, 0.2))
def test_the_ends_of_a_proportion_interval_are_where_the_martingale_reaches_its_bound(
    counts: tuple[int, int], alpha: float
) -> None:
    """At each end inside (0, 1) the mixture's wealth is 1/alpha."""
    successes, trials = counts
    interval = proportion_interval(successes, trials, alpha=alpha)
    assert 0 <= interval.lower <= successes / trials <= interval.upper <= 1
    prior = betaln(successes + 0.5, trials - successes + 0.5) - betaln(0.5, 0.5)
    for end in (interval.lower, interval.upper):
        if 0 < end < 1:
            wealth = prior - successes * math.log(end) - (trials - successes) * math.log1p(-end)
            assert wealth == pytest.approx(-math.log(alpha), abs=1e-4)


@pytest.mark.parametrize("p", [0.01, 0.2])
def test_a_proportion_interval_misses_rarely_though_looked_at_after_each_trial(p: float) -> None:
    """Over 200 looks, at most alpha of the paths ever exclude the truth (alpha .1; 600 paths, 3 standard errors)."""
    interval = functools.cache(functools.partial(proportion_interval, alpha=0.1))
    paths = np.cumsum(np.random.default_rng(7).random((600, 200)) < p, axis=1)
    missed = 0
    for path in paths.tolist():
        intervals = (interval(successes, trials) for trials, successes in enumerate(path, start=1))
        missed += any(not i.lower <= p <= i.upper for i in intervals)
    assert missed / 600 <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 600)


def test_a_fixed_sample_interval_would_fail_the_same_test() -> None:
    """The simulation can fail: Wald intervals, peeked at, exclude the truth far more often than they say."""
    sums = np.cumsum(np.random.default_rng(7).random((600, 200)) < 0.2, axis=1)
    trials = np.arange(1, 201)
    means = sums / trials
    radius = 1.645 * np.sqrt(np.maximum(means * (1 - means), 1e-9) / trials)
    missed = (np.abs(means - 0.2) > radius)[:, 20:].any(axis=1)
    assert missed.mean() > 0.25


def test_concurrent_a_a_differences_rarely_exclude_zero() -> None:
    """Two arms with one error rate: the difference's interval excludes 0 in at most alpha of the paths, ever."""
    rng = np.random.default_rng(3)
    a, b = np.cumsum(rng.random((400, 150)) < 0.05, axis=1), np.cumsum(rng.random((400, 150)) < 0.05, axis=1)
    difference = functools.cache(functools.partial(proportion_difference_interval, alpha=0.1))
    missed = 0
    for left, right in zip(a.tolist(), b.tolist(), strict=True):
        found = (difference(x, n, y, n) for n, (x, y) in enumerate(zip(left, right, strict=True), start=1))
        missed += any(not i.lower <= 0 <= i.upper for i in found)
    assert missed / 400 <= 0.1


def test_a_proportion_interval_shrinks_to_the_truth() -> None:
    """It is no trivial interval: a hundred thousand trials pin the mean."""
    interval = proportion_interval(20_000, 100_000, alpha=0.05)
    assert interval.upper - interval.lower < 0.012


def test_more_successes_than_trials_are_refused() -> None:
    """Counts that cannot be are an error, not an interval."""
    with pytest.raises(ValueError, match="between 0 and 3"):
        proportion_interval(4, 3, alpha=0.05)


def test_a_mean_interval_misses_rarely_though_looked_at_after_each_value() -> None:
    """Skewed values, looked at from the 20th to the 600th: at most alpha (.1) and three standard errors miss."""
    values = np.random.default_rng(11).exponential(1.0, (500, 600))
    counts = np.arange(1, 601)
    means = np.cumsum(values, axis=1) / counts
    variances = np.maximum(np.cumsum(values**2, axis=1) / counts - means**2, 0)
    missed = 0
    for path_means, path_variances in zip(means, variances, strict=True):
        intervals = (
            mean_interval(n, float(path_means[n - 1]), float(path_variances[n - 1]), alpha=0.1)
            for n in range(MINIMUM_COUNT, 601)
        )
        missed += any(not i.lower <= 1.0 <= i.upper for i in intervals)
    assert missed / 500 <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 500)


def test_too_few_values_say_nothing() -> None:
    """Under 20 observations the interval is infinite."""
    assert mean_interval(MINIMUM_COUNT - 1, 0.0, 1.0, alpha=0.05) == Interval(-math.inf, math.inf)
    assert math.isfinite(mean_interval(MINIMUM_COUNT, 0.0, 1.0, alpha=0.05).upper)


@given(st.integers(20, 100_000))
def test_the_tightest_rho_is_near_the_best(count: int) -> None:
    """Rhos twice and half as large give wider intervals at the count asked for."""
    rho = tightest_rho(count, alpha=0.05)
    best = mean_interval(count, 0.0, 1.0, alpha=0.05, rho=rho).upper
    assert best <= mean_interval(count, 0.0, 1.0, alpha=0.05, rho=2 * rho).upper
    assert best <= mean_interval(count, 0.0, 1.0, alpha=0.05, rho=rho / 2).upper


def test_differences_keep_infinite_ends() -> None:
    """An arm that knows nothing leaves the difference unknown."""
    assert difference_interval(Interval(0.2, 0.4), Interval(-math.inf, math.inf)) == Interval(-math.inf, math.inf)


def run_length(values: np.ndarray, average_run_length: float) -> int:
    """Count the units until the detector alarms (all of them if it does not)."""
    state = MeanDetector(mean=0.0, deviation=1.0, average_run_length=average_run_length)
    for value in values:
        state = update(state, float(value))
        if is_alarmed(state):
            return state.units
    return len(values)


def heavy_days(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Mean losses of days with 50 rows each, a skewed day effect being 9/10 of the variance: mean 0, variance 1."""
    day = (rng.exponential(1.0, shape) - 1.0) * math.sqrt(0.9)
    return day + rng.normal(0.0, math.sqrt(0.1), shape)


def student(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Student's t with 3 degrees of freedom, scaled to variance 1."""
    return rng.standard_t(3, shape) / math.sqrt(3)


@pytest.mark.parametrize("draw", [lambda rng, shape: rng.normal(size=shape), heavy_days, student])
def test_false_alarms_are_as_rare_as_stated(draw) -> None:  # type: ignore[no-untyped-def]
    """Without a change the mean run length (cut at 300) is at least the 40 stated."""
    values = draw(np.random.default_rng(5), (150, 300))
    lengths = [run_length(path, 40.0) for path in values]
    assert np.mean(lengths) >= 40.0


def test_a_row_wise_threshold_would_alarm_far_sooner() -> None:
    """The simulation can fail: a fixed limit of 2.33 deviations alarms after about 50 skewed units, not 365."""
    values = heavy_days(np.random.default_rng(5), (150, 400))
    lengths = [int(np.argmax(path > 2.33)) or 400 for path in values]
    assert np.mean(lengths) < 80


def test_an_increase_is_found_soon() -> None:
    """A mean one deviation higher is found in about a month at one false alarm a year."""
    values = np.random.default_rng(5).normal(1.0, 1.0, (60, 100))
    assert np.mean([run_length(path, 365.0) for path in values]) < 35


def test_one_extreme_unit_is_no_change() -> None:
    """Self-normalisation: a single storm, however strong, does not alarm."""
    state = MeanDetector(mean=0.0, deviation=1.0, average_run_length=365)
    for value in (0.0, 0.1, -0.2, 25.0):
        state = update(state, value)
    assert detector_value(state) < 10
