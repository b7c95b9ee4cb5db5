"""Paired comparisons resample days: rows of one day are one observation."""

import math

import numpy as np
import pytest
from scipy import stats

from tournant.domain.gate import paired_auroc_bootstrap, paired_block_bootstrap
from tournant.domain.performance import auroc


def test_intervals_cover_the_truth_though_rows_of_a_day_are_alike() -> None:
    """30 days of 20 rows with a day effect: 90 % intervals miss at most about 13 % of the time; row-wise ones mostly miss."""
    rng = np.random.default_rng(1)
    missed = row_wise = 0
    for seed in range(200):
        rows = (rng.normal(0, 1, 30)[:, None] + rng.normal(0, 0.2, (30, 20))).ravel()
        found = paired_block_bootstrap(rows, np.repeat(np.arange(30), 20), alpha=0.1, replicates=500, seed=seed)
        missed += not found.lower <= 0 <= found.upper
        row_wise += abs(rows.mean()) > 1.645 * rows.std() / math.sqrt(600)
    assert missed / 200 <= 0.1 + 3 * math.sqrt(0.09 / 200)
    assert row_wise / 200 > 0.5


def test_the_interval_agrees_with_scipys_bootstrap_of_days() -> None:
    """With as many rows each day, it is the bootstrap of day means."""
    rng = np.random.default_rng(1)
    means = rng.normal(0.1, 1, 40)
    found = paired_block_bootstrap(np.repeat(means, 5), np.repeat(np.arange(40), 5), alpha=0.1)
    peer = stats.bootstrap((means,), np.mean, confidence_level=0.9, method="percentile", n_resamples=4000, rng=rng)
    assert found.mean == pytest.approx(means.mean())
    assert found.lower == pytest.approx(peer.confidence_interval.low, abs=0.03)
    assert found.upper == pytest.approx(peer.confidence_interval.high, abs=0.03)


def test_the_same_seed_gives_the_same_interval() -> None:
    """A gate's verdict can be recomputed."""
    rows, days = np.random.default_rng(0).normal(size=100), np.repeat(np.arange(10), 10)
    assert paired_block_bootstrap(rows, days, alpha=0.1) == paired_block_bootstrap(rows, days, alpha=0.1)


def test_one_day_or_none_says_nothing_sure() -> None:
    """A single day has no spread to resample; unlabelled rows are no rows."""
    one = paired_block_bootstrap(np.array([0.5, 1.5, np.nan]), np.zeros(3), alpha=0.1)
    assert tuple(one) == (1.0, -math.inf, math.inf)
    none = paired_block_bootstrap(np.array([np.nan]), np.zeros(1), alpha=0.1)
    assert math.isnan(none.mean)
    assert none.upper == math.inf


def test_the_auroc_difference_is_that_of_the_exact_aurocs() -> None:
    """Counting concordant pairs by units gives the same area as ranking all rows, ties and missing rows included."""
    rng = np.random.default_rng(5)
    labels = (rng.random(600) < 0.3).astype(float)
    champion = rng.random(600).round(2)
    challenger = (0.5 * champion + 0.5 * rng.random(600) + 0.3 * labels).round(2)
    labels[::50] = np.nan
    found = paired_auroc_bootstrap(labels, champion, challenger, np.repeat(np.arange(20), 30), alpha=0.1)
    assert found.mean == pytest.approx(auroc(labels, challenger) - auroc(labels, champion))
    assert 0 < found.lower < found.mean < found.upper


def test_aurocs_of_one_class_are_unknown() -> None:
    """Without both labels there is no ranking to compare."""
    found = paired_auroc_bootstrap(np.ones(4), np.arange(4.0), np.arange(4.0), np.arange(4), alpha=0.1)
    assert math.isnan(found.mean)
