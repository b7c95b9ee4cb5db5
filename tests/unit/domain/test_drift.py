"""Drift is judged by units: it is found where it is, and unchanged windows stay quiet though days differ."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tournant.domain.drift import (
    benjamini_hochberg,
    chi_squared,
    detect_drift,
    jensen_shannon,
    kolmogorov_smirnov,
    psi,
    wasserstein,
)
from tournant.domain.profile import ColumnProfile, merge_profiles, profile_columns, profile_like

COUNTS = st.lists(st.integers(0, 500), min_size=2, max_size=12)


def days(rng: np.random.Generator, count: int, *, rows: int = 100, shift: float = 0.0) -> list[dict[str, np.ndarray]]:
    """Draw days of rows: `weather` has a strong day effect, `carrier` none; `shift` moves `weather`."""
    drawn = []
    for _ in range(count):
        weather = rng.normal(rng.normal(0, 1), 0.5, rows) + shift
        drawn.append({"weather": weather, "carrier": rng.choice(["UA", "AA", "B6"], rows).astype(object)})
    return drawn


def profiled(
    reference: list[dict[str, np.ndarray]], window: list[dict[str, np.ndarray]]
) -> tuple[list[dict[str, ColumnProfile]], dict[str, ColumnProfile]]:
    """Profile both in the cells of the whole reference."""
    template = profile_columns({name: np.concatenate([day[name] for day in reference]) for name in reference[0]})
    units = [profile_like(day, template) for day in reference]
    return units, merge_profiles([profile_like(day, template) for day in window])


def test_days_that_differ_as_the_references_days_do_are_no_drift() -> None:
    """Unchanged weeks: about alpha of them alarm, where a row-wise chi-squared test would alarm on nearly all."""
    rng = np.random.default_rng(2)
    alarms = row_wise = 0
    for _ in range(60):
        units, window = profiled(days(rng, 60), days(rng, 7))
        found = detect_drift(units, window, units=7, alpha=0.05, floor=0.0, replicates=400)
        alarms += bool(found.drifted)
        whole = merge_profiles(units)["weather"]
        row_wise += chi_squared(whole.counts, window["weather"].counts)[1] < 0.05
    assert alarms <= 9  # 60 × .05 = 3, and three standard deviations
    assert row_wise >= 50


def test_a_lasting_shift_is_found_and_named_first() -> None:
    """The column that moved leads the ranking, with what grew."""
    rng = np.random.default_rng(4)
    units, window = profiled(days(rng, 60), days(rng, 7, shift=4.0))
    found = detect_drift(units, window, units=7, alpha=0.01, floor=0.2)
    assert [column.column for column in found.drifted] == ["weather"]
    assert found.columns[0].p_value is not None
    assert found.columns[0].p_value < 0.005
    assert "or more" in found.columns[0].shift
    assert "60 reference units in blocks of 3" in found.reason


def test_a_sure_but_small_shift_stays_under_the_floor() -> None:
    """Significance alone is no alert: the effect must reach the PSI floor."""
    rng = np.random.default_rng(4)
    units, window = profiled(days(rng, 60), days(rng, 7, shift=4.0))
    assert not detect_drift(units, window, units=7, alpha=0.01, floor=50.0).drifted


@pytest.mark.parametrize(("count", "words"), [(8, "unit by unit"), (3, "rows were taken as independent")])
def test_a_short_reference_is_used_as_far_as_it_goes_and_says_so(count: int, words: str) -> None:
    """Fewer units than two windows: single units are resampled, and with very few, rows."""
    rng = np.random.default_rng(4)
    units, window = profiled(days(rng, count), days(rng, 7, shift=4.0))
    found = detect_drift(units, window, units=7, alpha=0.01, floor=0.2)
    assert words in found.reason
    assert found.drifted


def test_a_smaller_window_is_allowed_more_noise() -> None:
    """A window with a tenth of the rows differs more by chance, and that is no drift."""
    rng = np.random.default_rng(6)
    alarms = 0
    for _ in range(40):
        units, window = profiled(days(rng, 40, rows=500), days(rng, 7, rows=12))
        alarms += bool(detect_drift(units, window, units=7, alpha=0.05, floor=0.0, replicates=400).drifted)
    assert alarms <= 7


def test_no_common_column_is_no_drift() -> None:
    """Nothing to compare gives an empty result with a reason."""
    found = detect_drift([], {}, units=7, alpha=0.01, floor=0.2)
    assert not found.columns
    assert "no column" in found.reason


@given(COUNTS, st.data())
def test_distances_are_symmetric_and_zero_only_for_the_same(counts: list[int], data: st.DataObject) -> None:
    """PSI and Jensen-Shannon do not care which side is the reference."""
    other = data.draw(st.lists(st.integers(0, 500), min_size=len(counts), max_size=len(counts)))
    assert float(psi(counts, other)) == pytest.approx(float(psi(other, counts)))
    assert jensen_shannon(counts, other) == pytest.approx(jensen_shannon(other, counts))
    assert float(psi(counts, counts)) == pytest.approx(0)
    assert 0 <= jensen_shannon(counts, other) <= 1


def test_statistics_agree_with_scipy() -> None:
    """Chi-squared by contingency table; KS and Wasserstein of values that lie on the edges."""
    reference, window = [30, 50, 20], [10, 60, 40]
    expected = stats.chi2_contingency([reference, window], correction=False)
    assert chi_squared(reference, window) == pytest.approx((expected.statistic, expected.pvalue))
    edges = (1.0, 3.0)  # cells: below 1, 1 to 3, 3 or more; put each row at its cell's lower edge, the first at 1
    a, b = np.repeat([0.0, 1.0, 3.0], reference), np.repeat([0.0, 1.0, 3.0], window)
    assert kolmogorov_smirnov(reference, window) == pytest.approx(stats.ks_2samp(a, b).statistic)
    clipped = stats.wasserstein_distance(np.maximum(a, 1.0), np.maximum(b, 1.0))
    assert wasserstein(edges, reference, window) == pytest.approx(clipped)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.001, 0.5))
def test_benjamini_hochberg_agrees_with_scipy(p_values: list[float], alpha: float) -> None:
    """The same hypotheses are rejected as by adjusted p-values."""
    adjusted = stats.false_discovery_control(p_values)
    clear = np.abs(adjusted - alpha) > 1e-9
    np.testing.assert_array_equal(benjamini_hochberg(p_values, alpha)[clear], (adjusted <= alpha)[clear])
