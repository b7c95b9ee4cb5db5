"""Profiles: mergeable summaries of inputs, scores and losses, never the raw data."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tournant.domain.performance import losses
from tournant.domain.profile_records import OTHER, ColumnProfile, ReferenceProfile, WindowProfile

__all__ = [
    "OTHER",
    "SCORE",
    "SCORE_BINS",
    "ColumnProfile",
    "ReferenceProfile",
    "WindowProfile",
    "merge_columns",
    "merge_profiles",
    "merge_windows",
    "profile_columns",
    "profile_like",
    "profile_window",
]

Columns = Mapping[str, npt.NDArray[Any]]
SCORE = "(score)"  # the prediction, profiled like an input column
SCORE_BINS = 100
_NUMBER_BINS = 10
_CATEGORIES = 30


def profile_columns(columns: Columns) -> dict[str, ColumnProfile]:
    """Profile columns by cells of their own: at most 10 quantile bins for numbers, the 30 commonest categories for strings.

    Numbers of at most 10 distinct values get one bin each. Missing is NaN for numbers and "" for strings.

    >>> profile = profile_columns({"x": np.array([1.0, 2.0, 2.0, np.nan]), "c": np.array(["a", "b", "a"], dtype=object)})
    >>> profile["x"].edges, profile["x"].counts, profile["x"].missing
    ((1.5,), (1, 2), 1)
    >>> profile["c"].categories
    {'a': 2, 'b': 1}
    """
    return {name: _count(values, _template(values)) for name, values in columns.items()}


def profile_like(columns: Columns, template: Mapping[str, ColumnProfile]) -> dict[str, ColumnProfile]:
    """Profile columns in the cells of a reference; columns the reference lacks are left out."""
    return {name: _count(columns[name], profile) for name, profile in template.items() if name in columns}


def merge_columns(profiles: Sequence[ColumnProfile]) -> ColumnProfile:
    """Add profiles of one column with the same cells."""
    first = profiles[0]
    if any(profile.edges != first.edges or profile.type != first.type for profile in profiles):
        raise ValueError("profiles with different edges cannot be merged")
    categories: dict[str, int] = {}
    for profile in profiles:
        for category, count in profile.categories.items():
            categories[category] = categories.get(category, 0) + count
    return replace(
        first,
        rows=sum(profile.rows for profile in profiles),
        missing=sum(profile.missing for profile in profiles),
        counts=_added([profile.counts for profile in profiles]),
        categories=categories,
    )


def merge_profiles(units: Sequence[Mapping[str, ColumnProfile]]) -> dict[str, ColumnProfile]:
    """Add the column profiles of several units; a column must be in all of them."""
    common = [name for name in units[0] if all(name in unit for unit in units)] if units else []
    return {name: merge_columns([unit[name] for unit in units]) for name in common}


def merge_windows(windows: Sequence[WindowProfile]) -> WindowProfile:
    """Add window profiles of one revision; the result spans them all and keeps the first one's id.

    Where one has scores outside [0, 1], and so no bins, the sum has none.
    """
    summed = ("rows", "errors", "labelled", "label_sum", "score_sum", "loss_sum", "brier_sum")
    binned = ("score_bins", "labelled_bins", "positive_bins")
    sums: dict[str, Any] = {name: sum(getattr(window, name) for window in windows) for name in summed}
    binless = any(window.rows > window.errors and not window.score_bins for window in windows)
    bins: dict[str, Any] = {
        name: () if binless else _added([getattr(window, name) for window in windows]) for name in binned
    }
    return replace(
        windows[0],
        unit_start=min(window.unit_start for window in windows),
        unit_end=max(window.unit_end for window in windows),
        columns=merge_profiles([window.columns for window in windows if window.columns]),
        **sums,
        **bins,
    )


def profile_window(
    empty: WindowProfile, rows: Columns, *, metric: str, template: Mapping[str, ColumnProfile]
) -> WindowProfile:
    """Fill a profile (with its id and unit) from rows: `score`, `label` and `error`, and the template's columns.

    Scores outside [0, 1] (a model that predicts numbers) have no bins. Rows with an error count as such only.
    """
    fine = ~rows["error"]
    scores, labels = rows["score"][fine].astype(np.float64), rows["label"][fine].astype(np.float64)
    known = ~(np.isnan(scores) | np.isnan(labels))
    scores_known, labels_known = scores[known], labels[known]
    columns = {name: values[fine] for name, values in rows.items() if name in template}
    filled = replace(
        empty,
        rows=len(fine),
        errors=int((~fine).sum()),
        labelled=int(known.sum()),
        label_sum=float(labels_known.sum()),
        score_sum=float(np.nansum(scores)),
        loss_sum=float(losses(metric, scores_known, labels_known).sum()),
        brier_sum=float(losses("brier", scores_known, labels_known).sum()),
        columns=profile_like({**columns, SCORE: scores}, template),
    )
    if not len(scores) or np.nanmin(scores, initial=0.0) < 0 or np.nanmax(scores, initial=0.0) > 1:
        return filled
    return replace(
        filled,
        score_bins=_score_bins(scores[~np.isnan(scores)]),
        labelled_bins=_score_bins(scores_known),
        positive_bins=_score_bins(scores_known[labels_known > 0.5]),
    )


def _score_bins(scores: npt.NDArray[np.float64]) -> tuple[int, ...]:
    bins = np.minimum((scores * SCORE_BINS).astype(np.intp), SCORE_BINS - 1)
    return tuple(np.bincount(bins, minlength=SCORE_BINS).tolist())


def _added(rows: Sequence[Sequence[int]]) -> tuple[int, ...]:
    filled = [row for row in rows if row]
    return tuple(np.sum(filled, axis=0).tolist()) if filled else ()


def _template(values: npt.NDArray[Any]) -> ColumnProfile:
    """Choose a column's cells."""
    if values.dtype.kind in "OUS":
        names, counts = np.unique(values.astype(str), return_counts=True)
        common = names[np.argsort(-counts, kind="stable")][: _CATEGORIES + 1]
        return ColumnProfile(type="string", categories=dict.fromkeys(sorted(set(common.tolist()) - {""}), 0))
    numbers = values.astype(np.float64)
    numbers = numbers[np.isfinite(numbers)]
    distinct = np.unique(numbers)
    if len(distinct) <= _NUMBER_BINS:
        edges = (distinct[1:] + distinct[:-1]) / 2
    else:
        edges = np.unique(np.quantile(numbers, np.arange(1, _NUMBER_BINS) / _NUMBER_BINS))
    return ColumnProfile(type="number", edges=tuple(edges.tolist()))


def _count(values: npt.NDArray[Any], template: ColumnProfile) -> ColumnProfile:
    """Count values in a template's cells."""
    if template.type == "string":
        if values.dtype.kind == "f":  # where no row has the column it is NaN, of whatever type
            values = np.where(np.isnan(values), "", values.astype(str))
        names, found = np.unique(values.astype(str), return_counts=True)
        counts = dict(zip(names.tolist(), found.tolist(), strict=True))
        missing = counts.pop("", 0)
        known = {name: counts.pop(name, 0) for name in template.categories if name != OTHER}
        categories = {**known, OTHER: sum(counts.values())} if counts or OTHER in template.categories else known
        return ColumnProfile(type="string", rows=len(values), missing=missing, categories=categories)
    numbers = values.astype(np.float64) if values.dtype.kind in "biuf" else np.full(len(values), np.nan)
    present = numbers[~np.isnan(numbers)]
    bins = np.searchsorted(np.asarray(template.edges), present, side="right")
    return ColumnProfile(
        type="number",
        rows=len(values),
        missing=len(values) - len(present),
        edges=template.edges,
        counts=tuple(np.bincount(bins, minlength=len(template.edges) + 1).tolist()),
    )
