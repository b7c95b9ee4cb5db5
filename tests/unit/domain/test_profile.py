"""Profiles add up: merging units is the same as profiling all their rows at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tournant.domain.performance import auroc, auroc_of_bins, losses
from tournant.domain.profile import (
    OTHER,
    SCORE,
    WindowProfile,
    merge_columns,
    merge_windows,
    profile_columns,
    profile_like,
    profile_window,
)
from tournant.errors import Invalid

NUMBERS = st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))), min_size=1, max_size=60)
WORDS = st.lists(st.sampled_from(["", "a", "b", "c", "d"]), min_size=1, max_size=60)


def columns(numbers: list[float], words: list[str]) -> dict[str, np.ndarray]:
    size = min(len(numbers), len(words))
    return {"x": np.array(numbers[:size]), "c": np.array(words[:size], dtype=object)}


@given(NUMBERS, WORDS, NUMBERS, WORDS)
def test_merged_profiles_are_the_profile_of_all_rows(
    x: list[float], c: list[str], y: list[float], d: list[str]
) -> None:
    """In the cells of one reference, counts add up exactly; nothing is lost."""
    a, b = columns(x, c), columns(y, d)
    template = profile_columns(a)
    both = profile_like({name: np.concatenate([a[name], b[name]]) for name in a}, template)
    merged = {name: merge_columns([profile_like(a, template)[name], profile_like(b, template)[name]]) for name in a}
    for name in both:
        cells = both[name].cells()
        assert merged[name].counts_of(cells) == both[name].counts_of(cells)
        assert sum(both[name].counts_of(cells)) == both[name].rows == len(a["x"]) + len(b["x"])


def test_categories_a_reference_never_saw_count_as_other() -> None:
    """An unseen category moves rows into `(other)`."""
    template = profile_columns({"c": np.array(["a", "b", "a"], dtype=object)})
    seen = profile_like({"c": np.array(["a", "z", ""], dtype=object)}, template)["c"]
    assert seen.categories == {"a": 1, "b": 0, OTHER: 1}
    assert seen.missing == 1
    assert template["c"].counts_of(template["c"].cells()) == [0, 0, 2, 1]


def test_few_distinct_numbers_have_a_bin_each() -> None:
    """Days of the week are not blurred into quantiles."""
    profile = profile_columns({"d": np.repeat(np.arange(7), [1, 2, 3, 4, 5, 6, 7])})["d"]
    assert profile.counts == (1, 2, 3, 4, 5, 6, 7)


def test_numbers_lie_in_equally_full_bins() -> None:
    """Quantile edges: a tenth of the reference each, and beyond them the outer bins are open."""
    profile = profile_columns({"x": np.arange(1000.0)})
    assert profile["x"].counts == (100,) * 10
    assert profile_like({"x": np.array([-1e9, 1e9])}, profile)["x"].counts == (1, *(0,) * 8, 1)


def test_profiles_of_other_edges_do_not_merge() -> None:
    """Counts of different bins must not be added."""
    a, b = profile_columns({"x": np.arange(5.0)}), profile_columns({"x": np.arange(6.0)})
    with pytest.raises(ValueError, match="different edges"):
        merge_columns([a["x"], b["x"]])


def window(start: float, scores: list[float], labels: list[float], errors: list[bool]) -> WindowProfile:
    empty = WindowProfile(
        id=f"d/1/{start}", deployment="d", revision="d/1", model_version="m@1", unit_start=start, unit_end=start + 1
    )
    rows = {"score": np.array(scores), "label": np.array(labels), "error": np.array(errors, dtype=bool)}
    template = profile_columns({SCORE: np.array([0.1, 0.5, 0.9])})
    return profile_window(empty, rows, metric="log_loss", template=template)


def test_a_window_counts_errors_and_sums_losses_of_labelled_answers() -> None:
    """A failed row is an error and no prediction; an unlabelled one is a prediction without loss."""
    found = window(0, [0.5, 0.25, 0.75, np.nan], [1.0, 0.0, np.nan, 1.0], [False, False, False, True])
    assert (found.rows, found.errors, found.labelled, found.label_sum) == (4, 1, 2, 1.0)
    assert found.loss_sum == pytest.approx(-np.log(0.5) - np.log(0.75))
    assert found.brier_sum == pytest.approx(0.25 + 0.0625)
    assert (found.score_bins[25], found.score_bins[50], found.score_bins[75]) == (1, 1, 1)
    assert sum(found.labelled_bins) == 2
    assert sum(found.positive_bins) == 1
    assert found.columns[SCORE].rows == 3


def test_merged_windows_span_and_sum_their_parts() -> None:
    """Two units of one revision become one of both lengths."""
    a, b = window(0, [0.5], [1.0], [False]), window(1, [0.25, 0.75], [0.0, 1.0], [False, False])
    both = merge_windows([a, b])
    assert (both.unit_start, both.unit_end, both.rows, both.labelled) == (0, 2, 3, 3)
    assert both.loss_sum == pytest.approx(a.loss_sum + b.loss_sum)
    assert sum(both.score_bins) == 3


def test_merged_windows_have_no_bins_where_one_has_none() -> None:
    """Bins of a part of the rows would be taken for those of all; a part without any prediction lacks nothing."""
    a, failed = window(0, [0.5], [1.0], [False]), window(1, [np.nan], [np.nan], [True])
    assert sum(merge_windows([a, failed]).score_bins) == 1
    assert merge_windows([a, window(2, [3.0], [1.0], [False])]).score_bins == ()


def test_a_text_column_that_no_row_has_is_missing() -> None:
    """It is read as NaN, which is no category."""
    template = profile_columns({"c": np.array(["a", "b"], dtype=object)})
    found = profile_like({"c": np.array([np.nan, np.nan])}, template)["c"]
    assert (found.rows, found.missing, sum(found.categories.values())) == (2, 2, 0)


def test_scores_that_are_no_probabilities_have_no_bins() -> None:
    """A regression's window has losses but no calibration."""
    rows = {"score": np.array([3.0, -2.0]), "label": np.array([2.0, 0.0]), "error": np.array([False, False])}
    empty = WindowProfile(id="i", deployment="d", revision="r", model_version="m", unit_start=0, unit_end=1)
    found = profile_window(empty, rows, metric="squared_error", template={})
    assert found.score_bins == ()
    assert found.loss_sum == pytest.approx(5.0)


def test_an_empty_window_is_fine() -> None:
    """No rows: zeros."""
    assert window(0, [], [], []).rows == 0


@given(st.lists(st.tuples(st.integers(0, 99), st.booleans()), min_size=1, max_size=80))
def test_auroc_from_bins_is_the_exact_one_when_scores_lie_in_the_bins_middles(pairs: list[tuple[int, bool]]) -> None:
    """Binning loses nothing but order within a bin."""
    scores = np.array([(bin_ + 0.5) / 100 for bin_, _ in pairs])
    labels = np.array([float(label) for _, label in pairs])
    labelled = np.bincount([bin_ for bin_, _ in pairs], minlength=100)
    positive = np.bincount([bin_ for bin_, label in pairs if label], minlength=100)
    np.testing.assert_allclose(auroc_of_bins(labelled.tolist(), positive.tolist()), auroc(labels, scores))


def test_losses_are_finite_at_sure_predictions_and_unknown_without_a_label() -> None:
    """A probability of 0 for what happened costs 16.1, not infinity."""
    found = losses("log_loss", np.array([0.0, 1.0, 0.5]), np.array([1.0, 1.0, np.nan]))
    assert found[0] == pytest.approx(16.118, abs=0.001)
    assert found[1] == pytest.approx(0.0, abs=1e-6)
    assert np.isnan(found[2])


def test_an_unknown_metric_names_the_known_ones() -> None:
    """The error says which there are."""
    with pytest.raises(Invalid, match="absolute_error"):
        losses("accuracy", np.array([0.5]), np.array([1.0]))
